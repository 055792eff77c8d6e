"""Neighbours of one environment for the geometric distance, and bounds from their radii.

Host side, NumPy in float64.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import root_scalar

from tripletjax.basis.cutoffs import cutoff_function
from tripletjax.types import Basis, InputError, as_positive

N_ESCAPES = 20_001  # distances at which a user's cutoff function is evaluated


class Neighbors(NamedTuple):
    """Neighbours inside the cutoff, with the cost of leaving each one unmatched."""

    vectors: np.ndarray  # [n, 3] Å
    species: np.ndarray  # [n]
    index: np.ndarray  # [n] index in the input
    lengths: np.ndarray  # [n] Å
    leaving: np.ndarray  # [n] Å


def leaving_cost(distances: np.ndarray, basis: Basis, unmatched_cost: float = 1.0) -> np.ndarray:
    """w(r) = min over s >= r of [unmatched_cost f_c(s) + s - r], in Å, zero beyond the cutoff.

    The largest function below ``unmatched_cost`` f_c(r) that changes no faster than the atom
    moves: an atom leaves by moving outwards to s and vanishing there. Where f_c decays more slowly
    than 1/``unmatched_cost`` per Å, w is ``unmatched_cost`` f_c itself; it never exceeds cutoff -
    r.

    Args:
        distances: ``[...]`` Å.
        basis: its ``cutoff``, ``cutoff_width`` and ``cutoff_function`` are used.
        unmatched_cost: cost of an atom far inside the cutoff, Å.

    Returns:
        ``[...]`` Å.

    Example:
        >>> leaving_cost(np.array([1.0, 4.5, 4.9, 5.0]), Basis()).round(3).tolist()
        [1.0, 0.474, 0.074, 0.0]
    """
    shape = np.shape(distances)
    distances = np.asarray(distances, np.float64).reshape(-1)
    cost = unmatched_cost * np.asarray(cutoff_function(distances, basis))
    if callable(basis.cutoff_function):
        s, through = _escapes(basis, unmatched_cost)
        place = np.minimum(np.searchsorted(s, distances), len(s) - 1)
        inside = distances < basis.cutoff
        return np.where(inside, np.minimum(cost, through[place] - distances), 0).reshape(shape)
    width = basis.cutoff_width
    # In the outer half of the ramp f_c is convex; s is where its slope is -1 / unmatched_cost.
    if basis.cutoff_function == "shifted_cosine":  # slope -π sin(πx) / (2 width)
        sine = 2 * width / (np.pi * unmatched_cost)
        place = 1 - np.arcsin(sine) / np.pi if sine < 1 else None
    elif basis.cutoff_function == "smooth":  # slope -140 x³ (1 - x)³ / width
        product = (width / (140 * unmatched_cost)) ** (1 / 3)
        place = (1 + np.sqrt(1 - 4 * product)) / 2 if product < 0.25 else None
    else:
        excess = lambda x: -_bump_slope(x) * unmatched_cost / width - 1  # noqa: E731
        place = root_scalar(excess, bracket=(0.5, 0.99)).root if excess(0.5) > 0 else None
    if place is None:
        return cost.reshape(shape)
    s = np.full(1, basis.cutoff - width + place * width)
    through = unmatched_cost * np.asarray(cutoff_function(s, basis)) + s - distances
    return np.where(distances < s, np.minimum(cost, through), cost).reshape(shape)


@lru_cache(maxsize=16)
def _escapes(basis: Basis, unmatched_cost: float) -> tuple[np.ndarray, np.ndarray]:
    """Distances s, and min over s' >= s of [unmatched_cost f_c(s') + s'], on a fine grid."""
    s = np.linspace(0, basis.cutoff, N_ESCAPES)
    total = unmatched_cost * np.asarray(cutoff_function(s, basis)) + s
    return s, np.minimum.accumulate(total[::-1])[::-1]


def _bump_slope(x: float) -> float:
    """Derivative of 1 / (1 + exp(z)), z = 1/(1-x) - 1/x: -z' / (4 cosh²(z/2))."""
    z = 1 / (1 - x) - 1 / x
    return -(1 / (1 - x) ** 2 + 1 / x**2) / (4 * np.cosh(z / 2) ** 2)


def neighbors_of(
    which: str, vectors: Any, species: Any, basis: Basis, unmatched_cost: float
) -> Neighbors:
    """Validate one environment and keep the neighbours strictly inside the cutoff.

    Raises:
        InputError: wrong shapes, or positions that are not finite.
    """
    as_positive("unmatched_cost", unmatched_cost, "Å")
    found = np.shape(vectors)
    vectors = np.asarray(vectors, np.float64).reshape(-1, 3) if found == (0,) else vectors
    vectors, species = np.asarray(vectors, np.float64), np.asarray(species)
    if vectors.ndim != 2 or vectors.shape[1] != 3:
        raise InputError(
            f"{which}_vectors has shape {found}: expected one vector from the centre to each "
            "neighbour, [n, 3] in Å"
        )
    if species.shape != vectors.shape[:1]:
        raise InputError(
            f"{which}_species has shape {species.shape} for {len(vectors)} neighbours: "
            "expected one species each, [n]"
        )
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise InputError(
            f"{which}_vectors[{bad[0]}] is {vectors[bad[0]].tolist()}: expected finite numbers in Å"
        )
    lengths = np.linalg.norm(vectors, axis=1)
    inside = np.flatnonzero(lengths < basis.cutoff)
    lengths = lengths[inside]
    leaving = leaving_cost(lengths, basis, unmatched_cost)
    return Neighbors(vectors[inside], species[inside], inside, lengths, leaving)


