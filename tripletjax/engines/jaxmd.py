"""Fitted potentials in jax-md's own convention, for its integrators and minimisers.

The lists are those of ``jaxmd_lists``; the energy is NaN where a list cannot hold all neighbours.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.engines.jaxmd_lists import (
    BoxedLists,
    as_jax_md_computes,
    partition,
    require_box,
)
from tripletjax.potentials.base import Potential
from tripletjax.potentials.checks import require_potential
from tripletjax.potentials.precision import of_type
from tripletjax.types import Array, Environments, InputError, as_number

SKIN = 0.5  # Å
OPTIONS = ("capacity_multiplier", "disable_cell_list")


def neighbor_list(
    displacement: Callable,
    box: Any,
    potential: Potential,
    species: Any,
    *,
    dr_threshold: float = SKIN,
    fractional_coordinates: bool = False,
    **options: Any,
) -> tuple[Any, Callable, Callable]:
    """A neighbour list, parameters and energy as jax-md's energy functions have them.

    Only the nearest image of an atom is a neighbour there: in a periodic box each two opposite
    faces must be two cutoffs apart. A smaller one is refused. Under ``jit``, where nothing can be
    refused, energy and forces are NaN with a box that became too small or, since the list was made,
    shrank by more than the threshold, and with a list that overflowed.

    Args:
        displacement: from ``jax_md.space``: ``free``, ``periodic`` or ``periodic_general``.
        box: Å, side, sides, or an upper triangular matrix with lattice vectors as columns; None
            with ``free``.
        potential: the potential.
        species: ``[N]`` atomic numbers.
        dr_threshold: Å that atoms may move before the list is made anew, counting both of a pair.
        fractional_coordinates: as given to ``periodic_general``.
        options: ``capacity_multiplier`` and ``disable_cell_list`` of
            ``jax_md.partition.neighbor_list``.

    Returns:
        ``neighbor_fn`` with ``allocate`` and ``update``; ``init_fn(key, R, neighbor)``, the fitted
        parameters; and ``energy_fn(params, R, neighbor, **kwargs)``, eV with the reference
        energies, which takes ``box=``, ``new_box=`` and ``perturbation=``. Its gradients are the
        forces; the stress of ``jax_md.quantity.stress`` has the other sign than ASE's.

    Raises:
        InputError: a species that the potential does not know, a box that is too small or not
            upper triangular, or an option that the energy needs as it is.

    Example:
        >>> from tripletjax.potentials.network import Architecture
        >>> from tripletjax.potentials.triplet import untrained
        >>> sizes = Architecture(cutoff=3.0, l_max=1, n_radial=2, channels=2, units=4, width=4)
        >>> model = untrained([1], sizes)
        >>> displacement = lambda a, b, **kwargs: a - b  # that of space.free()
        >>> neighbor_fn, init_fn, energy_fn = neighbor_list(displacement, None, model, [1, 1])
        >>> at = jnp.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.74]])
        >>> neighbor = neighbor_fn.allocate(at)
        >>> params = init_fn(jax.random.key(0), at, neighbor)
        >>> jax.jit(jax.grad(energy_fn, 1))(params, at, neighbor).shape
        (2, 3)
    """
    require_potential(potential)
    for name in options:
        if name not in OPTIONS:
            raise InputError(
                f"{name} cannot be given: the energy needs it as it is; known are "
                f"{', '.join(OPTIONS)}"
            )
    dr_threshold = as_number("dr_threshold", dr_threshold, low=0.0, unit="Å")
    indices = _species_indices(potential, species)
    if box is not None:
        require_box(box, potential.cutoff + dr_threshold)
    # Lists for real coordinates in a matrix never use cells, but jax-md would refuse box= then.
    without_cells = box is None or (np.ndim(box) == 2 and not fractional_coordinates)
    without_cells = without_cells or options.get("disable_cell_list", False)
    lists = BoxedLists(
        displacement,
        box,
        potential.cutoff,
        dr_threshold,
        fractional_coordinates,
        options | {"disable_cell_list": without_cells},
    ).with_inner()
    energy = ListEnergy(potential, lists, indices)
    functions = partition().NeighborListFns(lists.allocate, lists.update)
    return functions, energy.init, jax.jit(energy.total)


@dataclass(frozen=True, eq=False)
class ListEnergy:
    """The energy of a potential by jax-md's neighbour lists.

    Args:
        potential: with its reference energies.
        lists: what made the lists.
        indices: ``[N]`` of each atom's species among those of the potential.
    """

    potential: Potential
    lists: BoxedLists
    indices: np.ndarray

    def init(self, key: Any, position: Array, neighbor: Any, **kwargs: Any) -> Any:
        """The fitted parameters, in the dtype of the positions: nothing is drawn."""
        del key, neighbor, kwargs
        return of_type(self.potential.weights, jnp.asarray(position).dtype)

    def total(self, params: Any, position: Array, neighbor: Any, **kwargs: Any) -> Array:
        """Energy of all atoms, eV; NaN where the list is not complete."""
        index = neighbor.idx
        if index.shape[1] == 0:  # one atom alone
            index = jnp.full((len(position), 1), len(position), index.dtype)
        is_real = index < len(position)
        safe = jnp.where(is_real, index, 0)
        # jax-md's displacement points from its second argument to its first.
        pair = lambda a, b: self.lists.displacement(b, a, **kwargs)  # noqa: E731
        of_pairs = jax.vmap(jax.vmap(pair, (None, 0)), (0, 0))
        with as_jax_md_computes():
            vectors = of_pairs(position, position[safe])
            matrix = self.lists.matrix_of(kwargs, position.dtype)
            is_complete = self.lists.is_complete(neighbor, matrix)
        species = jnp.asarray(self.indices)
        environments = Environments(vectors, species[safe], is_real, species, safe)
        bare = self.potential.without_references.with_weights(params)
        atoms = bare.environment_energies(environments, jnp.ones(len(position), bool))
        total = jnp.sum(atoms) + jnp.asarray(self._reference(), atoms.dtype)
        # A factor, so that forces are NaN too.
        return total * jnp.where(is_complete, 1, jnp.nan).astype(total.dtype)

    def _reference(self) -> float:
        """Sum of the reference energies, eV."""
        return float(self.potential.species_references[self.indices].sum())


def _species_indices(potential: Potential, species: Any) -> np.ndarray:
    """Index of each atom's species among those of the potential, [N]."""
    species = np.asarray(species, np.int32)
    unknown = ~np.isin(species, potential.species)
    if unknown.any():
        raise InputError(
            f"atom {int(np.argmax(unknown))} has atomic number {species[unknown][0]}, but the "
            f"potential knows only {list(potential.species)}; fit it to this species too"
        )
    return np.searchsorted(potential.species, species).astype(np.int32)
