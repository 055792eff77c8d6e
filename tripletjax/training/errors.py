"""Weights of the errors of energies, forces and stress, in the loss and in validation."""

from typing import NamedTuple

import jax.numpy as jnp

from tripletjax.training.config import TrainConfig
from tripletjax.types import Array


class Weighting(NamedTuple):
    """The settings that the compiled step needs: hashable."""

    energy: float  # at the start
    final_energy: float
    forces: float
    stress: float
    huber: float

    @staticmethod
    def of(config: TrainConfig) -> "Weighting":
        """The weights of a configuration."""
        return Weighting(
            config.energy_weight,
            config.final_energy_weight,
            config.forces_weight,
            config.stress_weight,
            config.huber,
        )

    def energy_at(self, progress: Array | float) -> Array:
        """Weight of the energies at a given fraction of the fit, 0 to 1.

        Example:
            >>> weighting = Weighting.of(TrainConfig())
            >>> [round(float(weighting.energy_at(done)), 4) for done in (0, 1)]
            [1.0, 20.0]
        """
        return self.energy * (self.final_energy / self.energy) ** jnp.asarray(progress)


class Differences(NamedTuple):
    """Predictions minus labels, and masks of the valid ones; None: all."""

    energy: Array  # [F] eV per atom
    forces: Array  # [N, 3] eV/Å
    virial: Array  # [G, 3, 3] eV per atom: stress times volume per atom
    has_energy: Array | None = None  # [F]
    has_forces: Array | None = None  # [N]
    has_virial: Array | None = None  # [G]


def weighted_error(
    differences: Differences, weights: Weighting, energy_weight: Array | float, scale: Array | float
) -> Array:
    """w_E ⟨h(ΔE/N)⟩ + w_F ⟨h(|ΔF|)⟩ + w_S ⟨h(|ΔS| V/N)⟩, with errors divided by a scale.

    h(x) = √(x² + δ²) - δ is the pseudo-Huber function, with x the error of the energy per atom in
    eV, the length of the error of the force in eV/Å, and the norm of the error of the virial per
    atom in eV. The scale is the size of the forces in the data. Each mean is over the valid
    entries, and zero if there are none.
    """
    delta, dtype = weights.huber, jnp.asarray(differences.energy).dtype
    inverse = 1 / jnp.asarray(scale, dtype)

    def mean(errors, counts):
        """⟨h⟩ over rows of components."""
        errors = jnp.asarray(errors, dtype) * inverse
        squared = jnp.sum(errors**2, tuple(range(1, errors.ndim)))
        values = jnp.sqrt(squared + delta**2) - delta
        counts = jnp.ones(len(values), dtype) if counts is None else counts.astype(dtype)
        return jnp.sum(values * counts) / jnp.maximum(jnp.sum(counts), 1)

    total = jnp.asarray(energy_weight, dtype) * mean(differences.energy, differences.has_energy)
    total += weights.forces * mean(differences.forces, differences.has_forces)
    return total + weights.stress * mean(differences.virial, differences.has_virial)
