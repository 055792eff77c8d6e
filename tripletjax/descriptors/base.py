"""The kinds of descriptors, each as a pure function of one environment and of a Batch.

To add a kind: write its function of one environment here, what its columns are in ``columns``, and
add both to ``KINDS``, with the options that it reads.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, fields
from functools import partial
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ase.data import chemical_symbols

from tripletjax.basis.densities import Mixing, density_coefficients
from tripletjax.descriptors import columns as labels
from tripletjax.descriptors.columns import Columns, column_names, parities
from tripletjax.invariants.correlations import bispectrum, power_spectrum
from tripletjax.invariants.coupled import environment_coupled
from tripletjax.invariants.fingerprints import FingerprintWeights, fingerprint, fingerprint_weights
from tripletjax.invariants.nice import Contraction, correlations
from tripletjax.invariants.triplets import environment_triplets, triplet_sum
from tripletjax.io import checksum
from tripletjax.neighbors import displacements
from tripletjax.types import (
    Array,
    Basis,
    Batch,
    Hypers,
    InputError,
    as_integer,
    require_prepared,
)


class Environment(NamedTuple):
    """One centre and its padded neighbours."""

    vectors: Array  # [K, 3] Å from the centre
    species: Array  # [K] index into the elements
    mask: Array  # [K] False on padding
    center: Array | int = 0  # index into the elements
    slots: int | None = None  # places for tags; None: as many as can be needed


class Parameters(NamedTuple):
    """The arrays of a descriptor; a pytree, through which can be differentiated."""

    weights: FingerprintWeights | None = None
    contraction: Contraction | None = None
    mixing: Mixing | None = None


class Descriptor(NamedTuple):
    """One descriptor with its hyperparameters fixed.

    ``apply(parameters, vectors, species, mask, center)`` is pure and describes one environment:
    vectors [K, 3] in Å, species [K] and center indices into ``elements``, mask [K]. It returns [D],
    or [K, K, D] for kind "triplets".
    """

    kind: str
    hypers: Hypers
    elements: tuple[int, ...]
    parameters: Parameters
    apply: Callable[..., Array]
    columns: Columns  # labels of the columns, [D] each
    names: tuple[str, ...]

    def environment(self, vectors: Array, species: Array, mask: Array, center: Any = 0) -> Array:
        """Describe one environment; compose with jit, vmap and grad."""
        return self.apply(self.parameters, vectors, species, mask, center)

    def batch(self, batch: Batch) -> Array:
        """Describe every environment of a Batch, [C, D], differentiable in positions and cells.

        Rows where ``center_mask`` is False are padding. The batch must have been prepared with
        ``cutoff`` at least the descriptor's, and with the same elements.

        Raises:
            InputError: it was prepared with a smaller cutoff or other elements.
        """
        require_prepared(
            batch, self.hypers.cutoff, self.elements, f"the {self.kind} descriptor", exact=True
        )
        vectors, species, mask = displacements(batch)
        centers = jnp.asarray(batch.species)[batch.centers]
        return jax.vmap(self.environment)(vectors, species, mask, centers)

    def record(self) -> dict[str, Any]:
        """Everything that is needed to compute the same again, as plain values.

        The contraction is named by a checksum: keep it with ``nice.save_contraction``.
        """
        mixing, contraction = self.parameters.mixing, self.parameters.contraction
        plain = None if mixing is None else jax.tree.map(lambda x: np.asarray(x).tolist(), mixing)
        return {
            "kind": self.kind,
            "species": list(self.elements),
            **read_by(self.kind, asdict(self.hypers)),
            "mixing": None if plain is None else plain._asdict(),
            "contraction": None if contraction is None else checksum(contraction),
        }


def descriptor(
    kind: str,
    elements: tuple[int, ...],
    *,
    contraction: Contraction | None = None,
    mixing: Mixing | None = None,
    **hypers: Any,
) -> Descriptor:
    """The pure functions of one kind of descriptor.

    Args:
        kind: one of ``KINDS``.
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
    elements = _checked_elements(elements)
    checked = checked_hypers(kind, hypers)
    _check_contraction(kind, contraction)
    symbols = [chemical_symbols[number] for number in elements]
    channels = labels.channels(checked, symbols, mixing)
    weights = None
    if kind == "fingerprint":
        n_channels = len({q["species"] for q in channels})
        shape = n_channels, len(channels) // n_channels
        weights = fingerprint_weights(
            checked.basis, len(elements), checked.n_features, float(checked.length_scale),
            checked.seed, shape,
        )  # fmt: skip
    records = list(KINDS[kind].columns(checked, channels, symbols, contraction))
    if checked.center_species:
        records = [{"center": symbol} | record for symbol in symbols for record in records]
    table = labels.column_arrays(records)
    return Descriptor(
        kind,
        checked,
        elements,
        Parameters(weights, contraction, mixing),
        pure_function(kind, checked, len(elements)),
        table,
        column_names(table),
    )


