"""Bayesian least squares with many columns, streamed through QR factors. NumPy, float64.

Rows of one kind of label k (energies, forces, stress) share a noise σ_k. With weights
β ~ N(0, v 1) and y = Ψ β + noise,

    y^T (v ΨΨ^T + Σ)⁻¹ y = min_β Σ_k |y_k - Ψ_k β|² / σ_k² + |β|² / v = ρ²,
    log p(y) = -½ ρ² - Σ_i log |R_ii| - ½ M log v - Σ_k n_k log σ_k - ½ n log 2π,

where [[R, q], [0, ρ]] is the triangular factor of the rows [1/√v, 0] over [Ψ_k, y_k] / σ_k. Each
kind keeps the factor of its own rows without σ_k, so that every choice of noise and variance costs
one factorisation of a few M × M triangles, without accessing the data again.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular

from tripletjax.kernels.evidence import maximum_of_labels, of_triangles, what_was_reached
from tripletjax.types import InputError

NOISE_START = 0.1  # of the root mean square of the labels
NOISE_FLOOR = 1e-5  # of the same: below this, the evidence only depends on rounding errors
NOISE_CEILING = 2.0  # of the same
LOG_RANGE = 23.0  # variance and noise stay within e^±23 of the start of the search: ten decades


class Factor(NamedTuple):
    """The triangular factor of rows [Ψ, y] of one kind of label, and their number."""

    triangle: np.ndarray  # [M + 1, M + 1]
    n_rows: int


class Accumulator:
    """Rows [Ψ, y] added block by block, with only the factor and as many new rows in memory.

    Example:
        >>> rows = Accumulator(2)
        >>> rows.add(np.eye(2), np.array([3.0, 4.0]))
        >>> rows.factor().n_rows, round(float(np.linalg.norm(rows.factor().triangle[:, -1])), 6)
        (2, 5.0)
    """

    def __init__(self, n_columns: int):
        self._triangle = np.zeros((n_columns + 1, n_columns + 1))
        self._waiting: list[np.ndarray] = []
        self._n_rows = 0
        self._n_waiting = 0

    def add(self, rows: np.ndarray, targets: np.ndarray) -> None:
        """Append rows [n, M] with their targets [n]."""
        block = np.concatenate([rows, np.reshape(targets, (-1, 1))], axis=1)
        self._waiting.append(np.asarray(block, dtype=float))
        self._n_rows += len(block)
        self._n_waiting += len(block)
        if self._n_waiting >= 2 * len(self._triangle):
            self._reduce()

    def factor(self) -> Factor:
        """The factor of all rows so far."""
        self._reduce()
        return Factor(self._triangle, self._n_rows)

    def _reduce(self) -> None:
        if self._waiting:
            self._triangle = triangle_of([self._triangle, *self._waiting])
            self._waiting, self._n_waiting = [], 0


class Posterior(NamedTuple):
    """Weights and their covariance given the labels, and the evidence for the hyperparameters."""

    weights: np.ndarray  # [M] β
    root: np.ndarray  # [M, M] upper triangular R; the covariance of β is (R^T R)⁻¹
    variance: float  # v
    noise: tuple[float, ...]  # σ_k
    log_evidence: float  # log p(y)
    reached: tuple[str, ...] = ()  # warnings about the search


def unit_of(kind: str) -> str:
    """Unit of the noise of a kind of label."""
    return {"energy": "eV", "forces": "eV/Å", "stress": "eV/Å³"}.get(kind, "")


def triangle_of(blocks: Sequence[np.ndarray]) -> np.ndarray:
    """The square triangular factor of stacked rows, padded with zeros if there are too few."""
    rows = np.concatenate(blocks)
    if len(rows) < rows.shape[1]:
        rows = np.pad(rows, ((0, rows.shape[1] - len(rows)), (0, 0)))
    return np.asarray(np.linalg.qr(rows, mode="r"))


def posterior(factors: Sequence[Factor], variance: float, noise: Sequence[float]) -> Posterior:
    """The posterior of the weights, and the evidence.

    Args:
        factors: one for each kind of label.
        variance: v, prior variance of the weights.
        noise: σ_k, one for each kind.

    Source: Quiñonero-Candela and Rasmussen, J. Mach. Learn. Res. 6, 1939 (2005), section 5, in the
    form of a regression in whitened weights.

    Example:
        >>> rows = Accumulator(1)
        >>> rows.add(np.ones((2, 1)), np.array([1.0, 1.0]))
        >>> found = posterior([rows.factor()], 1.0, [1.0])
        >>> round(float(found.weights[0]), 6)
        0.666667
    """
    root, column, rest = _joint(factors, variance, noise)
    weights = solve_triangular(root, column)
    n_rows = sum(factor.n_rows for factor in factors)
    log_evidence = (
        -0.5 * rest**2
        - np.log(np.abs(np.diag(root))).sum()
        - 0.5 * len(root) * np.log(variance)
        - sum(factor.n_rows * np.log(s) for factor, s in zip(factors, noise, strict=True))
        - 0.5 * n_rows * np.log(2 * np.pi)
    )
    return Posterior(weights, root, float(variance), tuple(map(float, noise)), float(log_evidence))


def _joint(factors, variance, noise) -> tuple[np.ndarray, np.ndarray, float]:
    n_columns = len(factors[0].triangle) - 1
    prior = np.eye(n_columns, n_columns + 1) / np.sqrt(variance)
    scaled = [factor.triangle / s for factor, s in zip(factors, noise, strict=True)]
    triangle = triangle_of([prior, *scaled])
    return triangle[:-1, :-1], triangle[:-1, -1], float(triangle[-1, -1])


def evidence_gradient(
    factors: Sequence[Factor], variance: float, noise: Sequence[float]
) -> tuple[float, np.ndarray]:
    """log p(y) and its derivatives with respect to log v and every log σ_k, [1 + kinds].

        d log p / d log σ_k = |y_k - Ψ_k β|² / σ_k² + |Ψ_k R⁻¹|² / σ_k² - n_k
        d log p / d log v   = ½ (|β|² / v + |R⁻¹|² / v - M)

    Example:
        >>> rows = Accumulator(1)
        >>> rows.add(np.ones((3, 1)), np.array([1.0, 2.0, 3.0]))
        >>> evidence_gradient([rows.factor()], 1.0, [1.0])[1].shape
        (2,)
    """
    found = posterior(factors, variance, noise)
    inverse = solve_triangular(found.root, np.eye(len(found.root)))
    size = (found.weights**2).sum() + (inverse**2).sum()
    slopes = [0.5 * (size / variance - len(found.root))]
    against = np.append(-found.weights, 1.0)
    for factor, s in zip(factors, noise, strict=True):
        misfit = ((factor.triangle @ against) ** 2).sum()
        uncertain = ((factor.triangle[:, :-1] @ inverse) ** 2).sum()
        slopes.append((misfit + uncertain) / s**2 - factor.n_rows)
    return found.log_evidence, np.array(slopes)


def maximize_evidence(
    factors: Sequence[Factor],
    variance: float,
    noise: Sequence[float],
    fixed: Sequence[bool] | None = None,
    floor: Sequence[float] | None = None,
    ceiling: Sequence[float] | None = None,
    kinds: Sequence[str] | None = None,
) -> Posterior:
    """The posterior at the highest evidence over variance and noise levels: a grid, then L-BFGS.

    Args:
        factors: one for each kind of label.
        variance: its order of magnitude, the start of the search.
        noise: the same, one for each kind.
        fixed: which noise levels are held fixed; None: none.
        floor: lower bounds of the noise levels; None: e^-23 of the start.
        ceiling: upper bounds of the noise levels; None: e^23 of the start.
        kinds: names of the kinds, for warnings about the search.

    Raises:
        InputError: a start is not a positive number.
    """
    start = np.array([variance, *noise], dtype=float)
    if not (np.isfinite(start).all() and (start > 0).all()):
        raise InputError(
            f"invalid variance={variance!r} or noise={noise!r}: expected positive numbers"
        )
    start = np.log(start)
    low, high = start - LOG_RANGE, start + LOG_RANGE
    if floor is not None:
        low[1:] = np.maximum(low[1:], np.log(floor))
    if ceiling is not None:
        high[1:] = np.minimum(high[1:], np.log(ceiling))
    start = np.clip(start, low, high)
    for index, is_fixed in enumerate(fixed or ()):
        if is_fixed:
            low[1 + index] = high[1 + index] = start[1 + index]
    n_rows = [factor.n_rows for factor in factors]
    evidence = of_triangles([factor.triangle for factor in factors], n_rows)
    best = maximum_of_labels(evidence, start, low, high, kinds or ())
    values = np.exp(best.logs)
    kinds = kinds or [f"labels of kind {index}" for index in range(len(factors))]
    reached = what_was_reached(
        best,
        ["variance", *(f"noise of the {kind}" for kind in kinds)],
        ["eV²", *map(unit_of, kinds)],
        sum(n_rows),
    )
    found = posterior(factors, float(values[0]), values[1:].tolist())
    return found._replace(reached=tuple(reached))
