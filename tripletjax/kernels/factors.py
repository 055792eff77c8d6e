"""Cholesky factors of kernel matrices, in their own memory if they are large. NumPy, float64.

LAPACK's factorisation on several threads fails beyond 2 GB in current builds of OpenBLAS; this one
is a loop over panels of columns, with almost all of its work in matrix products.
"""

import numpy as np
from scipy.linalg import LinAlgError, cholesky, solve_triangular

from tripletjax.types import InputError

PANEL = 1024  # columns
GROWTHS = 12  # of the jitter, by factors of ten


def stable_root(matrix: np.ndarray, jitter: float = 0.0) -> tuple[np.ndarray, float]:
    """Lower Cholesky factor of a positive semidefinite matrix plus jitter on its diagonal.

    Returns:
        The factor, and the jitter used.

    Raises:
        InputError: as for ``factor_in_place``.

    Example:
        >>> root, jitter = stable_root(np.ones((3, 3)))
        >>> bool(0 < jitter < 1e-13), bool(abs(root @ root.T - 1).max() < 1e-13)
        (True, True)
    """
    root = np.array(matrix, float)
    jitter = factor_in_place(root, jitter)
    return np.tril(root), jitter


def factor_in_place(matrix: np.ndarray, jitter: float = 0.0, panel: int = PANEL) -> float:
    """Replace a symmetric matrix [n, n] plus jitter by its lower Cholesky factor.

    If rounding errors make the matrix indefinite, the jitter is increased by factors of ten,
    starting from the rounding errors of the largest eigenvalue. The triangle above the diagonal is
    not changed.

    Returns:
        The jitter used.

    Raises:
        InputError: the matrix is not finite, or a jitter of a thousandth of its largest eigenvalue
            is not enough.

    Example:
        >>> matrix = np.array([[4.0, 2.0], [2.0, 2.0]])
        >>> factor_in_place(matrix), np.tril(matrix).tolist()
        (0.0, [[2.0, 0.0], [1.0, 1.0]])
    """
    diagonal = np.diag(matrix).copy()
    begins = range(0, len(matrix), panel)
    sums = [float(np.abs(matrix[begin : begin + panel]).sum(1).max()) for begin in begins]
    largest = float(np.max(sums, initial=0.0))  # at least the largest eigenvalue; NaN stays
    if not np.isfinite(largest):
        raise InputError("the kernel matrix has numbers that are not finite; check the descriptor")
    least = np.finfo(float).eps * (largest or 1.0)
    for growth in range(GROWTHS + 1):
        matrix[np.diag_indices_from(matrix)] = diagonal + jitter
        try:
            for begin in begins:
                _factor_panel(matrix, slice(begin, min(begin + panel, len(matrix))))
            return jitter
        except LinAlgError:
            jitter = max(10 * jitter, least if growth == 0 else 0)
            _restore(matrix, panel)
    raise InputError(
        f"the kernel matrix has no Cholesky factor even with jitter={jitter / 10:.1g} on its "
        "diagonal: expected a positive semidefinite matrix; use another kernel, or "
        'dtype="float64"'
    )


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


def _restore(matrix: np.ndarray, panel: int) -> None:
    """Copy the triangle above the diagonal, which is untouched, over the other one."""
    for begin in range(0, len(matrix), panel):
        rows = slice(begin, begin + panel)
        block = np.triu(matrix[rows, rows], 1)
        matrix[rows, rows] = block + block.T
        matrix[begin + len(block) :, rows] = matrix[rows, begin + len(block) :].T
