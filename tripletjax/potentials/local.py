"""Energy models defined by a pure function of one environment."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from tripletjax.numerics import map_blocks
from tripletjax.types import Array, Environments, as_integer, as_positive

ATOMS_AT_ONCE = 512  # up to this number there are no blocks, and no values to be recomputed
ATOMS_A_BLOCK = 64  # intermediate values for this number stay in the cache of a core


@dataclass(frozen=True)
class LocalModel:
    """An energy model of independent environments; created by ``local_model``."""

    energy: Callable[..., Array]  # of (weights, vectors, species, mask, center), a number
    init: Callable[[int], Any]  # weights from a seed
    cutoff: float  # Å
    species: tuple[int, ...]  # atomic numbers, ascending

    def energies(self, weights: Any, environments: Environments) -> Array:
        """Energy of every atom, [C]."""
        return local_energies(self.energy, weights, *environments[:4])


def local_model(
    energy: Callable[..., Array],
    init: Callable[[int], Any],
    cutoff: float,
    species: Iterable[int],
) -> LocalModel:
    """Create an energy model from the energy of one atom as a function of its environment.

    Args:
        energy: a pure function ``energy(weights, vectors, species, mask, center)`` of vectors
            [K, 3] in Å from the centre to its neighbours in any order, their species [K] as indices
            into ``species``, mask [K], and the index of the centre's species; a scalar with finite
            derivatives on padding (where vectors are zero).
        init: ``init(seed)`` returns weights, a pytree of arrays.
        cutoff: Å.
        species: atomic numbers.

    Raises:
        InputError: invalid cutoff or species.

    Example:
        >>> def morse(weights, vectors, species, mask, center):
        ...     r = jnp.linalg.norm(jnp.where(mask[:, None], vectors, 1.0), axis=-1)
        ...     bond = (1 - jnp.exp(-weights["width"] * (r - 0.74))) ** 2 - 1
        ...     return 0.5 * weights["depth"] * jnp.sum(jnp.where(mask, bond, 0))
        >>> init = lambda seed: {"width": jnp.array(1.9), "depth": jnp.array(4.7)}
        >>> local_model(morse, init, cutoff=4.0, species=[1]).species
        (1,)
    """
    numbers = sorted({as_integer("species", number, 0, 118) for number in species})
    return LocalModel(energy, init, as_positive("cutoff", cutoff, "Å"), tuple(numbers))


def map_atoms(function, arrays):
    """``vmap(function)(*arrays)``, by blocks of atoms if there are many (``map_blocks``).

    A fit to structures of a few hundred atoms is faster without blocks, which would be computed
    twice, and so is its compilation; memory does not grow with the number of atoms beyond.
    """
    count = len(jax.tree.leaves(arrays)[0])
    return map_blocks(function, arrays, count if count <= ATOMS_AT_ONCE else ATOMS_A_BLOCK)


def local_energies(energy, weights, inputs, species, mask, center) -> Array:
    """``energy`` of every environment, [C], in blocks that stay in the cache of a core.

    ``inputs`` are the vectors, or a pytree of these and other numbers of each environment. When
    differentiated with respect to them, value and gradient are computed in one pass.
    """

    def values(weights, *environments):
        return map_atoms(partial(energy, weights), environments)

    def with_slopes(weights, *environments):
        of_atom = jax.value_and_grad(partial(energy, weights))
        return map_atoms(of_atom, environments)

    return energies_with_slopes(values, with_slopes, weights, inputs, species, mask, center)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def energies_with_slopes(values, with_slopes, weights, inputs, species, mask, center) -> Array:
    """Energies of independent environments, [C], whose slopes are computed with them.

    Args:
        values: of ``(weights, inputs, species, mask, center)``; returns energies [C].
        with_slopes: returns energies [C] and their derivatives, like ``inputs``.
        weights: a pytree.
        inputs: vectors [C, K, 3], or a pytree of arrays with a first axis [C].
        species, mask, center: of the environments, [C, K], [C, K] and [C].

    Example:
        >>> def squares(weights, vectors, *others):
        ...     return weights * jnp.sum(vectors**2, (1, 2))
        >>> def slopes(weights, vectors, *others):
        ...     return squares(weights, vectors), 2 * weights * vectors
        >>> atoms = jnp.ones((2, 1), int), jnp.ones((2, 1), bool), jnp.zeros(2, int)
        >>> total = lambda v: jnp.sum(energies_with_slopes(squares, slopes, 0.5, v, *atoms))
        >>> jax.grad(total)(jnp.full((2, 1, 3), 7.0)).ravel().tolist()
        [7.0, 7.0, 7.0, 7.0, 7.0, 7.0]
    """
    return values(weights, inputs, species, mask, center)


@partial(energies_with_slopes.defjvp, symbolic_zeros=True)
def _energies_with_slopes_jvp(values_of, with_slopes, primals, tangents):
    weights, *environments = primals
    weights_change, inputs_change = tangents[:2]
    if _is_zero(inputs_change):
        values = values_of(weights, *environments)
        change = jnp.zeros_like(values)
    else:
        values, slopes = with_slopes(weights, *environments)
        inputs_change = jax.tree.map(_instantiated, environments[0], inputs_change)
        products = jax.tree.map(_product, slopes, inputs_change)
        change = sum(jax.tree.leaves(products))
    if not _is_zero(weights_change):
        weights_change = jax.tree.map(_instantiated, weights, weights_change)
        of_weights = lambda w: values_of(w, *environments)  # noqa: E731
        change += jax.jvp(of_weights, (weights,), (weights_change,))[1]
    return values, change


def _is_zero(change) -> bool:
    return all(isinstance(leaf, SymbolicZero) for leaf in jax.tree.leaves(change))


def _instantiated(array, change):
    return jnp.zeros_like(array) if isinstance(change, SymbolicZero) else change


def _product(slopes, change):
    """Inner products of each environment, [C]."""
    return jnp.sum(slopes * change, tuple(range(1, slopes.ndim)))