def radial_lower_bound(first: Neighbors, second: Neighbors) -> float:
    """The distance if every neighbour could rotate freely about the centre: a lower bound, Å."""
    sides = [_sorted(*(value[None] for value in side[1:])) for side in (first, second)]
    return float(_free_distances(*sides)[0, 0])


def pairwise_lower_bounds(
    vectors: Any,
    species: Any,
    mask: Any,
    *,
    cutoff: float = 5.0,
    cutoff_function: str = "shifted_cosine",
    cutoff_width: float = 0.5,
    unmatched_cost: float = 1.0,
) -> np.ndarray:
    """Lower bounds on the distance between all pairs of environments, from their radii.

    |Q a - b| >= ||a| - |b||, so the best partial matching of the radii within each species, with
    unmatched ones at their leaving cost, is a lower bound on ``environment_distance``. In one
    dimension some best matching preserves the order: dynamic programming over the sorted radii, for
    all pairs at once. The bound is zero for environments with equal radii, regardless of angles.

    Args:
        vectors: ``[E, K, 3]`` Å, from the centre to each neighbour.
        species: ``[E, K]``.
        mask: ``[E, K]`` False on padding.
        cutoff, cutoff_function, cutoff_width, unmatched_cost: as in ``environment_distance``.

    Returns:
        ``[E, E]`` Å, symmetric, zero on the diagonal.

    Raises:
        InputError: wrong shapes.

    Example:
        >>> vectors = np.array([[[1.0, 0, 0], [0, 2, 0]], [[0, 1.25, 0], [0, 0, 2]]])
        >>> pairwise_lower_bounds(vectors, np.ones((2, 2), int), np.ones((2, 2), bool)).tolist()
        [[0.0, 0.25], [0.25, 0.0]]
    """
    basis = Basis(cutoff=cutoff, cutoff_function=cutoff_function, cutoff_width=cutoff_width)
    as_positive("unmatched_cost", unmatched_cost, "Å")
    vectors, species, mask = check_batch(vectors, species, mask)
    lengths = np.where(mask, np.linalg.norm(np.where(mask[..., None], vectors, 0), axis=-1), cutoff)
    leaving = leaving_cost(lengths, basis, unmatched_cost)
    sides = _sorted(species, mask, lengths, leaving)
    bounds = np.empty((len(vectors), len(vectors)))
    step = max(1, 2_000_000 // max(1, vectors.shape[0] * vectors.shape[1]))
    for start in range(0, len(vectors), step):
        rows = tuple(side[start : start + step] for side in sides)
        bounds[start : start + step] = _free_distances(rows, sides)
    # Rounding may differ between the two orders of a pair; the smaller value is safe.
    return np.minimum(bounds, bounds.T)


def check_batch(vectors: Any, species: Any, mask: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Arrays of padded environments; InputError unless [E, K, 3], [E, K], [E, K]."""
    vectors = np.asarray(vectors, np.float64)
    species, mask = np.asarray(species), np.asarray(mask, bool)
    if vectors.ndim != 3 or vectors.shape[2] != 3:
        raise InputError(f"vectors has shape {vectors.shape}: expected [environment, neighbour, 3]")
    for name, array in (("species", species), ("mask", mask)):
        if array.shape != vectors.shape[:2]:
            raise InputError(
                f"{name} has shape {array.shape} for vectors of shape {vectors.shape}: "
                f"expected {vectors.shape[:2]}"
            )
    return vectors, species, mask


def _sorted(species, _, lengths, leaving) -> tuple[np.ndarray, ...]:
    """Species, lengths and leaving costs [E, K], sorted by species and then by length."""
    order = np.lexsort((lengths, species))
    return tuple(np.take_along_axis(x, order, axis=-1) for x in (species, lengths, leaving))


def _free_distances(first, second) -> np.ndarray:
    """Best order-preserving partial matching of all pairs of two batches, [E, F] Å.

    table[j] is the smallest cost of the first i neighbours of one side and the first j of the
    other: the last one of either side is left unmatched, or both are matched. Padding has no cost.
    """
    species, lengths, leaving = (x[:, None, :] for x in first)  # [E, 1, K]
    other_species, other_lengths, other_leaving = (x[None, :, :] for x in second)  # [1, F, L]
    shape = (lengths.shape[0], other_lengths.shape[1])
    n, m = lengths.shape[2], other_lengths.shape[2]
    paid = np.cumsum(other_leaving**2, axis=-1)
    table = [np.zeros(shape)] + [np.broadcast_to(paid[..., j], shape) for j in range(m)]
    for i in range(n):
        previous, table = table, [table[0] + leaving[..., i] ** 2]
        for j in range(m):
            apart = (lengths[..., i] - other_lengths[..., j]) ** 2
            same = species[..., i] == other_species[..., j]
            matched = np.where(same, previous[j] + apart, np.inf)
            left = np.minimum(
                previous[j + 1] + leaving[..., i] ** 2, table[j] + other_leaving[..., j] ** 2
            )
            table.append(np.minimum(matched, left))
    return np.sqrt(table[-1])
