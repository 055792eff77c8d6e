"""A linear model of correlations up to order 7 that weighs pair means and differences alike.

With the squared error of energies alone, whose spread between pairs is twenty times that within
them, what a linear model leaves of the means leaks into the differences.
"""

import numpy as np

from experiments.paper.errors import errors
from experiments.paper.problem import Found, Problem
from experiments.paper.ridge import RidgePath

PENALTIES = 10.0 ** np.arange(-12, 0)  # of the mean square of all rows


def correlations_linear(problem: Problem) -> Found:
    """Ridge regression; the penalty has the least product of both errors on validation."""
    inputs, energies = problem.features("nu7").astype(float), problem.labels.energies
    train, valid = problem.chosen_on()
    path = path_of(inputs[train], energies[train])
    found = [errors(path.predict(inputs[valid], p), energies[valid]) for p in PENALTIES]
    best = int(np.argmin([one["mean"] * one["delta"] for one in found]))
    known = np.sort(problem.known)
    path = path_of(inputs[known], energies[known])
    told = {"penalty": float(PENALTIES[best]), "validation": found[best]}
    return path.predict(inputs, PENALTIES[best]), told


def path_of(inputs: np.ndarray, targets: np.ndarray) -> RidgePath:
    """Solutions that minimise Σ_pairs (error of the mean / s)² + (of the difference / d)².

    Args:
        inputs: ``[2P, D]``, members of a pair side by side.
        targets: ``[2P]``; s and d are the standard deviations of their pair means and differences.
    """
    center, offset = inputs.mean(0), float(targets.mean())
    x, y = inputs - center, targets - offset
    (x_mean, x_apart), (y_mean, y_apart) = _means_and_differences(x), _means_and_differences(y)
    s, d = y_mean.std(), y_apart.std()
    rows = np.concatenate([x_mean / s, x_apart / d])
    values = np.concatenate([y_mean / s, y_apart / d])
    return RidgePath(rows, values, center, offset)


def _means_and_differences(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (values[0::2] + values[1::2]) / 2, values[0::2] - values[1::2]
