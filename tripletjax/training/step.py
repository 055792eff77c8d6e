"""The loss and one step of optimisation."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tripletjax.potentials.base import Potential
from tripletjax.potentials.mechanics import per_structure
from tripletjax.training.config import TrainConfig
from tripletjax.training.data import Bucket, as_batch
from tripletjax.training.errors import Differences, Weighting, weighted_error
from tripletjax.training.optimizer import OPTIMIZER
from tripletjax.types import Array, Batch


class BatchLabels(NamedTuple):
    """Labels of a batch and masks of the valid ones; missing labels are zero."""

    energy: Array  # [S] eV, without the reference energies
    has_energy: Array  # [S] False on padding
    forces: Array  # [A, 3] eV/Å
    has_forces: Array  # [A]
    stress: Array  # [S, 3, 3] eV/Å³
    has_stress: Array  # [S] True only where the cell has a volume
    n_atoms: Array  # [S] at least 1
    scale: Array  # [] eV/Å, the size of the forces in the training data
    progress: Array  # [] fraction of the fit, 0 to 1


Loss = Callable[[Potential, Batch, BatchLabels], Array]


class State(NamedTuple):
    """Everything that a step changes; a pytree."""

    weights: Any
    averaged: Any  # exponential moving average of the weights
    optimizer: Any
    steps: Array  # number of steps so far
    factor: Array  # of the learning rate, halved whenever the fit diverges


def initial_state(weights: Any, optimizer: optax.GradientTransformation | None = None) -> State:
    """The state before the first step."""
    weights = jax.tree.map(jnp.asarray, weights)
    copies = jax.tree.map(jnp.copy, weights)
    steps, factor = jnp.zeros((), jnp.int32), jnp.ones((), jnp.float32)
    return State(weights, copies, (optimizer or OPTIMIZER).init(weights), steps, factor)


def schedule(config: TrainConfig, progress: float) -> float:
    """Learning rate at a given fraction of the run, 0 to 1: a linear warm-up, then a cosine.

    Example:
        >>> round(schedule(TrainConfig(), 1.0) / TrainConfig().learning_rate, 6)
        0.002
    """
    floor = config.final_learning_rate
    cosine = floor + (1 - floor) * 0.5 * (1 + np.cos(np.pi * progress))
    ramp = min(1.0, (progress + 1e-4) / config.warm_up) if config.warm_up else 1.0
    return float(config.learning_rate * cosine * ramp)


def differences(potential: Potential, batch: Batch, labels: BatchLabels) -> Differences:
    """Predictions minus labels."""
    atoms, forces, stress = potential.mechanics(batch)
    volumes = jnp.abs(jnp.linalg.det(batch.cells)) / labels.n_atoms
    return Differences(
        energy=(per_structure(batch, atoms) - labels.energy) / labels.n_atoms,
        forces=forces - labels.forces,
        virial=(stress - labels.stress) * volumes[:, None, None],
        has_energy=labels.has_energy,
        has_forces=labels.has_forces,
        has_virial=labels.has_stress,
    )


def weighted_loss(weighting: Weighting) -> Loss:
    """``weighted_error``, with an energy weight that changes geometrically during the fit."""
    return _WeightedLoss(weighting)


class _WeightedLoss(NamedTuple):
    """Compared by its settings, so that fits with the same settings share a compiled program."""

    weighting: Weighting

    def __call__(self, potential: Potential, batch: Batch, labels: BatchLabels) -> Array:
        found = differences(potential, batch, labels)
        energy = self.weighting.energy_at(labels.progress)
        return weighted_error(found, self.weighting, energy, labels.scale)


def labelled(
    rows: Bucket, present: Array, elements: Array, scale: Array | float, progress: Array | float
) -> tuple[Batch, BatchLabels]:
    """The ``present`` structures of a bucket as a batch, and their labels."""
    n_structures, n_atoms = rows.species.shape
    counts = (rows.has_forces & present)[:, None] & rows.atom_mask
    labels = BatchLabels(
        energy=rows.energy,
        has_energy=present,
        forces=rows.forces.reshape(n_structures * n_atoms, 3),
        has_forces=counts.reshape(-1),
        stress=rows.stress,
        has_stress=rows.has_stress & present,
        n_atoms=jnp.maximum(jnp.sum(rows.atom_mask, 1), 1).astype(rows.energy.dtype),
        scale=jnp.asarray(scale, rows.energy.dtype),
        progress=jnp.asarray(progress, rows.energy.dtype),
    )
    return as_batch(rows, elements, present), labels


class Rules(NamedTuple):
    """The static part of a step: hashable."""

    loss: Loss
    optimizer: optax.GradientTransformation | None  # None: the default, with the scheduled rate
    ema: float


@partial(jax.jit, static_argnums=0, donate_argnums=2)
def train_step(
    rules: Rules,
    potential: Potential,
    state: State,
    rows: Bucket,
    elements: Array,
    present: Array,
    scale: Array,
    rate: Array,
    progress: Array,
) -> tuple[State, Array]:
    """One step on the ``present`` structures; returns the new state and the loss.

    Args:
        rules: static.
        potential: without reference energies; its weights are those of the state.
        state: donated.
        rows, elements, present: as for ``labelled``.
        scale: size of the forces in the training data, eV/Å.
        rate: learning rate of the default optimiser.
        progress: fraction of the fit.
    """
    batch, labels = labelled(rows, present, elements, scale, progress)

    def objective(weights):
        return rules.loss(potential.with_weights(weights), batch, labels)

    value, slopes = jax.value_and_grad(objective)(state.weights)
    return updated(state, slopes, rate, rules.ema, rules.optimizer), value


def updated(
    state: State,
    slopes: Any,
    rate: Array,
    ema: float,
    optimizer: optax.GradientTransformation | None = None,
) -> State:
    """The state after one step along the gradient of the loss."""
    with jax.numpy_dtype_promotion("standard"):  # Optax mixes integers and floats
        rule = optimizer or OPTIMIZER
        updates, of_optimizer = rule.update(slopes, state.optimizer, state.weights)
    rate = state.factor * (-rate if optimizer is None else 1)
    weights = jax.tree.map(lambda w, u: w + rate.astype(w.dtype) * u, state.weights, updates)
    steps = state.steps + 1
    done = steps.astype(jnp.float32)
    share = 1 - jnp.minimum(ema, (1 + done) / (10 + done))
    averaged = jax.tree.map(
        lambda a, w: a + share.astype(w.dtype) * (w - a), state.averaged, weights
    )
    return State(weights, averaged, of_optimizer, steps, state.factor)
