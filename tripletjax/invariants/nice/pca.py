"""Principal components of rows that do not fit in memory; host side, float64."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from tripletjax.basis.angular import degree_of, harmonic_slice

OVERSAMPLING = 32  # additional directions, for the accuracy of the last components
SWEEPS = 1  # of subspace iteration
RANK_TOLERANCE = 1e-13  # smaller singular values, relative to the scale of the rows, are rounding


class PrincipalComponents(NamedTuple):
    """The leading components of a block."""

    directions: np.ndarray  # [columns, components], orthonormal
    variances: np.ndarray  # [components] mean square over rows, descending
    discarded: np.ndarray  # [] fraction of the mean square that is discarded


def principal_components(
    rows: Callable[[], Iterator[np.ndarray]],
    shape: tuple[int, int],
    count: int,
    scale: float,
    random: np.random.Generator,
) -> PrincipalComponents:
    """Leading right singular vectors of rows that are given in parts, without removing a mean.

    Subspace iteration from random directions, orthonormalised at every half step so that small
    singular values survive; exact when the directions span all rows or columns.

    Args:
        rows: returns an iterator over the parts ``[some rows, columns]`` at every call.
        shape: (rows, columns) in total.
        count: maximum number of components; those that are rounding errors, relative to ``scale``,
            are dropped.
        scale: size of the rows, as a Frobenius norm.
        random: generator of the directions.

    Source: Halko, Martinsson, Tropp, SIAM Rev. 53, 217 (2011), algorithms 4.4 and 5.1.

    Example:
        >>> data = np.diag([3.0, 2.0, 1.0])
        >>> random = np.random.default_rng(0)
        >>> found = principal_components(lambda: iter([data]), (3, 3), 2, 3.0, random)
        >>> np.abs(np.round(found.directions.T, 6)).tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    n_rows, n_columns = shape
    width = min(count + OVERSAMPLING, n_rows, n_columns)
    sweeps = 0 if width == min(shape) else SWEEPS
    directions = random.normal(size=(n_columns, width))
    total = 0.0
    for sweep in range(sweeps + 1):
        if sweep:
            directions = np.linalg.qr(directions)[0]
        basis = np.linalg.qr(np.concatenate([part @ directions for part in rows()]))[0]
        directions, total, first = np.zeros((n_columns, width)), 0.0, 0
        for part in rows():
            directions += part.T @ basis[first : first + len(part)]
            total += float(np.vdot(part, part))
            first += len(part)
    vectors, singular, _ = np.linalg.svd(directions, full_matrices=False)
    kept = min(count, int(np.sum(singular > RANK_TOLERANCE * scale)))
    vectors, singular = vectors[:, :kept], singular[:kept]
    # The sign of a direction is arbitrary: make its first large entry positive. Not the largest
    # one, because products in either order often give two largest entries of equal size.
    size = np.abs(vectors)
    large = np.argmax(size > 0.99 * size.max(axis=0, initial=0), axis=0)
    sign = np.sign(np.take_along_axis(vectors, large[None], axis=0))
    share = 1 - float(np.sum(singular**2)) / total if total else 0.0
    return PrincipalComponents(
        np.ascontiguousarray(vectors * sign),
        singular**2 / n_rows,
        np.array(max(share, 0.0)),
    )


def principal_channels(flat: np.ndarray) -> tuple[np.ndarray, ...]:
    """Orthogonal matrices [q, p], one for each l, that sort channels by mean square.

    Args:
        flat: ``[N, q, (l_max + 1)²]`` densities.
    """
    found = []
    for l in range(degree_of(flat) + 1):
        part = flat[..., harmonic_slice(l)]
        squares = np.einsum("sqm,spm->qp", part, part, optimize=True)
        found.append(np.ascontiguousarray(np.linalg.eigh(squares)[1][:, ::-1]))
    return tuple(found)


def mean_square(block: np.ndarray) -> np.ndarray:
    """Σ_μ x² of each feature of a block [N, 2λ+1, features], averaged over samples."""
    return np.einsum("smf,smf->f", block, block) / len(block)
