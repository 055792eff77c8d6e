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


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def local_energies(energy, weights, vectors, species, mask, center) -> Array:
    """``energy`` of every environment, [C], in blocks that stay in the cache of a core.

    When differentiated with respect to the vectors, value and gradient are computed in one pass.
    """
    return _blocks(partial(energy, weights), vectors, species, mask, center)


@partial(local_energies.defjvp, symbolic_zeros=True)
def _local_energies_jvp(energy, primals, tangents):
    weights, *environments = primals
    weights_change, vectors_change = tangents[:2]
    if isinstance(vectors_change, SymbolicZero):
        values = _blocks(partial(energy, weights), *environments)
        change = jnp.zeros_like(values)
    else:
        of_atom = jax.value_and_grad(partial(energy, weights))
        values, slopes = _blocks(of_atom, *environments)
        change = jnp.sum(slopes * vectors_change, (1, 2))
    if not all(isinstance(leaf, SymbolicZero) for leaf in jax.tree.leaves(weights_change)):
        weights_change = jax.tree.map(_instantiated, weights, weights_change)
        of_weights = lambda w: _blocks(partial(energy, w), *environments)  # noqa: E731
        change += jax.jvp(of_weights, (weights,), (weights_change,))[1]
    return values, change


def _blocks(function, *environments):
    return map_blocks(function, environments, ATOMS_A_BLOCK)


def _instantiated(array, change):
    return jnp.zeros_like(array) if isinstance(change, SymbolicZero) else change
