"""A Nyström preconditioner for the covariance of many labels. NumPy, float64.

With some of the labels m, A = √v Σ^{-1/2} K_nm L^{-T} where L Lᵀ = K_mm, and A = Q s Wᵀ,

    C = v K + Σ ≈ Σ^{1/2} (1 + A Aᵀ) Σ^{1/2},
    C⁻¹ ≈ Σ^{-1/2} (1 - Q s²/(1 + s²) Qᵀ) Σ^{-1/2}.
"""

from typing import Any

import numpy as np
from scipy.linalg import eigh, solve_triangular

from tripletjax.kernels.factors import stable_root
from tripletjax.kernels.products import Products
from tripletjax.progress import progress_bar

LEAST = 1e-2  # s² of directions that are kept
ROUNDING = 1e-14  # of the largest s²
ROWS = 4096  # in one product
JITTER = 1e-12  # of the mean diagonal of K_mm


class Preconditioner:
    """C⁻¹ r, approximately: symmetric and positive definite.

    Args:
        basis: ``[n, q]`` Q, orthonormal columns.
        squares: ``[q]`` s².
        deviations: ``[n]`` √Σ, noises of the labels.
    """

    def __init__(self, basis: np.ndarray, squares: np.ndarray, deviations: np.ndarray):
        self.basis, self.shares = basis, squares / (1 + squares)
        self.deviations = deviations

    def __call__(self, residual: np.ndarray) -> np.ndarray:
        scaled = residual / self.deviations
        scaled = scaled - self.basis @ (self.shares * (self.basis.T @ scaled))
        return scaled / self.deviations


def some_labels(counts: np.ndarray, most: int, seed: int = 0) -> list[np.ndarray]:
    """Places of chosen labels in every structure: evenly spaced energies, and random derivatives.

    Args:
        counts: ``[F]`` numbers of labels of the structures; the first one is the energy.
        most: number of labels, of which a quarter at most are energies.
        seed: of the choice.

    Example:
        >>> [rows.tolist() for rows in some_labels(np.array([4, 4, 4, 4]), 4)]
        [[0], [], [1, 2, 3], []]
    """
    random = np.random.Generator(np.random.PCG64(seed))
    owner = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(owner)) - (np.cumsum(counts) - counts)[owner]
    energies, others = np.flatnonzero(place == 0), np.flatnonzero(place)
    step = -(-len(energies) // max(1, most // 4))
    energies = energies[::step]
    count = min(len(others), max(0, most - len(energies)))
    chosen = np.sort([*energies, *random.choice(others, count, replace=False)])
    return [place[chosen[owner[chosen] == index]] for index in range(len(counts))]


def nystrom_preconditioner(
    products: Products, variance: float, deviations: np.ndarray, most: int, show: bool = False
) -> Preconditioner:
    """Of all labels, by ``most`` of them.

    Args:
        products: with the kernel matrix K.
        variance: v.
        deviations: ``[n]`` noises of the labels.
        most: number of labels m; uses memory for ``[n, m]``.
        show: a progress bar.
    """
    counts = np.array([1 + len(structure.tangents) for structure in products.structures])
    chosen = some_labels(counts, most)
    starts = np.cumsum(counts) - counts
    places = np.concatenate([start + rows for start, rows in zip(starts, chosen, strict=True)])
    matrix = np.empty((int(counts.sum()), len(places)))
    bar = progress_bar(chosen, desc="preconditioner", unit="structures", disable=not show)
    at = 0
    for index, rows in enumerate(bar):
        if len(rows):
            matrix[:, at : at + len(rows)] = products.columns(index, rows)
            at += len(rows)
    square = matrix[places]
    root, _ = stable_root(0.5 * (square + square.T), JITTER * float(np.trace(square)) / len(square))
    for rows in _parts(len(matrix)):
        matrix[rows] = solve_triangular(root, matrix[rows].T, lower=True).T
        matrix[rows] *= np.sqrt(variance) / deviations[rows, None]
    squares, vectors = eigh(matrix.T @ matrix)
    kept = squares > max(LEAST, ROUNDING * squares[-1])
    turned: Any = vectors[:, kept] / np.sqrt(squares[kept])
    for rows in _parts(len(matrix)):
        matrix[rows, : turned.shape[1]] = matrix[rows] @ turned
    return Preconditioner(matrix[:, : turned.shape[1]], squares[kept], deviations)


def _parts(count: int) -> list[slice]:
    return [slice(begin, begin + ROWS) for begin in range(0, count, ROWS)]
