"""Choosing what a regression leaves open on its last training pairs."""

from collections.abc import Callable, Iterable

import numpy as np


def best_noise(
    fit: Callable, values: np.ndarray, labels: np.ndarray, noises: Iterable[float], share: float,
    score: Callable[[np.ndarray, np.ndarray], float],
) -> float:  # fmt: skip
    """The noise of the lowest score on the last pairs, after a fit to those before.

    Args:
        fit: ``gaussian_process`` or ``ridge``.
        values, labels: ``[2P, D]`` and ``[2P]``, members of a pair side by side.
        noises: to choose from.
        share: of the pairs, to score on.
        score: of predictions and labels.
    """
    n_fit = 2 * round((1 - share) * len(labels) / 2)

    def of(noise: float) -> float:
        try:
            model = fit(values[:n_fit], labels[:n_fit], noise=noise)
        except np.linalg.LinAlgError:  # noise below rounding errors
            return np.inf
        return score(model.predict(values[n_fit:]), labels[n_fit:])

    return min(noises, key=of)
