"""Hyperparameters of regression on vectors: marginal likelihood and leave-one-out. NumPy."""

from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve, cholesky
from scipy.optimize import minimize

from tripletjax.kernels.regression import median_distance, scaled_inputs, squared_distances
from tripletjax.types import InputError

LENGTH_SCALE_RANGE = (0.05, 50.0)  # in units of the median distance
NOISE_RANGE = (1e-12, 10.0)  # relative to the prior variance


class Choice(NamedTuple):
    """What suits some data, for ``gaussian_process`` or ``ridge``."""

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
    """Every target as predicted from all others, in closed form: y_i - [C⁻¹(y - m)]_i / [C⁻¹]_ii.

    What the whole set fixes stays fixed: centre and scale of the inputs, their median distance and
    the mean m of the targets.

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
    """Length scale and noise of highest marginal likelihood, by L-BFGS from several starts.

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
        raise InputError(f"kernel {kernel!r} is not known; choose gaussian or linear")
    problem = _Problem(inputs, targets)
    is_gaussian = kernel == "gaussian"

    def objective(logs):
        values = np.exp(logs)
        scale = values[1] if is_gaussian else None
        evidence, slopes = problem.evidence(scale, values[0])
        return -evidence, -slopes

    bounds = np.log([NOISE_RANGE, LENGTH_SCALE_RANGE][: 1 + is_gaussian])
    starts = [(noise, scale) for noise in (1e-6, 1e-2) for scale in (0.5, 2.0)]
    found = [
        minimize(
            objective, np.log(start[: 1 + is_gaussian]), jac=True, method="L-BFGS-B", bounds=bounds
        )
        for start in (starts if is_gaussian else starts[::2])
    ]
    best = min(found, key=lambda result: result.fun)
    noise, *rest = map(float, np.exp(best.x))
    scale = rest[0] if is_gaussian else None
    errors = leave_one_out(inputs, targets, scale, noise) - np.asarray(targets, float)
    variance = problem.variance(scale, noise)
    return Choice(scale, noise, variance, -float(best.fun), float(np.sqrt((errors**2).mean())))


class _Problem:
    """Scaled inputs and centred targets, and what follows from them."""

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
        total = self.kernel(length_scale) + noise * np.eye(len(self.targets))
        factor = cho_factor(total, lower=True)
        return cho_solve(factor, np.eye(len(total))), cho_solve(factor, self.targets)

    def variance(self, length_scale, noise) -> float:
        return float(self.targets @ self.solved(length_scale, noise)[1]) / len(self.targets)

    def evidence(self, length_scale, noise) -> tuple[float, np.ndarray]:
        """log p and its derivatives with respect to log noise and log length scale."""
        n, kernel = len(self.targets), self.kernel(length_scale)
        total = kernel + noise * np.eye(n)
        try:
            root = cholesky(total, lower=True)
        except np.linalg.LinAlgError:  # noise below rounding errors: not here
            return -1e300, np.zeros(1 if length_scale is None else 2)
        inverse = cho_solve((root, True), np.eye(n))
        weights = inverse @ self.targets
        variance = max(float(self.targets @ weights) / n, np.finfo(float).tiny)
        value = -0.5 * n * (np.log(2 * np.pi * variance) + 1) - np.log(np.diag(root)).sum()
        against = np.outer(weights, weights) / variance - inverse
        slopes = [0.5 * noise * np.trace(against)]
        if length_scale is not None:
            slope = kernel * self._squared / length_scale**2
            slopes.append(0.5 * np.vdot(against, slope))
        return float(value), np.array(slopes)
