"""Variances of energies and forces before any data: the kernel of a structure with itself."""

import jax
import jax.numpy as jnp

from tripletjax.descriptors.protocol import EnvironmentDescriptor
from tripletjax.kernels.designs import environment_vectors
from tripletjax.kernels.environments import EnvironmentKernel, same_species
from tripletjax.neighbors import environments_of
from tripletjax.potentials.mechanics import per_structure
from tripletjax.types import Array, Batch


def prior_energy_variances(
    describer: EnvironmentDescriptor, kernel: EnvironmentKernel, scale: Array, batch: Batch
) -> Array:
    """K(S, S) = Σ_ij δ(species) k(p_i, p_j) of every structure, [S]."""
    vectors, kinds = environment_vectors(describer, batch)
    vectors = vectors / jnp.asarray(scale, vectors.dtype)
    structure = jnp.asarray(batch.structure)[batch.centers]
    related = same_species(kinds, kinds) & (structure[:, None] == structure)
    return per_structure(batch, jnp.sum(jnp.where(related, kernel.matrix(vectors, vectors), 0), 1))


def mixed_derivative(
    kernel: EnvironmentKernel, vectors: Array, tangents: Array, related: Array
) -> Array:
    """∂²/∂s∂t Σ_ij k(p_i + s p'_i, p_j + t p'_j) over the related pairs, at s = t = 0.

    Args:
        kernel: between environments.
        vectors, tangents: ``[N, D]`` p and p'.
        related: ``[N, N]``.
    """

    def total(a, b):
        return jnp.sum(jnp.where(related, kernel.matrix(a, b), 0))

    def along_second(a):
        return jax.jvp(lambda b: total(a, b), (vectors,), (tangents,))[1]

    return jax.jvp(along_second, (vectors,), (tangents,))[1]


def prior_force_variances(
    describer: EnvironmentDescriptor, kernel: EnvironmentKernel, scale: Array, batch: Batch
) -> Array:
    """∂²K(S, S') / ∂r_a ∂r'_a at S' = S for every coordinate of every atom, [A, 3] 1/Å².

    Only the environments that an atom is in, its own and its neighbours', depend on its position:
    these are moved together along one direction at a time. All atoms must be centres.
    """
    found = environments_of(batch, describer.elements)
    dtype = found.vectors.dtype
    scale = jnp.asarray(scale, dtype)
    centers, neighbors = jnp.asarray(batch.centers), jnp.asarray(batch.neighbors)
    n_atoms = len(batch.positions)
    place = jnp.where(batch.center_mask, centers, n_atoms)  # padding is dropped
    row_of = jnp.zeros(n_atoms, jnp.int32)
    row_of = row_of.at[place].set(jnp.arange(len(centers), dtype=jnp.int32), mode="drop")
    describe = jax.vmap(describer.environment)

    def of_atom(atom):
        own = row_of[atom]
        rows = jnp.concatenate([own[None], row_of[neighbors[own]]])  # [K + 1]
        is_real = jnp.concatenate([jnp.ones(1, bool), found.mask[own]])
        copies = (rows[:, None] == rows) & is_real[None]  # images of one atom are one environment
        is_first = is_real & (jnp.argmax(copies, 1) == jnp.arange(len(rows)))
        local = jax.tree.map(lambda array: array[rows], found)
        moves = ((neighbors[rows] == atom) & local.mask).astype(dtype)
        moves = moves - (centers[rows] == atom).astype(dtype)[:, None]  # [K + 1, K]
        kinds = jnp.where(is_first, local.center, -1)
        related = same_species(kinds, kinds)

        def along(axis):
            tangent = moves[..., None] * axis
            vectors, slopes = jax.jvp(
                lambda v: describe(v, *local[1:4]) / scale, (local.vectors,), (tangent,)
            )
            return mixed_derivative(kernel, vectors, slopes, related)

        return jax.vmap(along)(jnp.eye(3, dtype=dtype))

    found_variances = jax.lax.map(of_atom, jnp.arange(n_atoms, dtype=jnp.int32))
    return jnp.where(jnp.asarray(batch.atom_mask)[:, None], found_variances, 0)
