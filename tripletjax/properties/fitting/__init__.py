"""Fitting dipoles and polarisabilities of molecules; everything is imported lazily."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tripletjax.properties.fitting.config import TensorConfig
    from tripletjax.properties.fitting.fit import fit_tensors
    from tripletjax.properties.fitting.labels import TensorData, read_tensors
    from tripletjax.properties.fitting.metrics import tensor_metrics, tensor_parity
    from tripletjax.properties.fitting.predictions import evaluate_tensors, predict_tensors

__all__ = [
    "TensorConfig",
    "TensorData",
    "evaluate_tensors",
    "fit_tensors",
    "predict_tensors",
    "read_tensors",
    "tensor_metrics",
    "tensor_parity",
]

_PLACES = {
    "TensorConfig": "config",
    "TensorData": "labels",
    "evaluate_tensors": "predictions",
    "fit_tensors": "fit",
    "predict_tensors": "predictions",
    "read_tensors": "labels",
    "tensor_metrics": "metrics",
    "tensor_parity": "metrics",
}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(f"tripletjax.properties.fitting.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
