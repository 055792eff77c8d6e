"""Closed-form regression on descriptor vectors: ridge and Gaussian processes. NumPy, float64."""

from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_solve

from tripletjax.kernels.factors import stable_root
from tripletjax.types import InputError


class Fit(NamedTuple):
    """A fitted linear smoother in dual form: y = offset + K(x, x_train) @ weights."""

    inputs: np.ndarray  # [N, D] training inputs, centred and scaled
    center: np.ndarray  # [D]
    scale: float
    length_scale: float | None  # of the Gaussian kernel; None: linear kernel
    weights: np.ndarray  # [N]
    offset: float

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Predictions [M] for inputs [M, D]."""
        scaled = (np.asarray(inputs, dtype=float) - self.center) / self.scale
        return self.offset + _kernel(scaled, self.inputs, self.length_scale) @ self.weights


def gaussian_process(
    inputs: np.ndarray, targets: np.ndarray, length_scale: float = 2.0, noise: float = 1e-8
) -> Fit:
    """Posterior mean of a Gaussian process with kernel exp(-|x - x'|² / 2ℓ²).

    Args:
        inputs: ``[N, D]``.
        targets: ``[N]``; their mean is the prior mean.
        length_scale: ℓ in units of the median distance between inputs.
        noise: added to the diagonal, relative to the prior variance; more if rounding errors
            require it.

    Returns:
        A ``Fit``.

    Raises:
        InputError: fewer than two inputs, or shapes that do not match.

    Source: Rasmussen and Williams, Gaussian Processes for Machine Learning, eq. 2.25.

    Example:
        >>> x = np.linspace(0, 1, 20)[:, None]
        >>> fit = gaussian_process(x, np.sin(x[:, 0]))
        >>> bool(abs(fit.predict([[0.5]])[0] - np.sin(0.5)) < 1e-6)
        True
    """
    return _fit(inputs, targets, length_scale, noise)


def ridge(inputs: np.ndarray, targets: np.ndarray, noise: float = 1e-8) -> Fit:
    """Linear ridge regression with intercept, in dual form.

    Args:
        inputs: ``[N, D]``; centred and divided by one common scale.
        targets: ``[N]``.
        noise: regularisation relative to the mean squared norm of the scaled inputs, which is one.

    Returns:
        A ``Fit``.

    Raises:
        InputError: fewer than two inputs, or shapes that do not match.
    """
    return _fit(inputs, targets, None, noise)


def _fit(inputs, targets, length_scale: float | None, noise: float) -> Fit:
    scaled, center, scale = scaled_inputs(inputs, targets)
    targets = np.asarray(targets, dtype=float)
    if length_scale is not None:
        length_scale = length_scale * median_distance(scaled)
    kernel = _kernel(scaled, scaled, length_scale)
    offset = float(targets.mean())
    root, _ = stable_root(kernel, noise)
    weights = cho_solve((root, True), targets - offset)
    return Fit(scaled, center, scale, length_scale, weights, offset)


def scaled_inputs(inputs, targets) -> tuple[np.ndarray, np.ndarray, float]:
    """Inputs minus their mean, divided by their root mean square norm; the mean; this scale.

    Raises:
        InputError: fewer than two inputs, or shapes that do not match.
    """
    inputs, targets = np.asarray(inputs, dtype=float), np.asarray(targets, dtype=float)
    if inputs.ndim != 2 or targets.shape != inputs.shape[:1] or len(inputs) < 2:
        raise InputError(
            f"inputs of shape {inputs.shape} and targets of shape {targets.shape} do not match: "
            "expected [N, D] and [N] with N at least 2"
        )
    center = inputs.mean(0)
    scale = float(np.sqrt(((inputs - center) ** 2).sum(1).mean())) or 1.0
    return (inputs - center) / scale, center, scale


def _kernel(a: np.ndarray, b: np.ndarray, length_scale: float | None) -> np.ndarray:
    if length_scale is None:
        return a @ b.T
    return np.exp(-0.5 * squared_distances(a, b) / length_scale**2)


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|x - x'|² between all rows of [N, D] and [M, D], [N, M]."""
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.maximum(squared, 0, out=squared)


def median_distance(inputs: np.ndarray, most: int = 1000) -> float:
    """Median distance over pairs of at most ``most`` inputs, evenly spaced."""
    some = inputs[:: max(1, len(inputs) // most)][:most]
    distances = np.sqrt(squared_distances(some, some)[np.triu_indices(len(some), 1)])
    return float(np.median(distances)) or 1.0
