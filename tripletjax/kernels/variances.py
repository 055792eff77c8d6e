"""Prior and posterior variances of energies and forces.

Let φ be the sums over a structure of some functions of environments, of which labels determine
linear combinations. The posterior variance of a prediction with prior variance v k** is

    v (k** - |P φ|²) + |Q φ|²,

where P whitens the functions and Q, if present, is a root of their remaining covariance.
"""

from collections.abc import Callable
from functools import partial
from math import gcd
from typing import Any

import jax
import jax.numpy as jnp

from tripletjax.descriptors.jacobians import environment_jacobian
from tripletjax.descriptors.protocol import EnvironmentDescriptor
from tripletjax.kernels.designs import environment_vectors, environments_within
from tripletjax.kernels.environments import EnvironmentKernel, same_species
from tripletjax.potentials.mechanics import per_structure
from tripletjax.types import Array, Batch

ATOMS_AT_ONCE = 8  # atoms whose derivatives are computed together
SumsOf = Callable[[Array, Array], Array]  # Σ_i φ(p_i) [M] of vectors [N, D] and species [N]


def prior_energy_variances(
    describer: EnvironmentDescriptor, kernel: EnvironmentKernel, scale: Array, batch: Batch
) -> Array:
    """K(S, S) = Σ_ij δ(species) k(p_i, p_j) of every structure, [S]."""
    vectors, kinds = environment_vectors(describer, batch)
    vectors = vectors / jnp.asarray(scale, vectors.dtype)
    structure = jnp.asarray(batch.structure)[batch.centers]
    related = same_species(kinds, kinds) & (structure[:, None] == structure)
    return per_structure(batch, jnp.sum(jnp.where(related, kernel.matrix(vectors, vectors), 0), 1))


def energy_sums(
    describer: EnvironmentDescriptor, sums_of: SumsOf, scale: Array, batch: Batch
) -> Array:
    """φ of every structure, [S, M]."""
    vectors, kinds = environment_vectors(describer, batch)
    vectors = vectors / jnp.asarray(scale, vectors.dtype)
    structure = jnp.asarray(batch.structure)[batch.centers]

    def of_structure(index):
        return sums_of(vectors, jnp.where(structure == index, kinds, -1))

    return jax.lax.map(of_structure, jnp.arange(len(batch.cells), dtype=structure.dtype))


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
    """∂²K(S, S') / ∂r_a ∂r'_a at S' = S for every coordinate of every atom, [A, 3] 1/Å²."""

    def along(vectors, kinds, tangents):
        return mixed_derivative(kernel, vectors, tangents, same_species(kinds, kinds))

    return _over_coordinates(describer, scale, batch, along)


def force_sums(
    describer: EnvironmentDescriptor,
    kernel: EnvironmentKernel,
    sums_of: SumsOf,
    scale: Array,
    batch: Batch,
) -> tuple[Array, Array]:
    """``prior_force_variances`` [A, 3], and -dφ/dr [A, 3, M]."""

    def along(vectors, kinds, tangents):
        prior = mixed_derivative(kernel, vectors, tangents, same_species(kinds, kinds))
        slopes = jax.jvp(lambda p: sums_of(p, kinds), (vectors,), (tangents,))[1]
        return prior, -slopes

    return _over_coordinates(describer, scale, batch, along)


def _over_coordinates(
    describer: EnvironmentDescriptor, scale: Array, batch: Batch, function: Callable[..., Any]
) -> Any:
    """A function of environments and their derivatives, [A, 3, ...]; zero on padding.

    Only the environments that an atom is in, its own and its neighbours', depend on its position:
    ``function`` gets their vectors [K + 1, D], species [K + 1], -1 where there is none, and
    derivatives [K + 1, D]. All atoms must be centres.
    """
    found = environments_within(batch, describer)
    dtype = found.vectors.dtype
    scale = jnp.asarray(scale, dtype)
    centers, neighbors = jnp.asarray(batch.centers), jnp.asarray(batch.neighbors)
    n_atoms = len(batch.positions)
    place = jnp.where(batch.center_mask, centers, n_atoms)  # padding is dropped
    row_of = jnp.zeros(n_atoms, jnp.int32)
    row_of = row_of.at[place].set(jnp.arange(len(centers), dtype=jnp.int32), mode="drop")
    differentiate = lambda environment: environment_jacobian(describer, *environment)  # noqa: E731
    vectors, slopes = jax.lax.map(differentiate, found[:4])  # [C, D], [C, K, 3, D]

    def of_atom(atom):
        own = row_of[atom]
        rows = jnp.concatenate([own[None], row_of[neighbors[own]]])  # [K + 1]
        is_real = jnp.concatenate([jnp.ones(1, bool), found.mask[own]])
        copies = (rows[:, None] == rows) & is_real[None]  # images of one atom are one environment
        is_first = is_real & (jnp.argmax(copies, 1) == jnp.arange(len(rows)))
        moves = ((neighbors[rows] == atom) & found.mask[rows]).astype(dtype)
        moves = moves - (centers[rows] == atom).astype(dtype)[:, None]  # [K + 1, K]
        kinds = jnp.where(is_first, found.center[rows], -1)
        moved = jnp.einsum("rk,rkad->ard", moves, slopes[rows], precision="highest") / scale
        return jax.vmap(partial(function, vectors[rows] / scale, kinds))(moved)

    atoms = jnp.arange(n_atoms, dtype=jnp.int32).reshape(-1, gcd(n_atoms, ATOMS_AT_ONCE))
    values = jax.lax.map(jax.vmap(of_atom), atoms)

    def masked(array):
        array = array.reshape(n_atoms, *array.shape[2:])
        is_atom = jnp.asarray(batch.atom_mask).reshape(-1, *([1] * (array.ndim - 1)))
        return jnp.where(is_atom, array, 0)

    return jax.tree.map(masked, values)
