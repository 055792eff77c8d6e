"""The geometric distance between two atomic environments, with bounds.

Host side, NumPy and SciPy in float64: for analysis and tests, not for training.
"""

from typing import Any, NamedTuple

import numpy as np

from tripletjax.completeness.assignment import Alignment, Problem, local_optimum, problem_of
from tripletjax.completeness.branch_and_bound import certified_optimum
from tripletjax.completeness.matching import (
    Neighbors,
    check_batch,
    neighbors_of,
    pairwise_lower_bounds,
    radial_lower_bound,
)
from tripletjax.types import Basis, InputError, as_integer, as_positive

TOLERANCE = 1e-13  # of the search, in the squared distance, relative to Σ |a|² + Σ |b|² + Σ w²
_STARTS = 64
_MAX_CELLS = 500_000


class Distance(NamedTuple):
    """A distance between environments, the alignment that attains it, and bounds on the minimum."""

    value: float  # Å, attained by the rotation and the permutation, equal to upper
    rotation: np.ndarray  # [3, 3], second ≈ first @ rotation.T
    permutation: np.ndarray  # [n] partner of each neighbour in the first, -1 if unmatched
    exact: bool  # the bounds meet
    lower: float  # Å
    upper: float  # Å


def environment_distance(
    first_vectors: Any,
    first_species: Any,
    second_vectors: Any,
    second_species: Any,
    *,
    cutoff: float = 5.0,
    cutoff_function: str = "shifted_cosine",
    cutoff_width: float = 0.5,
    unmatched_cost: float = 1.0,
    allow_reflection: bool = True,
    exact_limit: int = 10,
    max_cells: int = _MAX_CELLS,
) -> Distance:
    """Distance between two environments over rotations, reflections and matchings.

    d(A, B)² = min over Q in O(3), and over partial matchings M of neighbours of equal species, of
    Σ_{(a,b) in M} |Q a - b|² + Σ_{a not in M} w(|a|)² + Σ_{b not in M} w(|b|)²:
    the root of the **sum** of squares, so a single displaced atom contributes its displacement. Any
    neighbour may be left unmatched, even between environments of equal size, at the cost
    w(r) = min over s >= r of [unmatched_cost f_c(s) + s - r]: ``unmatched_cost`` (1 Å) well
    inside and zero at the cutoff (``leaving_cost``).

    Because w changes no faster than an atom moves, and because any atom may leave, d is a
    pseudometric (d(A, C) <= d(A, B) + d(B, C)), zero only between environments that are equal up
    to O(3) and the order of their neighbours; it never changes by more than the norm of all
    displacements, even when atoms cross the cutoff. It is at most √(Σ w²): a pair further apart
    than √(w_a² + w_b²) is not matched. For the plain Procrustes distance of sets of equal size, use
    a large ``unmatched_cost`` and a larger cutoff.

    The upper bound is found by alternate matching and alignment from many starts. The lower bound
    is that of the radii (``pairwise_lower_bounds``) or of a branch and bound over rotation cells,
    which ends when the bounds meet, upper² - lower² <= 2e-13 (Σ |a|² + Σ |b|² + Σ w²), or when too
    many cells have been examined: ``max_cells`` for up to ``exact_limit`` neighbours on each side,
    a fiftieth of it for more. ``exact`` is True only if they meet; both bounds are always valid.

    Args:
        first_vectors: ``[n, 3]`` Å, from the centre to each neighbour.
        first_species: ``[n]``.
        second_vectors: ``[m, 3]`` Å.
        second_species: ``[m]``.
        cutoff: Å; neighbours at or beyond it are ignored.
        cutoff_function: f_c, "shifted_cosine" or "smooth".
        cutoff_width: Å, width of the decay of f_c.
        unmatched_cost: Å, cost of an unmatched neighbour well inside the cutoff.
        allow_reflection: False: only rotations, so that mirror images differ.
        exact_limit: number of neighbours on one side up to which all of ``max_cells`` is used.
        max_cells: maximum number of rotation cells beyond the first few hundred.

    Returns:
        The distance; ``permutation`` refers to neighbours in the given order.

    Raises:
        InputError: wrong shapes, positions that are not finite, a bad cutoff.

    Source: rotation search with assignment bounds follows Yang, Li, Campbell and Jia, IEEE Trans.
    Pattern Anal. Mach. Intell. 38, 2241 (2016); the unmatched cost makes it the partial matching
    distance of persistence diagrams.

    Example:
        >>> first = np.array([[1.0, 0, 0], [0, 2, 0], [0, 0, 3]])
        >>> second = first[[2, 0, 1]] * [1, -1, 1] + [[0, 0, 0.1], [0, 0, 0], [0, 0, 0]]
        >>> found = environment_distance(first, [1, 1, 1], second, [1, 1, 1])
        >>> round(found.value, 6), found.permutation.tolist(), found.exact
        (0.1, [1, 2, 0], True)
    """
    basis = Basis(cutoff=cutoff, cutoff_function=cutoff_function, cutoff_width=cutoff_width)
    as_integer("exact_limit", exact_limit)
    as_integer("max_cells", max_cells)
    first = neighbors_of("first", first_vectors, first_species, basis, unmatched_cost)
    second = neighbors_of("second", second_vectors, second_species, basis, unmatched_cost)
    problem = problem_of(first, second, allow_reflection)
    scale = problem.unmatched + np.sum(first.lengths**2) + np.sum(second.lengths**2)
    tolerance = TOLERANCE * float(scale)

    best, upper = _attained(problem, first, second, _STARTS)
    lower = min(radial_lower_bound(first, second), upper)
    if max(len(first.index), len(second.index)) > exact_limit:
        max_cells = max_cells // 50
    if upper**2 - lower**2 > tolerance:
        best, most = certified_optimum(problem, best, tolerance, max_cells)
        upper = _cost(problem, first, second, best)
        lower = max(lower, float(np.sqrt(max(problem.unmatched - most, 0))))
    exact = upper**2 - lower**2 <= 2 * tolerance
    permutation = np.full(len(np.asarray(first_species)), -1)
    matched = best.matching >= 0
    permutation[first.index[matched]] = second.index[best.matching[matched]]
    lower = min(lower, upper)
    return Distance(upper, best.rotation, permutation, bool(exact), lower, upper)


