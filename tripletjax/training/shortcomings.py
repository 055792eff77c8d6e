"""What training data lack or contradict, said before a fit."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from tripletjax.training.labels import Labels

ENERGY_TOLERANCE = 1e-3  # eV per atom, between labels of equal structures
FORCE_TOLERANCE = 1e-2  # eV/Å
DECIMALS = 4  # of positions in Å that are considered equal
EDGE = 1e-6  # of a cell, outside which a position is in the next one

log = logging.getLogger(__name__)


def warn_of_shortcomings(frames: Sequence[Atoms], labels: Sequence[Labels]) -> None:
    """Log a warning for each shortcoming that bounds what a fit to these data can reach.

    These are labels of equal structures that differ, species that a single structure contains, and
    forces that are missing throughout.
    """
    for message in (_contradictions(frames, labels), _rare_species(frames)):
        if message:
            log.warning(message)
    if all(label.forces is None for label in labels):
        log.warning(
            "no structure has forces: energies alone need many more structures; forces of the "
            "fit are derivatives that nothing was compared with"
        )


def _contradictions(frames: Sequence[Atoms], labels: Sequence[Labels]) -> str:
    """The pair of equal structures whose labels differ most, and the number of these pairs."""
    found = []
    for first, second in _equal_pairs(frames):
        one, other = labels[first], labels[second]
        energy = abs(one.energy - other.energy) / len(frames[first])
        forces = 0.0
        if one.forces is not None and other.forces is not None:
            forces = float(np.abs(one.forces - other.forces).max())
        excess = max(energy / ENERGY_TOLERANCE, forces / FORCE_TOLERANCE)
        if excess > 1:
            found.append((excess, first, second, energy, forces))
    if not found:
        return ""
    _, first, second, energy, forces = max(found)
    return (
        f"{len(found)} structures repeat an earlier one with other labels, such as {second} and "
        f"{first}, by {1000 * energy:.3g} meV/atom and {1000 * forces:.3g} meV/Å: no fit can match "
        "both; leave out the wrong ones"
    )


def _equal_pairs(frames: Sequence[Atoms]) -> Iterator[tuple[int, int]]:
    """Structures that are equal to an earlier one but for a shift, with the first of these."""
    seen: dict[tuple, int] = {}
    for index, frame in enumerate(frames):
        cell = frame.cell.complete().array
        relative = frame.positions - frame.positions[0]
        turns = np.floor(relative @ np.linalg.inv(cell) + EDGE)  # whole cells to go back
        relative -= np.where(frame.pbc, turns, 0) @ cell
        arrays = frame.numbers, frame.pbc, _rounded(cell[frame.pbc]), _rounded(relative)
        first = seen.setdefault(tuple(array.tobytes() for array in arrays), index)
        if first != index:
            yield first, index


def _rounded(lengths: np.ndarray) -> np.ndarray:
    return lengths.round(DECIMALS) + 0.0  # no negative zeros


def _rare_species(frames: Sequence[Atoms]) -> str:
    """The species that only one of several structures contains."""
    counts = Counter(kind for frame in frames for kind in set(frame.numbers.tolist()))
    rare = [chemical_symbols[kind] for kind in sorted(counts) if counts[kind] == 1]
    if not rare or len(frames) == 1:
        return ""
    return (
        f"only one structure contains {', '.join(rare)}: its energy cannot be told apart from "
        "their reference energies, and predictions for other structures with them are guesses"
    )
