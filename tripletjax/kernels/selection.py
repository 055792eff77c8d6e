"""Hyperparameters of regression on vectors: marginal likelihood and leave-one-out. NumPy."""

from logging import getLogger
from typing import NamedTuple

import numpy as np
from scipy.linalg import LinAlgError, cho_solve, cholesky, eigh

from tripletjax.kernels.evidence import maximum, what_was_reached
from tripletjax.kernels.regression import median_distance, scaled_inputs, squared_distances
from tripletjax.types import InputError

logger = getLogger(__name__)
LENGTH_SCALE_RANGE = (0.05, 50.0)  # in units of the median distance
NOISE_RANGE = (1e-12, 10.0)  # relative to the prior variance
START = (1e-4, 1.0)  # noise and length scale at the start of the search
LEVELS = ((-7, -5, -3, -1, 0.5), (-1, -0.5, 0, 0.5, 1))  # its coarse grid, in decades
MOST_ON_GRID = 400  # inputs used for the coarse grid, evenly spaced


class Choice(NamedTuple):
    """Hyperparameters chosen for some data, for ``gaussian_process`` or ``ridge``."""

    length_scale: float | None  # in units of the median distance; None: linear kernel
    noise: float  # relative to the prior variance
    variance: float  # prior variance, in the targets' units squared
    log_evidence: float  # log p(targets)
    leave_one_out: float  # root mean square of the leave-one-out errors


def log_marginal_likelihood(
    inputs: np.ndarray,
    targets: np.ndarray,
    length_scale: float | None = 2.0,
    noise: float = 1e-8,
) -> float:
    """log p(y) of ``gaussian_process`` or (length_scale None) ``ridge``, at the best variance.

    With C = K + noise 1, m the mean of the targets and v = (y - m)ᵀ C⁻¹ (y - m) / N, the prior
    variance that maximises it,

        log p = -½ N log(2π v) - ½ log det C - ½ N.

    Args:
        inputs: ``[N, D]``.
        targets: ``[N]``.
        length_scale: in units of the median distance; None: linear kernel.
        noise: relative to the prior variance.

    Source: Rasmussen and Williams, Gaussian Processes for Machine Learning, eq. 5.8.

    Example:
        >>> x = np.linspace(0, 1, 20)[:, None]
        >>> y = np.sin(6 * x[:, 0])
        >>> log_marginal_likelihood(x, y, 1.0) > log_marginal_likelihood(x, y, 0.05)
        True
    """
    problem = _Problem(inputs, targets)
    return problem.evidence(length_scale, noise)[0]


def leave_one_out(
    inputs: np.ndarray,
    targets: np.ndarray,
    length_scale: float | None = 2.0,
    noise: float = 1e-8,
) -> np.ndarray:
    """Every target predicted from all others, in closed form: y_i - [C⁻¹(y - m)]_i / [C⁻¹]_ii.

    Quantities determined from all data are held fixed: centre and scale of the inputs, their median
    distance and the mean m of the targets.

    Args:
        inputs, targets, length_scale, noise: as for ``log_marginal_likelihood``.

    Returns:
        ``[N]`` predictions.

    Source: Rasmussen and Williams, eq. 5.12; Sundararajan and Keerthi, Neural Comput. 13, 1103
    (2001).

    Example:
        >>> x = np.linspace(0, 1, 20)[:, None]
        >>> bool(abs(leave_one_out(x, np.sin(x[:, 0])) - np.sin(x[:, 0])).max() < 1e-3)
        True
    """
    problem = _Problem(inputs, targets)
    inverse, weights = problem.solved(length_scale, noise)
    return problem.offset + problem.targets - weights / np.diag(inverse)


