"""Calibration of predicted standard deviations against errors. NumPy."""

from typing import NamedTuple

import numpy as np

from tripletjax.types import InputError


class Calibration(NamedTuple):
    """Errors against predicted standard deviations σ, in the units of the errors."""

    predicted: np.ndarray  # [B] root mean square σ of each bin, ascending
    actual: np.ndarray  # [B] root mean square error of each bin
    coverage: dict[
        int, float
    ]  # fractions of errors within 1, 2 and 3 σ; 0.683, 0.954, 0.997 if normal
    factor: float  # √⟨(error / σ)²⟩: multiplied by this, σ is correct on average
    log_likelihood: float  # mean log density of the errors, normal with σ


def calibration(errors: np.ndarray, deviations: np.ndarray, bins: int = 10) -> Calibration:
    """Root mean square errors in bins of equal number by predicted σ, and coverage of intervals.

    Args:
        errors: ``[N]``, or of any shape.
        deviations: σ, of the same shape; positive.
        bins: maximum of B.

    Raises:
        InputError: different shapes, or deviations that are not positive.

    Example:
        >>> random = np.random.default_rng(0)
        >>> sigma = random.uniform(1, 3, 10000)
        >>> found = calibration(sigma * random.normal(size=10000), sigma)
        >>> round(found.factor, 1), round(found.coverage[1], 1)
        (1.0, 0.7)
    """
    errors, deviations = _checked(errors, deviations)
    order = np.argsort(deviations, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    root_mean_square = lambda values: float(np.sqrt(np.mean(values**2)))  # noqa: E731
    scores = np.abs(errors) / deviations
    density = -0.5 * scores**2 - np.log(deviations) - 0.5 * np.log(2 * np.pi)
    return Calibration(
        np.array([root_mean_square(deviations[part]) for part in parts]),
        np.array([root_mean_square(errors[part]) for part in parts]),
        {k: float(np.mean(scores <= k)) for k in (1, 2, 3)},
        recalibration_factor(errors, deviations),
        float(density.mean()),
    )


def recalibration_factor(errors: np.ndarray, deviations: np.ndarray) -> float:
    """√⟨(error / σ)²⟩: the maximum-likelihood factor of σ for normal errors.

    Fit it to structures that are in neither the training nor the test set.

    Example:
        >>> recalibration_factor(np.array([2.0, -2.0]), np.ones(2))
        2.0
    """
    errors, deviations = _checked(errors, deviations)
    return float(np.sqrt(np.mean((errors / deviations) ** 2)))


def _checked(errors, deviations) -> tuple[np.ndarray, np.ndarray]:
    errors, deviations = np.asarray(errors, float).ravel(), np.asarray(deviations, float).ravel()
    if errors.shape != deviations.shape or not len(errors) or not (deviations > 0).all():
        raise InputError(
            f"{len(errors)} errors and {len(deviations)} deviations: expected equal numbers, and "
            "positive deviations"
        )
    return errors, deviations
