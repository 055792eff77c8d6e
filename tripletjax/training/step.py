"""The loss and one step of optimisation."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.potentials.base import Potential
from tripletjax.training.config import TrainConfig
from tripletjax.training.data import Bucket, as_batch
from tripletjax.training.errors import Differences, Weighting, weighted_error
from tripletjax.training.optimizer import OPTIMIZER
from tripletjax.types import Array


class State(NamedTuple):
    """All that a step changes; a pytree."""

    weights: Any
    averaged: Any  # exponential moving average of the weights
    optimizer: Any
    steps: Array  # done so far
    factor: Array  # of the learning rate: halved whenever the fit diverged


def initial_state(weights: Any) -> State:
    """Before the first step."""
    weights = jax.tree.map(jnp.asarray, weights)
    copies = jax.tree.map(jnp.copy, weights)
    steps, factor = jnp.zeros((), jnp.int32), jnp.ones((), jnp.float32)
    return State(weights, copies, OPTIMIZER.init(weights), steps, factor)


def schedule(config: TrainConfig, progress: float) -> tuple[float, float]:
    """Learning rate and energy weight, given how much of the run is done, 0 to 1.

    A linear warm-up, then a cosine; the weight changes geometrically.

    Example:
        >>> rate, weight = schedule(TrainConfig(), 1.0)
        >>> round(rate / TrainConfig().learning_rate, 6), round(weight, 6)
        (0.002, 20.0)
    """
    floor = config.final_learning_rate
    cosine = floor + (1 - floor) * 0.5 * (1 + np.cos(np.pi * progress))
    ramp = min(1.0, (progress + 1e-4) / config.warm_up) if config.warm_up else 1.0
    ratio = config.final_energy_weight / config.energy_weight
    return float(config.learning_rate * cosine * ramp), float(
        config.energy_weight * ratio**progress
    )


def loss(potential: Potential, settings: Weighting, rows: Bucket, present, elements, energy_weight):
    """``weighted_error`` of a potential on those structures of a bucket that are ``present``."""
    predicted = potential.interaction_forces_stress(as_batch(rows, elements, present))
    atoms = jnp.maximum(jnp.sum(rows.atom_mask, 1), 1).astype(rows.energy.dtype)  # [F]
    volumes = jnp.abs(jnp.linalg.det(rows.cells)) / atoms
    has_forces = (rows.has_forces & present)[:, None] & rows.atom_mask
    differences = Differences(
        energy=(predicted.energy - rows.energy) / atoms,
        forces=predicted.forces - rows.forces.reshape(-1, 3),
        virial=(predicted.stress - rows.stress) * volumes[:, None, None],
        has_energy=present,
        has_forces=has_forces.reshape(-1),
        has_virial=rows.has_stress & present,
    )
    return weighted_error(differences, settings, energy_weight, potential.scale)


@partial(jax.jit, static_argnums=(0, 1), donate_argnums=2)
def train_step(
    static: Potential,
    settings: Weighting,
    state: State,
    scale: Array,
    rows: Bucket,
    elements: Array,
    present: Array,
    rate: Array,
    energy_weight: Array,
) -> tuple[State, Array]:
    """One step on some structures, those that are ``present``; the new state and the loss."""

    def objective(weights):
        potential = static.joined((weights, scale))
        return loss(potential, settings, rows, present, elements, energy_weight)

    value, slopes = jax.value_and_grad(objective)(state.weights)
    return updated(state, slopes, rate, settings.ema), value


def updated(state: State, slopes: Any, rate: Array, ema: float) -> State:
    """The state after one step along the slopes of the loss."""
    with jax.numpy_dtype_promotion("standard"):  # Optax mixes integers and floats
        updates, optimizer = OPTIMIZER.update(slopes, state.optimizer)
    rate = rate * state.factor
    weights = jax.tree.map(lambda w, u: w - rate.astype(w.dtype) * u, state.weights, updates)
    steps = state.steps + 1
    done = steps.astype(jnp.float32)
    decay = jnp.minimum(ema, (1 + done) / (10 + done))
    averaged = jax.tree.map(lambda a, w: a + (1 - decay) * (w - a), state.averaged, weights)
    return State(weights, averaged, optimizer, steps, state.factor)