def aligned_distance_upper(
    vectors: Any,
    species: Any,
    mask: Any,
    pairs: Any,
    *,
    cutoff: float = 5.0,
    cutoff_function: str = "shifted_cosine",
    cutoff_width: float = 0.5,
    unmatched_cost: float = 1.0,
    allow_reflection: bool = True,
    n_starts: int = 8,
) -> np.ndarray:
    """Upper bounds on the distance of many pairs of environments, from a few starts each.

    Args:
        vectors: ``[E, K, 3]`` Å, from the centre to each neighbour.
        species: ``[E, K]``.
        mask: ``[E, K]`` False on padding.
        pairs: ``[P, 2]`` indices of environments.
        cutoff, cutoff_function, cutoff_width, unmatched_cost, allow_reflection: as in
            ``environment_distance``.
        n_starts: number of initial rotations for matching and alignment.

    Returns:
        ``[P]`` Å.

    Raises:
        InputError: wrong shapes, positions that are not finite, a bad cutoff.

    Example:
        >>> vectors = np.array([[[1.0, 0, 0], [0, 2, 0]], [[0, 2, 0], [0, 0, 1.25]]])
        >>> species, mask = np.ones((2, 2), int), np.ones((2, 2), bool)
        >>> aligned_distance_upper(vectors, species, mask, [(0, 1)]).round(6).tolist()
        [0.25]
    """
    basis = Basis(cutoff=cutoff, cutoff_function=cutoff_function, cutoff_width=cutoff_width)
    vectors, species, mask = check_batch(vectors, species, mask)
    pairs = np.asarray(pairs, int).reshape(-1, 2)
    if pairs.size and not (0 <= pairs.min() and pairs.max() < len(vectors)):
        raise InputError(f"invalid pairs: expected environments from 0 to {len(vectors) - 1}")
    as_integer("n_starts", n_starts)
    sides = {
        int(i): neighbors_of(
            f"environment {i}:", vectors[i][mask[i]], species[i][mask[i]], basis, unmatched_cost
        )
        for i in np.unique(pairs)
    }
    bounds = []
    for i, j in pairs:
        first, second = sides[int(i)], sides[int(j)]
        problem = problem_of(first, second, allow_reflection)
        bounds.append(_attained(problem, first, second, max(1, n_starts))[1])
    return np.array(bounds, float)