def pure_function(
    kind: str, hypers: Hypers, n_species: int, slots: int | None = None
) -> Callable[..., Array]:
    """``Descriptor.apply``: a function of (parameters, vectors, species, mask, center).

    With ``slots`` it computes no more places for tags, which must be known to suffice.
    """

    def apply(parameters, vectors, species, mask, center=0):
        environment = Environment(vectors, species, mask, center, slots)
        values = KINDS[kind].describe(hypers, n_species, parameters, environment)
        if hypers.center_species:
            is_center = jax.nn.one_hot(center, n_species, dtype=values.dtype)
            values = is_center[:, None] * values[..., None, :]
            values = values.reshape(*values.shape[:-2], -1)
        return values

    return apply


def _checked_elements(elements: Any) -> tuple[int, ...]:
    numbers = tuple(as_integer("elements", n, 0, len(chemical_symbols) - 1) for n in elements)
    if not (numbers and list(numbers) == sorted(set(numbers))):
        raise InputError(
            f"invalid elements={numbers!r}: expected different atomic numbers, ascending, such as "
            "Batch.elements"
        )
    return numbers


def _check_contraction(kind: str, contraction: Contraction | None) -> None:
    if contraction is not None and not (
        kind == "correlations" and isinstance(contraction, Contraction)
    ):
        raise InputError(
            f"contraction={type(contraction).__name__} of kind {kind!r} is not usable; give what "
            "nice.fit_contraction returns, for kind 'correlations'"
        )


def _density_of(hypers: Hypers, n_species: int, parameters: Parameters, atoms: Environment):
    return density_coefficients(*atoms[:3], hypers.basis, n_species, parameters.mixing)


def _density(hypers: Hypers, n_species: int, parameters: Parameters, atoms: Environment):
    return _density_of(hypers, n_species, parameters, atoms).ravel()


def _power_spectrum(hypers: Hypers, n_species: int, parameters: Parameters, atoms: Environment):
    return power_spectrum(_density_of(hypers, n_species, parameters, atoms))


def _bispectrum(hypers: Hypers, n_species: int, parameters: Parameters, atoms: Environment):
    density = _density_of(hypers, n_species, parameters, atoms)
    return jnp.concatenate([bispectrum(density, parity) for parity in parities(hypers)])


def _correlations(hypers: Hypers, n_species: int, parameters: Parameters, atoms: Environment):
    density, given = _density_of(hypers, n_species, parameters, atoms), parameters.contraction
    return jnp.concatenate(
        [correlations(density, given, hypers.nu, parity) for parity in parities(hypers)]
    )


def _triplets(hypers: Hypers, n_species: int, parameters: Parameters, atoms: Environment):
    mixing = parameters.mixing
    if hypers.coupling == "coupled":
        of_parity = partial(environment_coupled, *atoms[:3], hypers.basis, n_species, 1)
        return jnp.concatenate([of_parity(parity, mixing) for parity in parities(hypers)], -1)
    even, odd, geometry = environment_triplets(
        *atoms[:3], hypers.basis, n_species, hypers.form, mixing
    )
    parts = (even, odd) if hypers.chiral else (even,)
    flat = [part.reshape(*part.shape[:2], prod(part.shape[2:])) for part in parts]
    return jnp.concatenate([geometry, *flat], -1)


