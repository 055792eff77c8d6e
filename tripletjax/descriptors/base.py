"""Descriptors of this package: a kind with fixed hyperparameters and arrays."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from tripletjax.basis.densities import Mixing
from tripletjax.descriptors import columns as labels
from tripletjax.descriptors.columns import Columns, column_names
from tripletjax.descriptors.jacobians import differentiated
from tripletjax.descriptors.kinds import (
    KINDS,
    Kind,
    OfDensity,
    Parameters,
    Setup,
    checked_hypers,
    kind_of,
    read_by,
    require_invariant,
    unknown_kind,
)
from tripletjax.descriptors.protocol import (
    MEMBERS,
    EnvironmentDescriptor,
    checked_elements,
    n_columns,
    require_descriptor,
    row_shape,
)
from tripletjax.descriptors.rows import Description, Layout, rows_of
from tripletjax.invariants.nice import Contraction
from tripletjax.io import checksum
from tripletjax.neighbors import check_frames, displacements, require_elements
from tripletjax.types import Array, Batch, Hypers, InputError, require_prepared


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True, eq=False)
class Descriptor:
    """A kind of descriptor with fixed hyperparameters; an ``EnvironmentDescriptor``.

    It is a pytree of its ``parameters``, so it can be an argument of ``jit`` and ``grad``.
    """

    recipe: Kind
    hypers: Hypers
    elements: tuple[int, ...]  # atomic numbers, ascending
    parameters: Parameters
    slots: int | None = None  # slots for tags, if fewer are known to suffice; None: all

    @property
    def kind(self) -> str:
        """Name of the kind."""
        return self.recipe.name

    @property
    def cutoff(self) -> float:
        """Å; atoms strictly inside are neighbours."""
        return self.hypers.cutoff

    @cached_property
    def columns(self) -> Columns:
        """Labels of the columns, with one array [D] per type of label."""
        symbols = [chemical_symbols[number] for number in self.elements]
        channels = labels.channels(self.hypers, symbols, self.parameters.mixing)
        if self.recipe.columns is None:
            records = labels.numbered_columns(self._n_columns())
        else:
            given = self.parameters.contraction
            records = list(self.recipe.columns(self.hypers, channels, symbols, given))
        if self.hypers.center_species:
            records = [{"center": symbol} | record for symbol in symbols for record in records]
        return labels.column_arrays(records)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """One string per column."""
        return column_names(self.columns)

    def apply(
        self, parameters: Parameters, vectors: Array, species: Array, mask: Array, center: Any = 0
    ) -> Array:
        """``environment`` with other parameters, with respect to which it can be differentiated.

        Args:
            parameters: used instead of the descriptor's own.
            vectors: ``[K, 3]`` Å, from the centre to each neighbour.
            species: ``[K]`` index into ``elements``.
            mask: ``[K]`` False on padding.
            center: index of the central atom into ``elements``.

        Returns:
            ``[D]``, or ``[K, K, D]`` for kind "triplets".
        """
        setup = Setup(self.hypers, len(self.elements), parameters, self.slots)
        values = self.recipe.function(setup, vectors, species, mask, center)
        return self._split(values, center)

    def environment(self, vectors: Array, species: Array, mask: Array, center: Any = 0) -> Array:
        """Describe one environment; compose with jit, vmap and grad. See ``apply``."""
        return self.apply(self.parameters, vectors, species, mask, center)

    def jacobian(
        self, vectors: Array, species: Array, mask: Array, center: Any = 0
    ) -> tuple[Array, Array]:
        """``environment`` and its derivatives by the vectors; see ``environment_jacobian``.

        Functions of the density are differentiated through it: dp/dr_k = dp/dc · dc/dr_k.
        """
        function = self.recipe.function
        if not isinstance(function, OfDensity):
            return differentiated(self, vectors, species, mask, center)
        setup = Setup(self.hypers, len(self.elements), self.parameters, self.slots)
        of_density = lambda c: self._split(function.of_density(setup, c), center)  # noqa: E731
        density = setup.density(vectors, species, mask, center)
        values, push = jax.linearize(of_density, density)
        moves = setup.density_slopes(vectors, species, mask)
        return values, jax.vmap(jax.vmap(push))(moves)

    def batch(self, batch: Batch) -> Array:
        """Describe all environments of a Batch, [C, D]; differentiable in positions and cells.

        Rows where ``center_mask`` is False are padding. The batch must have been prepared with at
        least the cutoff of the descriptor, and with the same elements.

        Raises:
            InputError: the batch was prepared with a smaller cutoff or other elements.
        """
        user = f"the {self.kind} descriptor"
        require_prepared(batch, self.cutoff, self.elements, user, exact=True)
        vectors, species, mask = displacements(batch)
        centers = jnp.asarray(batch.species)[batch.centers]
        return jax.vmap(self.environment)(vectors, species, mask, centers)

    def describe(
        self,
        frames: Atoms | Iterable[Atoms],
        *,
        centers: Iterable[int] | None = None,
        dtype: str | None = None,
        progress: bool = False,
    ) -> Description:
        """Describe the environments of structures: ``tripletjax.describe`` with this descriptor.

        Example:
            >>> from ase.build import molecule
            >>> soap = descriptor("power_spectrum", (1, 8), cutoff=3.0, n_max=2, l_max=1)
            >>> soap.describe(molecule("H2O"), centers=[0]).values.shape
            (1, 20)
        """
        frames = known_frames(frames, self)
        return rows_of(frames, self, self.layout(), centers=centers, dtype=dtype, progress=progress)

    def layout(self) -> Layout:
        """Names and further information on the rows."""
        per_triplet, record = self.recipe.per_triplet, self.record()
        return Layout(
            self.kind, self.names, self.columns, record, self.hypers, self._with_slots, per_triplet
        )

    def record(self) -> dict[str, Any]:
        """Everything needed to repeat the calculation, as plain values.

        Custom kinds and cutoff functions are included as objects. The contraction is identified by
        a checksum: save it with ``nice.save_contraction``.
        """
        mixing, contraction = self.parameters.mixing, self.parameters.contraction
        plain = None if mixing is None else jax.tree.map(lambda x: np.asarray(x).tolist(), mixing)
        is_ours = KINDS.get(self.kind) == self.recipe
        return {
            "kind": self.kind if is_ours else self.recipe,
            "species": list(self.elements),
            **read_by(self.recipe, vars(self.hypers)),
            "mixing": None if plain is None else plain._asdict(),
            "contraction": None if contraction is None else checksum(contraction),
        }

    def _split(self, values: Array, center: Any) -> Array:
        """One block of columns for each species of the centre, if requested."""
        if not self.hypers.center_species:
            return values
        is_center = jax.nn.one_hot(center, len(self.elements), dtype=values.dtype)
        return (is_center[:, None] * values[..., None, :]).reshape(*values.shape[:-1], -1)

    def _n_columns(self) -> int:
        """Number of columns of the kind, before they are split by the species of the centre."""
        one = replace(self, hypers=replace(self.hypers, center_species=False))
        return row_shape(one, 2)[-1] if self.recipe.per_triplet else n_columns(one)

    def _with_slots(self, slots: int) -> "Descriptor":
        return replace(self, slots=slots)

    def tree_flatten(self) -> tuple[tuple[Parameters], tuple[Any, ...]]:
        """The parameters, and the static fields."""
        return (self.parameters,), (self.recipe, self.hypers, self.elements, self.slots)

    @classmethod
    def tree_unflatten(cls, static: tuple[Any, ...], children: Iterable[Any]) -> "Descriptor":
        """The inverse of ``tree_flatten``."""
        recipe, hypers, elements, slots = static
        (parameters,) = children
        return cls(recipe, hypers, elements, parameters, slots)


def descriptor(
    kind: str | Kind,
    elements: tuple[int, ...],
    *,
    contraction: Contraction | None = None,
    mixing: Mixing | None = None,
    **hypers: Any,
) -> Descriptor:
    """Create a descriptor: the pure functions of one kind.

    Args:
        kind: one of ``KINDS``, or a ``Kind`` of your own.
        elements: atomic numbers of the species channels, ascending (``Batch.elements``).
        contraction: for kind "correlations", required for ν >= 4 (``nice.fit_contraction``).
        mixing: linear maps of the density's channels (``densities.Mixing``); None: none.
        **hypers: any field of ``Hypers``.

    Returns:
        A ``Descriptor``.

    Raises:
        InputError: unknown kind or hyperparameter, or a value out of range.

    Example:
        >>> from ase.build import molecule
        >>> from tripletjax import prepare
        >>> soap = descriptor("power_spectrum", (1, 8), cutoff=3.0, n_max=2, l_max=2)
        >>> soap.batch(prepare(molecule("H2O"), cutoff=3.0)).shape
        (4, 30)
    """
    recipe, elements = kind_of(kind), checked_elements(elements)
    checked = checked_hypers(recipe, hypers)
    if contraction is not None and not (recipe.contracted and isinstance(contraction, Contraction)):
        raise InputError(
            f"invalid contraction={type(contraction).__name__} of kind {recipe.name!r}: expected "
            "one from nice.fit_contraction, for kind 'correlations'"
        )
    symbols = [chemical_symbols[number] for number in elements]
    channels = labels.channels(checked, symbols, mixing)
    weights = None
    if recipe.weights is not None:
        n_channels = len({q["species"] for q in channels})
        shape = n_channels, len(channels) // n_channels
        weights = recipe.weights(checked, len(elements), shape)
    made = Descriptor(recipe, checked, elements, Parameters(weights, contraction, mixing))
    _ = made.names  # raises an error if columns cannot be labelled
    return made


def as_descriptor(
    kind: str | Kind | EnvironmentDescriptor,
    elements: Iterable[int] | None,
    *,
    contraction: Contraction | None = None,
    mixing: Mixing | None = None,
    **hypers: Any,
) -> EnvironmentDescriptor:
    """Create the descriptor of a kind; a descriptor is returned unchanged.

    Args:
        kind: a name, a ``Kind``, or any ``EnvironmentDescriptor``.
        elements: elements of a new descriptor; None for a given descriptor.
        contraction, mixing, **hypers: as for ``descriptor``; none for a given descriptor.

    Raises:
        InputError: as for ``descriptor``; also if the object does not have the members of a
            descriptor, or options are given in addition to it.
    """
    if isinstance(kind, (str, Kind)):
        numbers = tuple(elements or ())
        return descriptor(kind, numbers, contraction=contraction, mixing=mixing, **hypers)
    if not any(hasattr(kind, member) for member in MEMBERS):
        raise unknown_kind(kind)
    require_descriptor(kind)
    own = {"species": list(kind.elements), "cutoff": kind.cutoff}
    options = {"species": elements, "contraction": contraction, "mixing": mixing, **hypers}
    for name, value in options.items():
        value = list(value) if name == "species" and value is not None else value
        if value is not None and not (name in own and value == own[name]):
            raise InputError(
                f"invalid {name}={value!r}: the given {type(kind).__name__} has its own; "
                "leave it out"
            )
    return kind


def resolved(
    frames: Atoms | Iterable[Atoms],
    kind: str | Kind | EnvironmentDescriptor,
    species: Iterable[int] | None,
    **options: Any,
) -> tuple[list[Atoms], EnvironmentDescriptor]:
    """Structures as a validated list, and the requested descriptor.

    Args:
        frames: one ASE Atoms or several.
        kind: a name, a ``Kind``, or any ``EnvironmentDescriptor``.
        species: species of a new descriptor; None: all that occur.
        **options: as for ``as_descriptor``.
    """
    if isinstance(kind, (str, Kind)):
        checked_hypers(kind, {k: v for k, v in options.items() if k not in Parameters._fields})
        frames = check_frames(frames)
        return frames, as_descriptor(kind, require_elements(frames, species).tolist(), **options)
    chosen = as_descriptor(kind, species, **options)
    return known_frames(frames, chosen), chosen


def known_frames(frames: Atoms | Iterable[Atoms], chosen: EnvironmentDescriptor) -> list[Atoms]:
    """Structures as a list, after checking that the descriptor knows all their species."""
    frames = check_frames(frames)
    require_elements(frames, chosen.elements)
    return frames


def require_invariant_vector(chosen: EnvironmentDescriptor) -> None:
    """Raise InputError unless a descriptor is one invariant vector for each environment.

    Custom descriptors are checked to be vectors, and assumed to be invariant.
    """
    if isinstance(chosen, Descriptor):
        require_invariant(chosen.recipe)
    else:
        n_columns(chosen)


def layout_of(chosen: EnvironmentDescriptor) -> Layout:
    """The layout of a descriptor's rows; columns of custom descriptors are numbered.

    Raises:
        InputError: the rows are not [D], or cannot be traced.
    """
    if isinstance(chosen, Descriptor):
        return chosen.layout()
    columns = labels.column_arrays(labels.numbered_columns(n_columns(chosen)))
    elements = [int(number) for number in chosen.elements]
    record = {"kind": chosen, "species": elements, "cutoff": float(chosen.cutoff)}
    return Layout(type(chosen).__name__, column_names(columns), columns, record)
