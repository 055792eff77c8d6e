"""Reference energies of atoms, subtracted from the labels: given, or fitted by least squares."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols

from tripletjax.checks import InputError, as_number
from tripletjax.structures import compositions

ISOLATED = "isolated"
FAR = 8.0  # Å to the nearest periodic image, above which an atom is considered isolated
SAME = 1e-3  # eV, tolerance for the energies of one isolated atom
LARGEST = 25.0  # eV/atom relative to the references: several times the strongest bond
ACCEPTED = "expected 'isolated', or energies in eV such as H=-13.6,O=-432"

log = logging.getLogger(__name__)


def as_references(value: Any) -> str | dict[str, float] | None:
    """Validate reference energies: eV by chemical symbol, sorted by atomic number.

    Args:
        value: None; "isolated"; a mapping from symbols or atomic numbers to eV; or its text.

    Raises:
        InputError: the value is invalid, or an element does not exist.

    Example:
        >>> as_references("O=-432, H=-13.6")
        {'H': -13.6, 'O': -432.0}
    """
    if value is None or value == ISOLATED:
        return value
    if isinstance(value, str):
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        value = {name.strip(): _as_float(text) for name, _, text in pairs}
    if not isinstance(value, Mapping) or not value:
        raise InputError(f"invalid reference_energies={value!r}: {ACCEPTED}")
    found: dict[int, float] = {}
    for name, energy in value.items():
        number = _atomic_number(name)
        if number is None:
            raise InputError(f"invalid reference_energies: unknown element {name!r}: {ACCEPTED}")
        if number in found:
            raise InputError(f"invalid reference_energies: {chemical_symbols[number]} occurs twice")
        found[number] = as_number(f"reference energy of {name}", energy, unit="eV")
    return {chemical_symbols[number]: found[number] for number in sorted(found)}


def reference_energies(
    frames: Sequence[Atoms],
    energies: np.ndarray,
    species: Sequence[int] | np.ndarray,
    given: str | Mapping[str, float] | None = None,
) -> np.ndarray:
    """Energy of an atom of each species, [E] eV.

    Args:
        frames, energies: the training data, [N] eV.
        species: atomic numbers.
        given: from ``as_references``; None: least squares; "isolated": those of structures with a
            single atom without neighbours.

    Raises:
        InputError: a species has no reference energy, or isolated atoms of one species differ.
    """
    if given is None:
        return fit_references(frames, energies, species)
    where = "reference_energies"
    if isinstance(given, str):
        where = "the isolated atoms of the training data"
        given = _of_isolated(frames, energies)
    symbols = [chemical_symbols[number] for number in species]
    missing = [symbol for symbol in symbols if symbol not in given]
    if missing:
        raise InputError(
            f"no reference energy of {', '.join(missing)} in {where}; add it, or leave "
            "reference_energies out to fit them by least squares"
        )
    references = np.array([given[symbol] for symbol in symbols])
    listed = ", ".join(f"{s} {e:.6g}" for s, e in zip(symbols, references, strict=True))
    log.info("reference energies (eV) from %s: %s", where, listed)
    counts = compositions(frames, species)
    remaining = (np.asarray(energies, float) - counts @ references) / counts.sum(1)
    worst = float(np.median(np.abs(remaining)))
    if worst > LARGEST:
        log.warning(
            "energies minus reference energies are %.3g eV/atom (median), more than any bond: "
            "check the units of both, and that they are from the same method",
            worst,
        )
    return references


def is_isolated(frame: Atoms) -> bool:
    """Whether a structure is a single atom without a nearby periodic image.

    Example:
        >>> [is_isolated(Atoms("H", cell=[a, a, a], pbc=True)) for a in (3.0, 12.0)]
        [False, True]
    """
    if len(frame) != 1:
        return False
    steps = [(-1, 0, 1) if periodic else (0,) for periodic in frame.pbc]
    shifts = np.stack(np.meshgrid(*steps), -1).reshape(-1, 3)
    lengths = np.linalg.norm(shifts[shifts.any(1)] @ frame.cell.array, axis=1)
    return bool((lengths >= FAR).all())


def fit_references(frames: Sequence[Atoms], energies: np.ndarray, species) -> np.ndarray:
    """Energy of each species, by a least-squares fit of the energies to the compositions.

    If the compositions do not determine them, the solution with the smallest norm is used: only the
    sum over a structure matters.

    Args:
        frames: the structures.
        energies: ``[N]`` eV.
        species: atomic numbers.

    Returns:
        ``[E]`` eV.

    Example:
        >>> from ase.build import molecule
        >>> frames = [molecule("H2"), molecule("H2O"), molecule("H2O2")]
        >>> fit_references(frames, np.array([-2.0, -12.0, -22.0]), (1, 8)).round(6).tolist()
        [-1.0, -10.0]
    """
    counts = compositions(frames, species)
    return np.linalg.lstsq(counts.astype(float), np.asarray(energies, float), rcond=None)[0]


def _of_isolated(frames: Sequence[Atoms], energies: np.ndarray) -> dict[str, float]:
    found: dict[str, float] = {}
    for frame, energy in zip(frames, energies, strict=True):
        if is_isolated(frame):
            symbol = chemical_symbols[frame.numbers[0]]
            if abs(found.setdefault(symbol, float(energy)) - energy) > SAME:
                raise InputError(
                    f"isolated {symbol} atoms have different energies, {found[symbol]:.6g} and "
                    f"{energy:.6g} eV; keep one of them, or give the reference energies as numbers"
                )
    return found


def _atomic_number(name: Any) -> int | None:
    if isinstance(name, str):
        return atomic_numbers.get(name) or None  # X is not an element
    is_whole = isinstance(name, (int, np.integer)) and not isinstance(name, bool)
    return int(name) if is_whole and 0 < name < len(chemical_symbols) else None


def _as_float(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
