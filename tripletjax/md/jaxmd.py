"""Fitted potentials in jax-md's own convention, for its integrators and minimisers."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.numerics import map_blocks
from tripletjax.potential import ATOMS_A_BLOCK, Potential
from tripletjax.types import Array, InputError

SKIN = 0.5  # Å


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
    faces must be two cutoffs apart. A smaller one is refused; where it became so under ``jit``, as
    a barostat may shrink it, the energy is NaN.

    Args:
        displacement: from ``jax_md.space``: ``free``, ``periodic`` or ``periodic_general``.
        box: Å, side, sides, or matrix with lattice vectors as columns; None with ``free``.
        potential: the potential.
        species: ``[N]`` atomic numbers.
        dr_threshold: Å that atoms may move before the list is made anew, counting both of a pair.
        fractional_coordinates: as given to ``periodic_general``.
        options: of ``jax_md.partition.neighbor_list``.

    Returns:
        ``neighbor_fn`` with ``allocate`` and ``update``; ``init_fn(key, R, neighbor)``, the fitted
        parameters; and ``energy_fn(params, R, neighbor, **kwargs)``, eV with the reference
        energies, which takes ``box=``, ``new_box=`` and ``perturbation=``. Its gradients are the
        forces; the stress of ``jax_md.quantity.stress`` has the other sign than ASE's.

    Raises:
        InputError: a species that the potential does not know, or a box that is too small.
    """
    from jax_md import partition

    species = np.asarray(species, np.int32)
    unknown = ~np.isin(species, potential.species)
    if unknown.any():
        raise InputError(
            f"atom {int(np.argmax(unknown))} has atomic number {species[unknown][0]}, but the "
            f"potential knows only {list(potential.species)}"
        )
    kinds = jnp.asarray(np.searchsorted(potential.species, species), jnp.int32)
    reference = float(np.asarray(potential.references)[np.asarray(kinds)].sum())
    static, _ = potential.split()
    cutoff, reach = potential.cutoff, potential.cutoff + dr_threshold
    if box is not None:
        _require_room(box, reach)
    arguments: dict[str, Any] = {"disable_cell_list": box is None} | options
    inner = partition.neighbor_list(
        displacement,
        jnp.zeros(()) if box is None else box,
        r_cutoff=cutoff,
        dr_threshold=dr_threshold,
        fractional_coordinates=fractional_coordinates,
        format=partition.NeighborListFormat.Dense,
        **arguments,
    )

    def allocate(position: Array, extra_capacity: int = 0, **kwargs: Any):
        given = kwargs.get("box", kwargs.get("new_box"))
        if given is not None:
            _require_room(given, reach)
        return inner.allocate(position, extra_capacity, **kwargs)

    def init_fn(key: Any, position: Array, neighbor: Any, **kwargs: Any) -> Any:
        """The fitted parameters: nothing is drawn."""
        del key, position, neighbor, kwargs
        return potential.split()[1]

    def energy_fn(params: Any, position: Array, neighbor: Any, **kwargs: Any) -> Array:
        """Energy of all atoms, eV."""
        index = neighbor.idx
        is_real = index < len(position)
        safe = jnp.where(is_real, index, 0)
        # jax-md's displacement points from its second argument to its first.
        of_pair = jax.vmap(jax.vmap(lambda a, b: displacement(b, a, **kwargs), (None, 0)), (0, 0))
        vectors = of_pair(position, position[safe])
        fitted = static.joined(params)
        atoms = map_blocks(
            fitted.environment_energy,
            (vectors, kinds[safe], is_real, kinds),
            ATOMS_A_BLOCK,
        )
        total = jnp.sum(atoms) + jnp.asarray(reference, atoms.dtype)
        given = kwargs.get("box", kwargs.get("new_box", box))
        if given is None:
            return total
        room = _widths(jnp.asarray(given, atoms.dtype)).min() >= 2 * cutoff
        return jnp.where(room, total, jnp.nan)

    neighbor_fn: Any = partition.NeighborListFns
    return neighbor_fn(allocate, inner.update), init_fn, energy_fn


def _widths(box: Array) -> Array:
    """Distances between opposite faces, Å: of a side, of sides, or of columns of vectors."""
    if box.ndim < 2:
        return jnp.abs(jnp.atleast_1d(box))
    return 1 / jnp.linalg.norm(jnp.linalg.inv(box), axis=1)


def _require_room(box: Any, reach: float) -> None:
    width = float(_widths(jnp.asarray(np.asarray(box, float))).min())
    if width < 2 * reach:
        raise InputError(
            f"two faces of the box are {width:.2f} Å apart, but jax-md sees the nearest image "
            f"alone: the cutoff and dr_threshold need {2 * reach:.2f} Å; repeat the structure, or "
            "use the command md or ASE, which see all images"
        )
