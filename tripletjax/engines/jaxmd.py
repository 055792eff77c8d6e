"""Fitted potentials in jax-md's own convention, for its integrators and minimisers.

A list made with ``dr_threshold`` is complete as long as the atoms, and the box since it was made,
have not used up that threshold. jax-md watches the atoms alone; the lists made here hold their box
too, so that ``update`` makes a list anew when the box shrinks, and the energy is NaN where a list
cannot hold all neighbours.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.numerics import least_stretch
from tripletjax.potentials.base import Potential
from tripletjax.potentials.checks import require_potential
from tripletjax.types import Array, Environments, InputError

SKIN = 0.5  # Å
HARMLESS = 1e-3  # Å from the cutoff, where energies are below rounding
OPTIONS = ("capacity_multiplier", "disable_cell_list")
MALFORMED = 8  # jax-md sets this bit where a box is as it should be


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
    if not dr_threshold >= 0:
        raise InputError(f"dr_threshold={dr_threshold!r} is not usable; give Å from 0")
    kinds = _kinds(potential, species)
    references = np.asarray(potential.references or (0.0,) * len(potential.species))
    reference, bare = float(references[kinds].sum()), potential.without_references
    cutoff, reach = potential.cutoff, potential.cutoff + dr_threshold
    if box is not None:
        _require_box(box, reach)
    # Lists for real coordinates in a matrix never use cells, but jax-md would refuse box= then.
    without_cells = box is None or (np.ndim(box) == 2 and not fractional_coordinates)
    settings = options | {
        "disable_cell_list": without_cells or options.get("disable_cell_list", False)
    }
    partition, made_class = _partition(), _made_class()
    # It makes a list at every call: when to call it is decided here.
    with _as_jax_md_computes():
        inner = partition.neighbor_list(
            displacement,
            jnp.zeros(()) if box is None else jnp.asarray(box),
            r_cutoff=reach,
            dr_threshold=0.0,
            fractional_coordinates=fractional_coordinates,
            format=partition.NeighborListFormat.Dense,
            **settings,
        )

    def known(kwargs: dict[str, Any]) -> dict[str, Any]:
        """With fractional coordinates ``new_box`` is ``box``, which jax-md's cells know."""
        if fractional_coordinates and "new_box" in kwargs:
            kwargs = kwargs | {"box": kwargs["new_box"]}
            del kwargs["new_box"]
        return kwargs

    def of_list(kwargs: dict[str, Any]) -> dict[str, Any]:
        """What a list is made with: no perturbation, which the energy judges when it comes."""
        if not (fractional_coordinates or settings["disable_cell_list"]) and "box" in kwargs:
            raise InputError(
                "box= cannot be given with real coordinates in a box of sides, whose cells know "
                "one box; give disable_cell_list=True, or fractional coordinates"
            )
        return {name: value for name, value in kwargs.items() if name != "perturbation"}

    def matrix_of(kwargs: dict[str, Any], dtype) -> Array:
        """The box that displacements are in, without derivatives."""
        given = kwargs.get("new_box", kwargs.get("box", box))
        matrix = jnp.eye(3, dtype=dtype) if given is None else _matrix(given, dtype)
        if kwargs.get("perturbation") is not None:
            matrix = _matrix(kwargs["perturbation"], dtype) @ matrix
        return jax.lax.stop_gradient(matrix)

    def wrapped(position: Array) -> Array:
        """Into the box: jax-md's cells hold what lies below zero in the wrong place."""
        if settings["disable_cell_list"]:
            return position
        side = 1.0 if fractional_coordinates else jnp.asarray(box, position.dtype)
        return position % side

    def finished(neighbor: Any, matrix: Array) -> Any:
        """As the lists of this module are: with their box, and with what updates them."""
        error = replace(neighbor.error, code=neighbor.error.code & jnp.uint8(255 - MALFORMED))
        values = {field.name: getattr(neighbor, field.name) for field in fields(neighbor)}
        return made_class(**values | {"error": error, "update_fn": update, "box": matrix})

    def allocate(position: Array, extra_capacity: int = 0, **kwargs: Any) -> Any:
        kwargs = of_list(kwargs)
        given = kwargs.get("new_box", kwargs.get("box"))
        if given is not None:
            _require_box(given, reach)
        with _as_jax_md_computes():
            found = inner.allocate(wrapped(position), extra_capacity, **known(kwargs))
            if found.cell_size is not None:  # static under jit: not an array
                found = replace(found, cell_size=float(found.cell_size))
            return finished(found, matrix_of(kwargs, position.dtype))

    def update(position: Array, neighbor: Any, **kwargs: Any) -> Any:
        kwargs = of_list(kwargs)
        plain = partition.NeighborList(
            **{f.name: getattr(neighbor, f.name) for f in fields(partition.NeighborList)}
        )
        with _as_jax_md_computes():
            matrix = matrix_of(kwargs, position.dtype)
            apart = jax.vmap(lambda a, b: displacement(a, b, **kwargs))
            furthest = jnp.sqrt(
                jnp.max(jnp.sum(apart(position, neighbor.reference_position) ** 2, -1))
            )
            used = 2 * furthest
            if box is not None:
                used += (1 - _shrunk(neighbor.box, matrix)) * reach
            # NaN, and real coordinates in another box, whose motion says nothing: a new list.
            holds = used <= dr_threshold if dr_threshold > 0 else jnp.zeros((), bool)
            if "box" in kwargs and not fractional_coordinates:
                holds = jnp.zeros((), bool)

            def anew() -> Any:
                found = inner.update(wrapped(position), plain, **known(kwargs))
                return finished(found, matrix)

            return jax.lax.cond(holds, lambda: finished(plain, neighbor.box), anew)

    def init_fn(key: Any, position: Array, neighbor: Any, **kwargs: Any) -> Any:
        """The fitted parameters: nothing is drawn."""
        del key, position, neighbor, kwargs
        return potential.weights

    def sound(neighbor: Any, matrix: Array) -> Array:
        """Whether a list can hold every neighbour in this box."""
        is_sound = neighbor.error.code == 0
        if box is None:
            return is_sound
        is_sound &= _widths(matrix).min() >= 2 * cutoff
        # In a skewed box, made narrower than that, a list may hold the farther image of a pair.
        is_straight = jnp.all(jnp.triu(neighbor.box, 1) == 0)
        is_sound &= is_straight | (_widths(neighbor.box).min() >= 2 * reach)
        is_sound &= _shrunk(neighbor.box, matrix) * reach >= cutoff - HARMLESS
        if neighbor.cell_list_fn is not None:  # its cells are sized for such a box
            is_sound &= jnp.all(jnp.tril(neighbor.box, -1) == 0)
        return is_sound

    def energy_fn(params: Any, position: Array, neighbor: Any, **kwargs: Any) -> Array:
        """Energy of all atoms, eV."""
        index = neighbor.idx
        if index.shape[1] == 0:  # one atom alone
            index = jnp.full((len(position), 1), len(position), index.dtype)
        is_real = index < len(position)
        safe = jnp.where(is_real, index, 0)
        # jax-md's displacement points from its second argument to its first.
        of_pair = jax.vmap(jax.vmap(lambda a, b: displacement(b, a, **kwargs), (None, 0)), (0, 0))
        with _as_jax_md_computes():
            vectors = of_pair(position, position[safe])
            is_sound = sound(neighbor, matrix_of(kwargs, position.dtype))
        of_species = jnp.asarray(kinds)
        environments = Environments(vectors, of_species[safe], is_real, of_species, safe)
        everyone = jnp.ones(len(position), bool)
        atoms = bare.with_weights(params).environment_energies(environments, everyone)
        total = jnp.sum(atoms) + jnp.asarray(reference, atoms.dtype)
        # A factor, so that forces are NaN too.
        return total * jnp.where(is_sound, 1, jnp.nan).astype(total.dtype)

    return partition.NeighborListFns(allocate, update), init_fn, energy_fn