def nearest_within(
    vectors: Any,
    species: Any,
    mask: Any,
    radius: float,
    *,
    cutoff: float = 5.0,
    cutoff_function: str = "shifted_cosine",
    cutoff_width: float = 0.5,
    unmatched_cost: float = 1.0,
    allow_reflection: bool = True,
    exact_limit: int = 10,
) -> list[tuple[int, int, Distance]]:
    """All pairs of environments that may be within a radius of each other, nearest first.

    Pairs whose radii differ enough are discarded; the others are aligned.

    Args:
        vectors: ``[E, K, 3]`` Å, from the centre to each neighbour.
        species: ``[E, K]``.
        mask: ``[E, K]`` False on padding.
        radius: Å.
        cutoff, cutoff_function, cutoff_width, unmatched_cost, allow_reflection, exact_limit: as in
            ``environment_distance``.

    Returns:
        (i, j, distance) with i < j for every pair whose lower bound does not exceed the radius,
        sorted by value. No pair within the radius is missing; if ``exact`` is False the value may
        exceed it.

    Raises:
        InputError: wrong shapes, positions that are not finite, a bad cutoff or radius.

    Example:
        >>> vectors = np.zeros((3, 2, 3))
        >>> vectors[:, 0, 0], vectors[:, 1, 1] = (1.0, 1.25, 3.0), 2.0
        >>> near = nearest_within(vectors, np.ones((3, 2), int), np.ones((3, 2), bool), radius=0.5)
        >>> [(i, j, round(distance.value, 6)) for i, j, distance in near]
        [(0, 1, 0.25)]
    """
    as_positive("radius", radius, "Å")
    vectors, species, mask = check_batch(vectors, species, mask)
    shared = {
        "cutoff": cutoff,
        "cutoff_function": cutoff_function,
        "cutoff_width": cutoff_width,
        "unmatched_cost": unmatched_cost,
    }
    bounds = pairwise_lower_bounds(vectors, species, mask, **shared)
    found = []
    for i, j in np.argwhere(np.triu(bounds <= radius, k=1)).tolist():
        sides = (vectors[i][mask[i]], species[i][mask[i]], vectors[j][mask[j]], species[j][mask[j]])
        distance = environment_distance(
            *sides, **shared, allow_reflection=allow_reflection, exact_limit=exact_limit
        )
        if distance.lower <= radius:
            found.append((i, j, distance))
    return sorted(found, key=lambda pair: pair[2].value)


def _attained(
    problem: Problem, first: Neighbors, second: Neighbors, n_starts: int
) -> tuple[Alignment, float]:
    """The best local optimum and its distance; environments without neighbours are not aligned."""
    if len(problem.first) and len(problem.second):
        best = local_optimum(problem, n_starts, seed=0)
    else:
        best = Alignment(0.0, np.full(len(problem.first), -1), np.eye(3))
    return best, _cost(problem, first, second, best)


def _cost(problem: Problem, first: Neighbors, second: Neighbors, found: Alignment) -> float:
    """The distance attained by an alignment, term by term: without differences of large numbers,
    so that equal environments are equal to rounding."""
    matched = found.matching >= 0
    partners = found.matching[matched]
    left = np.ones(len(problem.second), bool)
    left[partners] = False
    apart = problem.first[matched] @ found.rotation.T - problem.second[partners]
    left_alone = np.sum(first.leaving[~matched] ** 2) + np.sum(second.leaving[left] ** 2)
    return float(np.sqrt(np.sum(apart**2) + left_alone))
