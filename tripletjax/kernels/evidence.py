"""Log evidence of labels as a function of variance and noise, and its maximum. NumPy, float64.

Labels y = Ψ β + noise with weights β ~ N(0, v 1) have the covariance C = v ΨΨᵀ + Σ, and each kind
of label k (energies, forces, stress) has its own noise σ_k. For the kind with the most labels,
Ψ = Q s Wᵀ by a singular value decomposition, computed once; z = Qᵀ y are its labels and E = Ψ' W
the rows of the other labels y'. Then, with d = v s² + σ²,

    -2 log p(y) = Σ (log d + z² / d) + log det S + (y' - μ)ᵀ S⁻¹ (y' - μ) + n log 2π,
    μ = E (v s z / d),    S = E diag(v σ² / d) Eᵀ + Σ',

so that a value with its gradient costs one factorisation of the size of the other labels. S is a
sum of squares: the factorisation cannot fail for any v and σ.
"""

from collections.abc import Callable, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.linalg import LinAlgError, cholesky, eigh, solve_triangular
from scipy.optimize import minimize

VARIANCE_LEVELS = (-4, -1, 0, 1, 3)  # coarse grid, in decades relative to the start
NOISE_LEVELS = (1, 0.5, 0, -1, -2, -4)
FEW_LEVELS = (1, 0, -1, -3)  # of noise levels, if there are more than three parameters
STARTS = 3
GIVEN_UP = 0.1  # Å, σ_E / σ_F beyond which the energies are given up
SLOPE = 1e-2  # of log p, times √n: below this the maximum is accurate to about 1e-4


class Evidence:
    """log p(y) at any v and σ_k; created by ``of_matrix`` or ``of_triangles``."""

    def __init__(
        self,
        main: int,
        singular: np.ndarray,  # [r] s of the main kind
        projections: np.ndarray,  # [r] z
        rows: np.ndarray,  # [m, q] E, q >= r; s is zero beyond r
        targets: np.ndarray,  # [m] y'
        kinds: np.ndarray,  # [m] kind of each label
        n_outside: np.ndarray,  # [kinds] number of labels that do not depend on the weights
        outside: np.ndarray,  # [kinds] sum of their squares
    ):
        self._main, self._s, self._z = main, singular, projections
        self._rows, self._targets = rows, targets
        self._members = np.arange(len(n_outside))[:, None] == kinds  # [kinds, m]
        self._n_outside, self._outside = n_outside, outside
        self.n_labels = len(singular) + len(targets) + int(n_outside.sum())

    def __call__(self, logs: np.ndarray) -> tuple[float, np.ndarray]:
        """log p(y) and its gradient with respect to the logs of v and all σ_k, [1 + kinds]."""
        v, *rest = np.exp(logs)
        noises = np.array(rest)
        squared = noises**2
        own = squared[self._main]
        signal = v * self._s**2
        d = signal + own
        pulls = 1 - self._z**2 / d
        value = np.log(d).sum() + (self._z**2 / d).sum() + self.n_labels * np.log(2 * np.pi)
        slopes = np.zeros(1 + len(noises))
        slopes[0] = (signal / d * pulls).sum()
        slopes[1 + self._main] = (2 * own / d * pulls).sum()
        value += (self._n_outside * np.log(squared) + self._outside / squared).sum()
        slopes[1:] += 2 * self._n_outside - 2 * self._outside / squared
        if len(self._targets):
            value += self._add_others(v, squared, d, slopes)
        return -0.5 * float(value), -0.5 * slopes

    def _add_others(self, v, squared, d, slopes) -> float:
        """The contribution of the labels of all other kinds, given those of the main kind."""
        r, own = len(self._s), squared[self._main]
        scale = np.full(self._rows.shape[1], v)
        scale[:r] = v * own / d
        diagonal = squared @ self._members
        root = _root_of_sum(self._rows * np.sqrt(scale), diagonal)
        moves = v * self._s * self._z / d
        misfit = self._targets - self._rows[:, :r] @ moves
        inverse = solve_triangular(root, np.eye(len(root)), lower=True)
        weights = inverse.T @ (inverse @ misfit)
        along = weights @ self._rows
        spread = ((inverse @ self._rows) ** 2).sum(0) - along**2
        by_variance = scale.copy()
        by_variance[:r] *= own / d
        by_noise = 2 * scale[:r] * (1 - own / d)
        moved = 2 * (moves * own / d) @ along[:r]
        slopes[0] += by_variance @ spread - moved
        slopes[1 + self._main] += by_noise @ spread[:r] + 2 * moved
        slopes[1:] += 2 * squared * (self._members @ ((inverse**2).sum(0) - weights**2))
        return float(2 * np.log(np.diag(root)).sum() + misfit @ weights)