@cache
def _partition() -> Any:
    """jax-md takes seconds to import; its warnings are not for our users."""
    with warnings.catch_warnings(), _as_jax_md_computes():
        warnings.simplefilter("ignore")
        from jax_md import partition
    return partition


@cache
def _made_class() -> Any:
    """jax-md's list with the box [3, 3] that it was made in, lattice vectors as columns."""
    partition = _partition()
    from jax_md import dataclasses

    @dataclasses.dataclass
    class BoxedNeighborList(partition.NeighborList):
        box: Array

    return BoxedNeighborList


@contextmanager
def _as_jax_md_computes() -> Iterator[None]:
    """It mixes dtypes, and multiplies matrices as precisely as it is told to."""
    with jax.default_matmul_precision("highest"), jax.numpy_dtype_promotion("standard"):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "scatter inputs", FutureWarning)
            yield


def _kinds(potential: Potential, species: Any) -> np.ndarray:
    """Index of each atom's species among those of the potential, [N]."""
    species = np.asarray(species, np.int32)
    unknown = ~np.isin(species, potential.species)
    if unknown.any():
        raise InputError(
            f"atom {int(np.argmax(unknown))} has atomic number {species[unknown][0]}, but the "
            f"potential knows only {list(potential.species)}; train it on this species too"
        )
    return np.searchsorted(potential.species, species).astype(np.int32)


def _matrix(box: Any, dtype) -> Array:
    """A side, sides or a matrix, as a matrix [3, 3]."""
    box = jnp.asarray(box, dtype)
    return box if box.ndim == 2 else jnp.eye(3, dtype=dtype) * box


def _shrunk(before: Array, after: Array) -> Array:
    """The least factor by which a length changes from one box to another, vectors as columns."""
    return least_stretch(jnp.linalg.solve(before.T, after.T))


def _widths(matrix: Any) -> Any:
    """Distances between opposite faces of a box with lattice vectors as columns, Å."""
    xp = np if isinstance(matrix, np.ndarray) else jnp
    return 1 / xp.linalg.norm(xp.linalg.inv(matrix), axis=1)


def _require_box(box: Any, reach: float) -> None:
    """Raise InputError at a box that jax-md cannot use, or in which it would lose neighbours."""
    box = np.asarray(box, np.float64)
    matrix = box if box.ndim == 2 else np.eye(3) * box
    is_upper = matrix.shape == (3, 3) and np.isfinite(matrix).all()
    is_upper = is_upper and not np.tril(matrix, -1).any() and np.diag(matrix).min() > 0
    if not is_upper:
        raise InputError(
            f"box={box.tolist()} is not a positive side, sides, or an upper triangular matrix with "
            "a positive diagonal: jax-md has lattice vectors as columns, ASE as rows; turn the "
            "cell and the positions with it by numpy.linalg.qr(cell.T)"
        )
    width = float(_widths(matrix).min())
    if width < 2 * reach:
        raise InputError(
            f"two faces of the box are {width:.2f} Å apart, but jax-md sees the nearest image "
            f"alone: the cutoff and dr_threshold need {2 * reach:.2f} Å; repeat the structure, or "
            "use the command md or ASE, which see all images"
        )
