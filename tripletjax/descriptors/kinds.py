"""The kinds of descriptors: their functions, columns and options.

To add a kind, write its function of one environment and its entry in ``KINDS``. A custom kind needs
no entry: create a ``Kind`` and use it instead of a name.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from math import prod
from typing import Any, NamedTuple

import jax.numpy as jnp

from tripletjax.basis.densities import (
    Mixing,
    center_density,
    density_coefficients,
    density_slopes,
)
from tripletjax.checks import suggestion
from tripletjax.descriptors import columns as labels
from tripletjax.descriptors.columns import parities
from tripletjax.invariants.correlations import bispectrum, power_spectrum
from tripletjax.invariants.coupled import environment_coupled
from tripletjax.invariants.fingerprints import fingerprint, fingerprint_weights
from tripletjax.invariants.nice import Contraction, correlations
from tripletjax.invariants.triplets import environment_triplets, triplet_sum
from tripletjax.types import Array, Basis, Hypers, InputError


class Parameters(NamedTuple):
    """The arrays of a descriptor; a differentiable pytree."""

    weights: Any = None  # from ``Kind.weights``
    contraction: Contraction | None = None
    mixing: Mixing | None = None


class Setup(NamedTuple):
    """The arguments of the function of a kind, in addition to the environment."""

    hypers: Hypers
    n_species: int
    parameters: Parameters
    slots: int | None = None  # slots for tags; None: the maximum

    def density(self, vectors: Array, species: Array, mask: Array, center: Any = None) -> Array:
        """Density coefficients of one environment, ``[a, n, lm]``, mixed if requested.

        A kind that reads ``center_weight`` gives the index of the centre's species.
        """
        basis, mixing = self.hypers.basis, self.parameters.mixing
        density = density_coefficients(vectors, species, mask, basis, self.n_species, mixing)
        if center is None or self.hypers.center_weight == 0:
            return density
        own = center_density(center, basis, self.n_species, mixing, density.dtype)
        return density + self.hypers.center_weight * own

    def density_slopes(self, vectors: Array, species: Array, mask: Array) -> Array:
        """Derivatives of ``density`` by the vectors, ``[K, 3, a, n, lm]``."""
        basis, mixing = self.hypers.basis, self.parameters.mixing
        return density_slopes(vectors, species, mask, basis, self.n_species, mixing)


@dataclass(frozen=True)
class OfDensity:
    """The function of a kind that depends on the density alone, which has fast derivatives.

    Args:
        of_density: pure function of a ``Setup`` and density coefficients [a, n, lm].

    Example:
        >>> from tripletjax.descriptors import descriptor
        >>> squares = OfDensity(lambda setup, density: jnp.sum(density**2, (0, 2)))  # [n]
        >>> own = Kind(name="squares", function=squares)
        >>> descriptor(own, (1, 8), cutoff=3.0, n_max=2, l_max=1).names
        ('feature=0', 'feature=1')
    """

    of_density: Callable[[Setup, Array], Array]

    def __call__(self, setup: Setup, vectors: Array, species: Array, mask: Array, center: Any):
        """Describe one environment."""
        return self.of_density(setup, setup.density(vectors, species, mask, center))


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of descriptor.

    ``function(setup, vectors, species, mask, center)`` is pure and describes one environment:
    vectors [K, 3] in Å, species [K] and center species indices, mask [K] False on padding. It
    returns [D], or [K, K, D] if ``per_triplet``. See ``OfDensity`` for functions of the density.

    Example:
        >>> from tripletjax.descriptors import descriptor
        >>> def squares(setup, vectors, species, mask, center):
        ...     return jnp.sum(setup.density(vectors, species, mask) ** 2, (0, 2))  # [n]
        >>> own = Kind(name="squares", function=squares)
        >>> descriptor(own, (1, 8), cutoff=3.0, n_max=2, l_max=1).names
        ('feature=0', 'feature=1')
    """

    name: str
    function: Callable[[Setup, Array, Array, Array, Any], Array]
    # (hypers, channels, symbols, contraction) -> one dict of labels per column; None: numbers
    columns: Callable[..., Iterable[dict[str, Any]]] | None = None
    reads: tuple[str, ...] = ()  # fields of ``Hypers`` in addition to those of ``Basis``
    # (hypers, n_species, (species channels, radial functions)) -> pytree of arrays; None: none
    weights: Callable[[Hypers, int, tuple[int, int]], Any] | None = None
    contracted: bool = False  # whether it accepts a ``Contraction``
    invariant: bool = True  # under rotations of the environment
    per_triplet: bool = False  # one row for each ordered pair of neighbours


def _density(_: Setup, density: Array) -> Array:
    return density.ravel()


def _radial_spectrum(_: Setup, density: Array) -> Array:
    return density[..., 0].ravel()


def _power_spectrum(_: Setup, density: Array) -> Array:
    return power_spectrum(density)


def _bispectrum(setup: Setup, density: Array) -> Array:
    return jnp.concatenate([bispectrum(density, parity) for parity in parities(setup.hypers)])


def _correlations(setup: Setup, density: Array) -> Array:
    given, hypers = setup.parameters.contraction, setup.hypers
    return jnp.concatenate(
        [correlations(density, given, hypers.nu, parity) for parity in parities(hypers)]
    )


