"""Pairs that the power spectrum cannot tell apart are found from random starts, and verified."""

from itertools import permutations

import jax
import numpy as np
import pytest

from tests.systems import quick_jit
from tripletjax import InputError, descriptor
from tripletjax.completeness.alignment import environment_distance
from tripletjax.completeness.search import aligned_distance, search_pairs
from tripletjax.testing import random_rotation

pytestmark = pytest.mark.once("float64")

BASIS = {"cutoff": 3.0, "radial": "chebyshev", "n_max": 4, "l_max": 6}
BUDGET = {"n_neighbors": 4, "n_starts": 32, "n_steps": 150}  # one in three finds a pair


@pytest.fixture(scope="module")
def of_power_spectrum():
    return search_pairs(descriptor("power_spectrum", (1,), **BASIS), **BUDGET)


def test_the_power_spectrum_has_pairs_of_four_neighbors(of_power_spectrum):
    result = of_power_spectrum
    assert result.n_starts == 32 and result.n_found == result.found.sum() >= 1
    assert (np.diff(result.found.astype(int)) <= 0).all()  # the found ones first
    first, second = result.pairs[0]
    species = np.ones(4, int)
    apart = environment_distance(first, species, second, species, cutoff=100.0, unmatched_cost=50.0)
    assert apart.lower / 2 > 0.15  # √n = 2
    assert abs(apart.upper / 2 - result.geometric_distance[0]) < 1e-6


def test_found_pairs_are_equal_at_any_resolution(of_power_spectrum):
    """They agree in all distances and angles, hence in a finer expansion; ν = 3 parts them."""
    first, second = of_power_spectrum.pairs[0]
    species, mask = np.zeros(4, int), np.ones(4, bool)
    with jax.enable_x64(True):
        for kind, resolution, equal in (
            ("power_spectrum", {"n_max": 6, "l_max": 8}, True),
            ("bispectrum", {"n_max": 2, "l_max": 3}, False),
        ):
            finer = descriptor(kind, (1,), **(BASIS | resolution))
            evaluate = quick_jit(lambda v, d=finer: d.environment(v, species, mask))
            one, other = (np.asarray(evaluate(v)) for v in (first, second))
            assert (np.linalg.norm(one - other) < 1e-6 * np.linalg.norm(one)) == equal


@pytest.mark.long
def test_none_for_the_fingerprint_with_the_same_effort():
    """At half of the resolution, even."""
    coarse = BASIS | {"n_max": 2, "l_max": 3}
    chosen = descriptor("fingerprint", (1,), **coarse, n_features=32, length_scale=4.0)
    result = search_pairs(chosen, **BUDGET)
    assert result.n_found == 0 and result.descriptor_distance.min() > 1e-6


def test_the_aligned_distance_is_that_of_a_slow_search(float64):
    random = np.random.default_rng(0)
    first, second = random.normal(size=(2, 3, 3))
    orders = np.array(list(permutations(range(3))))
    best = np.inf
    for order in orders:
        u, _, vt = np.linalg.svd(first[order].T @ second)
        best = min(best, np.linalg.norm(first[order] - second @ (u @ vt).T))
    slope = quick_jit(jax.value_and_grad(lambda one, two: aligned_distance(one, two, orders)))
    assert abs(slope(first, second)[0] - best / np.sqrt(3)) < 1e-12
    turned = first[[2, 0, 1]] @ -random_rotation().T
    assert slope(first, turned)[0] < 3e-7  # the root of rounding
    assert np.isfinite(slope(first, first)[1]).all()


@pytest.mark.parametrize("n_neighbors", [1, 7])
def test_numbers_that_cannot_be_searched_are_refused(n_neighbors):
    with pytest.raises(InputError, match="n_neighbors"):
        search_pairs(descriptor("power_spectrum", (1,), **BASIS), n_neighbors)


def test_kinds_without_an_invariant_vector_are_refused():
    with pytest.raises(InputError, match="invariant"):
        search_pairs(descriptor("density", (1,), **BASIS), 3)
