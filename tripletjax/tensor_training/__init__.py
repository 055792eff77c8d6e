"""Fitting dipoles and polarisabilities of molecules."""

from tripletjax.tensor_training.fit import fit_tensors
from tripletjax.tensor_training.labels import TensorData, read_tensors
from tripletjax.tensor_training.metrics import tensor_metrics, tensor_parity
from tripletjax.tensor_training.predictions import evaluate_tensors, predict_tensors

__all__ = [
    "TensorData",
    "evaluate_tensors",
    "fit_tensors",
    "predict_tensors",
    "read_tensors",
    "tensor_metrics",
    "tensor_parity",
]
