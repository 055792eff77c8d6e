"""Ridge regression for every penalty from one decomposition."""

import numpy as np


class RidgePath:
    """min_β |y - X β|² + penalty tr(X^T X) |β|², predictions offset + (x - center) β.

    Args:
        rows: X ``[N, D]``, of inputs less ``center``.
        values: y ``[N]``, of targets less ``offset``.
        center: ``[D]``.
        offset: a number.
    """

    def __init__(self, rows: np.ndarray, values: np.ndarray, center: np.ndarray, offset: float):
        self.center, self.offset = center, offset
        self.variances, self.vectors = np.linalg.eigh(rows.T @ rows)
        self.projected = self.vectors.T @ (rows.T @ values)

    def predict(self, inputs: np.ndarray, penalty: float) -> np.ndarray:
        """Predictions [S] for inputs [S, D]."""
        shrunk = np.maximum(self.variances, 0) + penalty * self.variances.sum()
        return self.offset + (inputs - self.center) @ (self.vectors @ (self.projected / shrunk))
