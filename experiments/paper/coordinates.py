"""Coordinates of vectors in which distances and sizes are of order one."""

from typing import NamedTuple

import numpy as np

SMALLEST = 1e-10  # principal components with less of the mean square are left out


class Coordinates(NamedTuple):
    """Of vectors: (x - origin) · axes."""

    origin: np.ndarray  # [D]
    axes: np.ndarray  # [D, E]

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """``[..., E]`` of ``[..., D]``."""
        return (vectors - self.origin) @ self.axes


def principal(rows: np.ndarray) -> Coordinates:
    """Principal components, in units of the root mean square distance of two rows."""
    centred = rows - rows.mean(0)
    variances, vectors = np.linalg.eigh(centred.T @ centred / len(rows))
    kept = variances > SMALLEST * variances.sum()
    return Coordinates(rows.mean(0), vectors[:, kept] / np.sqrt(2 * variances.sum()))


def standard(rows: np.ndarray) -> Coordinates:
    """Columns of mean 0 and variance 1 over the rows."""
    return Coordinates(rows.mean(0), np.diag(1 / rows.std(0)))
