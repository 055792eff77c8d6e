"""Fitting potentials to energies, forces and stress.

Everything is imported lazily: settings need no JAX, fits need flax.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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

_PLACES = {
    "Dataset": "parts",
    "Labels": "labels",
    "TrainConfig": "config",
    "evaluate": "metrics",
    "fit_references": "references",
    "read_labels": "labels",
    "train": "run",
    "train_committee": "committee",
}


def __getattr__(name: str) -> Any:
    if name == "read_config":
        return import_module("tripletjax.settings").read_settings
    if name in _PLACES:
        return getattr(import_module(f"tripletjax.training.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
