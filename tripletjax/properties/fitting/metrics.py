"""Errors of dipoles and polarisabilities, and their parity figure."""

from pathlib import Path

import numpy as np

from tripletjax.plotting import drawing
from tripletjax.properties.tensor_model import UNITS

COLORS = {"train": "0.7", "valid": "#dd8452", "test": "#2f5d8a"}


def tensor_metrics(target: str, reference: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """MAE and RMSE over components, in e·Å or Å³, and R² = 1 - Σ|error|² / Σ|label - mean|².

    For polarisabilities also those of the mean polarisability, tr α / 3, and of the traceless part.

    Example:
        >>> labels = np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
        >>> tensor_metrics("dipole", labels, 0.5 * labels)["r2"]
        0.75
    """
    found = _errors("", reference, predicted)
    if target == "polarizability":
        sides = []
        for tensors in (reference, predicted):
            mean = np.trace(tensors, axis1=1, axis2=2) / 3
            sides.append((mean[:, None], tensors - mean[:, None, None] * np.eye(3)))
        for name, one, other in zip(("isotropic_", "anisotropic_"), *sides, strict=True):
            found |= _errors(name, one, other)
    return found


def tensor_parity(
    path: str | Path, target: str, compared: dict[str, tuple[np.ndarray, np.ndarray]]
) -> None:
    """Predicted against reference components, with one colour for each part of the data."""
    with drawing(path, (5, 5), "Points on the diagonal are predicted exactly.") as figure:
        axis = figure.subplots()
        for name, (reference, predicted) in compared.items():
            axis.plot(
                reference.ravel(), predicted.ravel(), ".", ms=3, color=COLORS.get(name), label=name
            )
        axis.axline((0, 0), slope=1, color="0.3", lw=0.8)
        quantity = f"{target} component / {UNITS[target]}"
        axis.set(xlabel=f"reference {quantity}", ylabel=f"predicted {quantity}")
        axis.legend(loc="upper left", frameon=False)


def _errors(name: str, reference: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    error = predicted - reference
    found = {
        f"{name}mae": float(np.abs(error).mean()),
        f"{name}rmse": float(np.sqrt((error**2).mean())),
    }
    spread = np.sum((reference - reference.mean(0)) ** 2)
    if spread > 0:
        found[f"{name}r2"] = float(1 - np.sum(error**2) / spread)
    return found
