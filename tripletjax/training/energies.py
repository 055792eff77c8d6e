"""Energies, forces and stress as a task for the loop over epochs."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.potentials.base import Potential
from tripletjax.training.config import TrainConfig
from tripletjax.training.data import Bucket, take
from tripletjax.training.errors import Weighting, weighted_error
from tripletjax.training.metrics import compare
from tripletjax.training.step import State, schedule, train_step
from tripletjax.types import Array


class EnergyTask:
    """The fit of a potential; see ``loop.Task``."""

    def __init__(
        self,
        start: Potential,
        buckets: Sequence[Bucket],
        valid: Sequence[Bucket],
        config: TrainConfig,
    ):
        self.start, self.buckets, self.valid, self.config = start, buckets, valid, config
        self.static, (_, self.scale) = start.split()
        self.data = [jax.tree.map(jnp.asarray, bucket) for bucket in buckets]
        self.elements = jnp.asarray(start.species, jnp.int32)

    def step(
        self, state: State, number: int, index: np.ndarray, present: np.ndarray, done: float
    ) -> tuple[State, Array]:
        """One step; the energy's weight changes with what is ``done``."""
        rate, energy_weight = schedule(self.config, done)
        return train_step(
            self.static,
            Weighting.of(self.config),
            state,
            self.scale,
            take(self.data[number], index),
            self.elements,
            present,
            np.float32(rate),
            np.float32(energy_weight),
        )

    def validate(self, weights: Any) -> tuple[float, dict[str, float]]:
        """The score is the loss of all validation data, with the weights of the end of the run."""
        compared = compare(replace(self.start, weights=weights), self.valid)
        weighting, energy_weight = Weighting.of(self.config), self.config.final_energy_weight
        score = weighted_error(compared.differences(), weighting, energy_weight, self.start.scale)
        return float(score), compared.metrics()

    def summary(self, row: dict[str, float]) -> str:
        """Loss, and mean errors of energies, forces and stress."""
        text = f"loss {row['train_loss']:.4f}, {row['valid_energy_mae_mev_per_atom']:.2f} meV/atom"
        if "valid_force_mae_ev_per_A" in row:
            text += f", {row['valid_force_mae_ev_per_A'] * 1000:.1f} meV/Å"
        if "valid_stress_mae_mev_per_A3" in row:
            text += f", {row['valid_stress_mae_mev_per_A3']:.2f} meV/Å³"
        return text
