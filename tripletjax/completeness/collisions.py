"""Environments that a descriptor hardly distinguishes: nearest neighbours among its rows; NumPy."""

from typing import Any, NamedTuple

import numpy as np

from tripletjax.progress import progress_bar

BLOCK = 1024  # rows of distances computed at a time
N_PROJECTED = 384  # columns of the projection in which neighbours are searched
STRETCH = 1.25  # the projection stretches distances by at most this factor, except one in 1e10
EXACT_BYTES = 2**27  # of differences computed at a time


class NearPairs(NamedTuple):
    """Pairs of rows, the nearest first."""

    first: np.ndarray  # [P]
    second: np.ndarray  # [P], larger than ``first``
    distance: np.ndarray  # [P] |F_i - F_j|
    reach: np.ndarray  # [N] all rows nearer than this are among the pairs


def nearest_pairs(
    values: np.ndarray,
    groups: np.ndarray,
    n_neighbors: int = 8,
    max_pairs: int | None = 10_000,
    seed: int = 0,
    progress: bool = False,
) -> NearPairs:
    """The nearest pairs of rows within groups.

    The ``n_neighbors`` nearest rows of every row are found in float32, after a random projection if
    rows are long (which preserves distances to a few per cent, and zero exactly); the distances
    returned are computed from the complete rows in their own precision. If more than
    ``n_neighbors`` rows are equally near within float32, some are skipped: ``reach`` is then 0.

    Args:
        values: ``[N, D]``.
        groups: ``[N]``; only rows of the same group form pairs.
        n_neighbors: number of nearest rows to find for each row.
        max_pairs: maximum number of pairs to return; None: all.
        seed: seed of the projection.
        progress: show a progress bar.

    Returns:
        ``NearPairs``; ``reach`` is that of all pairs, before truncation to ``max_pairs``.

    Example:
        >>> rows = np.array([[0.0, 1.0], [5.0, 5.0], [0.0, 1.5], [9.0, 9.0]])
        >>> pairs = nearest_pairs(rows, np.zeros(4), n_neighbors=1, max_pairs=1)
        >>> pairs.first.tolist(), pairs.second.tolist(), pairs.distance.tolist()
        ([0], [2], [0.5])
    """
    bar = progress_bar(total=len(values), unit="row", desc="nearest rows", disable=not progress)
    found = []
    reach = np.full(len(values), np.inf)
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        if len(rows) > 1:
            short, scale = _projected(values[rows], seed)
            near, reached = _nearest(short, min(n_neighbors, len(rows) - 1), bar)
            reach[rows] = scale * reached
            pairs = np.stack([np.repeat(np.arange(len(rows)), near.shape[1]), near.ravel()], -1)
            found.append(rows[np.unique(np.sort(pairs, axis=1), axis=0)])
    bar.close()
    pairs = np.concatenate(found) if found else np.zeros((0, 2), int)
    distances = pair_distances(values, pairs)
    order = np.argsort(distances, kind="stable")[:max_pairs]
    return NearPairs(pairs[order, 0], pairs[order, 1], distances[order], reach)


def pair_distances(values: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """|F_i - F_j| of pairs [P, 2], from differences, which are accurate even for close rows."""
    size = max(1, EXACT_BYTES // max(1, values.itemsize * values.shape[1]))
    parts = [
        np.linalg.norm(values[part[:, 0]] - values[part[:, 1]], axis=1)
        for part in (pairs[i : i + size] for i in range(0, len(pairs), size))
    ]
    return np.concatenate(parts) if parts else np.zeros(0, values.dtype)


def _projected(values: np.ndarray, seed: int) -> tuple[np.ndarray, float]:
    """Rows centred, scaled to order one and projected to fewer columns, float32.

    Returns:
        The rows, and a factor: rows at distance d here are at least that factor times d apart.
    """
    center = values.mean(0)
    scale = max(float(np.abs(values - center).max(initial=0)), float(np.finfo(np.float32).tiny))
    if values.shape[1] <= N_PROJECTED:
        return ((values - center) / scale).astype(np.float32), scale
    random = np.random.Generator(np.random.PCG64(seed))
    directions = random.normal(size=(values.shape[1], N_PROJECTED)) / np.sqrt(N_PROJECTED)
    shortened = np.empty((len(values), N_PROJECTED), np.float32)
    for first in range(0, len(values), BLOCK):
        part = slice(first, first + BLOCK)
        shortened[part] = (values[part] - center) / scale @ directions
    return shortened, scale / STRETCH


def _nearest(rows: np.ndarray, n_neighbors: int, bar: Any) -> tuple[np.ndarray, np.ndarray]:
    """The nearest other rows, [N, n_neighbors], and the distance up to which all are found."""
    squares = (rows**2).sum(1)
    # The largest rounding error in the squared distance of two close rows.
    noise = 8 * np.finfo(np.float32).eps * np.sqrt(rows.shape[1]) * squares
    near = np.empty((len(rows), n_neighbors), int)
    reach = np.full(len(rows), np.inf)
    for first in range(0, len(rows), BLOCK):
        part = rows[first : first + BLOCK]
        block = slice(first, first + len(part))
        squared = squares - 2 * part @ rows.T
        squared[np.arange(len(part)), np.arange(first, first + len(part))] = np.inf
        near[block] = np.argpartition(squared, n_neighbors - 1)[:, :n_neighbors]
        if n_neighbors < len(rows) - 1:
            last = np.take_along_axis(squared, near[block], axis=1).max(1) + squares[block]
            reach[block] = np.sqrt(np.maximum(last - noise[block], 0))
        bar.update(len(part))
    return near, reach
