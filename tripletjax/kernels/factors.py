"""Cholesky factors of large matrices in their own memory. NumPy, float64.

LAPACK's factorisation on several threads fails beyond 2 GB in current builds of OpenBLAS; this one
is a loop over panels of columns, with almost all of its work in matrix products.
"""

import numpy as np
from scipy.linalg import LinAlgError, cholesky, solve_triangular

from tripletjax.kernels.evidence import GROWTHS, hopeless
from tripletjax.types import InputError

PANEL = 1024  # columns


def factor_in_place(matrix: np.ndarray, panel: int = PANEL) -> np.ndarray:
    """Lower Cholesky factor of a symmetric matrix [n, n], which holds it afterwards.

    Rounding errors are met with jitter, as in ``evidence.stable_root``. The triangle above the
    diagonal of the result is not zero.

    Raises:
        InputError: the matrix is not finite, or has no factor.

    Example:
        >>> np.tril(factor_in_place(np.array([[4.0, 2.0], [2.0, 2.0]]))).tolist()
        [[2.0, 0.0], [1.0, 1.0]]
    """
    diagonal = np.diag(matrix).copy()
    begins = range(0, len(matrix), panel)
    largest = max(float(np.abs(matrix[begin : begin + panel]).sum(1).max()) for begin in begins)
    if not np.isfinite(largest):
        raise InputError("the kernel matrix has numbers that are not finite; check the descriptor")
    jitter = 0.0
    for growth in range(GROWTHS + 1):
        try:
            for begin in begins:
                _factor_panel(matrix, slice(begin, min(begin + panel, len(matrix))))
            return matrix
        except LinAlgError:
            jitter = max(10 * jitter, np.finfo(float).eps * (largest or 1.0) if growth == 0 else 0)
            _restore(matrix, diagonal + jitter, panel)
    raise hopeless(jitter / 10)


def solved(root: np.ndarray, targets: np.ndarray, panel: int = PANEL) -> np.ndarray:
    """(L Lᵀ)⁻¹ y, with L in the lower triangle of ``root`` [n, n] and y [n].

    Example:
        >>> solved(np.array([[2.0, 9.0], [1.0, 1.0]]), np.array([4.0, 2.0])).tolist()
        [1.0, 0.0]
    """
    found = np.array(targets, float)
    parts = [slice(k, min(k + panel, len(root))) for k in range(0, len(root), panel)]
    for own in parts:
        found[own] -= root[own, : own.start] @ found[: own.start]
        found[own] = solve_triangular(root[own, own], found[own], lower=True)
    for own in reversed(parts):
        found[own] -= root[own.stop :, own].T @ found[own.stop :]
        found[own] = solve_triangular(root[own, own], found[own], lower=True, trans=1)
    return found


def _factor_panel(matrix: np.ndarray, own: slice) -> None:
    """Columns of the factor from those before them; the upper triangle stays as it is."""
    before = matrix[own, : own.start].T
    block = matrix[own, own] - matrix[own, : own.start] @ before
    root = cholesky(block, lower=True)
    below = slice(own.stop, len(matrix))
    columns = matrix[below, own] - matrix[below, : own.start] @ before
    matrix[below, own] = solve_triangular(root, columns.T, lower=True).T
    matrix[own, own] = root + np.triu(matrix[own, own], 1)


def _restore(matrix: np.ndarray, diagonal: np.ndarray, panel: int) -> None:
    """Copy the triangle above the diagonal, which is untouched, over the other one."""
    for begin in range(0, len(matrix), panel):
        rows = slice(begin, begin + panel)
        block = np.triu(matrix[rows, rows], 1)
        matrix[rows, rows] = block + block.T
        matrix[begin + len(block) :, rows] = matrix[rows, begin + len(block) :].T
    matrix[np.diag_indices_from(matrix)] = diagonal
