"""Which environments a descriptor hardly tells apart: nearest neighbours among its rows; NumPy."""

from typing import Any, NamedTuple

import numpy as np

from tripletjax.progress import progress_bar

BLOCK = 1024  # rows of distances formed at a time
N_PROJECTED = 384  # columns that distances are searched in
STRETCH = 1.25  # the projection makes no distance longer by more than this, but one in 1e10
EXACT_BYTES = 2**27  # of differences formed at a time


class NearPairs(NamedTuple):
    """Pairs of rows, the nearest first."""

    first: np.ndarray  # [P]
    second: np.ndarray  # [P], larger than the first
    distance: np.ndarray  # [P] |F_i - F_j|
    reach: np.ndarray  # [N] every row that is nearer than this makes one of the pairs


def nearest_pairs(
    values: np.ndarray,
    groups: np.ndarray,
    n_neighbors: int = 8,
    max_pairs: int | None = 10_000,
    seed: int = 0,
    progress: bool = False,
) -> NearPairs:
    """The pairs of rows of one group that lie nearest to each other.

    Of every row the ``n_neighbors`` nearest are found in float32, in a random projection where
    rows are long (which keeps distances to a few per cent, and zero at zero); the distances given
    are differences of the whole rows in their own precision. Where more than
    ``n_neighbors`` rows are as near as float32 resolves, some are passed over: ``reach`` is then 0.

    Args:
        values: ``[N, D]``.
        groups: ``[N]``; only rows of one group make pairs.
        n_neighbors: nearest rows to look at, of each.
        max_pairs: how many pairs to return at most; None: all.
        seed: of the projection.
        progress: show a progress bar.

    Returns:
        ``NearPairs``; ``reach`` is that of all pairs, before the last are cut off.

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
    """|F_i - F_j| of pairs [P, 2], from differences: nothing is lost where rows are close."""
    size = max(1, EXACT_BYTES // max(1, values.itemsize * values.shape[1]))
    parts = [
        np.linalg.norm(values[part[:, 0]] - values[part[:, 1]], axis=1)
        for part in (pairs[i : i + size] for i in range(0, len(pairs), size))
    ]
    return np.concatenate(parts) if parts else np.zeros(0, values.dtype)


def _projected(values: np.ndarray, seed: int) -> tuple[np.ndarray, float]:
    """Centred, scaled to order one and shortened rows, float32.

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
    """The nearest other rows of each, [N, n_neighbors], and up to what distance none is missing."""
    squares = (rows**2).sum(1)
    # What rounding can add to the squared distance of two rows that are close to each other.
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
