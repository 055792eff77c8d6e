"""The two errors of the paper, with bootstrap intervals."""

import numpy as np

DRAWS, LEVEL = 1000, 0.95


def errors(predicted: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """ "mean": RMSE of pair means over the standard deviation of all; "delta": RMSE of pair
    differences over the standard deviation of the differences.

    Args:
        predicted, reference: ``[2P]`` or ``[2P, D]``, members of a pair side by side. Squares are
            summed over D.
    """
    found = _terms(predicted, reference)
    return {name: float(np.sqrt(a.mean() / b.mean())) for name, (a, b) in found.items()}


def intervals(predicted: np.ndarray, reference: np.ndarray, seed: int = 0) -> dict[str, list]:
    """Percentile intervals of ``errors`` at 95 %, over pairs drawn with replacement.

    Standard deviations stay those of the whole set.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    found = {}
    for name, (squares, variances) in _terms(predicted, reference).items():
        drawn = random.integers(len(squares), size=(DRAWS, len(squares)))
        values = np.sqrt(squares[drawn].mean(1) / variances.mean())
        tails = 50 * (1 - LEVEL), 50 * (1 + LEVEL)
        found[name] = np.percentile(values, tails).tolist()
    return found


def _terms(predicted, reference) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Squared errors of every pair, and what their mean is divided by."""
    predicted, reference = (
        np.asarray(a, np.float64).reshape(len(a) // 2, 2, -1) for a in (predicted, reference)
    )
    error = predicted - reference
    difference = reference[:, 0] - reference[:, 1]
    return {
        "mean": (_square(error.mean(1)), _square(reference - reference.mean((0, 1))).mean(1)),
        "delta": (_square(error[:, 0] - error[:, 1]), _square(difference - difference.mean(0))),
    }


def _square(values: np.ndarray) -> np.ndarray:
    return (values**2).sum(-1)
