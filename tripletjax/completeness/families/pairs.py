"""Degenerate pairs: two structures, their relation, and the invariants that are equal for both."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from tripletjax.types import InputError

RELATIONS = ("none", "rotation", "reflection")
# Meaning of the names. With center=None the orders nu are those of the sum over all atoms.
INVARIANTS = {
    "distances": "nu=1: species and distances of the neighbours of the centre",
    "power_spectrum": "nu=2: distances and angle of every pair of neighbours",
    "bispectrum": "nu=3: Gram matrix of every triple of neighbours, hence up to reflections",
    "bispectrum_pseudo": "nu=3 with pseudoscalars: also the handedness of every triple",
    "nu4": "Gram matrix of every four neighbours",
    "nu4_pseudo": "the same with the triple products of every four neighbours",
    "nu5": "Gram matrix of every five neighbours",
    "nu6": "Gram matrix of every six neighbours",
    "sorted_distances": "all distances between atoms, with the species of both ends",
    "pointwise_distances": "for every atom the distances to all others; atoms as a multiset",
    "message_passing": "1-WL: colours refined by distances and colours of all other atoms",
    "local_message_passing": "the same along bonds, distances up to 1.2 times the shortest",
}
# Orders nu by name, and whether they depend on handedness.
ORDERS = {
    "distances": (1, False),
    "power_spectrum": (2, False),
    "bispectrum": (3, False),
    "bispectrum_pseudo": (3, True),
    "nu4": (4, False),
    "nu4_pseudo": (4, True),
    "nu5": (5, False),
    "nu6": (6, False),
}


class DegeneratePair(NamedTuple):
    """Two structures that some invariants cannot distinguish, with atoms in the same order."""

    name: str
    species: np.ndarray  # [N] atomic numbers, the same for both members
    first: np.ndarray  # [N, 3] Å
    second: np.ndarray  # [N, 3] Å
    center: int | None  # the central atom; None: every atom is a centre, as a multiset
    cell: np.ndarray | None  # [3, 3] Å, zero rows where not periodic; None: a finite structure
    relation: str  # isometry between the members: "none", "rotation", "reflection"
    defeats: tuple[str, ...]  # names in INVARIANTS that are equal for both members
    separated_by: tuple[str, ...]  # names in INVARIANTS that differ: the statement is sharp
    source: str

    def frames(self) -> list[Atoms]:
        """Both members as ASE Atoms, in the stored order (the centre is atom ``center``).

        Example:
            >>> from tripletjax.completeness.families import two_neighbors
            >>> [str(frame.symbols) for frame in two_neighbors().frames()]
            ['CH2', 'CH2']
        """
        periodic = None if self.cell is None else self.cell.any(axis=1)
        return [
            Atoms(numbers=self.species, positions=positions, cell=self.cell, pbc=periodic)
            for positions in (self.first, self.second)
        ]


def numbers_of(symbols: Sequence[str] | str, count: int | None = None) -> list[int]:
    """Atomic numbers of chemical symbols; a single symbol is used for all ``count`` atoms.

    Raises:
        InputError: an unknown symbol, or the wrong number of symbols.

    Example:
        >>> numbers_of("H", 3), numbers_of(["C", "O"], 2)
        ([1, 1, 1], [6, 8])
    """
    listed = [symbols] * (count or 1) if isinstance(symbols, str) else list(symbols)
    unknown = [symbol for symbol in listed if symbol not in atomic_numbers]
    if unknown:
        raise InputError(f"unknown species {unknown[0]!r}: expected chemical symbols such as 'C'")
    if count is not None and len(listed) != count:
        raise InputError(f"{len(listed)} species for {count} atoms: expected one for each, or one")
    return [atomic_numbers[symbol] for symbol in listed]


def real(name: str, value: Any, shape: tuple[int, ...] = ()) -> np.ndarray:
    """The value as a finite float64 array of the given shape (-1: any length)."""
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise InputError(f"invalid {name}={value!r}: expected finite real numbers") from None
    fits = array.ndim == len(shape) and all(
        want in (-1, have) for want, have in zip(shape, array.shape, strict=True)
    )
    if not (fits and np.isfinite(array).all()):
        wanted = " × ".join("any" if n == -1 else str(n) for n in shape) or "one"
        raise InputError(f"invalid {name}={value!r}: expected {wanted} finite real numbers")
    return array


def positive(name: str, value: Any, unit: str = "Å") -> float:
    """The value as a float, positive and finite."""
    number = float(real(name, value))
    if number <= 0:
        raise InputError(f"invalid {name}={value!r}: expected a positive number ({unit})")
    return number


def around(neighbors: np.ndarray) -> np.ndarray:
    """Positions preceded by a centre at the origin."""
    return np.concatenate([np.zeros((1, 3)), neighbors])


def polar(radius, angles, height=0.0) -> np.ndarray:
    """Points [n, 3] on a circle about z: radius and height in Å, angles in rad."""
    radius, angles, height = np.broadcast_arrays(radius, np.asarray(angles, float), height)
    return np.stack([radius * np.cos(angles), radius * np.sin(angles), height], axis=-1)
