"""Ridge regression for every penalty from one decomposition."""

import numpy as np


class RidgePath:
    """min_β |y - X β|² + penalty tr(X^T X) |β|², predictions offset + (x - center) β.

    Args:
        inputs: ``[N, D]``; X is what they differ by from their mean, the center.
        targets: ``[N]``; y is what they differ by from their mean, the offset.
    """

    def __init__(self, inputs: np.ndarray, targets: np.ndarray):
        self.center, self.offset = inputs.mean(0), float(targets.mean())
        rows = inputs - self.center
        self.variances, self.vectors = np.linalg.eigh(rows.T @ rows)
        self.projected = self.vectors.T @ (rows.T @ (targets - self.offset))

    def predict(self, inputs: np.ndarray, penalty: float) -> np.ndarray:
        """Predictions [S] for inputs [S, D]."""
        shrunk = np.maximum(self.variances, 0) + penalty * self.variances.sum()
        return self.offset + (inputs - self.center) @ (self.vectors @ (self.projected / shrunk))
