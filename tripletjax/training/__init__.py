"""Fitting potentials to energies, forces and stress.

Everything is imported lazily: settings need no JAX, fits need flax.
"""

from typing import TYPE_CHECKING

from tripletjax.lazy import lazily

if TYPE_CHECKING:
    from tripletjax.settings import read_settings as read_config
    from tripletjax.training.committee import train_committee
    from tripletjax.training.config import TrainConfig
    from tripletjax.training.labels import Labels, read_labels
    from tripletjax.training.metrics import evaluate
    from tripletjax.training.parts import Dataset
    from tripletjax.training.references import fit_references
    from tripletjax.training.run import train

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

__getattr__ = lazily(
    __name__,
    {
        "Dataset": "training.parts",
        "Labels": "training.labels",
        "TrainConfig": "training.config",
        "evaluate": "training.metrics",
        "fit_references": "training.references",
        "read_labels": "training.labels",
        "train": "training.run",
        "train_committee": "training.committee",
        "read_config": "settings:read_settings",
    },
)