def _root_of_sum(rows: np.ndarray, diagonal: np.ndarray) -> np.ndarray:
    """Lower triangular root of rows rowsᵀ + diag(diagonal), which is positive."""
    total = rows @ rows.T
    total[np.diag_indices_from(total)] += diagonal
    try:
        return cholesky(total, lower=True)
    except LinAlgError:  # the diagonal is below rounding errors: as accurate as QR factors are
        triangle = np.linalg.qr(np.concatenate([rows.T, np.diag(np.sqrt(diagonal))]), mode="r")
        signs = np.where(np.diag(triangle) < 0, -1.0, 1.0)
        return np.asarray(signs[:, None] * triangle).T


def of_matrix(
    matrix: np.ndarray, root: np.ndarray, targets: np.ndarray, kinds: np.ndarray, n_kinds: int
) -> Evidence:
    """The evidence of labels with kernel matrix ΨΨᵀ.

    Args:
        matrix: ``[n, n]``, positive definite.
        root: its lower Cholesky factor; the kind with the most labels must come first.
        targets, kinds: ``[n]``.
        n_kinds: number of kinds.
    """
    main = int(kinds[0])
    n_main = int((kinds == main).sum())
    squares, vectors = eigh(matrix[:n_main, :n_main], driver="evd")
    least = np.finfo(float).eps * max(squares[-1], np.finfo(float).tiny)
    singular = np.sqrt(np.maximum(squares, least))
    rows = np.concatenate(
        [matrix[n_main:, :n_main] @ vectors / singular, root[n_main:, n_main:]], axis=1
    )
    nothing = np.zeros(n_kinds)
    projections = vectors.T @ targets[:n_main]
    others = targets[n_main:], kinds[n_main:]
    return Evidence(main, singular, projections, rows, *others, nothing, nothing)


def of_triangles(triangles: Sequence[np.ndarray], n_rows: Sequence[int]) -> Evidence:
    """The evidence of labels by the triangular factors [M + 1, M + 1] of [Ψ_k, y_k].

    Args:
        triangles: one for each kind.
        n_rows: number of labels of each kind.
    """
    counts = np.array(n_rows)
    main, n_columns = int(np.argmax(counts)), len(triangles[0]) - 1
    blocks = [_shortest(triangle, count) for triangle, count in zip(triangles, counts, strict=True)]
    left, singular, right = np.linalg.svd(blocks[main][:, :-1])
    projections = left.T @ blocks[main][:, -1]
    size = len(singular)
    n_outside = counts - np.array([len(block) for block in blocks])
    n_outside[main] = counts[main] - size
    outside = np.zeros(len(counts))
    outside[main] = (projections[size:] ** 2).sum()
    others = [kind for kind in range(len(counts)) if kind != main]
    rows = np.concatenate([np.zeros((0, n_columns + 1)), *(blocks[kind] for kind in others)])
    kinds = np.repeat(others, [len(blocks[kind]) for kind in others]).astype(int)
    return Evidence(
        main,
        singular,
        projections[:size],
        rows[:, :-1] @ right.T,
        rows[:, -1],
        kinds,
        n_outside,
        outside,
    )


def _shortest(triangle: np.ndarray, count: int) -> np.ndarray:
    """At most ``count`` rows with the same products of columns."""
    _, singular, right = np.linalg.svd(triangle)
    return (singular[:, None] * right)[:count]


class Maximum(NamedTuple):
    """The maximum of a function within bounds."""

    logs: np.ndarray
    value: float
    at_bounds: np.ndarray  # -1 at the lower bound, 1 at the upper one, 0 between or fixed
    slope: float  # largest component of the gradient that does not point out of the bounds


