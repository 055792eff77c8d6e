"""Tensors of many structures, with one compiled program for each padded size, and their errors."""

from collections.abc import Sequence

import jax
import numpy as np
from ase import Atoms

from tripletjax.properties.fitting.labels import TensorData
from tripletjax.properties.fitting.metrics import tensor_metrics
from tripletjax.properties.tensor_model import TensorModel, require_molecules
from tripletjax.training.data import Bucket, as_batch, make_buckets, pieces
from tripletjax.training.labels import Labels


def evaluate_tensors(model: TensorModel, data: TensorData) -> dict[str, float]:
    """Errors of a model on labelled structures, as in ``tensor_metrics``."""
    return tensor_metrics(model.target, data.tensors, predict_tensors(model, data.frames))


def predict_tensors(model: TensorModel, frames: Sequence[Atoms]) -> np.ndarray:
    """``model.predict`` for many structures, with one compiled program for each padded size."""
    require_molecules(frames, model.target)
    model.without_energy.require_known(frames)
    return predict_buckets(model, tensor_buckets(model, frames))


def tensor_buckets(model: TensorModel, frames: Sequence[Atoms]) -> list[Bucket]:
    """Structures padded to a few sizes, without labels."""
    nothing = [Labels(0.0, None, None)] * len(frames)
    return make_buckets(frames, nothing, model.without_energy)


def predict_buckets(model: TensorModel, buckets: Sequence[Bucket]) -> np.ndarray:
    """Tensors of all structures of some buckets, in the order of the data."""
    elements = np.array(model.species, np.int32)
    found = {}
    for rows, present in pieces(buckets):
        tensors = np.asarray(_batch_tensors(model, rows, elements, present), float)
        found |= dict(zip(rows.frames[present].tolist(), tensors[present], strict=True))
    return np.stack([found[frame] for frame in sorted(found)])


@jax.jit
def _batch_tensors(model: TensorModel, rows: Bucket, elements, present):
    return model.tensors(as_batch(rows, elements, present))
