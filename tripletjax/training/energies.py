"""Energies, forces and stress as a task for the loop over epochs."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tripletjax.devices import device_mesh, divided
from tripletjax.potentials.base import Potential
from tripletjax.training.config import TrainConfig
from tripletjax.training.data import Bucket, pieces, take
from tripletjax.training.errors import Weighting, weighted_error
from tripletjax.training.metrics import compare
from tripletjax.training.step import (
    Loss,
    Rules,
    State,
    labelled,
    schedule,
    train_step,
    weighted_loss,
)
from tripletjax.types import Array


class EnergyTask:
    """The fit of a potential; see ``loop.Task``.

    Args:
        start: the potential to start from.
        buckets, valid: training and validation data.
        config: settings.
        scale: size of the forces in the training data, eV/Å.
        loss: a custom loss; None: ``weighted_loss``.
        optimizer: a custom optimiser; None: the default, with the learning rates of ``config``.
    """

    def __init__(
        self,
        start: Potential,
        buckets: Sequence[Bucket],
        valid: Sequence[Bucket],
        config: TrainConfig,
        scale: float,
        loss: Loss | None = None,
        optimizer: optax.GradientTransformation | None = None,
    ):
        self.start, self.buckets, self.valid, self.config = start, buckets, valid, config
        self.weighting, self.loss, self.scale = Weighting.of(config), loss, scale
        self.rules = Rules(loss or weighted_loss(self.weighting), optimizer, config.ema)
        self.bare = start.without_references
        self.data = [jax.tree.map(jnp.asarray, bucket) for bucket in buckets]
        self.elements = jnp.asarray(start.species, jnp.int32)
        self.mesh = device_mesh(config.devices)

    def step(
        self, state: State, number: int, index: np.ndarray, present: np.ndarray, done: float
    ) -> tuple[State, Array]:
        """One step; the weight of the energies depends on the fraction ``done``."""
        rows, present = self._rows(number, index, present)
        return train_step(
            self.rules,
            self.bare.with_weights(None),
            state,
            rows,
            self.elements,
            present,
            np.float32(self.scale),
            np.float32(schedule(self.config, done)),
            np.float32(done),
        )

    def _rows(self, number: int, index: np.ndarray, present: np.ndarray) -> tuple[Bucket, Any]:
        """Structures of a bucket and which are present, divided among the devices."""
        missing = -len(index) % self.mesh.size
        rows = take(self.data[number], np.pad(index, (0, missing)))
        if self.mesh.size == 1:
            return rows, present
        return divided((rows, np.pad(present, (0, missing))), self.mesh)

    def validate(self, weights: Any) -> tuple[float, dict[str, float]]:
        """The score is the loss of all validation data, with the final weights of the energies."""
        potential = self.start.with_weights(weights)
        compared = compare(potential, self.valid)
        if self.loss is None:
            errors, final = compared.differences(), self.config.final_energy_weight
            score = weighted_error(errors, self.weighting, final, self.scale)
        else:
            score = self._own_score(potential)
        return float(score), compared.metrics()

    def _own_score(self, potential: Potential) -> float:
        """Mean of a custom loss over the validation data."""
        scores, counts = [], []
        for rows, present in pieces(self.valid):
            scores.append(
                _score(self.rules.loss, potential, rows, present, self.elements, self.scale)
            )
            counts.append(present.sum())
        return float(np.average(scores, weights=counts))

    def summary(self, row: dict[str, float]) -> str:
        """Loss, and mean errors of energies, forces and stress."""
        text = f"loss {row['train_loss']:.4f}, {row['valid_energy_mae_mev_per_atom']:.2f} meV/atom"
        if "valid_force_mae_ev_per_A" in row:
            text += f", {row['valid_force_mae_ev_per_A'] * 1000:.1f} meV/Å"
        if "valid_stress_mae_mev_per_A3" in row:
            text += f", {row['valid_stress_mae_mev_per_A3']:.2f} meV/Å³"
        return text


@partial(jax.jit, static_argnums=0)
def _score(loss: Loss, potential: Potential, rows: Bucket, present, elements, scale):
    batch, labels = labelled(rows, present, elements, scale, 1.0)
    return loss(potential.without_references, batch, labels)
