"""Fitting dipoles and polarisabilities of molecules."""

from tripletjax.tensor_training.fit import evaluate_tensors, fit_tensors, predict_tensors
from tripletjax.tensor_training.labels import TensorData, read_tensors
from tripletjax.tensor_training.metrics import tensor_metrics, tensor_parity

__all__ = [
    "TensorData",
    "evaluate_tensors",
    "fit_tensors",
    "predict_tensors",
    "read_tensors",
    "tensor_metrics",
    "tensor_parity",
]
