"""Energies of atoms in blocks of one species each, where weights differ between species."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from tripletjax.types import Array

# (weights, index of the species, vectors [B, K, 3], species [B, K], mask [B, K]) ->
# energies [B] and their derivatives [B, K, 3]
OfBlock = Callable[[Any, int, Array, Array, Array], tuple[Array, Array]]


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def block_energies(
    of_block: OfBlock, n_species: int, weights: Any, vectors, species, mask, center
) -> Array:
    """Energies of environments [C] by a function that returns their derivatives with them.

    Those of a species beyond the last are zero.

    Args:
        of_block: energies and derivatives of some environments whose centres are of one species.
        n_species: number of species of the centres.
        weights: a pytree.
        vectors, species, mask, center: environments, [C, K, 3], [C, K], [C, K] and [C].

    Example:
        >>> def half_squares(weights, kind, vectors, species, mask):
        ...     return weights[kind] * jnp.sum(vectors**2, (1, 2)) / 2, weights[kind] * vectors
        >>> mask = jnp.ones((3, 1), bool)
        >>> atoms = jnp.ones((3, 1, 3)), jnp.zeros((3, 1), int), mask, jnp.array([1, 0, 1])
        >>> block_energies(half_squares, 2, jnp.array([2.0, 4.0]), *atoms).tolist()
        [6.0, 3.0, 6.0]
    """
    return _by_species(of_block, n_species, weights, vectors, species, mask, center)[0]


@partial(block_energies.defjvp, symbolic_zeros=True)
def _block_energies_jvp(of_block, n_species, primals, tangents):
    weights, *environments = primals
    weights_change, vectors_change = tangents[:2]
    values, slopes = _by_species(of_block, n_species, weights, *environments)
    if isinstance(vectors_change, SymbolicZero):
        change = jnp.zeros_like(values)
    else:
        change = jnp.sum(slopes * vectors_change, (1, 2))
    if not all(isinstance(leaf, SymbolicZero) for leaf in jax.tree.leaves(weights_change)):
        weights_change = jax.tree.map(
            lambda array, d: jnp.zeros_like(array) if isinstance(d, SymbolicZero) else d,
            weights,
            weights_change,
        )
        of_weights = lambda w: _by_species(of_block, n_species, w, *environments)[0]  # noqa: E731
        change += jax.jvp(of_weights, (weights,), (weights_change,))[1]
    return values, change


def block_size(count: int) -> int:
    """Atoms in a block, for a number of atoms: few for one molecule, more for large products.

    Example:
        >>> block_size(12), block_size(200), block_size(5000)
        (8, 32, 64)
    """
    return 8 if count < 32 else 32 if count < 512 else 64


def species_blocks(center: Array, n_species: int, size: int) -> tuple[Array, Array]:
    """Rows of environments sorted by species, in blocks of one species.

    Args:
        center: ``[C]`` index of the species of each environment; E: it is left out.
        n_species: E.
        size: B, rows in a block.

    Returns:
        Rows ``[L, B]``, C on padding, and the species of each block ``[L]``, E if it is empty.

    Example:
        >>> rows, kinds = species_blocks(jnp.array([1, 0, 1, 1]), 2, 2)
        >>> rows.tolist(), kinds.tolist()
        ([[1, 4], [0, 2], [3, 4]], [0, 1, 1])
    """
    count = len(center)
    n_blocks = (count + n_species * (size - 1)) // size
    order = jnp.argsort(center, stable=True)
    members = jnp.bincount(center, length=n_species)
    ends = jnp.cumsum(-(-members // size))  # of the blocks of each species
    block = jnp.arange(n_blocks)
    kinds = jnp.searchsorted(ends, block, side="right")
    kind = jnp.minimum(kinds, n_species - 1)
    before = ends[kind] + members[kind] // -size
    slot = (block - before)[:, None] * size + jnp.arange(size)  # among those of the species
    first = (jnp.cumsum(members) - members)[kind]
    place = jnp.clip(first[:, None] + slot, 0, count - 1)
    is_real = (slot < members[kind][:, None]) & (kinds < n_species)[:, None]
    return jnp.where(is_real, order[place], count), kinds


def _by_species(of_block, n_species, weights, vectors, species, mask, center):
    """Energies [C] and derivatives [C, K, 3]."""
    count = len(center)
    rows, kinds = species_blocks(center, n_species, block_size(count))

    def of_kind(kind):
        return lambda weights, *block: of_block(weights, kind, *block)

    def empty(weights, vectors, species, mask):
        return jnp.zeros(len(vectors), vectors.dtype), jnp.zeros_like(vectors)

    branches = [*map(of_kind, range(n_species)), empty]

    @jax.checkpoint
    def of_rows(row, kind):
        block = (jnp.take(array, row, 0, mode="clip") for array in (vectors, species, mask))
        return jax.lax.switch(kind, branches, weights, *block)

    found = jax.lax.map(lambda block: of_rows(*block), (rows, kinds))
    place = rows.ravel()
    return tuple(
        jnp.zeros((count, *part.shape[2:]), part.dtype)
        .at[place]
        .set(part.reshape(-1, *part.shape[2:]), mode="drop")
        for part in found
    )
