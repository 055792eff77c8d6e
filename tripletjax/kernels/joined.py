"""Descriptors whose vectors stand one after the other, for kernels that are sums and products."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.descriptors.jacobians import environment_jacobian
from tripletjax.descriptors.protocol import (
    EnvironmentDescriptor,
    has_any_length,
    n_columns,
    require_descriptor,
)
from tripletjax.kernels.algebra import KernelOf, leaves, with_leaves
from tripletjax.kernels.compression import compressed
from tripletjax.kernels.describers import content_of, live, saved_form
from tripletjax.kernels.environments import as_kernels, typical_distance
from tripletjax.kernels.neighborhoods import Written
from tripletjax.types import Array, Batch, InputError, settle


@dataclass(frozen=True, eq=False)
class Joined:
    """Vectors of several descriptors in their units, one after the other.

    Example:
        >>> from tripletjax import descriptor
        >>> options = dict(cutoff=3.0, n_max=1, l_max=1)
        >>> kinds = "radial_spectrum", "power_spectrum"
        >>> joined = Joined(tuple(descriptor(kind, (1, 8), **options) for kind in kinds))
        >>> joined.columns
        ((0, 2), (2, 8))
    """

    describers: tuple[Any, ...]  # ``Written`` environments, which have any length, at the end
    units: tuple[float, ...] = ()  # by which the vectors are divided; empty: one

    def __post_init__(self):
        settle(self, describers=tuple(live(describer) for describer in self.describers))

    @property
    def cutoff(self) -> float:
        """Å; the largest."""
        return max(float(describer.cutoff) for describer in self.describers)

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers of the species, ascending."""
        return tuple(self.describers[0].elements)

    @property
    def any_length(self) -> bool:
        """Whether the length of its vectors depends on the number of neighbours."""
        return has_any_length(self.describers[-1])

    @property
    def columns(self) -> tuple[tuple[int, int | None], ...]:
        """First and last + 1 of each descriptor's columns; the last of any length are None."""
        fixed = [n_columns(one) for one in self.describers if not has_any_length(one)]
        stops = np.cumsum([0, *fixed]).tolist()
        pairs = list(pairwise(stops))
        return tuple([*pairs, (stops[-1], None)] if self.any_length else pairs)

    def environment(self, vectors: Array, species: Array, mask: Array, center: Any) -> Array:
        """Describe one environment, [D]."""
        environments = (one.environment for one in self.describers)
        return jnp.concatenate(self._parts(environments, vectors, species, mask, center))

    def jacobian(
        self, vectors: Array, species: Array, mask: Array, center: Any
    ) -> tuple[Array, Array]:
        """``environment`` and its derivatives; see ``descriptors.jacobians``."""
        jacobians = (partial(environment_jacobian, one) for one in self.describers)
        parts = self._parts(jacobians, vectors, species, mask, center)
        values, slopes = zip(*parts, strict=True)
        return jnp.concatenate(values), jnp.concatenate(slopes, -1)

    def _parts(self, functions: Iterable[Callable[..., Any]], vectors, species, mask, center):
        """What a function of each descriptor gives within its cutoff, in its unit."""
        squares = jax.lax.stop_gradient(jnp.sum(vectors**2, -1))
        parts = []
        for describer, unit, function in zip(
            self.describers, self.units or [1.0] * len(self.describers), functions, strict=True
        ):
            inside = mask & (squares < describer.cutoff**2)
            found = function(vectors, species, inside, center)
            parts.append(jax.tree.map(lambda array, unit=unit: array / unit, found))
        return parts

    def record_fields(self) -> dict[str, Any]:
        """What it is made of again, for files."""
        return {"describers": tuple(map(saved_form, self.describers)), "units": self.units}


def setups(
    kernels: Any, describer: EnvironmentDescriptor | None = None
) -> list[tuple[Any, list[Any]]]:
    """Descriptors and the kernels of their columns, of one kernel or several; see ``separated``."""
    found: dict[Any, tuple[Any, list[Any]]] = {}
    for kernel in as_kernels(kernels):
        needed, of_vectors = separated(kernel, describer)
        content = content_of(needed)
        found.setdefault(content, (needed, []))[1].append(of_vectors)
    return list(found.values())