def _triplets(setup: Setup, vectors, species, mask, _):
    hypers, mixing = setup.hypers, setup.parameters.mixing
    atoms = vectors, species, mask, hypers.basis, setup.n_species
    if hypers.coupling == "coupled":
        parts = [environment_coupled(*atoms, 1, parity, mixing) for parity in parities(hypers)]
        return jnp.concatenate(parts, -1)
    even, odd, geometry = environment_triplets(*atoms, hypers.form, mixing)
    parts = (even, odd) if hypers.chiral else (even,)
    flat = [part.reshape(*part.shape[:2], prod(part.shape[2:])) for part in parts]
    return jnp.concatenate([geometry, *flat], -1)


def _triplet_sum(setup: Setup, vectors, species, mask, _):
    hypers = setup.hypers
    of_parity = partial(
        triplet_sum, vectors, species, mask, hypers.basis, setup.n_species, hypers.form, hypers.tags
    )
    mixing, slots = setup.parameters.mixing, setup.slots
    return jnp.concatenate([of_parity(p, mixing, slots).ravel() for p in parities(hypers)])


def _fingerprint(setup: Setup, vectors, species, mask, center):
    hypers, parameters = setup.hypers, setup.parameters
    return fingerprint(
        vectors, species, mask, hypers.basis, parameters.weights, center, hypers.tags,
        hypers.chiral, parameters.mixing, setup.slots,
    )  # fmt: skip


def _fingerprint_weights(hypers: Hypers, n_species: int, channels: tuple[int, int]):
    return fingerprint_weights(
        hypers.basis, n_species, hypers.n_features, hypers.length_scale, hypers.seed, channels
    )


_SPLIT = ("chiral", "center_species")
KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            name="density",
            function=OfDensity(_density),
            columns=labels.density_columns,
            reads=("center_species", "center_weight"),
            invariant=False,
        ),
        Kind(
            name="radial_spectrum",
            function=OfDensity(_radial_spectrum),
            columns=labels.radial_spectrum_columns,
            reads=("center_species", "center_weight"),
        ),
        Kind(
            name="power_spectrum",
            function=OfDensity(_power_spectrum),
            columns=labels.power_spectrum_columns,
            reads=("center_species", "center_weight"),
        ),
        Kind(
            name="bispectrum",
            function=OfDensity(_bispectrum),
            columns=labels.bispectrum_columns,
            reads=(*_SPLIT, "center_weight"),
        ),
        Kind(
            name="correlations",
            function=OfDensity(_correlations),
            columns=labels.correlation_columns,
            reads=("nu", *_SPLIT, "center_weight"),
            contracted=True,
        ),
        Kind(
            name="triplets",
            function=_triplets,
            columns=labels.triplet_columns,
            reads=("coupling", "form", "tags", *_SPLIT),
            per_triplet=True,
        ),
        Kind(
            name="triplet_sum",
            function=_triplet_sum,
            columns=labels.triplet_sum_columns,
            reads=("form", "tags", *_SPLIT),
        ),
        Kind(
            name="fingerprint",
            function=_fingerprint,
            columns=labels.fingerprint_columns,
            reads=("n_features", "length_scale", "seed", "tags", "chiral"),
            weights=_fingerprint_weights,
        ),
    )
}


def kind_of(kind: str | Kind) -> Kind:
    """The kind with a name; a ``Kind`` is returned unchanged.

    Raises:
        InputError: no kind has this name.
    """
    if isinstance(kind, Kind):
        return kind
    if not (isinstance(kind, str) and kind in KINDS):
        raise unknown_kind(kind)
    return KINDS[kind]


def unknown_kind(kind: Any) -> InputError:
    """The error that lists all kinds."""
    return InputError(
        f"unknown kind {kind!r}: expected {', '.join(KINDS)}, a Kind, or an object with cutoff, "
        "elements and environment" + suggestion(kind, KINDS)
    )


def read_by(kind: str | Kind, hypers: Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters that a kind reads, from a set shared between kinds.

    Example:
        >>> read_by("power_spectrum", {"cutoff": 4.0, "tags": 3, "nu": 2})
        {'cutoff': 4.0}
    """
    reads = {field.name for field in fields(Basis)} | set(kind_of(kind).reads)
    if hypers.get("coupling") == "coupled":
        reads.discard("form")  # of the minimal basis
    return {name: value for name, value in hypers.items() if name in reads}


def checked_hypers(kind: str | Kind, hypers: Mapping[str, Any]) -> Hypers:
    """The validated hyperparameters of a kind, with defaults for those not given.

    Raises:
        InputError: an unknown kind or name, an option that the kind does not read (None and False
            count as not given), or a value out of range.

    Example:
        >>> checked_hypers("fingerprint", {"tags": 3}).tags
        3
    """
    kind = kind_of(kind)
    checked = Hypers.from_keywords(**hypers)
    given = {k: value for k, value in hypers.items() if value is not None and value is not False}
    read = read_by(kind, given)
    for name in given:
        if name not in read:
            readers = ", ".join(repr(other) for other in KINDS if name in KINDS[other].reads)
            place = "coupling='minimal'" if name in kind.reads else f"kind {readers}"
            raise InputError(
                f"invalid {name}={given[name]!r}: kind {kind.name!r} does not read it; it is for "
                f"{place}"
            )
    return checked


def require_invariant(kind: Kind) -> None:
    """Raise InputError unless a kind is one invariant vector for each environment."""
    if kind.per_triplet or not kind.invariant:
        choices = (k.name for k in KINDS.values() if k.invariant and not k.per_triplet)
        raise InputError(
            f"kind {kind.name!r} is not an invariant vector of an environment: expected one of "
            f"{', '.join(choices)}"
        )
