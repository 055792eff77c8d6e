"""The kinds of descriptors, each as a pure function of one environment and of a Batch.

To add a kind: write its function of one environment here, what its columns are in ``columns``, and
add both to ``KINDS``.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ase.data import chemical_symbols

from tripletjax import columns as labels
from tripletjax.columns import Columns, column_names, parities
from tripletjax.correlations import bispectrum, power_spectrum
from tripletjax.coupled import environment_coupled
from tripletjax.densities import Mixing, density_coefficients
from tripletjax.fingerprints import FingerprintWeights, fingerprint, fingerprint_weights
from tripletjax.io import checksum
from tripletjax.neighbors import displacements
from tripletjax.nice import Contraction, correlations
from tripletjax.triplets import environment_triplets, triplet_sum
from tripletjax.types import Array, Batch, Hypers, InputError


class Environment(NamedTuple):
    """One centre and its padded neighbours."""

    vectors: Array  # [K, 3] Å from the centre
    species: Array  # [K] index into the elements
    mask: Array  # [K] False on padding
    center: Array | int = 0  # index into the elements


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
        """
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
            **asdict(self.hypers),
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
    if not (isinstance(kind, str) and kind in KINDS):
        raise InputError(f"kind {kind!r} is not known; choose one of {', '.join(KINDS)}")
    elements = _checked_elements(elements)
    checked = Hypers.from_keywords(**hypers)
    _check_options(kind, checked, contraction)
    symbols = [chemical_symbols[number] for number in elements]
    channels = _channels(checked, symbols, mixing)
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
    table = labels.columns(records)
    return Descriptor(
        kind,
        checked,
        elements,
        Parameters(weights, contraction, mixing),
        pure_function(kind, checked, len(elements)),
        table,
        column_names(table),
    )


def pure_function(kind: str, hypers: Hypers, n_species: int) -> Callable[..., Array]:
    """``Descriptor.apply``: a function of (parameters, vectors, species, mask, center)."""

    def apply(parameters, vectors, species, mask, center=0):
        environment = Environment(vectors, species, mask, center)
        values = KINDS[kind].describe(hypers, n_species, parameters, environment)
        if hypers.center_species:
            is_center = jax.nn.one_hot(center, n_species, dtype=values.dtype)
            values = is_center[:, None] * values[..., None, :]
            values = values.reshape(*values.shape[:-2], -1)
        return values

    return apply


def _checked_elements(elements: Any) -> tuple[int, ...]:
    numbers = tuple(elements)
    known = all(
        isinstance(n, (int, np.integer)) and 0 <= n < len(chemical_symbols) for n in numbers
    )
    if not (numbers and known and list(numbers) == sorted(set(numbers))):
        raise InputError(
            f"elements={numbers!r} is not usable; give different atomic numbers, ascending, such "
            "as Batch.elements"
        )
    return tuple(int(n) for n in numbers)


def _check_options(kind: str, hypers: Hypers, contraction: Contraction | None) -> None:
    """Options that only one kind has, and whose absence elsewhere would go unnoticed."""
    if contraction is not None and not (
        kind == "correlations" and isinstance(contraction, Contraction)
    ):
        raise InputError(
            f"contraction={type(contraction).__name__} of kind {kind!r} is not usable; give what "
            "nice.fit_contraction returns, for kind 'correlations'"
        )
    if hypers.coupling == "coupled" and kind != "triplets":
        raise InputError(f"coupling='coupled' is for kind 'triplets', not for {kind!r}")
    if hypers.center_species and kind == "fingerprint":
        raise InputError("center_species=True is not for kind 'fingerprint', which knows it anyway")


def _channels(hypers: Hypers, symbols: list[str], mixing: Mixing | None) -> labels.Channels:
    """Species and n of each channel q = (a, n), after checking the shapes of the mixing."""
    n_max = hypers.n_max
    if mixing is not None and not isinstance(mixing, Mixing):
        raise InputError(f"mixing is a {type(mixing).__name__}; give a densities.Mixing")
    if mixing is not None and mixing.species is not None:
        matrix = _finite("mixing.species", mixing.species)
        if matrix.ndim != 2 or matrix.shape[1] != len(symbols) or not len(matrix):
            raise InputError(
                f"mixing.species has shape {matrix.shape}; give [channels, {len(symbols)}], a "
                f"column for each of {', '.join(symbols)}"
            )
        symbols = [f"mix{b}" for b in range(len(matrix))]
    if mixing is not None and mixing.radial is not None:
        matrix = _finite("mixing.radial", mixing.radial)
        if matrix.ndim != 3 or matrix.shape[::2] != (hypers.l_max + 1, n_max) or not matrix.size:
            raise InputError(
                f"mixing.radial has shape {matrix.shape}; give [l_max + 1 = {hypers.l_max + 1}, "
                f"functions, n_max = {n_max}]"
            )
        n_max = matrix.shape[1]
    return [{"species": symbol, "n": n} for symbol in symbols for n in range(n_max)]


def _finite(name: str, matrix: Any) -> np.ndarray | jax.Array:
    if isinstance(matrix, jax.Array):  # perhaps traced: no value to look at
        return matrix
    matrix = np.asarray(matrix)
    if not np.isfinite(matrix).all():
        raise InputError(f"{name} is not finite; give finite numbers")
    return matrix


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
    sums = [of_parity(parity, parameters.mixing) for parity in parities(hypers)]
    return jnp.concatenate([part.ravel() for part in sums])


def _fingerprint(hypers: Hypers, _: int, parameters: Parameters, atoms: Environment):
    assert parameters.weights is not None
    return fingerprint(
        *atoms[:3], hypers.basis, parameters.weights, atoms.center, hypers.tags, hypers.chiral,
        parameters.mixing,
    )  # fmt: skip


class Kind(NamedTuple):
    """How one kind of descriptor is computed, and what its columns are."""

    describe: Callable[[Hypers, int, Parameters, Environment], Array]
    columns: Callable[..., Iterator[dict[str, Any]]]


KINDS = {
    "density": Kind(_density, labels.density_columns),
    "power_spectrum": Kind(_power_spectrum, labels.power_spectrum_columns),
    "bispectrum": Kind(_bispectrum, labels.bispectrum_columns),
    "correlations": Kind(_correlations, labels.correlation_columns),
    "triplets": Kind(_triplets, labels.triplet_columns),
    "triplet_sum": Kind(_triplet_sum, labels.triplet_sum_columns),
    "fingerprint": Kind(_fingerprint, labels.fingerprint_columns),
}


def require_invariant(kind: str) -> None:
    """Raise InputError unless a kind is one invariant vector for each environment."""
    others = ("density", "triplets")
    if kind in others:
        raise InputError(
            f"kind {kind!r} is not an invariant vector of an environment; choose one of "
            f"{', '.join(name for name in KINDS if name not in others)}"
        )