def maximum(
    function: Callable[[np.ndarray], tuple[float, np.ndarray]],
    start: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    levels: Sequence[Sequence[float]] | None = None,
    coarse: Callable[[np.ndarray], tuple[float, np.ndarray]] | None = None,
) -> Maximum:
    """Maximise on a coarse grid over decades, then by L-BFGS from its best points.

    Args:
        function: function of logs that returns its value and gradient.
        start: logs of the parameters at the centre of the grid.
        low, high: bounds; equal for fixed parameters.
        levels: of the grid in every number, decades from the start; None: those of a variance
            followed by noises.
        coarse: a cheaper function for the grid; None: the function itself.
    """
    is_free = low < high
    if levels is None:
        noise_levels = NOISE_LEVELS if is_free.sum() <= 3 else FEW_LEVELS
        levels = [VARIANCE_LEVELS] + [noise_levels] * (len(start) - 1)
    axes = [
        np.unique(np.clip(s + np.log(10) * np.array(level), a, b)) if free else np.array([s])
        for s, level, a, b, free in zip(start, levels, low, high, is_free, strict=True)
    ]
    points = np.array([np.clip(start, low, high), *product(*axes)])
    values = np.array([(coarse or function)(point)[0] for point in points])
    best = function(points[0])[0], points[0]
    for index in {0: None} | dict.fromkeys(_separate(points, values)) if is_free.any() else ():
        found = minimize(
            lambda logs: tuple(-part for part in function(logs)),
            points[index],
            jac=True,
            method="L-BFGS-B",
            bounds=list(zip(low, high, strict=True)),
        )
        ends = (function(points[index])[0], points[index]), (-found.fun, found.x)
        best = max(best, *ends, key=lambda pair: pair[0])
    value, logs = best
    slopes = function(logs)[1]
    near = 1e-3
    side = np.where(logs <= low + near, -1, np.where(logs >= high - near, 1, 0)) * is_free
    slopes = np.where(is_free & (side * slopes <= 0), slopes, 0)
    return Maximum(logs, float(value), side, float(np.abs(slopes).max()))


def maximum_of_labels(
    evidence: Callable[[np.ndarray], tuple[float, np.ndarray]],
    start: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    kinds: Sequence[str],
) -> Maximum:
    """The highest evidence, unless it gives up the energies.

    Forces are so many more labels than energies that where a kernel cannot describe both, the
    evidence is often highest without the energies. Both are from one calculation: the energy of an
    atom is at least as certain as its force along a tenth of an Å. Beyond this the search is
    repeated with σ_E <= 0.1 Å σ_F, if neither noise is given.

    Args:
        evidence: function of the logs of the variance and one noise for each kind.
        start, low, high: as for ``maximum``.
        kinds: names of the kinds; empty: no such restriction.
    """
    best = maximum(evidence, start, low, high)
    if not {"energy", "forces"} <= set(kinds):
        return best
    energy, forces = (1 + list(kinds).index(kind) for kind in ("energy", "forces"))
    is_free = low[energy] < high[energy] and low[forces] < high[forces]
    if not is_free or best.logs[energy] <= best.logs[forces] + np.log(GIVEN_UP):
        return best

    def of_ratio(logs):  # σ_E / σ_F in the place of σ_E
        logs = logs.copy()
        logs[energy] += logs[forces]
        value, slopes = evidence(logs)
        slopes[forces] += slopes[energy]
        return value, slopes

    start, low, high = (logs.copy() for logs in (start, low, high))
    low[energy], high[energy] = low[energy] - high[forces], np.log(GIVEN_UP)
    start[energy] = high[energy]
    best = maximum(of_ratio, start, low, high)
    logs = best.logs.copy()
    logs[energy] += logs[forces]
    return best._replace(logs=logs)


def _separate(points: np.ndarray, values: np.ndarray) -> list[int]:
    """The best points that differ from all better ones by a decade and a half in some parameter."""
    chosen: list[int] = []
    for index in np.argsort(-values, kind="stable"):
        gaps = [np.abs(points[index] - points[other]).max() for other in chosen]
        if all(gap > 1.5 * np.log(10) for gap in gaps):
            chosen.append(int(index))
        if len(chosen) == STARTS:
            break
    return chosen


def what_was_reached(
    found: Maximum, names: Sequence[str], units: Sequence[str], n_labels: int
) -> list[str]:
    """One line for every parameter at a bound, and one if the gradient has not vanished."""
    lines = []
    for name, unit, log, side in zip(names, units, found.logs, found.at_bounds, strict=True):
        if side:
            bound = "lower" if side < 0 else "upper"
            lines.append(
                f"the evidence is highest at the {bound} bound of the {name}, "
                f"{np.exp(log):.2g} {unit}; give a value to choose another"
            )
    if found.slope > SLOPE * np.sqrt(n_labels):
        lines.append(
            f"the maximisation of the evidence did not converge: it ended with a slope of "
            f"{found.slope:.2g}; give the variance or the noise"
        )
    return lines