def _triplet_sum(hypers: Hypers, n_species: int, parameters: Parameters, atoms: Environment):
    of_parity = partial(triplet_sum, *atoms[:3], hypers.basis, n_species, hypers.form, hypers.tags)
    sums = [of_parity(parity, parameters.mixing, atoms.slots) for parity in parities(hypers)]
    return jnp.concatenate([part.ravel() for part in sums])


def _fingerprint(hypers: Hypers, _: int, parameters: Parameters, atoms: Environment):
    assert parameters.weights is not None
    return fingerprint(
        *atoms[:3], hypers.basis, parameters.weights, atoms.center, hypers.tags, hypers.chiral,
        parameters.mixing, atoms.slots,
    )  # fmt: skip


class Kind(NamedTuple):
    """How one kind of descriptor is computed, what its columns are and which options it reads."""

    describe: Callable[[Hypers, int, Parameters, Environment], Array]
    columns: Callable[..., Iterator[dict[str, Any]]]
    reads: tuple[str, ...]  # fields of ``Hypers`` besides those of ``Basis``, which all kinds read


TAGGED, SPLIT = ("tags", "chiral"), ("chiral", "center_species")
KINDS = {
    "density": Kind(_density, labels.density_columns, ("center_species",)),
    "power_spectrum": Kind(_power_spectrum, labels.power_spectrum_columns, ("center_species",)),
    "bispectrum": Kind(_bispectrum, labels.bispectrum_columns, SPLIT),
    "correlations": Kind(_correlations, labels.correlation_columns, ("nu", *SPLIT)),
    "triplets": Kind(_triplets, labels.triplet_columns, ("coupling", "form", "tags", *SPLIT)),
    "triplet_sum": Kind(_triplet_sum, labels.triplet_sum_columns, ("form", "tags", *SPLIT)),
    "fingerprint": Kind(
        _fingerprint, labels.fingerprint_columns, ("n_features", "length_scale", "seed", *TAGGED)
    ),
}


def read_by(kind: str, hypers: Mapping[str, Any]) -> dict[str, Any]:
    """Those of some hyperparameters that a kind reads: for callers who share a set among kinds.

    Example:
        >>> read_by("power_spectrum", {"cutoff": 4.0, "tags": 3, "nu": 2})
        {'cutoff': 4.0}
    """
    reads = {field.name for field in fields(Basis)} | set(KINDS[kind].reads)
    if hypers.get("coupling") == "coupled":
        reads.discard("form")  # of the minimal basis
    return {name: value for name, value in hypers.items() if name in reads}


def checked_hypers(kind: str, hypers: Mapping[str, Any]) -> Hypers:
    """The hyperparameters of a kind, with defaults for those that are not given.

    Raises:
        InputError: the kind or a name does not exist, the kind does not read one that is given
            (None and False count as not given), or a value is out of range.

    Example:
        >>> checked_hypers("fingerprint", {"tags": 3}).tags
        3
    """
    if not (isinstance(kind, str) and kind in KINDS):
        raise InputError(f"kind {kind!r} is not known; choose one of {', '.join(KINDS)}")
    checked = Hypers.from_keywords(**hypers)
    given = {k: value for k, value in hypers.items() if value is not None and value is not False}
    read = read_by(kind, given)
    for name in given:
        if name not in read:
            readers = ", ".join(repr(other) for other in KINDS if name in KINDS[other].reads)
            place = "coupling='minimal'" if name in KINDS[kind].reads else f"kind {readers}"
            raise InputError(
                f"invalid {name}={given[name]!r}: kind {kind!r} does not read it; it is for {place}"
            )
    return checked


def require_invariant(kind: str) -> None:
    """Raise InputError unless a kind is one invariant vector for each environment."""
    others = ("density", "triplets")
    if kind in others:
        raise InputError(
            f"kind {kind!r} is not an invariant vector of an environment; choose one of "
            f"{', '.join(name for name in KINDS if name not in others)}"
        )
