"""Forces and stress from the derivatives of atomic energies."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from tripletjax.types import Array, Batch


class Predictions(NamedTuple):
    """Predictions for a batch of S structures with A atoms, including padding."""

    energy: Array  # [S] eV
    forces: Array  # [A, 3] eV/Å, zero on padding
    stress: Array  # [S, 3, 3] eV/Å³; for structures with three periodic directions


class Mechanics(NamedTuple):
    """Energies of atoms without reference energies, and their derivatives; including padding."""

    atoms: Array  # [C] eV, zero on padding
    forces: Array  # [A, 3] eV/Å, zero on padding
    stress: Array  # [S, 3, 3] eV/Å³; for structures with three periodic directions


class AtomicMechanics(NamedTuple):
    """What engines need that share the atoms of one system; including padding."""

    atoms: Array  # [C] eV, without reference energies, zero on padding
    forces: Array  # [A, 3] eV/Å, zero on padding
    virials: Array  # [C, 3, 3] eV, Σ_j dE/dr_ij ⊗ r_ij of every environment; their sum is dE/dε


class Deviations(NamedTuple):
    """Standard deviations of predictions, without the noise of the labels."""

    energy: Array  # [S] eV
    forces: Array  # [A, 3] eV/Å, zero on padding


def per_structure(batch: Batch, values: Array) -> Array:
    """Sums over the environments of each structure: values [C, ...] to [S, ...]."""
    structure = jnp.asarray(batch.structure)[batch.centers]
    return jax.ops.segment_sum(values, structure, len(batch.cells))


def forces_of(batch: Batch, slopes: Array) -> Array:
    """F_i = -dE/dr_i, [A, 3] eV/Å.

    Args:
        batch: from ``prepare``.
        slopes: ``[C, K, 3]`` dE / dr_ij, zero on padding.
    """
    forces = jnp.zeros_like(jnp.asarray(batch.positions))
    forces = forces.at[batch.centers].add(jnp.sum(slopes, 1))
    return forces.at[batch.neighbors].add(-slopes)


def virials_of(slopes: Array, vectors: Array) -> Array:
    """Σ_j dE/dr_ij ⊗ r_ij of every environment, [C, 3, 3] eV."""
    return jnp.einsum("cka,ckb->cab", slopes, vectors, precision="highest")


def stress_of(batch: Batch, virials: Array) -> Array:
    """dE/dε / V, [S, 3, 3] eV/Å³, with ε a strain of positions and cell.

    The sign is ASE's: positive under tension.
    """
    volumes = jnp.abs(jnp.linalg.det(jnp.asarray(batch.cells)))
    return per_structure(batch, virials) / volumes[:, None, None]
