"""How far environments are from those of a training set."""

import jax
import numpy as np
import pytest

from tests.systems import methanol
from tripletjax import InputError, descriptor
from tripletjax.kernels import EnvironmentKernel, Novelty, fit_full_potential, fit_sparse_potential
from tripletjax.kernels.novelty import _known
from tripletjax.neighbors import prepare
from tripletjax.potentials.network import Architecture
from tripletjax.potentials.triplet import untrained

pytestmark = pytest.mark.once("float64")

RANDOM = np.random.default_rng(0)
FRAMES = [methanol(seed) for seed in range(6)]
SOAP = descriptor("power_spectrum", (1, 6, 8), cutoff=3.0, n_max=2, l_max=1)
KERNEL = EnvironmentKernel(length_scale=1.5)
POTENTIAL = fit_full_potential(FRAMES, RANDOM.normal(size=6), describer=SOAP, kernel=KERNEL)


def squared_distance(kernel, point, others):
    """|Φ(p) - Σ_m c_m Φ(z_m)|² at the best c, by least squares."""
    matrix, column = kernel.matrix(others, others), kernel.matrix(others, point[None])[:, 0]
    best = np.linalg.lstsq(np.asarray(matrix), np.asarray(column), rcond=None)[0]
    return float(kernel.matrix(point[None], point[None])[0, 0] - column @ best)


@pytest.mark.parametrize("kind", ["gaussian", "polynomial", "linear"])
def test_the_unit_is_the_distance_of_a_point_from_all_others(kind):
    points, kernel = RANDOM.normal(size=(6, 9)), EnvironmentKernel(kind=kind, degree=3)
    left_out = [squared_distance(kernel, points[i], np.delete(points, i, 0)) for i in range(6)]
    assert np.isclose(_known(kernel, points).unit ** 2, np.mean(left_out), rtol=1e-6)


def test_novelty_is_the_distance_from_the_training_set_in_that_unit():
    new = methanol(9)
    new.positions[1] *= 1.1
    vectors = SOAP.describe(new).values / POTENTIAL.weights["scale"]
    points, kinds = POTENTIAL.weights["points"], np.array(POTENTIAL.model.kinds)
    expected = []
    for vector, number in zip(vectors, new.numbers, strict=True):
        known = points[kinds == SOAP.elements.index(number)]
        distance = squared_distance(KERNEL, vector, known)
        expected.append(np.sqrt(distance) / _known(KERNEL, known).unit)
    assert np.allclose(Novelty(POTENTIAL).of_frames(new)[0], expected, rtol=1e-3)


@pytest.mark.parametrize("fit", [fit_full_potential, fit_sparse_potential])
def test_what_was_trained_on_is_not_new_and_what_resembles_it_less_than_what_does_not(fit):
    frames = [methanol(seed) for seed in range(40)]
    potential = fit(frames, RANDOM.normal(size=40), describer=SOAP)
    dissociated = methanol(41)
    dissociated.positions[-1] += 1.0
    known, similar, new = Novelty(potential).of_frames([frames[0], methanol(41), dissociated])
    assert known.max() < 1
    assert similar.max() < 3
    assert new.max() > 3 * similar.max()


def test_some_environments_are_enough():
    frames = [methanol(seed) for seed in range(40)]
    potential = fit_full_potential(frames, RANDOM.normal(size=40), describer=SOAP)
    few = Novelty(potential, most=20)
    found = np.concatenate(few.of_frames([methanol(seed) for seed in range(50, 60)]))
    assert 0.3 < np.sqrt((found**2).mean()) < 3


def test_padding_has_none_and_derivatives_are_finite_at_the_training_set():
    measure, batch = Novelty(POTENTIAL), prepare(FRAMES[:1], 3.0, SOAP.elements, np.float64)
    assert not np.asarray(measure(batch))[~batch.center_mask].any()

    def total(positions):
        return measure(batch._replace(positions=positions)).sum()

    assert np.isfinite(jax.hessian(total)(np.asarray(batch.positions))).all()


def test_a_network_keeps_no_environments():
    with pytest.raises(InputError, match="keeps no environments of its training set"):
        Novelty(untrained([1], Architecture(units=4, width=4)))


def test_at_least_one_environment():
    with pytest.raises(InputError, match="most"):
        Novelty(POTENTIAL, most=0)
