"""Kernels that are functions of two environments as they are, without a descriptor.

An environment is written as one vector: the index of the centre's species, then for each of K
neighbours its vector in Å, the index of its species, and one, or zeros on padding.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from tripletjax.checks import reason_of
from tripletjax.descriptors.protocol import checked_elements
from tripletjax.kernels.algebra import Combinable, KernelOf
from tripletjax.types import Array, InputError, as_positive

NUMBERS = 5  # for each neighbour


class Neighborhood(NamedTuple):
    """The environment of one atom, as a kernel gets it."""

    vectors: Array  # [K, 3] Å, from the centre to its neighbours; zero on padding
    species: Array  # [K] index of each neighbour's species
    mask: Array  # [K] False on padding
    center: Array  # index of the centre's species

    def distances(self) -> Array:
        """Å, [K]; one on padding. They have derivatives everywhere.

        Example:
            >>> one = Neighborhood(jnp.zeros((2, 3)), jnp.zeros(2, int), jnp.zeros(2, bool), 0)
            >>> one.distances().tolist()
            [1.0, 1.0]
        """
        along_x = jnp.zeros_like(self.vectors).at[:, 0].set(1)
        return jnp.linalg.norm(jnp.where(self.mask[:, None], self.vectors, along_x), axis=-1)


@dataclass(frozen=True)
class Written:
    """Environments as vectors, [1 + 5K]; an ``EnvironmentDescriptor`` of any length."""

    elements: tuple[int, ...]
    cutoff: float  # Å

    unit = 1.0  # of the vectors
    any_length = True

    def environment(self, vectors: Array, species: Array, mask: Array, center: Any) -> Array:
        """Write one environment, [1 + 5K]."""
        squares = jax.lax.stop_gradient(jnp.sum(vectors**2, -1))
        mask = mask & (squares < self.cutoff**2)
        labels = jnp.stack([jnp.asarray(species, vectors.dtype), mask.astype(vectors.dtype)], 1)
        numbers = jnp.where(mask[:, None], jnp.concatenate([vectors, labels], 1), 0)
        return jnp.concatenate([jnp.asarray(center, vectors.dtype)[None], numbers.ravel()])


@partial(jax.tree_util.register_dataclass, data_fields=[], meta_fields=["function", "cutoff"])
@dataclass(frozen=True)
class NeighborhoodKernel(Combinable):
    """A function of two ``Neighborhood`` that are written as vectors."""

    function: Callable[[Neighborhood, Neighborhood], Array]
    cutoff: float  # Å

    def matrix(self, a: Array, b: Array) -> Array:
        """k between all environments, rows of [N, 1 + 5K] and [M, 1 + 5L], [N, M]."""
        a, b = jnp.asarray(a), jnp.asarray(b)
        of_pair = lambda p, q: self.function(self._read(p), self._read(q))  # noqa: E731
        return jax.vmap(lambda p: jax.vmap(lambda q: of_pair(p, q))(b))(a)

    def label(self) -> str:
        """Name of the function."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    def _read(self, row: Array) -> Neighborhood:
        fixed = jax.lax.stop_gradient(row)
        numbers = row[1:].reshape(-1, NUMBERS)
        species, mask = fixed[1:].reshape(-1, NUMBERS)[:, 3:].T
        squares = jnp.sum(jax.lax.stop_gradient(numbers[:, :3]) ** 2, -1)
        mask = (mask > 0.5) & (squares < self.cutoff**2)
        return Neighborhood(
            jnp.where(mask[:, None], numbers[:, :3], 0),
            species.astype(jnp.int32),
            mask,
            fixed[0].astype(jnp.int32),
        )


def neighborhood_kernel(
    function: Callable[[Neighborhood, Neighborhood], Array],
    elements: Iterable[int],
    cutoff: float,
) -> KernelOf:
    """A kernel that is your own function of two environments.

    It is summed over all pairs of atoms of equal species, as all kernels; energies, forces, stress,
    their covariances and the deviations follow by differentiation.

    Args:
        function: ``function(first, second)`` of two ``Neighborhood``, of which the numbers of
            neighbours may differ: a pure function that gives a number. It is symmetric, positive
            semidefinite, the same for neighbours in any order and for rotated environments, does
            not change as a neighbour crosses the cutoff, and has finite derivatives on padding.
        elements: atomic numbers, ascending.
        cutoff: Å.

    Raises:
        InputError: not a function, or invalid elements or cutoff.

    Example:
        >>> from ase.build import molecule
        >>> from tripletjax.kernels import fit_full_potential
        >>> def similarity(first, second):
        ...     bonds = [jnp.sum(jnp.where(one.mask, (4 - one.distances()) ** 3, 0))
        ...              for one in (first, second)]
        ...     return jnp.exp(-((bonds[0] - bonds[1]) ** 2) / 200)
        >>> kernel = neighborhood_kernel(similarity, [1, 8], cutoff=4.0)
        >>> potential = fit_full_potential(molecule("H2O"), [1.5], kernel=kernel)
        >>> round(potential.energy(potential.prepare(molecule("H2O"))).item(), 3)
        1.5
    """
    if not callable(function) or isinstance(function, type):
        raise InputError(
            f"invalid kernel {function!r}: expected a function of two environments, "
            "function(first, second)"
        )
    cutoff = as_positive("cutoff", cutoff, "Å")
    written = Written(checked_elements(elements), cutoff)
    kernel = NeighborhoodKernel(function, cutoff)
    _require_number(kernel)
    return KernelOf(kernel, written)


def _require_number(kernel: NeighborhoodKernel) -> None:
    """Raise InputError unless a function takes two environments and gives a number, by tracing."""
    dtype = jnp.zeros(()).dtype
    shapes = [jax.ShapeDtypeStruct((1, 1 + NUMBERS * size), dtype) for size in (2, 3)]
    try:
        shape = jax.eval_shape(kernel.matrix, *shapes).shape[2:]
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"kernel {kernel.label()} failed for 2 and 3 neighbours: {reason_of(error)}; expected "
            "a function of two environments, each with vectors [K, 3], species [K], mask [K] "
            "and center"
        ) from error
    if shape:
        raise InputError(f"kernel {kernel.label()} gives an array {shape}: expected a number")
