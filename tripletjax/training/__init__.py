"""Fitting potentials to energies, forces and stress."""

from tripletjax.training.committee import train_committee
from tripletjax.training.config import TrainConfig, read_config
from tripletjax.training.labels import Labels, read_labels
from tripletjax.training.metrics import evaluate
from tripletjax.training.references import fit_references
from tripletjax.training.run import Dataset, train

__all__ = [
    "Dataset",
    "Labels",
    "TrainConfig",
    "evaluate",
    "fit_references",
    "read_config",
    "read_labels",
    "train",
    "train_committee",
]
