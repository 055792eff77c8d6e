"""Tensors as a task for the loop over epochs."""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.properties.fitting.labels import TensorData
from tripletjax.properties.fitting.metrics import tensor_metrics
from tripletjax.properties.fitting.predictions import predict_buckets, tensor_buckets
from tripletjax.properties.tensor_model import TensorModel
from tripletjax.training.config import TrainConfig
from tripletjax.training.data import Bucket, as_batch, take
from tripletjax.training.step import State, schedule, updated
from tripletjax.types import Array


class TensorTask:
    """The fit of a model of tensors; see ``training.loop.Task``."""

    def __init__(
        self, start: TensorModel, data: TensorData, valid: TensorData, config: TrainConfig
    ):
        self.start, self.config = start, config
        self.buckets = tensor_buckets(start, data.frames)
        self.valid, self.valid_labels = tensor_buckets(start, valid.frames), valid.tensors
        self.bare = replace(start, weights=None)
        dtype = self.buckets[0].positions.dtype
        self.labels = [jnp.asarray(data.tensors[b.frames], dtype) for b in self.buckets]
        self.data = [jax.tree.map(jnp.asarray, bucket) for bucket in self.buckets]
        self.elements = jnp.asarray(start.species, jnp.int32)

    def step(
        self, state: State, number: int, index: np.ndarray, present: np.ndarray, done: float
    ) -> tuple[State, Array]:
        """One step."""
        rate = schedule(self.config, done)
        return _train_step(
            (self.config.huber, self.config.ema),
            self.bare,
            state,
            take(self.data[number], index),
            self.labels[number][index],
            self.elements,
            present,
            np.float32(rate),
        )

    def validate(self, weights: Any) -> tuple[float, dict[str, float]]:
        """The score is the mean absolute error."""
        found = predict_buckets(replace(self.start, weights=weights), self.valid)
        errors = tensor_metrics(self.start.target, self.valid_labels, found)
        return errors["mae"], errors

    def summary(self, row: dict[str, float]) -> str:
        """Loss and mean absolute error."""
        return f"loss {row['train_loss']:.4f}, validation MAE {row['valid_mae']:.4f}"


@partial(jax.jit, static_argnums=0, donate_argnums=2)
def _train_step(
    settings: tuple[float, float],
    model: TensorModel,
    state: State,
    rows: Bucket,
    labels: Array,
    elements: Array,
    present: Array,
    rate: Array,
) -> tuple[State, Array]:
    """One step on the ``present`` structures; returns the new state and the loss."""
    huber, ema = settings

    def loss(weights):
        changed = replace(model, weights=weights)
        errors = changed.tensors(as_batch(rows, elements, present)) - labels
        errors = errors.reshape(len(labels), -1) / jnp.asarray(model.scale, labels.dtype)
        lengths = jnp.sqrt(jnp.sum(errors**2, -1) + huber**2) - huber
        return jnp.sum(jnp.where(present, lengths, 0)) / jnp.sum(present).astype(lengths.dtype)

    value, slopes = jax.value_and_grad(loss)(state.weights)
    return updated(state, slopes, rate, ema), value
