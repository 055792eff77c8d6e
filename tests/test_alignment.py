"""The distance between environments: brute force, analytic values, axioms of a metric, bounds."""

from itertools import product

import numpy as np
import pytest

from tests.reference import alignment as reference
from tripletjax.completeness.alignment import (
    aligned_distance_upper,
    environment_distance,
    nearest_within,
)
from tripletjax.completeness.assignment import (
    Alignment,
    best_matching,
    clipped_gains,
    problem_of,
)
from tripletjax.completeness.branch_and_bound import (
    bounded_gains,
    certified_optimum,
    dual_prices,
    matchings_within,
)
from tripletjax.completeness.matching import leaving_cost, neighbors_of, pairwise_lower_bounds
from tripletjax.completeness.rotations import Cells, random_rotations, rotation_matrices
from tripletjax.testing import random_rotation
from tripletjax.types import CUTOFF_FUNCTIONS, Basis, InputError

pytestmark = pytest.mark.once("float64")

MIRROR = np.diag([1.0, 1.0, -1.0])


def scattered(n, seed, low=1.0, high=4.9):
    """Neighbours in random directions, some within the ramp of the cutoff."""
    random = np.random.default_rng(seed)
    directions = random.normal(size=(n, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return directions * random.uniform(low, high, size=(n, 1))


def ring(n, radius=2.0, height=0.0):
    angles = 2 * np.pi * np.arange(n) / n
    return np.stack([radius * np.cos(angles), radius * np.sin(angles), 0 * angles + height], axis=1)


def dodecahedron(radius=2.0):
    golden = (1 + 5**0.5) / 2
    cube = [(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
    rest = [
        np.roll((0, a / golden, b * golden), k) for a in (-1, 1) for b in (-1, 1) for k in range(3)
    ]
    return radius / np.sqrt(3) * np.array([*cube, *rest], float)


CUBE = dodecahedron()[:8]
TETRAHEDRON = CUBE[[0, 3, 5, 6]]
LINE = np.outer([-3.0, -1.5, 1.0, 2.0], [1, 0, 0])
SHAPES = {
    "random": scattered(5, 0),
    "random, one shell": scattered(5, 1, 2.0, 2.0),
    "ring": ring(5),
    "prism": np.concatenate([ring(3, height=1.0), ring(3, height=-1.0)]),
    "antiprism": np.concatenate([ring(3, height=1.0), ring(3, height=-1.0) * [-1, -1, 1]]),
    "octahedron": np.concatenate([2 * np.eye(3), -2 * np.eye(3)]),
    "tetrahedron": TETRAHEDRON,
    "line": LINE,
    "pair": scattered(2, 2),
    "one": scattered(1, 3),
    "coincident": np.repeat(scattered(2, 4), 2, axis=0),
    "at the centre": np.zeros((2, 3)),
    "empty": np.zeros((0, 3)),
}


def plain(first, second, **options):
    """The distance of neighbours of one species."""
    return environment_distance(
        first, np.ones(len(first), int), second, np.ones(len(second), int), **options
    )


def attained(found, first, second):
    """The distance that rotation and permutation give, by the definition."""
    matched = found.permutation >= 0
    apart = first[matched] @ found.rotation.T - second[found.permutation[matched]]
    left = np.delete(second, found.permutation[matched], axis=0)
    lengths = np.linalg.norm(np.concatenate([first[~matched], left]), axis=1)
    costs = [reference.leaving_cost(r, 5.0, 0.5) if r < 5 else 0.0 for r in lengths]
    return np.sqrt(np.sum(apart**2) + np.sum(np.square(costs)))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 10, 20])
@pytest.mark.parametrize("reflected", [False, True])
def test_equal_up_to_symmetry_is_zero(n, reflected):
    """Residuals are summed, not differences of large numbers: zero to rounding itself."""
    first, random = scattered(n, n), np.random.default_rng(n)
    species, order = random.integers(0, 2, n), random.permutation(n)
    turn = random_rotation(n) @ (MIRROR if reflected else np.eye(3))
    found = environment_distance(first, species, (first @ turn.T)[order], species[order])
    assert found.value < 1e-13 * n
    assert found.exact and found.lower <= found.value == found.upper
    np.testing.assert_array_equal(order[found.permutation], np.arange(n))
    if n > 2:
        np.testing.assert_allclose(found.rotation, turn, atol=1e-12)


@pytest.mark.parametrize("points", [ring(10), ring(7), CUBE, dodecahedron(), dodecahedron()[:10]])
def test_equal_symmetric_sets_are_zero(points):
    other = (points @ random_rotation(1).T)[np.random.default_rng(1).permutation(len(points))]
    assert plain(points, other).value < 1e-13 * len(points)


@pytest.mark.parametrize("one", SHAPES)
@pytest.mark.parametrize("allow_reflection", [True, False])
def test_brute_force(one, allow_reflection):
    """Every shape against every other of at most as many neighbours: unequal sizes too."""
    for name, second in SHAPES.items():
        first = SHAPES[one]
        if len(second) > len(first):
            continue
        second = second @ random_rotation(5).T
        found = plain(first, second, allow_reflection=allow_reflection)
        ones = np.ones(len(first), int), np.ones(len(second), int)
        expected = reference.distance(
            first, ones[0], second, ones[1], allow_reflection=allow_reflection
        )
        # The reference takes differences of squares: its error is the root of rounding at zero.
        assert abs(found.value**2 - expected**2) < 1e-12 * 100, (one, name)
        assert expected < 1e-3 or abs(found.value - expected) < 1e-8, (one, name)
        assert found.exact and found.upper - found.lower < 1e-5
        np.testing.assert_allclose(found.value, attained(found, first, second), atol=1e-8)


@pytest.mark.parametrize("seed", range(6))
def test_brute_force_with_species_and_options(seed):
    random = np.random.default_rng(seed)
    n, m = random.integers(2, 7, size=2)
    first, second = scattered(n, seed), scattered(m, seed + 100)
    species = random.integers(0, 2, n), random.integers(0, 2, m)
    options = {"cutoff": 4.0, "unmatched_cost": [0.3, 1.0, 3.0][seed % 3]}
    kind, width = CUTOFF_FUNCTIONS[seed % 3], [0.5, 1.0, 4.0][seed // 2]
    found = environment_distance(
        first,
        species[0],
        second,
        species[1],
        cutoff_function=kind,
        cutoff_width=width,
        **options,
    )
    expected = reference.distance(
        first, species[0], second, species[1], width=width, kind=kind, **options
    )
    assert found.exact
    assert abs(found.value - expected) < 1e-8


def test_close_environments_against_brute_force():
    """Small distances, the ones that matter in the search for degenerate pairs."""
    random = np.random.default_rng(0)
    for scale in (1e-1, 1e-2, 1e-3):
        for points in (ring(6), SHAPES["octahedron"], scattered(6, 9)):
            other = points + random.normal(scale=scale, size=points.shape)
            ones = np.ones(6, int)
            found, expected = plain(points, other), reference.distance(points, ones, other, ones)
            assert found.exact
            assert abs(found.value - expected) < 1e-8


def test_mirror_images_part_without_reflection():
    first = scattered(4, 0, 1.0, 3.0)
    ones = np.ones(4, int)
    assert plain(first, first @ MIRROR).value < 1e-12
    found = plain(first, first @ MIRROR, allow_reflection=False)
    expected = reference.distance(first, ones, first @ MIRROR, ones, allow_reflection=False)
    assert found.value == pytest.approx(expected, abs=1e-8)
    assert found.value > 0.1
    assert np.linalg.det(found.rotation) == pytest.approx(1)


@pytest.mark.parametrize("n", [1, 2, 5, 10, 20])
@pytest.mark.parametrize("shift", [1e-6, 0.1, 0.5])
def test_one_neighbour_moved_radially(n, shift):
    """From the common shell outwards: the radii alone forbid less than the shift."""
    points = dodecahedron()[:n]
    moved = points.copy()
    moved[0] *= 1 + shift / 2.0
    found = plain(points @ random_rotation(3).T, moved)
    assert found.exact
    assert abs(found.value - shift) < 1e-12


def test_shifted_pairs_of_two_neighbours():
    """Two neighbours at unit distance, opened by δ: each turns by δ/2 and moves 2 sin(δ/4)."""
    angles = 1.0, 1.3
    pair = [np.array([[1.0, 0, 0], [np.cos(x), np.sin(x), 0]]) for x in angles]
    expected = np.sqrt(2) * 2 * np.sin((angles[1] - angles[0]) / 4)
    assert abs(plain(*pair).value - expected) < 1e-12


def test_different_species_are_not_matched():
    points = scattered(3, 0, 1.0, 3.0)
    assert environment_distance(points, [1, 6, 8], points, [1, 6, 8]).value < 1e-12
    found = environment_distance(points, [1, 6, 8], points, [1, 6, 7])
    assert found.permutation.tolist() == [0, 1, -1]
    assert found.value == pytest.approx(np.sqrt(2))


def test_empty_environments():
    none = np.zeros((0, 3))
    both = plain(none, none)
    assert both.exact and both.value == 0 and both.permutation.shape == (0,)
    assert plain([], []).value == 0
    one = plain(none, [[1.0, 0, 0], [4.75, 0, 0], [5.0, 0, 0], [7.0, 0, 0]])
    expected = reference.leaving_cost(4.75, 5.0, 0.5)
    assert one.exact and one.value == pytest.approx(np.hypot(1, expected), abs=1e-10)


def test_neighbours_beyond_the_cutoff_do_not_count():
    inside = scattered(3, 0, 1.0, 4.0)
    with_others = np.insert(inside, 1, [[0, 0, 5.0], [0, 6.0, 0]], axis=0)
    found = plain(with_others, inside)
    assert found.value < 1e-12
    assert found.permutation.tolist() == [0, -1, -1, 1, 2]


@pytest.mark.parametrize("name", CUTOFF_FUNCTIONS)
@pytest.mark.parametrize("width", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("cost", [0.2, 1.0, 3.0])
def test_leaving_cost(name, width, cost):
    """Below the cutoff function, no steeper than one, and as the reference."""
    basis = Basis(cutoff=5.0, cutoff_width=width, cutoff_function=name)
    r = np.linspace(0, 5, 401)
    found = leaving_cost(r, basis, cost)
    expected = [reference.leaving_cost(x, 5.0, width, name, cost) for x in r]
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert np.abs(np.diff(found)).max() <= r[1] * (1 + 1e-12)
    assert np.all(found >= 0) and found[-1] == 0
    assert np.all(found[:-1] > 0) or name == "bump"  # which vanishes to rounding before
    assert leaving_cost(np.array(2.0), basis, cost).shape == ()


def test_leaving_through_the_cutoff_is_continuous():
    """An atom moves out and vanishes: no jump, also if what it was matched with has to leave."""
    core, other = scattered(4, 0, 1.0, 4.0), scattered(4, 1, 1.0, 4.0)
    other[0] = [0, 0, 4.9]
    gone = plain(core, other).value
    distances = []
    for gap in (1e-1, 1e-2, 1e-3, 1e-4):
        more = np.concatenate([core, [[0, 0, 5 - gap]]])
        distances.append(abs(plain(more, other).value - gone))
        assert plain(more, core).value == pytest.approx(
            reference.leaving_cost(5 - gap, 5.0, 0.5), abs=1e-10
        )
    assert distances[-1] < 1e-6
    assert np.all(np.array(distances) <= [1e-1, 1e-2, 1e-3, 1e-4])


def test_displacements_bound_the_distance():
    """|d(A', B) - d(A, B)| <= |A' - A|, with atoms on their way through the cutoff."""
    random = np.random.default_rng(0)
    for seed in range(10):
        first, second = scattered(5, seed, 3.0, 5.3), scattered(4, seed + 50, 3.0, 5.3)
        step = random.normal(scale=0.1, size=first.shape)
        change = plain(first + step, second).value - plain(first, second).value
        assert abs(change) <= np.linalg.norm(step) * (1 + 1e-9)
        assert plain(first + step, first).value <= np.linalg.norm(step) * (1 + 1e-9)


@pytest.mark.parametrize("allow_reflection", [True, False])
def test_symmetry_and_triangle_inequality(allow_reflection):
    random = np.random.default_rng(0)
    environments = [scattered(n, seed, 2.0, 5.2) for seed, n in enumerate((2, 3, 4, 4, 5, 5))]
    environments += [environments[3] + random.normal(scale=0.2, size=(4, 3)), ring(4, 4.8)]
    species = [random.integers(0, 2, len(x)) for x in environments]
    sets = list(zip(environments, species, strict=True))
    d = np.array(
        [
            [environment_distance(*a, *b, allow_reflection=allow_reflection).value for b in sets]
            for a in sets
        ]
    )
    np.testing.assert_allclose(d, d.T, atol=1e-10)
    assert np.all(d[:, None, :] <= d[:, :, None] + d[None, :, :] + 1e-10)
    assert np.all(np.diag(d) < 1e-12) and np.all(d[~np.eye(len(d), dtype=bool)] > 1e-2)


@pytest.mark.parametrize("points", ["random", "one shell", "ring", "line"])
def test_ten_neighbours_are_certified(points):
    first, second = {
        "random": (scattered(10, 0), scattered(10, 1)),
        "one shell": (scattered(10, 2, 2.0, 2.0), dodecahedron()[5:15]),
        "ring": (ring(10), ring(10) * [1.0, 1.2, 1.0]),
        "line": (np.outer(np.linspace(-4.0, 4.2, 10), [0.6, 0, 0.8]), scattered(10, 3)),
    }[points]
    found, back = plain(first, second), plain(second @ random_rotation(2).T, first)
    assert found.exact and back.exact
    assert found.value == pytest.approx(back.value, abs=1e-10)
    assert found.lower == pytest.approx(found.upper, abs=1e-9)
    np.testing.assert_allclose(found.value, attained(found, first, second), atol=1e-8)


def test_bounds_hold_when_the_search_is_given_up():
    """With no budget the bounds are far apart, and the truth of the full search lies between."""
    n_open = 0
    for seed in range(8):
        first, second = scattered(6, seed, 2.0, 2.5), scattered(6, seed + 20, 2.0, 2.5)
        ones = np.ones(6, int)
        expected = reference.distance(first, ones, second, ones)
        found = plain(first, second, max_cells=0)
        assert found.lower <= expected + 1e-9
        assert found.upper >= expected - 1e-9
        n_open += not found.exact
    assert n_open > 0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("flat", [False, True])
def test_the_search_needs_no_good_start(seed, flat):
    """From an alignment that matches nothing it finds the distance, and its bound is right."""
    first, second = scattered(5, seed, 2.0, 2.5), scattered(5, seed + 20, 2.0, 2.5)
    if flat:
        first = np.outer(first[:, 0] + 1.0, [0.0, 0.6, 0.8])
    ones = np.ones(5, int)
    sides = [neighbors_of("", points, ones, Basis(), 1.0) for points in (first, second)]
    problem = problem_of(*sides, allow_reflection=True)
    nothing = Alignment(0.0, np.full(5, -1), np.eye(3))
    best, bound = certified_optimum(problem, nothing, 1e-11, 500_000)
    expected = problem.unmatched - reference.distance(first, ones, second, ones) ** 2
    assert best.gain == pytest.approx(expected, abs=1e-9)
    assert bound == pytest.approx(expected, abs=1e-9)
    bounds = [certified_optimum(problem, best, 1e-11, cells)[1] for cells in (0, 10**4)]
    assert bounds[0] >= bounds[1] >= expected - 1e-9


def test_gains_are_bounded_within_an_angle():
    """No rotation at the given angle gains more, and for each pair one gains nearly as much."""
    sides = [scattered(4, 0, 2.0, 2.5), scattered(4, 1, 2.0, 2.5)]
    sides = [neighbors_of("", points, np.ones(4, int), Basis(), 3.0) for points in sides]
    problem = problem_of(*sides, allow_reflection=True)
    random = np.random.default_rng(0)
    for center in random_rotations(5, random):
        for angle in (0.05, 0.3):
            axes = random.normal(size=(4000, 3))
            axes /= np.linalg.norm(axes, axis=1, keepdims=True)
            turns = np.insert(np.sin(angle / 2) * axes, 0, np.cos(angle / 2), axis=1)
            gains = clipped_gains(problem, rotation_matrices(turns) @ center)
            bound = bounded_gains(problem, center[None], np.array([angle]))[0]
            assert np.all(gains <= bound + 1e-12)
            # Pairs nearer than the angle reach alignment at smaller angles.
            far = (problem.offsets + problem.limits - bound > 1e-9) & (bound > 0)
            assert far.any()
            np.testing.assert_allclose(gains.max(axis=0)[far], bound[far], atol=0.05)


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5, 3)])
def test_matchings_within_a_budget_are_all_listed(shape):
    """Dual prices are feasible and add up to the optimum; the list is that of brute force."""
    n, m = shape
    random = np.random.default_rng(n)
    gains = np.maximum(random.normal(0.3, 1.0, size=(20, n, m)), 0)
    matchings = np.array([best_matching(g) for g in gains])
    rows, columns = dual_prices(gains, matchings)
    assert rows.min() >= 0 and columns.min() >= 0
    slack = rows[:, :, None] + columns[:, None, :] - gains
    assert slack.min() > -1e-12
    every = [
        taken
        for taken in product(range(-1, m), repeat=n)
        if len({j for j in taken if j >= 0}) == sum(j >= 0 for j in taken)
    ]
    for c, g in enumerate(gains):
        # Pairs without gain are never worth it: left unmatched instead.
        worth = [t for t in every if all(j < 0 or g[i, j] > 0 for i, j in enumerate(t))]
        values = np.array([sum(g[i, j] for i, j in enumerate(t) if j >= 0) for t in worth])
        assert rows[c].sum() + columns[c].sum() == pytest.approx(values.max(), abs=1e-12)
        found = matchings_within(g, slack[c], rows[c], columns[c], budget=0.4)
        assert found is not None
        expected = {t for t, v in zip(worth, values, strict=True) if v > values.max() - 0.4}
        assert {tuple(t.tolist()) for t in found} == expected


def test_many_neighbours():
    """Beyond the limit bounds are kept and bracket the distance; small ones are still certified."""
    first, second = scattered(24, 0), scattered(22, 1)
    found = plain(first, second)
    assert not found.exact and 0 < found.lower < found.upper == found.value
    assert found.upper <= np.sqrt(24 + 22)
    moved = first + np.random.default_rng(2).normal(scale=0.02, size=first.shape)
    near = plain(first @ random_rotation(0).T, moved)
    assert near.exact and near.value <= np.linalg.norm(moved - first)


def test_cells_cover_all_rotations():
    """Each random rotation lies within the angle of some cell, of any of its divisions."""
    cells = Cells.covering(2, allow_reflection=False)
    wanted = random_rotations(50, np.random.default_rng(0))
    for _ in range(3):
        centers, angles = cells.rotations()
        traces = np.einsum("cxy,rxy->rc", centers, wanted)
        between = np.arccos(np.clip((traces - 1) / 2, -1, 1))
        near = between <= angles + 1e-7
        assert near.any(axis=1).all()
        # Only cells that hold one of them are divided: a child must hold it again.
        cells = cells[np.flatnonzero(near.any(axis=0))].divided()
    assert angles.max() < 0.5


def test_cells_without_twist_reach_all_directions():
    cells = Cells.covering(2, allow_reflection=False)
    directions = random_rotations(200, np.random.default_rng(0))[:, :, 0]
    for _ in range(3):
        cells = cells[cells.reach_no_twist()]
        centers, angles = cells.rotations()
        between = np.arccos(np.clip(directions @ centers[:, :, 2].T, -1, 1))
        assert (between <= angles + 1e-7).any(axis=1).all()
        cells = cells.divided()


def padded(seed=0, number=8, width=6):
    random = np.random.default_rng(seed)
    vectors = np.stack([scattered(width, seed + k, 2.0, 5.5) for k in range(number)])
    vectors[1] = vectors[0] @ random_rotation(1).T + random.normal(scale=0.01, size=(width, 3))
    species, mask = random.integers(0, 2, (number, width)), random.random((number, width)) < 0.8
    species[1], mask[1] = species[0], mask[0]
    vectors[~mask] = np.nan
    return vectors, species, mask


def test_bounds_of_many_pairs():
    vectors, species, mask = padded()
    lower = pairwise_lower_bounds(vectors, species, mask)
    pairs = [(i, j) for i in range(len(vectors)) for j in range(len(vectors))]
    upper = aligned_distance_upper(vectors, species, mask, pairs).reshape(lower.shape)
    sets = [(v[m], s[m]) for v, s, m in zip(vectors, species, mask, strict=True)]
    truth = np.array([[environment_distance(*a, *b).value for b in sets] for a in sets])
    assert np.all(lower <= truth + 1e-9) and np.all(truth <= upper + 1e-9)
    np.testing.assert_array_equal(lower, lower.T)
    off = ~np.eye(len(lower), dtype=bool)
    assert np.median((lower / truth.clip(1e-9))[off]) > 0.3  # it discards
    assert np.mean(upper[off] < truth[off] + 1e-9) > 0.5  # and mostly finds the minimum


def test_radial_bound_is_the_best_matching_of_radii():
    """Against every matching: on a half line through the centre nothing can turn."""
    vectors, species, mask = padded(3)
    lower = pairwise_lower_bounds(vectors, species, mask)
    radii = np.linalg.norm(np.where(mask[..., None], vectors, 0), axis=-1)
    on_axis = radii[..., None] * [0.0, 0.0, 1.0]
    for i in range(3):
        for j in range(i + 1, 4):
            found = environment_distance(
                on_axis[i][mask[i]],
                species[i][mask[i]],
                on_axis[j][mask[j]],
                species[j][mask[j]],
            )
            assert found.value == pytest.approx(lower[i, j], abs=1e-9)


def test_nearest_within():
    vectors, species, mask = padded()
    near = nearest_within(vectors, species, mask, radius=0.1)
    assert [(i, j) for i, j, _ in near] == [(0, 1)]
    assert 0 < near[0][2].value < 0.1
    everything = nearest_within(vectors, species, mask, radius=10.0)
    values = [distance.value for _, _, distance in everything]
    assert len(values) == 28 and values == sorted(values)


ONE = np.ones((1, 3))


@pytest.mark.parametrize(
    "arguments, options, words",
    [
        ((np.ones(3), [1], ONE, [1]), {}, "first_vectors has shape"),
        ((ONE, [1], np.ones((2, 2)), [1, 1]), {}, "second_vectors has shape"),
        ((ONE, [1, 1], ONE, [1]), {}, "first_species has shape"),
        ((ONE, [1], ONE * np.nan, [1]), {}, r"second_vectors\[0\] is"),
        ((ONE, [1], ONE, [1]), {"cutoff": -1.0}, "cutoff=-1.0"),
        ((ONE, [1], ONE, [1]), {"cutoff_function": "cosine"}, "cutoff_function='cosine'"),
        ((ONE, [1], ONE, [1]), {"unmatched_cost": 0}, "unmatched_cost=0"),
        ((ONE, [1], ONE, [1]), {"exact_limit": -1}, "exact_limit=-1"),
        ((ONE, [1], ONE, [1]), {"max_cells": 1.5}, "max_cells=1.5"),
    ],
)
def test_bad_input(arguments, options, words):
    with pytest.raises(InputError, match=words) as error:
        environment_distance(*arguments, **options)
    assert "\n" not in str(error.value)


def test_bad_batches():
    vectors, species, mask = np.ones((2, 3, 3)), np.ones((2, 3), int), np.ones((2, 3), bool)
    with pytest.raises(InputError, match="vectors has shape"):
        pairwise_lower_bounds(vectors[0], species, mask)
    with pytest.raises(InputError, match="mask has shape"):
        pairwise_lower_bounds(vectors, species, mask[:1])
    with pytest.raises(InputError, match="expected environments from 0 to 1"):
        aligned_distance_upper(vectors, species, mask, [(0, 2)])
    with pytest.raises(InputError, match="radius=-1"):
        nearest_within(vectors, species, mask, radius=-1)
