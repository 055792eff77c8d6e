"""Labels and names of the columns of every kind of descriptor.

Labels are a dict of arrays, one entry per column; if a label does not apply it is -1, "" or, for
signs, 0. Products of several densities are numbered: ``species_1``, ``n_1``, ``l_1`` and so on.
``parity`` is the sign of a column under inversion.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np

from tripletjax.basis.densities import Mixing
from tripletjax.invariants.correlations import bispectrum_index, power_spectrum_index
from tripletjax.invariants.coupled import coupled_index
from tripletjax.invariants.fingerprints import LEVEL_1_SHARE
from tripletjax.invariants.nice import Contraction, correlation_index, product_index
from tripletjax.invariants.triplets import triplet_index
from tripletjax.types import Hypers, InputError

Columns = dict[str, np.ndarray]
Channels = list[dict[str, Any]]  # species and n of each q = (a, n)

FACTORS = tuple(f"{sort}_{place}" for place in (1, 2, 3) for sort in ("species", "n", "l"))
TEXT = ("quantity", "coupling", "center", "species", "species_1", "species_2", "species_3")
SIGNS = ("sigma", "parity")
SORTS = (
    *("quantity", "coupling", "level", "nu", "center"),
    *FACTORS,
    *("sigma", "component", "channel"),
    *("species", "n", "l", "m", "k", "feature", "parity"),
)


def column_arrays(records: Iterable[dict[str, Any]]) -> Columns:
    """A table of labels from one dict per column; only labels that occur are kept.

    Example:
        >>> column_arrays([{"species": "H", "n": 0}, {"species": "O"}])["n"].tolist()
        [0, -1]
    """
    records = list(records)
    present = {sort for record in records for sort in record}
    if unknown := sorted(present - set(SORTS)):
        raise InputError(f"unknown label {unknown[0]!r} of columns: expected {', '.join(SORTS)}")
    return {
        sort: np.array([record.get(sort, _missing(sort)) for record in records])
        for sort in SORTS
        if sort in present
    }


def numbered_columns(count: int) -> list[dict[str, Any]]:
    """Labels of columns that are only numbered."""
    return [{"feature": number} for number in range(count)]


def _missing(sort: str) -> str | int:
    return "" if sort in TEXT else 0 if sort in SIGNS else -1


def column_names(labels: Columns) -> tuple[str, ...]:
    """One string per column, such as "H n=0 l=1 | O n=1 l=1 | parity=+1".

    Example:
        >>> column_names(column_arrays([{"species": "H", "n": 0, "l": 1, "m": -1, "parity": -1}]))
        ('H n=0 l=1 m=-1 parity=-1',)
    """
    rows = zip(*(values.tolist() for values in labels.values()), strict=True)
    return tuple(_name(dict(zip(labels, row, strict=True))) for row in rows)


def _name(label: dict[str, Any]) -> str:
    parts: list[list[str]] = [[] for _ in range(5)]  # before, three factors, after
    for sort, value in label.items():
        has_m = label.get("l", -1) != -1  # m itself may be -1
        if not has_m if sort == "m" else value == _missing(sort):
            continue
        stem, _, place = sort.partition("_")
        before = SORTS.index(sort) < SORTS.index("species_1")
        group = int(place) if place else 0 if before else 4
        parts[group].append(_word(stem, value))
    return " | ".join(" ".join(part) for part in parts if part)


def _word(stem: str, value: Any) -> str:
    if stem in ("species", "quantity", "coupling"):
        return value
    if stem == "center":
        return f"center {value}"
    return f"{stem}={value:+d}" if stem in SIGNS else f"{stem}={value}"


def _numbered(place: int, channel: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {f"{sort}_{place}": value for sort, value in (channel | more).items()}


def parities(hypers: Hypers) -> tuple[int, ...]:
    """Signs under inversion of the requested columns."""
    return (1, -1) if hypers.chiral else (1,)


def channels(hypers: Hypers, symbols: list[str], mixing: Mixing | None) -> Channels:
    """Species and n of each channel q = (a, n), after checking the shapes of the mixing."""
    n_max = hypers.n_max
    if mixing is not None and not isinstance(mixing, Mixing):
        raise InputError(f"invalid mixing={type(mixing).__name__}: expected a densities.Mixing")
    if mixing is not None and mixing.species is not None:
        matrix = _finite("mixing.species", mixing.species)
        if matrix.ndim != 2 or matrix.shape[1] != len(symbols) or not len(matrix):
            raise InputError(
                f"mixing.species has shape {matrix.shape}: expected [channels, {len(symbols)}], "
                f"one column for each of {', '.join(symbols)}"
            )
        symbols = [f"mix{b}" for b in range(len(matrix))]
    if mixing is not None and mixing.radial is not None:
        matrix = _finite("mixing.radial", mixing.radial)
        if matrix.ndim != 3 or matrix.shape[::2] != (hypers.l_max + 1, n_max) or not matrix.size:
            raise InputError(
                f"mixing.radial has shape {matrix.shape}: expected "
                f"[l_max + 1 = {hypers.l_max + 1}, functions, n_max = {n_max}]"
            )
        n_max = matrix.shape[1]
    return [{"species": symbol, "n": n} for symbol in symbols for n in range(n_max)]


def _finite(name: str, matrix: Any) -> np.ndarray | jax.Array:
    if isinstance(matrix, jax.Array):  # possibly traced, without a value to check
        return matrix
    matrix = np.asarray(matrix)
    if not np.isfinite(matrix).all():
        raise InputError(f"{name} is not finite: expected finite numbers")
    return matrix


def radial_spectrum_columns(hypers: Hypers, channels: Channels, *_: Any) -> Channels:
    return [channel | {"parity": 1} for channel in channels]


def density_columns(hypers: Hypers, channels: Channels, *_: Any) -> Iterator[dict[str, Any]]:
    for channel in channels:
        for l in range(hypers.l_max + 1):
            for m in range(-l, l + 1):
                yield channel | {"l": l, "m": m, "parity": (-1) ** l}


def power_spectrum_columns(hypers: Hypers, channels: Channels, *_: Any):
    for l, p, q in power_spectrum_index(len(channels), hypers.l_max):
        yield _numbered(1, channels[p]) | _numbered(2, channels[q]) | {"l": l, "parity": 1}


def bispectrum_columns(hypers: Hypers, channels: Channels, *_: Any):
    for parity in parities(hypers):
        for degrees, chosen in bispectrum_index(len(channels), hypers.l_max, parity):
            record: dict[str, Any] = {"parity": parity}
            for place, (l, q) in enumerate(zip(degrees, chosen, strict=True), start=1):
                record |= _numbered(place, channels[q], l=l)
            yield record


def correlation_columns(
    hypers: Hypers, channels: Channels, _: list[str], contraction: Contraction | None
):
    l_max, nu = hypers.l_max, hypers.nu
    products = {} if contraction or nu < 3 else product_index(len(channels), l_max)
    for parity in parities(hypers):
        for column in correlation_index(len(channels), l_max, contraction, nu, parity):
            common = {"nu": nu, "parity": parity}
            if contraction is not None:
                made_of = {
                    "sigma": column.sigma,
                    "l": column.l,
                    "component": column.feature,
                    "channel": column.channel,
                }
            elif nu == 1:
                made_of = channels[column.channel] | {"l": column.l}
            elif nu == 2:
                made_of = _numbered(1, channels[column.feature], l=column.l)
                made_of |= _numbered(2, channels[column.channel], l=column.l)
            else:
                l1, q1, l2, q2 = products[column.sigma, column.l][column.feature]
                made_of = _numbered(1, channels[q1], l=l1) | _numbered(2, channels[q2], l=l2)
                made_of |= _numbered(3, channels[column.channel], l=column.l)
            yield common | made_of


def triplet_sum_columns(hypers: Hypers, channels: Channels, *_: Any):
    letter = "m" if hypers.form == "edge" else "k"
    for parity in parities(hypers):
        for channel in channels:
            for l, m in triplet_index(hypers.l_max, parity):
                yield channel | {"coupling": "minimal", "l": l, letter: m, "parity": parity}


def triplet_columns(hypers: Hypers, channels: Channels, *_: Any):
    if hypers.coupling == "minimal":
        for quantity in ("r1 / Å", "r2 / Å", "cos theta"):
            yield {"quantity": quantity}
        yield from triplet_sum_columns(hypers, channels)
        return
    for parity in parities(hypers):
        for column in coupled_index(len(channels), hypers.l_max, 1, parity):
            tags = _numbered(1, channels[column.q1], l=column.l1)
            tags |= _numbered(2, channels[column.q2], l=column.l2)
            density = _numbered(3, channels[column.q3 or 0], l=column.lambda_)
            yield tags | density | {"coupling": "coupled", "parity": parity}


def fingerprint_columns(hypers: Hypers, channels: Channels, symbols: list[str], *_: Any):
    for symbol in symbols:
        yield {"level": 0, "center": symbol, "parity": 1}
    for channel in channels:
        yield channel | {"level": 0, "l": 0, "parity": 1}
    for feature in range(max(1, hypers.n_features // LEVEL_1_SHARE)):
        yield {"level": 1, "feature": feature, "parity": 1}
    for parity in parities(hypers):
        for feature in range(hypers.n_features):
            yield {"level": 2, "feature": feature, "parity": parity}
