"""Sparse processes in inducing environments and their derivatives."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.calculators.emt import EMT

import tripletjax
from tests.systems import SPECIES, methanol, slab
from tests.test_energy_models import shared_bonds
from tripletjax import InputError, descriptor
from tripletjax.kernels import (
    EnvironmentKernel,
    Noise,
    fit_full_potential,
    fit_sparse_potential,
    neighborhood_kernel,
)
from tripletjax.kernels.span import (
    Inducing,
    columns,
    columns_and_gradients,
    prior_covariance,
    slope_variances,
)

pytestmark = pytest.mark.once("float64")

RANDOM = np.random.default_rng(0)
KERNEL = EnvironmentKernel(length_scale=2.0)
KERNELS = [KERNEL, EnvironmentKernel(kind="polynomial"), KERNEL + EnvironmentKernel(kind="linear")]
SOAP = descriptor("power_spectrum", (1, 6, 8), cutoff=4.0, n_max=3, l_max=2)
NOISE = Noise(energy=0.01, forces=0.05)
FRAMES = [methanol(seed) for seed in range(9)]
MOVING = Inducing(
    RANDOM.normal(size=(3, 4)),
    np.array([0, 1, 1], np.int32),
    np.ones(()),
    np.array([0, 2, 2], np.int32),
    RANDOM.normal(size=(3, 4)),
)


def labels(frames):
    """Energies and forces of a potential that is smooth."""
    computed = [frame.copy() for frame in frames]
    for frame in computed:
        frame.calc = EMT()
    energies = np.array([frame.get_potential_energy() for frame in computed])
    return energies, [frame.get_forces() for frame in computed]


ENERGIES, FORCES = labels(FRAMES)


@cache
def sparse(n_inducing=100, n_derivatives=100):
    options = {"n_inducing": n_inducing, "n_derivatives": n_derivatives, "kernels": KERNEL}
    return fit_sparse_potential(FRAMES, ENERGIES, FORCES, describer=SOAP, noise=NOISE, **options)


@cache
def full():
    return fit_full_potential(
        FRAMES, ENERGIES, FORCES, describer=SOAP, noise=NOISE, kernel=KERNEL, truncation=0.0
    )


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.label())
def test_columns_are_kernels_and_their_derivatives(kernel):
    vectors, step = RANDOM.normal(size=(5, 4)), 1e-6
    ends = [
        kernel.matrix(vectors, MOVING.vectors[MOVING.owners] + sign * step * MOVING.directions)
        for sign in (-1, 1)
    ]
    found = np.asarray(columns(kernel, MOVING, jnp.asarray(vectors)))
    np.testing.assert_allclose(found[:, :3], kernel.matrix(vectors, MOVING.vectors))
    np.testing.assert_allclose(found[:, 3:], (ends[1] - ends[0]) / (2 * step), atol=1e-8)
    values, gradients = columns_and_gradients(kernel, MOVING, jnp.asarray(vectors[0]))
    np.testing.assert_allclose(values, found[0])
    of_vector = lambda p: columns(kernel, MOVING, p[None])[0]  # noqa: E731
    np.testing.assert_allclose(gradients, jax.jacrev(of_vector)(jnp.asarray(vectors[0])))


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.label())
def test_their_covariance_is_that_of_a_process_and_its_derivatives(kernel):
    """By the second derivatives of k, as textbooks have them."""
    of_pair = lambda a, b: kernel.matrix(a[None], b[None])[0, 0]  # noqa: E731
    second = jax.jacfwd(jax.jacrev(of_pair, 1), 0)
    found = prior_covariance(kernel, MOVING)
    own = zip(MOVING.owners, MOVING.directions, strict=True)
    pairs = [(jnp.asarray(MOVING.vectors[owner]), q) for owner, q in own]
    hessian = np.array([[p @ np.asarray(second(a, b)).T @ q for b, q in pairs] for a, p in pairs])
    kinds = MOVING.kinds[MOVING.owners]
    expected = np.where(kinds[:, None] == kinds, hessian, 0)
    np.testing.assert_allclose(found[3:, 3:], expected, atol=1e-10)
    np.testing.assert_allclose(slope_variances(kernel, MOVING), np.diag(hessian), atol=1e-10)
    np.testing.assert_allclose(found, found.T)
    assert np.linalg.eigvalsh(found).min() > -1e-10


def test_with_all_environments_and_derivatives_the_sparse_process_is_the_full_one():
    """Its columns then span all covariances with the labels."""
    frames = [methanol(20), methanol(21)]
    few, all_ = sparse().predict(frames), full().predict(frames)
    np.testing.assert_allclose(few.energy, all_.energy, atol=1e-4 * np.std(ENERGIES))
    np.testing.assert_allclose(few.forces, all_.forces, atol=1e-3)
    variance = full().model.record["variance"]
    assert sparse().model.record["variance"] == pytest.approx(variance, rel=1e-3)
    deviations = []
    for potential in (sparse(), full()):
        with jax.enable_x64(True):
            deviations.append(potential.deviations(potential.prepare(frames[:1], np.float64)))
    few, all_ = deviations
    np.testing.assert_allclose(few.energy, all_.energy, rtol=1e-3)
    np.testing.assert_allclose(few.forces[:6], all_.forces[:6], rtol=1e-3)


def test_derivatives_lower_the_errors_of_few_environments():
    frames = [methanol(seed) for seed in range(20, 30)]
    expected = np.concatenate(labels(frames)[1])
    errors = []
    for count in (0, 6, 18):
        found = sparse(n_inducing=6, n_derivatives=count).predict(frames)
        errors.append(np.abs(np.concatenate(found.forces) - expected).mean())
    assert errors[2] < errors[1] < 0.9 * errors[0]


def test_forces_are_derivatives_and_files_keep_all(tmp_path):
    potential, frame = sparse(12, 4), methanol(20)
    ends = []
    for sign in (-1, 1):
        moved = frame.copy()
        moved.positions[2, 1] += sign * 1e-4
        ends.append(potential.predict([moved]).energy[0])
    found = potential.predict([frame])
    assert found.forces[0][2, 1] == pytest.approx(-(ends[1] - ends[0]) / 2e-4, abs=1e-5)
    potential.save(tmp_path / "model")
    again = tripletjax.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict([frame]).forces[0], found.forces[0])
    with jax.enable_x64(True):
        batch = potential.prepare([frame], np.float64)
        expected, deviations = potential.deviations(batch), again.deviations(batch)
    np.testing.assert_array_equal(expected.forces, deviations.forces)


def test_a_kernel_that_does_not_change_has_no_derivatives():
    constant = lambda a, b: jnp.ones((len(a), len(b))) + 0 * a[:, :1] @ b[:, :1].T  # noqa: E731
    potential = fit_sparse_potential(
        FRAMES[:3], ENERGIES[:3], describer=SOAP, kernels=constant, n_derivatives=2
    )
    assert not potential.weights.get("directions", np.zeros(0)).size


def test_their_number_is_one():
    with pytest.raises(InputError, match="n_derivatives"):
        fit_sparse_potential(FRAMES, ENERGIES, describer=SOAP, n_derivatives=-1)


def test_environments_of_any_length_have_derivatives():
    """Those of a kernel of one's own, longer where there are more neighbours."""
    own = neighborhood_kernel(shared_bonds, SPECIES, 3.0)
    frames = [methanol(0), slab()]
    energies, forces = RANDOM.normal(size=2), [RANDOM.normal(size=(len(f), 3)) for f in frames]
    options = {"kernels": own, "n_inducing": 3, "noise": Noise(energy=0.1, forces=0.1)}
    potential = fit_sparse_potential(frames, energies, forces, n_derivatives=2, **options)
    assert potential.weights["directions"].shape[1] == potential.weights["points"].shape[1]
    ends = []
    for sign in (-1, 1):
        moved = frames[0].copy()
        moved.positions[2, 1] += sign * 1e-4
        ends.append(potential.predict([moved]).energy[0])
    force = potential.predict(frames[:1]).forces[0][2, 1]
    assert force == pytest.approx(-(ends[1] - ends[0]) / 2e-4, abs=1e-4)
