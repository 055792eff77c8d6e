"""Fitting dipoles and polarisabilities of molecules; everything is imported lazily."""

from typing import TYPE_CHECKING

from tripletjax.lazy import lazily

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

__getattr__ = lazily(
    __name__,
    {
        "TensorConfig": "properties.fitting.config",
        "TensorData": "properties.fitting.labels",
        "evaluate_tensors": "properties.fitting.predictions",
        "fit_tensors": "properties.fitting.fit",
        "predict_tensors": "properties.fitting.predictions",
        "read_tensors": "properties.fitting.labels",
        "tensor_metrics": "properties.fitting.metrics",
        "tensor_parity": "properties.fitting.metrics",
    },
)
