"""The kinds of descriptors, each as a pure function of one environment and of a Batch.

To add a kind: write its function of ``(parameters, vectors, species, mask, center)`` and of its
column names, and add them to ``KINDS``.
"""

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ase.data import chemical_symbols

from tripletjax.correlations import (
    bispectrum,
    bispectrum_index,
    power_spectrum,
    power_spectrum_index,
)
from tripletjax.densities import density_coefficients
from tripletjax.fingerprints import LEVEL_1_SHARE, fingerprint, fingerprint_weights
from tripletjax.neighbors import displacements
from tripletjax.triplets import environment_triplets, triplet_index, triplet_sum
from tripletjax.types import Array, Batch, Hypers, InputError


class Descriptor(NamedTuple):
    """One descriptor with its hyperparameters fixed.

    ``apply(parameters, vectors, species, mask, center)`` is pure and describes one environment:
    vectors [K, 3] in Å, species [K] and center indices into ``elements``, mask [K]. It returns [D],
    or [K, K, D] for kind "triplets".
    """

    kind: str
    hypers: Hypers
    elements: tuple[int, ...]
    parameters: Any  # pytree of NumPy arrays, empty where there is none
    apply: Callable[..., Array]
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


def descriptor(kind: str, elements: tuple[int, ...], **hypers: Any) -> Descriptor:
    """The pure functions of one kind of descriptor.

    Args:
        kind: one of ``KINDS``.
        elements: atomic numbers of the species channels, ascending (``Batch.elements``).
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
    symbols = [chemical_symbols[number] for number in elements]
    build, name = KINDS[kind]
    parameters, apply = build(checked, len(elements))
    return Descriptor(kind, checked, elements, parameters, apply, name(checked, symbols))


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


def _density(hypers: Hypers, n_species: int):
    def apply(_, vectors, species, mask, center):
        return density_coefficients(vectors, species, mask, hypers.basis, n_species).ravel()

    return (), apply


def _density_names(hypers: Hypers, symbols: list[str]) -> tuple[str, ...]:
    return tuple(
        f"{channel} l={l} m={m}"
        for channel in _channels(hypers, symbols)
        for l in range(hypers.l_max + 1)
        for m in range(-l, l + 1)
    )


def _power_spectrum(hypers: Hypers, n_species: int):
    def apply(_, vectors, species, mask, center):
        density = density_coefficients(vectors, species, mask, hypers.basis, n_species)
        return power_spectrum(density)

    return (), apply


def _power_spectrum_names(hypers: Hypers, symbols: list[str]) -> tuple[str, ...]:
    channels = _channels(hypers, symbols)
    index = power_spectrum_index(len(channels), hypers.l_max)
    return tuple(f"{channels[p]} | {channels[q]} | l={l}" for l, p, q in index)


def _bispectrum(hypers: Hypers, n_species: int):
    parities = (1, -1) if hypers.chiral else (1,)

    def apply(_, vectors, species, mask, center):
        density = density_coefficients(vectors, species, mask, hypers.basis, n_species)
        return jnp.concatenate([bispectrum(density, parity) for parity in parities])

    return (), apply


def _bispectrum_names(hypers: Hypers, symbols: list[str]) -> tuple[str, ...]:
    channels = _channels(hypers, symbols)
    return tuple(
        " | ".join(f"{channels[q]} l={l}" for l, q in zip(degrees, channel, strict=True))
        + f" | parity={parity:+d}"
        for parity in ((1, -1) if hypers.chiral else (1,))
        for degrees, channel in bispectrum_index(len(channels), hypers.l_max, parity)
    )


def _triplets(hypers: Hypers, n_species: int):
    def apply(_, vectors, species, mask, center):
        even, odd, geometry = environment_triplets(
            vectors, species, mask, hypers.basis, n_species, hypers.form
        )
        parts = (even, odd) if hypers.chiral else (even,)
        flat = [part.reshape(*part.shape[:2], prod(part.shape[2:])) for part in parts]
        return jnp.concatenate([geometry, *flat], -1)

    return (), apply


def _triplet_sum(hypers: Hypers, n_species: int):
    def apply(_, vectors, species, mask, center):
        parities = (1, -1) if hypers.chiral else (1,)
        sums = [
            triplet_sum(
                vectors, species, mask, hypers.basis, n_species, hypers.form, hypers.tags, parity
            )
            for parity in parities
        ]
        return jnp.concatenate([part.ravel() for part in sums])

    return (), apply


def _triplet_sum_names(hypers: Hypers, symbols: list[str]) -> tuple[str, ...]:
    letter = "m" if hypers.form == "edge" else "k"
    return tuple(
        f"{channel} l={l} {letter}={m} parity={parity:+d}"
        for parity in ((1, -1) if hypers.chiral else (1,))
        for channel in _channels(hypers, symbols)
        for l, m in triplet_index(hypers.l_max, parity)
    )


def _triplet_names(hypers: Hypers, symbols: list[str]) -> tuple[str, ...]:
    return ("r1 / Å", "r2 / Å", "cos theta", *_triplet_sum_names(hypers, symbols))


def _fingerprint(hypers: Hypers, n_species: int):
    weights = fingerprint_weights(
        hypers.basis, n_species, hypers.n_features, float(hypers.length_scale), hypers.seed
    )

    def apply(weights, vectors, species, mask, center):
        return fingerprint(
            vectors, species, mask, hypers.basis, weights, center, hypers.tags, hypers.chiral
        )

    return weights, apply


def _fingerprint_names(hypers: Hypers, symbols: list[str]) -> tuple[str, ...]:
    n_level_1 = max(1, hypers.n_features // LEVEL_1_SHARE)
    features = range(hypers.n_features)
    return (
        *(f"level=0 center {symbol}" for symbol in symbols),
        *(f"level=0 {channel}" for channel in _channels(hypers, symbols)),
        *(f"level=1 feature={d}" for d in range(n_level_1)),
        *(f"level=2 feature={d} parity=+1" for d in features),
        *(f"level=2 feature={d} parity=-1" for d in features if hypers.chiral),
    )


def _channels(hypers: Hypers, symbols: list[str]) -> list[str]:
    """Names of q = (species, n)."""
    return [f"{symbol} n={n}" for symbol in symbols for n in range(hypers.n_max)]


KINDS: dict[str, tuple[Callable, Callable]] = {
    "density": (_density, _density_names),
    "power_spectrum": (_power_spectrum, _power_spectrum_names),
    "bispectrum": (_bispectrum, _bispectrum_names),
    "triplets": (_triplets, _triplet_names),
    "triplet_sum": (_triplet_sum, _triplet_sum_names),
    "fingerprint": (_fingerprint, _fingerprint_names),
}
