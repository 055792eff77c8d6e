"""Fitting dipoles and polarisabilities of molecules."""

from tripletjax.properties.fitting.fit import fit_tensors
from tripletjax.properties.fitting.labels import TensorData, read_tensors
from tripletjax.properties.fitting.metrics import tensor_metrics, tensor_parity
from tripletjax.properties.fitting.predictions import evaluate_tensors, predict_tensors

__all__ = [
    "TensorData",
    "evaluate_tensors",
    "fit_tensors",
    "predict_tensors",
    "read_tensors",
    "tensor_metrics",
    "tensor_parity",
]
