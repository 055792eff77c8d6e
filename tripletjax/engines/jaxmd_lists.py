"""Neighbour lists for jax-md that know their box and are made anew when it shrinks.

A list made with ``dr_threshold`` is complete as long as the atoms, and the box since it was made,
have not used up that threshold. jax-md watches the atoms alone; the lists made here hold their box
too, so that ``update`` makes a list anew when the box shrinks.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.numerics import least_stretch
from tripletjax.types import Array, InputError

HARMLESS = 1e-3  # Å from the cutoff, where energies are below rounding
MALFORMED = 8  # jax-md sets this bit where a box is as it should be


@dataclass(frozen=True, eq=False)
class BoxedLists:
    """Makes neighbour lists with their box, updates them, and says whether one is complete.

    Args:
        displacement: from ``jax_md.space``.
        box: Å, side, sides or matrix; None in free space.
        cutoff: Å.
        dr_threshold: Å that atoms may move before a list is made anew.
        is_fractional: coordinates are fractional.
        options: of ``jax_md.partition.neighbor_list``.
    """

    displacement: Callable
    box: Any
    cutoff: float
    dr_threshold: float
    is_fractional: bool
    options: dict[str, Any]
    inner: Any = None  # jax-md's own functions, which make a list at every call

    @property
    def reach(self) -> float:
        """Å up to which a list holds pairs."""
        return self.cutoff + self.dr_threshold

    @property
    def uses_cells(self) -> bool:
        """Whether jax-md sorts atoms into cells, which know one box."""
        return not self.options["disable_cell_list"]

    def with_inner(self) -> "BoxedLists":
        """With jax-md's functions."""
        box = jnp.zeros(()) if self.box is None else jnp.asarray(self.box)
        with as_jax_md_computes():
            inner = partition().neighbor_list(
                self.displacement,
                box,
                r_cutoff=self.reach,
                dr_threshold=0.0,
                fractional_coordinates=self.is_fractional,
                format=partition().NeighborListFormat.Dense,
                **self.options,
            )
        return replace(self, inner=inner)

    def allocate(self, position: Array, extra_capacity: int = 0, **kwargs: Any) -> Any:
        """A new list; not under ``jit``."""
        kwargs = self._of_list(kwargs)
        given = kwargs.get("new_box", kwargs.get("box"))
        if given is not None:
            require_box(given, self.reach)
        with as_jax_md_computes():
            made = self.inner.allocate(
                self._wrapped(position), extra_capacity, **self._known(kwargs)
            )
            if made.cell_size is not None:  # static under jit: not an array
                made = replace(made, cell_size=float(made.cell_size))
            return self._finished(made, self.matrix_of(kwargs, position.dtype))

    def update(self, position: Array, neighbor: Any, **kwargs: Any) -> Any:
        """The list, made anew where atoms and box have used up the threshold."""
        kwargs = self._of_list(kwargs)
        kind = partition().NeighborList
        plain = kind(**{field.name: getattr(neighbor, field.name) for field in fields(kind)})
        with as_jax_md_computes():
            matrix = self.matrix_of(kwargs, position.dtype)

            def anew() -> Any:
                made = self.inner.update(self._wrapped(position), plain, **self._known(kwargs))
                return self._finished(made, matrix)

            holds = self._holds(position, neighbor, matrix, kwargs)
            return jax.lax.cond(holds, lambda: self._finished(plain, neighbor.box), anew)

    def matrix_of(self, kwargs: dict[str, Any], dtype: Any) -> Array:
        """The box that displacements are in, [3, 3] without derivatives."""
        given = kwargs.get("new_box", kwargs.get("box", self.box))
        matrix = jnp.eye(3, dtype=dtype) if given is None else _matrix(given, dtype)
        if kwargs.get("perturbation") is not None:
            matrix = _matrix(kwargs["perturbation"], dtype) @ matrix
        return jax.lax.stop_gradient(matrix)

    def is_complete(self, neighbor: Any, matrix: Array) -> Array:
        """Whether a list can hold every neighbour in this box."""
        is_complete = neighbor.error.code == 0
        if self.box is None:
            return is_complete
        is_complete &= _widths(matrix).min() >= 2 * self.cutoff
        # In a skewed box, made narrower than that, a list may hold the farther image of a pair.
        is_straight = jnp.all(jnp.triu(neighbor.box, 1) == 0)
        is_complete &= is_straight | (_widths(neighbor.box).min() >= 2 * self.reach)
        is_complete &= _shrunk(neighbor.box, matrix) * self.reach >= self.cutoff - HARMLESS
        if neighbor.cell_list_fn is not None:  # its cells are sized for such a box
            is_complete &= jnp.all(jnp.tril(neighbor.box, -1) == 0)
        return is_complete

    def _holds(
        self, position: Array, neighbor: Any, matrix: Array, kwargs: dict[str, Any]
    ) -> Array:
        """Whether a list serves where the atoms are; not with NaN."""
        moves_box = "box" in kwargs and not self.is_fractional
        if self.dr_threshold == 0 or moves_box:  # motion in another box says nothing
            return jnp.zeros((), bool)
        apart = jax.vmap(lambda a, b: self.displacement(a, b, **kwargs))
        moved = apart(position, neighbor.reference_position)
        used = 2 * jnp.sqrt(jnp.max(jnp.sum(moved**2, -1)))
        if self.box is not None:
            used += (1 - _shrunk(neighbor.box, matrix)) * self.reach
        return used <= self.dr_threshold

    def _of_list(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """What a list is made with: no perturbation, which the energy judges when it comes."""
        if not self.is_fractional and self.uses_cells and "box" in kwargs:
            raise InputError(
                "box= cannot be given with real coordinates in a box of sides, whose cells know "
                "one box; give disable_cell_list=True, or fractional coordinates"
            )
        return {name: value for name, value in kwargs.items() if name != "perturbation"}

    def _known(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """With fractional coordinates ``new_box`` is ``box``, which jax-md's cells know."""
        if self.is_fractional and "new_box" in kwargs:
            others = {name: value for name, value in kwargs.items() if name != "new_box"}
            return others | {"box": kwargs["new_box"]}
        return kwargs

    def _wrapped(self, position: Array) -> Array:
        """Into the box: jax-md's cells hold what lies below zero in the wrong place."""
        if not self.uses_cells:
            return position
        side = 1.0 if self.is_fractional else jnp.asarray(self.box, position.dtype)
        return position % side

    def _finished(self, neighbor: Any, matrix: Array) -> Any:
        """As the lists of this module are: with their box, and with what updates them."""
        error = replace(neighbor.error, code=neighbor.error.code & jnp.uint8(255 - MALFORMED))
        values = {field.name: getattr(neighbor, field.name) for field in fields(neighbor)}
        return _boxed_class()(**values | {"error": error, "update_fn": self.update, "box": matrix})


@cache
def partition() -> Any:
    """jax-md takes seconds to import; its warnings are not for our users."""
    with warnings.catch_warnings(), as_jax_md_computes():
        warnings.simplefilter("ignore")
        from jax_md import partition
    return partition


@cache
def _boxed_class() -> Any:
    """jax-md's list with the box [3, 3] that it was made in, lattice vectors as columns."""
    kind = partition().NeighborList
    from jax_md import dataclasses

    @dataclasses.dataclass
    class BoxedNeighborList(kind):
        box: Array

    return BoxedNeighborList


@contextmanager
def as_jax_md_computes() -> Iterator[None]:
    """It mixes dtypes, and multiplies matrices with the precision that is set."""
    with jax.default_matmul_precision("highest"), jax.numpy_dtype_promotion("standard"):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "scatter inputs", FutureWarning)
            yield


def require_box(box: Any, reach: float) -> None:
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


def _matrix(box: Any, dtype: Any) -> Array:
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
