"""Kernels of one's own, and sums and products of kernels, in fits."""

from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from tests.systems import SPECIES, methanol, slab
from tests.test_energy_models import NOISE, OWN, SOAP, shared_bonds
from tripletjax import InputError, descriptor
from tripletjax.kernels import (
    EnvironmentKernel,
    fit_full_potential,
    fit_sparse_potential,
    neighborhood_kernel,
)
from tripletjax.kernels.algebra import leaves
from tripletjax.kernels.joined import Joined, separated

pytestmark = pytest.mark.once("float64")

CUTOFF = 3.0
FRAMES = [methanol(seed) for seed in range(2)] + [slab()]
RANDOM = np.random.default_rng(0)
LABELS = [
    RANDOM.normal(size=3),
    [RANDOM.normal(size=(len(frame), 3)) for frame in FRAMES],
    [None, None, np.eye(3)],
]
GAUSSIAN = EnvironmentKernel(length_scale=2.0)
PAIRS = descriptor("radial_spectrum", SPECIES, cutoff=CUTOFF, n_max=3, l_max=0)
fit: Any = partial(fit_full_potential, FRAMES, *LABELS, noise=NOISE, variance=5.0)


class Bonds:
    """Σ_j (1 - r/r_c)³ of each species."""

    cutoff, elements, unit = CUTOFF, SPECIES, 1.0

    def environment(self, vectors, species, mask, center):
        r = jnp.linalg.norm(jnp.where(mask[:, None], vectors, 1.0), axis=-1)
        weights = jnp.where(mask & (r < CUTOFF), (1 - r / CUTOFF) ** 3, 0)
        return jnp.sum(
            jnp.where(species[:, None] == jnp.arange(3, dtype=species.dtype), weights[:, None], 0),
            0,
        )


def of_bonds(first, second):
    """The Gaussian kernel of ``Bonds``, written as a function of two environments."""
    p, q = (
        Bonds().environment(one.vectors, one.species, one.mask, one.center)
        for one in (first, second)
    )
    return jnp.exp(-jnp.sum((p - q) ** 2) / 2 / 0.5**2)


@pytest.mark.parametrize("method", ["full", "sparse"])
def test_a_function_of_environments_is_the_kernel_of_its_vectors(method):
    """Energies, forces, stress and deviations, with neighbours beyond those of the training set."""
    own: Any = neighborhood_kernel(of_bonds, SPECIES, CUTOFF)
    of_vectors: Any = EnvironmentKernel(length_scale=0.5).of(Bonds())
    if method == "full":
        own, other = (fit(kernel=kernel) for kernel in (own, of_vectors))
    else:
        options = {"noise": NOISE, "n_inducing": 50, "selection": "leverage"}
        own, other = (
            fit_sparse_potential(FRAMES, *LABELS, kernels=kernel, **options)
            for kernel in (own, of_vectors)
        )
    crowded = slab()
    crowded.set_cell(0.8 * np.asarray(crowded.cell), scale_atoms=True)
    for frame in (methanol(7), crowded):
        batch = own.prepare(frame)
        found, expected = (one.energy_forces_stress(batch) for one in (own, other))
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-7 * max(1, abs(np.asarray(b)).max()))
        found, expected = (one.deviations(batch) for one in (own, other))
        np.testing.assert_allclose(found.forces, expected.forces, atol=1e-6)


def test_parts_of_a_sum_have_their_own_descriptors():
    """Covariances of the labels are sums; a copy of a part changes nothing but the variance."""
    one: Any = fit(kernel=GAUSSIAN.of(SOAP))
    np.testing.assert_allclose(
        fit(kernel=0.5 * GAUSSIAN.of(SOAP) + 0.5 * GAUSSIAN, describer=SOAP).predict(FRAMES).energy,
        one.predict(FRAMES).energy,
        atol=1e-9,
    )
    both = fit(kernel=GAUSSIAN.of(SOAP) + GAUSSIAN.of(PAIRS))
    assert both.model.record["kernel"].count(" of ") == 2
    parts = [fit(kernel=GAUSSIAN.of(part)) for part in (SOAP, PAIRS)]
    prior = [one.model.describer for one in (both, *parts)]
    assert isinstance(prior[0], Joined) and not isinstance(prior[1], Joined)
    found = both.deviations(both.prepare(methanol(9))).energy
    assert all(found > 0) and np.isfinite(found).all()


def test_blocks_and_environments_in_one_vector():
    wide = neighborhood_kernel(shared_bonds, SPECIES, 2 * CUTOFF)
    kernel = OWN * GAUSSIAN.of(PAIRS) + 0.5 * wide + GAUSSIAN
    describer, of_columns = separated(kernel, SOAP)
    assert [type(one).__name__ for one in describer.describers] == [*["Descriptor"] * 2, "Written"]
    assert describer.cutoff == 2 * CUTOFF
    assert [leaf.block for leaf in leaves(of_columns)] == [2, 0, 2, 1]


def test_the_kernel_of_highest_evidence_among_several_descriptors():
    options = {"noise": NOISE, "references": np.zeros(3)}
    energies = np.array([one.sum() for one in LABELS[1]])
    kernels = [GAUSSIAN.of(PAIRS), GAUSSIAN.of(SOAP), GAUSSIAN.of(PAIRS) * GAUSSIAN.of(SOAP)]
    fitted: Any = partial(fit_full_potential, FRAMES, energies, **options)
    alone = [fitted(kernel=one) for one in kernels]
    best = max(alone, key=lambda one: one.model.record["log_evidence"])
    found = fitted(kernel=kernels)
    assert found.model.record["log_evidence"] == best.model.record["log_evidence"]
    assert found.model.kernel == best.model.kernel


def test_bad_input():
    def refused(function, *words):
        with pytest.raises(InputError) as error:
            function()
        assert all(word in str(error.value) for word in words), error.value
        assert "\n" not in str(error.value)

    nothing: Any = None
    refused(lambda: fit(kernel=GAUSSIAN), "no descriptor", "kernel.of(descriptor)")
    refused(lambda: GAUSSIAN.of(SOAP).of(PAIRS), "already")
    refused(lambda: GAUSSIAN.of("power_spectrum"), "not a descriptor")
    refused(lambda: -1.0 * GAUSSIAN, "weight", "positive")
    refused(
        lambda: neighborhood_kernel(nothing, SPECIES, CUTOFF), "invalid kernel", "two environments"
    )
    refused(lambda: neighborhood_kernel(shared_bonds, SPECIES, -1.0), "cutoff")
    other = descriptor("radial_spectrum", (1, 8), cutoff=CUTOFF, n_max=3)
    refused(lambda: fit(kernel=GAUSSIAN.of(SOAP) + GAUSSIAN.of(other)), "[1, 8]", "same")
    vector = lambda first, second: first.distances()  # noqa: E731
    refused(lambda: neighborhood_kernel(vector, SPECIES, CUTOFF), "number")