def separated(kernel: Any, describer: Any = None) -> tuple[Any, Any]:
    """The descriptor that a kernel needs, and the kernel of its columns.

    Args:
        kernel: sums and products of kernels, some of which may have a descriptor of their own.
        describer: of the others; None: all have one.

    Raises:
        InputError: a kernel has no descriptor, or they have different species.
    """
    given = [leaf.describer for leaf in leaves(kernel)]
    if describer is None and None in given:
        bare = next(leaf for leaf in leaves(kernel) if leaf.describer is None)
        raise InputError(
            f"the kernel ({bare.label()}) has no descriptor: expected describer=, or "
            "kernel.of(descriptor)"
        )
    distinct = _distinct([describer if one is None else one for one in given])
    for one in distinct:
        require_descriptor(one)
    species = [list(one.elements) for one in distinct]
    if any(one != species[0] for one in species):
        raise InputError(
            f"the descriptors of the kernel have the species {' and '.join(map(str, species))}: "
            "expected the same for all"
        )
    contents = [content_of(one) for one in distinct]

    def placed(leaf: KernelOf) -> Any:
        own = describer if leaf.describer is None else leaf.describer
        place = len(distinct) - 1 if isinstance(own, Written) else contents.index(content_of(own))
        return replace(leaf, describer=None, block=place, name=getattr(own, "kind", ""))

    found = with_leaves(kernel, placed)
    if len(distinct) > 1:
        return Joined(tuple(distinct)), found
    return distinct[0], found.kernel if isinstance(found, KernelOf) else found


def on_axes(describer: Any, batches: Sequence[Batch], truncation: float) -> Any:
    """Each descriptor ``compressed`` by itself; written environments stay as they are."""
    if isinstance(describer, Joined):
        found = [on_axes(one, batches, truncation) for one in describer.describers]
        return replace(describer, describers=tuple(found))
    if isinstance(describer, Written):
        return describer
    return compressed(describer, batches, truncation)


def of_columns(kernel: Any, describer: Any) -> Any:
    """The kernel with the columns of its blocks, now that their numbers are known."""
    if not isinstance(describer, Joined):
        return kernel
    columns = describer.columns
    return with_leaves(kernel, lambda leaf: replace(leaf, columns=columns[leaf.block]))


def in_units(describer: Any, vectors: np.ndarray, species: np.ndarray) -> tuple[Any, Any, float]:
    """Units of vectors: the median distance between those of equal species, of each descriptor.

    Args:
        describer: of the vectors, without units.
        vectors, species: ``[N, D]`` and ``[N]``, the environments of a training set.

    Returns:
        The descriptor, which divides by the units of its blocks if it is ``Joined``; by what these
        vectors are to be divided, a number or [D]; and by what those of the new descriptor are.
    """
    if not isinstance(describer, Joined):
        unit = _unit(describer, vectors, species)
        return describer, unit, unit
    pairs = list(zip(describer.describers, describer.columns, strict=True))
    units = tuple(_unit(one, vectors[:, slice(*columns)], species) for one, columns in pairs)
    sizes = [vectors[:, slice(*columns)].shape[1] for _, columns in pairs]
    return replace(describer, units=units), np.repeat(units, sizes), 1.0


def _unit(describer: Any, vectors: np.ndarray, species: np.ndarray) -> float:
    return getattr(describer, "unit", None) or typical_distance(vectors, species)


def _distinct(describers: Sequence[Any]) -> list[Any]:
    """Each descriptor once; written environments as one of the largest cutoff, at the end."""
    found: dict[Any, Any] = {}
    written: list[Written] = []
    for one in describers:
        if isinstance(one, Written):
            written.append(one)
        else:
            found.setdefault(content_of(one), one)
    widest = [max(written, key=lambda one: one.cutoff)] if written else []
    return [*found.values(), *widest]
