"""Linear models in closed form, and intervals of the difference of their errors."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from experiments.paper.labels import Split
from experiments.paper.ridge import RidgePath

PENALTIES = np.logspace(-12, 1, 27)  # of the mean square of all features
DRAWS, LEVEL = 4000, 0.95
Score = Callable[[np.ndarray, np.ndarray], float]  # of predictions and references; low is good


def split(n_structures: int, seed: int) -> Split:
    """The last fifth tests, whatever the seed; a tenth of the others, drawn by it, validates.

    Args:
        n_structures: all.
        seed: of the draw.
    """
    first_test = n_structures - n_structures // 5
    known = np.random.Generator(np.random.PCG64(seed)).permutation(first_test)
    n_valid = len(known) // 10
    return Split(known[n_valid:], known[:n_valid], np.arange(first_test, n_structures))


class Fit(NamedTuple):
    """What a ridge model gives for all structures."""

    predicted: np.ndarray  # [S], fitted to training and validation structures
    penalty: float
    valid_score: float  # of the model fitted to training structures, the lowest of all penalties


def rmse(predicted: np.ndarray, reference: np.ndarray | float) -> float:
    """Root mean square error."""
    return float(np.sqrt(np.mean(np.square(predicted - reference))))


def ridge(inputs: np.ndarray, targets: np.ndarray, parts: Split) -> Fit:
    """The model with the penalty that is best on validation, then fitted to those too.

    Args:
        inputs: ``[S, D]``; they are centred, and not scaled.
        targets: ``[S]``.
        parts: which structures train and validate; the targets of the others are not looked at.
    """
    return ridges(inputs, targets, parts, {"rmse": rmse})["rmse"]


def ridges(
    inputs: np.ndarray, targets: np.ndarray, parts: Split, scores: dict[str, Score]
) -> dict[str, Fit]:
    """As ``ridge``, with the penalty chosen by each of some scores."""
    centred = inputs.astype(float) - inputs[parts.train].mean(0, dtype=float)
    path = RidgePath(centred[parts.train], targets[parts.train])
    validated = [path.predict(centred[parts.valid], penalty) for penalty in PENALTIES]
    known = parts.known
    path = RidgePath(centred[known], targets[known])
    found = {}
    for name, score in scores.items():
        values = [score(predicted, targets[parts.valid]) for predicted in validated]
        best = int(np.argmin(values))
        predicted = path.predict(centred, PENALTIES[best])
        found[name] = Fit(predicted, float(PENALTIES[best]), values[best])
    return found


def gain_intervals(first: np.ndarray, second: np.ndarray, seed: int = 0) -> dict:
    """How much lower the second model's RMSE is, with paired bootstrap intervals.

    gain = (1/M) Σ_s [RMSE_t(first_st) - RMSE_t(second_st)]; test structures t are drawn with
    replacement, the same ones for both models, with all seeds s ("structures") or with seeds drawn
    too ("structures_and_seeds").

    Args:
        first, second: errors ``[M, T]`` of M seeds on T test structures.
        seed: of the draws.

    Returns:
        "gain", and percentile intervals at 95 %, "draws" being those of the second kind.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    n_seeds, n_tests = first.shape
    counts = random.multinomial(n_tests, np.full(n_tests, 1 / n_tests), size=DRAWS)  # [draw, T]
    gains = np.sqrt(counts @ (first**2).T / n_tests) - np.sqrt(counts @ (second**2).T / n_tests)
    chosen = random.integers(n_seeds, size=(DRAWS, n_seeds))
    both = np.take_along_axis(gains, chosen, 1).mean(1)
    tails = 50 * (1 - LEVEL), 50 * (1 + LEVEL)
    of_all = [rmse(a, 0) - rmse(b, 0) for a, b in zip(first, second, strict=True)]
    return {
        "gain": float(np.mean(of_all)),
        "structures": np.percentile(gains.mean(1), tails).tolist(),
        "structures_and_seeds": np.percentile(both, tails).tolist(),
        "draws": both.tolist(),
    }
