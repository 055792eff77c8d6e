"""The protocol of descriptors: a cutoff, elements and a function of one environment."""

from collections.abc import Iterable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from ase.data import chemical_symbols

from tripletjax.checks import reason_of
from tripletjax.types import Array, InputError, as_integer, as_positive

MEMBERS = ("cutoff", "elements", "environment")


class EnvironmentDescriptor(Protocol):
    """A descriptor: a ``Descriptor`` of this package, or any object with these three members.

    Its ``environment`` is a pure function of JAX arrays. It is called with a few padded sizes of K,
    and with no neighbours at or beyond the cutoff unless the caller passes them. Compiled programs
    are shared by all equal objects if the object is hashable, like a frozen dataclass: do not
    modify one after its first use. An object that is registered as a pytree is passed to compiled
    programs as such, with its arrays as arguments; the arrays of other objects become constants.
    """

    @property
    def cutoff(self) -> float:
        """Å; atoms strictly inside are neighbours."""
        ...

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers, ascending, to which species indices refer."""
        ...

    def environment(self, vectors: Array, species: Array, mask: Array, center: Any) -> Array:
        """Describe one environment, [D].

        Args:
            vectors: ``[K, 3]`` Å, from the centre to each neighbour.
            species: ``[K]`` index into ``elements``.
            mask: ``[K]`` False on padding, which must not change the result.
            center: index of the central atom into ``elements``.
        """
        ...


class Fixed:
    """A descriptor that is static under ``jit``, without array arguments.

    Equal if the descriptors are the same object, or hashable and equal.
    """

    def __init__(self, descriptor: EnvironmentDescriptor):
        self.descriptor = descriptor
        self.cutoff = float(descriptor.cutoff)
        self.elements = tuple(int(number) for number in descriptor.elements)
        try:
            self._hash = hash((type(descriptor), descriptor))
            self._by_value = True
        except TypeError:  # it has arrays, or is not frozen
            self._hash, self._by_value = id(descriptor), False

    def environment(self, vectors: Array, species: Array, mask: Array, center: Any) -> Array:
        """Describe one environment."""
        return self.descriptor.environment(vectors, species, mask, center)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Fixed):
            return NotImplemented
        mine, its = self.descriptor, other.descriptor
        if mine is its:
            return True
        return self._by_value and other._by_value and type(mine) is type(its) and mine == its


jax.tree_util.register_static(Fixed)


def as_argument(chosen: EnvironmentDescriptor) -> EnvironmentDescriptor:
    """A descriptor as an argument of ``jit``: itself if it is a pytree, else ``Fixed``.

    A NamedTuple is a pytree too, but its cutoff and elements would be traced.
    """
    if isinstance(chosen, tuple) or jax.tree_util.treedef_is_leaf(jax.tree.structure(chosen)):
        return Fixed(chosen)
    return chosen


def require_descriptor(thing: Any) -> None:
    """Raise InputError unless an object has the members of a descriptor, of the right types.

    Example:
        >>> require_descriptor({"cutoff": 3.0})
        Traceback (most recent call last):
        ...
        tripletjax.checks.InputError: object of type dict is not a descriptor: it has no cutoff, \
elements, environment; expected the name of a kind, a Kind, or an object that has these
    """
    name = type(thing).__name__
    if isinstance(thing, type):
        raise InputError(f"{thing.__name__} is a class: expected an instance, {thing.__name__}()")
    missing = [member for member in MEMBERS if not hasattr(thing, member)]
    if missing:
        raise InputError(
            f"object of type {name} is not a descriptor: it has no {', '.join(missing)}; expected "
            "the name of a kind, a Kind, or an object that has these"
        )
    as_positive(f"cutoff of {name}", thing.cutoff, "Å")
    checked_elements(thing.elements, f"elements of {name}")
    if not callable(thing.environment):
        raise InputError(
            f"environment of {name} is of type {type(thing.environment).__name__}: expected a "
            "function of (vectors, species, mask, center)"
        )


def checked_elements(elements: Any, name: str = "elements") -> tuple[int, ...]:
    """Validate atomic numbers: distinct ints, ascending.

    Raises:
        InputError: they are not distinct and ascending.
    """
    given = elements if isinstance(elements, Iterable) else ()
    numbers = tuple(as_integer(name, n, 0, len(chemical_symbols) - 1) for n in given)
    if not (numbers and list(numbers) == sorted(set(numbers))):
        raise InputError(
            f"invalid {name}={numbers or elements!r}: expected distinct atomic numbers, "
            "ascending, such as Batch.elements"
        )
    return numbers


def has_any_length(chosen: Any) -> bool:
    """Whether the number of its columns depends on the number of neighbours; it says so itself."""
    return bool(getattr(chosen, "any_length", False))


def n_columns(chosen: EnvironmentDescriptor) -> int:
    """The number of columns D, without computing anything.

    Raises:
        InputError: ``environment`` cannot be traced, or its rows are not [D] with a constant D.
    """
    name, sizes = type(chosen).__name__, []
    for width in (2, 3):
        shape = row_shape(chosen, width)
        if len(shape) != 1:
            raise InputError(
                f"the rows of {name} have shape {shape} for {width} neighbours: expected [D], one "
                "vector for each environment"
            )
        sizes.append(shape[0])
    if sizes[0] != sizes[1]:
        raise InputError(
            f"the rows of {name} have {sizes[0]} columns for 2 neighbours and {sizes[1]} for 3: "
            "expected the same number for every environment"
        )
    return sizes[0]


def row_shape(chosen: EnvironmentDescriptor, width: int) -> tuple[int, ...]:
    """Shape of the result of ``environment`` for a number of neighbours, by tracing it."""
    dtype = jnp.zeros(()).dtype
    shapes = (
        jax.ShapeDtypeStruct((width, 3), dtype),
        jax.ShapeDtypeStruct((width,), np.int32),
        jax.ShapeDtypeStruct((width,), bool),
        jax.ShapeDtypeStruct((), np.int32),
    )
    try:
        found: Any = jax.eval_shape(chosen.environment, *shapes)
    except InputError:
        raise
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"environment of {type(chosen).__name__} failed: {reason_of(error)}; expected a "
            "function of JAX arrays (vectors [K, 3], species [K], mask [K], center) -> [D]"
        ) from error
    if not hasattr(found, "shape"):
        raise InputError(
            f"environment of {type(chosen).__name__} returns a {type(found).__name__}: expected "
            "one array [D]"
        )
    return tuple(found.shape)
