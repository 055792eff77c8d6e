"""Isometries between two finite sets of points with species, found exactly by matching."""

from itertools import permutations

import numpy as np
from scipy.spatial import KDTree

from tripletjax.completeness.families.pairs import DegeneratePair
from tripletjax.types import InputError

TOLERANCE = 1e-7  # of the largest distance: equal positions coincide to rounding


def neighborhood(positions, species, center: int, cell, reach: float):
    """Vectors [K, 3] and species [K] of all atoms and images except the centre, within ``reach`` Å.

    Without a cell all atoms are included, at any distance.
    """
    if cell is None:
        others = np.arange(len(positions)) != center
        return (positions - positions[center])[others], species[others]
    periodic = cell.any(axis=1)
    # An image n·cell is within reach only if |n_a| <= (reach + extent) / spacing.
    extent = np.linalg.norm(positions - positions[center], axis=1).max()
    spacing = 1 / np.linalg.norm(np.linalg.pinv(cell), axis=0)[periodic]
    ranges = [np.arange(1)] * 3
    for axis, n in zip(np.nonzero(periodic)[0], np.ceil((reach + extent) / spacing), strict=True):
        ranges[axis] = np.arange(-int(n), int(n) + 1)
    shifts = np.stack(np.meshgrid(*ranges, indexing="ij"), -1).reshape(-1, 3) @ cell
    vectors = (positions - positions[center] + shifts[:, None]).reshape(-1, 3)
    distances = np.linalg.norm(vectors, axis=1)
    inside = (distances < reach) & (distances > 1e-9)
    return vectors[inside], np.tile(species, len(shifts))[inside]


def joint_labels(*columns: np.ndarray, tolerance: float = 1e-9) -> np.ndarray:
    """Equal integers for rows equal within the tolerance in every column.

    Args:
        columns: arrays ``[n]`` or ``[n, d]``.
        tolerance: gap between sorted values of a column above which they are different.

    Example:
        >>> joint_labels(np.array([1.0, 2.0, 1.0 + 1e-12]), np.array([6, 6, 6])).tolist()
        [0, 1, 0]
    """
    ranks = []
    for column in columns:
        for values in np.asarray(column, float).reshape(len(column), -1).T:
            order = np.argsort(values, kind="stable")
            steps = np.diff(values[order], prepend=values[order[:1]]) > tolerance
            rank = np.empty(len(values), int)
            rank[order] = np.cumsum(steps)
            ranks.append(rank)
    return np.unique(np.stack(ranks, -1), axis=0, return_inverse=True)[1].reshape(-1)


def orthogonal_maps(first, second, first_types, second_types) -> set[int]:
    """Determinants of the orthogonal maps of one set of points onto the other, about the origin.

    At most three points of the first set span it; each choice of images with the same types and
    scalar products determines a map, which counts if it maps all points. Sets that do not span the
    space are mapped by both rotations and reflections.

    Args:
        first, second: ``[n, 3]`` points in Å.
        first_types, second_types: ``[n]`` integers that must be equal for a point and its image.

    Returns:
        A subset of {1, -1}.
    """
    if len(first) != len(second) or (np.sort(first_types) != np.sort(second_types)).any():
        return set()
    if not len(first):
        return {1, -1}
    size = max(np.linalg.norm(first, axis=1).max(), 1e-300)
    tolerance = TOLERANCE * size
    frame = _spanning(first, first_types)
    rank = len(frame)
    source = first[frame]
    candidates = [np.nonzero(second_types == first_types[i])[0] for i in frame]
    tree = KDTree(second)
    found = set()
    for images in _matching_images(source, second, candidates, tolerance * size):
        target = second[list(images)]
        for left, right in _completed(source, target, rank):
            matrix = np.linalg.solve(left, right)
            left_u, _, right_u = np.linalg.svd(matrix)
            orthogonal = left_u @ right_u
            distance, index = tree.query(first @ orthogonal)
            onto = len(np.unique(index)) == len(first) and (distance < tolerance).all()
            if onto and (second_types[index] == first_types).all():
                found.add(round(np.linalg.det(orthogonal)))
        if len(found) == 2:
            break
    return found