def choose_hyperparameters(
    inputs: np.ndarray, targets: np.ndarray, kernel: str = "gaussian"
) -> Choice:
    """Length scale and noise that maximise the marginal likelihood: a coarse grid, then L-BFGS.

    A parameter that ends at a bound of the search is logged as a warning.

    Args:
        inputs: ``[N, D]``.
        targets: ``[N]``.
        kernel: "gaussian", for ``gaussian_process``, or "linear", for ``ridge``.

    Returns:
        A ``Choice``.

    Raises:
        InputError: unknown kernel, or shapes that do not match.

    Example:
        >>> random = np.random.default_rng(0)
        >>> x = random.normal(size=(60, 1))
        >>> y = np.sin(2 * x[:, 0]) + 0.1 * random.normal(size=60)
        >>> choice = choose_hyperparameters(x, y)
        >>> bool(0.05 < np.sqrt(choice.noise * choice.variance) < 0.2)
        True
    """
    if kernel not in ("gaussian", "linear"):
        raise InputError(f"invalid kernel={kernel!r}: expected gaussian or linear")
    problem = _Problem(inputs, targets)
    is_gaussian = kernel == "gaussian"

    def evidence_of(problem):
        def evidence(logs):
            noise, *rest = np.exp(logs)
            return problem.evidence(rest[0] if is_gaussian else None, noise)

        return evidence

    step = -(-len(problem.targets) // MOST_ON_GRID)
    some = _Problem(np.asarray(inputs)[::step], np.asarray(targets)[::step])
    low, high = np.log([NOISE_RANGE, LENGTH_SCALE_RANGE][: 1 + is_gaussian]).T
    start = np.log(START)[: 1 + is_gaussian]
    best = maximum(
        evidence_of(problem), start, low, high, LEVELS[: 1 + is_gaussian], evidence_of(some)
    )
    names = ["noise", "length scale"][: 1 + is_gaussian]
    units = ["of the prior variance", "median distances"][: 1 + is_gaussian]
    for line in what_was_reached(best, names, units, len(problem.targets)):
        logger.warning(line)
    noise, *rest = map(float, np.exp(best.logs))
    scale = rest[0] if is_gaussian else None
    errors = leave_one_out(inputs, targets, scale, noise) - np.asarray(targets, float)
    variance = problem.variance(scale, noise)
    return Choice(scale, noise, variance, best.value, float(np.sqrt((errors**2).mean())))


class _Problem:
    """Scaled inputs and centred targets, and derived quantities."""

    def __init__(self, inputs, targets):
        scaled, _, _ = scaled_inputs(inputs, targets)
        self.offset = float(np.mean(targets))
        self.targets = np.asarray(targets, float) - self.offset
        self._linear = scaled @ scaled.T
        self._squared = squared_distances(scaled, scaled) / median_distance(scaled) ** 2

    def kernel(self, length_scale: float | None) -> np.ndarray:
        if length_scale is None:
            return self._linear
        return np.exp(-0.5 * self._squared / length_scale**2)

    def solved(self, length_scale, noise) -> tuple[np.ndarray, np.ndarray]:
        """C⁻¹ and C⁻¹ (y - m)."""
        inverse, _ = self._inverted(self.kernel(length_scale), noise)
        return inverse, inverse @ self.targets

    def _inverted(self, kernel, noise) -> tuple[np.ndarray, float]:
        """C⁻¹ and log det C; eigenvalues of K that are negative due to rounding are set to zero."""
        try:
            root = cholesky(kernel + noise * np.eye(len(kernel)), lower=True)
        except LinAlgError:
            values, vectors = eigh(kernel)
            values = np.maximum(values, 0) + noise
            return (vectors / values) @ vectors.T, float(np.log(values).sum())
        return cho_solve((root, True), np.eye(len(root))), 2 * float(np.log(np.diag(root)).sum())

    def variance(self, length_scale, noise) -> float:
        return float(self.targets @ self.solved(length_scale, noise)[1]) / len(self.targets)

    def evidence(self, length_scale, noise) -> tuple[float, np.ndarray]:
        """log p and its derivatives with respect to log noise and log length scale."""
        n, kernel = len(self.targets), self.kernel(length_scale)
        inverse, log_determinant = self._inverted(kernel, noise)
        weights = inverse @ self.targets
        variance = max(float(self.targets @ weights) / n, np.finfo(float).tiny)
        value = -0.5 * n * (np.log(2 * np.pi * variance) + 1) - 0.5 * log_determinant
        against = np.outer(weights, weights) / variance - inverse
        slopes = [0.5 * noise * np.trace(against)]
        if length_scale is not None:
            slope = kernel * self._squared / length_scale**2
            slopes.append(0.5 * np.vdot(against, slope))
        return float(value), np.array(slopes)
