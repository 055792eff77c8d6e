"""Rows of the design matrix of energies, forces and stress, without Jacobians of descriptors.

With columns φ_m, such as kernels with inducing environments, the energy is E = Σ_m Φ_E[m] α_m and

    Φ_E[m] = Σ_i φ_m(p_i),   Φ_F[m] = -dΦ_E[m]/dr,   Φ_σ[m] = (dΦ_E[m]/dε) / V.

The derivatives of φ_m(p_i) with respect to the vectors of an environment, [K, 3, M], are those of
p_i times those of φ_m, computed for one environment at a time and added to the rows: the Jacobian
of the descriptors of a structure is never formed.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from tripletjax.descriptors.jacobians import environment_jacobian
from tripletjax.descriptors.protocol import EnvironmentDescriptor
from tripletjax.kernels.environments import EnvironmentKernel, same_species
from tripletjax.kernels.span import Inducing, columns, columns_and_gradients
from tripletjax.neighbors import environments_of
from tripletjax.potentials.mechanics import per_structure
from tripletjax.types import Array, Batch, Environments, require_prepared


class Design(NamedTuple):
    """Rows of the design matrix of a batch: S structures, A atoms, M columns."""

    energy: Array  # [S, M]
    forces: Array  # [A, 3, M] 1/Å
    stress: Array  # [S, 3, 3, M] 1/Å³


def environments_within(batch: Batch, describer: EnvironmentDescriptor) -> Environments:
    """Environments of a batch with the species of a descriptor, and none beyond its cutoff."""
    found = environments_of(batch, describer.elements)
    squares = jax.lax.stop_gradient(jnp.sum(found.vectors**2, -1))
    return found._replace(mask=found.mask & (squares < describer.cutoff**2))


def environment_vectors(describer: EnvironmentDescriptor, batch: Batch) -> tuple[Array, Array]:
    """Vectors [C, D] of all environments of a batch and their species [C], -1 on padding."""
    require_prepared(batch, describer.cutoff, describer.elements, "the descriptor")
    found = environments_within(batch, describer)
    vectors = jax.vmap(describer.environment)(*found[:4])
    return vectors, jnp.where(batch.center_mask, found.center, -1)


def energy_rows(
    describer: EnvironmentDescriptor, kernel: EnvironmentKernel, inducing: Inducing, batch: Batch
) -> Array:
    """Φ_E[m] = Σ_i φ_m(p_i), [S, M]."""
    vectors, kinds = environment_vectors(describer, batch)
    values = columns(kernel, inducing, vectors / jnp.asarray(inducing.scale, vectors.dtype))
    values = jnp.where(same_species(kinds, inducing.column_kinds), values, 0)
    return per_structure(batch, values)


def design_rows(
    describer: EnvironmentDescriptor, kernel: EnvironmentKernel, inducing: Inducing, batch: Batch
) -> Design:
    """Φ_E, Φ_F and Φ_σ of all structures of a batch, in which every atom is a centre at most once.

    Args:
        describer: of D columns.
        kernel: between environments.
        inducing: M columns.
        batch: prepared with at least the describer's cutoff.

    Returns:
        A ``Design``, zero on padding; uses memory for [A, 3, M] and the derivatives of one
        environment.
    """
    kinds = inducing.column_kinds
    found = environments_within(batch, describer)
    dtype = found.vectors.dtype
    scale = jnp.asarray(inducing.scale, dtype)

    def kernels_of(environment, is_real):
        """δ(species) φ_m(p), [M], and minus its derivatives by the neighbours, [K, 3, M]."""
        vector, slopes = environment_jacobian(describer, *environment)
        values, gradients = columns_and_gradients(kernel, inducing, vector / scale)
        is_own = is_real & (kinds == environment[3])
        gradients = jnp.where(is_own[:, None], -gradients / scale, 0)
        moved = jnp.einsum("kad,md->kam", slopes, gradients, precision="highest")
        return jnp.where(is_own, values, 0), moved

    volumes = jnp.abs(jnp.linalg.det(jnp.asarray(batch.cells)))
    structure = jnp.asarray(batch.structure)[batch.centers]
    n_structures = len(batch.cells)

    def add(totals, row):
        environment, is_real, atom, neighbors, place = row
        values, moved = kernels_of(environment, is_real)
        energy = totals.energy.at[place].add(values)
        forces = totals.forces.at[neighbors].add(moved).at[atom].add(-jnp.sum(moved, 0))
        virial = jnp.einsum("kam,kb->abm", moved, environment[0], precision="highest")
        stress = totals.stress.at[place].add(-virial / volumes[place])
        return Design(energy, forces, stress), None

    start = Design(
        jnp.zeros((n_structures, len(kinds)), dtype),
        jnp.zeros((len(batch.positions), 3, len(kinds)), dtype),
        jnp.zeros((n_structures, 3, 3, len(kinds)), dtype),
    )
    rows = (
        found[:4],
        jnp.asarray(batch.center_mask),
        jnp.asarray(batch.centers),
        jnp.asarray(batch.neighbors),
        structure,
    )
    return jax.lax.scan(add, start, rows)[0]