def _spanning(points, types) -> list[int]:
    """Up to three independent points, those with the rarest types first."""
    counts = np.bincount(types)[types]
    size = np.linalg.norm(points, axis=1).max()
    chosen: list[int] = []
    for i in np.argsort(counts, kind="stable"):
        trial = points[[*chosen, i]]
        if np.linalg.svd(trial, compute_uv=False)[-1] > 1e-2 * size and len(trial) <= 3:
            chosen.append(int(i))
    if len(chosen) < 3 and np.linalg.matrix_rank(points, tol=1e-6 * size) > len(chosen):
        best = max(
            permutations(range(len(points)), np.linalg.matrix_rank(points, tol=1e-6 * size)),
            key=lambda index: np.linalg.svd(points[list(index)], compute_uv=False)[-1],
        )
        return list(best)
    return chosen


def _matching_images(source, second, candidates, tolerance):
    """Choices of one image for each spanning point with the same scalar products."""
    gram = source @ source.T
    partial = [()]
    for k, options in enumerate(candidates):
        grown = []
        for images in partial:
            products = second[options] @ second[[*images, options[0]]].T  # [option, k + 1]
            norms = (second[options] ** 2).sum(axis=1)
            near = np.abs(norms - gram[k, k]) < tolerance
            near &= (np.abs(products[:, :k] - gram[k, :k]) < tolerance).all(axis=1)
            grown += [(*images, int(i)) for i in options[near]]
        partial = grown
    return partial


def _completed(source, target, rank):
    """Both sets of spanning points completed to three, with both handednesses if undetermined."""
    if rank == 3:
        return [(source, target)]
    left = np.concatenate([source, _complement(source)])
    right = _complement(target)
    flipped = right.copy()
    flipped[-1] *= -1
    return [(left, np.concatenate([target, rest])) for rest in (right, flipped)]


def _complement(rows: np.ndarray) -> np.ndarray:
    """An orthonormal basis of the orthogonal complement of the rows, [3 - rank, 3]."""
    return np.linalg.svd(rows)[2][len(rows) :]


def relation_between(pair: DegeneratePair, reach: float = 8.0) -> str:
    """The relation of the members: "rotation", "reflection" (only), or "none".

    Translations are also allowed if there is no centre. Periodic structures are compared by the
    neighbourhoods within ``reach`` Å of the atoms: "none" is certain, an isometry is verified up to
    this distance.

    Example:
        >>> from tripletjax.completeness.families import two_neighbors
        >>> relation_between(two_neighbors(angles=(1.0, 2.0)))
        'none'
    """
    found: set[int] = set()
    if pair.cell is None and pair.center is None:
        first, second = (x - x.mean(axis=0) for x in (pair.first, pair.second))
        found = _maps(first, second, pair.species, pair.species)
    else:
        origin = 0 if pair.center is None else pair.center
        targets = range(len(pair.species)) if pair.center is None else [pair.center]
        around = neighborhood(pair.first, pair.species, origin, pair.cell, reach)
        for target in targets:
            if pair.species[target] == pair.species[origin]:
                other = neighborhood(pair.second, pair.species, target, pair.cell, reach)
                found |= _maps(around[0], other[0], around[1], other[1])
    return "rotation" if 1 in found else "reflection" if -1 in found else "none"


def _maps(first, second, first_species, second_species) -> set[int]:
    norms = np.linalg.norm(np.concatenate([first, second]), axis=1)
    species = np.concatenate([first_species, second_species])
    tolerance = TOLERANCE * norms.max(initial=0)
    types = joint_labels(norms, species, tolerance=tolerance)
    return orthogonal_maps(first, second, types[: len(first)], types[len(first) :])


def checked(pair: DegeneratePair) -> DegeneratePair:
    """Return the pair after checking that atoms are apart and the members are related as stated.

    Raises:
        InputError: atoms coincide, or the relation is wrong.
    """
    for positions in (pair.first, pair.second):
        for center in range(len(positions)):
            vectors, _ = neighborhood(positions, pair.species, center, pair.cell, 1.0)
            nearest = np.linalg.norm(vectors, axis=1).min(initial=np.inf)
            if nearest < 1e-3:
                raise InputError(
                    f"{pair.name}: atom {center} and another one coincide; change the parameters "
                    "so that all atoms are at least 0.001 Å apart"
                )
    relation = relation_between(pair)
    if relation != pair.relation:
        actual = "not related by any isometry" if relation == "none" else f"related by a {relation}"
        raise InputError(
            f"{pair.name}: with these parameters the members are {actual}, not relation="
            f"{pair.relation!r}; change the parameters or give relation={relation!r}"
        )
    return pair
