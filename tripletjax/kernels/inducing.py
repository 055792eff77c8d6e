"""Choose a few points to represent many: farthest points and leverage scores. NumPy."""

from collections.abc import Callable

import numpy as np

from tripletjax.types import as_integer

MOST_CANDIDATES = 2000  # leverage scores need the kernel between all pairs


def farthest_points(
    n_points: int, count: int, distances_to: Callable[[int], np.ndarray], start: int = 0
) -> np.ndarray:
    """Indices of points, each the farthest from all previously chosen ones.

    The distance of any point to the chosen ones is then at most twice that of the best choice of
    the same size.

    Args:
        n_points: number of points.
        count: number of points to choose; fewer are returned if the others coincide with these.
        distances_to: distances (or their squares) from all points to the given one, [n_points].
        start: the first point.

    Returns:
        ``[<= count]`` distinct indices.

    Source: Gonzalez, Theor. Comput. Sci. 38, 293 (1985).

    Example:
        >>> x = np.array([0.0, 0.1, 1.0, 0.4])
        >>> farthest_points(4, 3, lambda i: abs(x - x[i])).tolist()
        [0, 2, 3]
    """
    _require_count(count)
    chosen = [start]
    nearest = np.array(distances_to(start), dtype=float)
    while len(chosen) < min(count, n_points):
        index = int(np.argmax(nearest))
        if nearest[index] <= 0:
            break
        chosen.append(index)
        nearest = np.minimum(nearest, distances_to(index))
        nearest[index] = 0
    return np.array(chosen)


def farthest_rows(rows: np.ndarray, count: int) -> np.ndarray:
    """``farthest_points`` of rows [N, D], starting with the one farthest from their mean.

    Example:
        >>> farthest_rows(np.array([[0.0], [0.1], [1.0], [3.0]]), 2).tolist()
        [3, 0]
    """
    rows = np.asarray(rows, dtype=float)
    start = int(np.argmax(((rows - rows.mean(0)) ** 2).sum(1)))
    return farthest_points(
        len(rows), count, lambda index: ((rows - rows[index]) ** 2).sum(1), start
    )


def leverage_rows(
    kernel: Callable[[np.ndarray, np.ndarray], np.ndarray],
    rows: np.ndarray,
    count: int,
    noise: float = 1e-3,
    seed: int = 0,
) -> np.ndarray:
    """Rows drawn without replacement in proportion to their ridge leverage scores.

        s_i = [K (K + λ 1)⁻¹]_ii

    is the influence of a point's own value in a regression of all values with noise λ, and is high
    for rare points. If there are more than 2000 rows, a random sample of 2000 is considered.

    Args:
        kernel: from [N, D] and [M, D] to [N, M].
        rows: ``[N, D]``.
        count: number of rows to choose.
        noise: λ, in units of the kernel.
        seed: of the draw.

    Returns:
        ``[<= count]`` distinct indices, ascending.

    Source: Alaoui and Mahoney, NIPS 2015.

    Example:
        >>> rows = np.array([[0.0], [0.0], [0.0], [9.0]])
        >>> gaussian = lambda a, b: np.exp(-((a - b.T) ** 2))
        >>> 3 in leverage_rows(gaussian, rows, 2)
        True
    """
    _require_count(count)
    random = np.random.Generator(np.random.PCG64(seed))
    candidates = np.arange(len(rows))
    if len(rows) > MOST_CANDIDATES:
        candidates = np.sort(random.choice(len(rows), MOST_CANDIDATES, replace=False))
    matrix = np.asarray(kernel(rows[candidates], rows[candidates]), dtype=float)
    eigenvalues, vectors = np.linalg.eigh(0.5 * (matrix + matrix.T))
    eigenvalues = np.maximum(eigenvalues, 0)
    scores = (vectors**2 @ (eigenvalues / (eigenvalues + noise))) + 1e-12
    size = min(count, len(candidates))
    drawn = random.choice(len(candidates), size, replace=False, p=scores / scores.sum())
    return np.sort(candidates[drawn])


def _require_count(count) -> None:
    as_integer("count", count, 1)
