"""Structures that occur more than once among labelled ones.

A calculation that is repeated bit by bit has no noise. Labels of copies, counted as independent,
would say so of all labels: the evidence would be highest for a noise of zero.
"""

import logging
from collections.abc import Sequence

import numpy as np
from ase import Atoms

log = logging.getLogger(__name__)
DIGITS = 6  # of positions and cells in Å
EQUAL = 1e-6  # eV, eV/Å and eV/Å³: labels of a copy that differ by less


def first_of_copies(frames: Sequence[Atoms]) -> np.ndarray:
    """The first structure [F] with the same species, positions and cell as each one.

    Example:
        >>> from ase.build import molecule
        >>> first_of_copies([molecule("H2O"), molecule("CO2"), molecule("H2O")]).tolist()
        [0, 1, 0]
    """
    first: dict[tuple[bytes, ...], int] = {}
    found = []
    for index, frame in enumerate(frames):
        places = np.concatenate([frame.cell.array, frame.positions])
        places = np.round(places, DIGITS) + 0.0  # without negative zeros
        key = frame.numbers.tobytes(), frame.pbc.tobytes(), places.tobytes()
        found.append(first.setdefault(key, index))
    return np.array(found)


def without_copies(
    frames: Sequence[Atoms],
    labels: Sequence[Sequence[np.ndarray | None]],
    is_told: bool = True,
) -> list[int]:
    """The structures that count, ascending: of copies with equal labels the first.

    Copies with other labels count as well: they show the noise of the labels.

    Args:
        frames: F structures.
        labels: for each structure, an array of each kind; None if missing.
        is_told: warn of copies.

    Example:
        >>> from ase.build import molecule
        >>> water, energies = molecule("H2O"), [-1.0, -1.0, -2.0]
        >>> without_copies([water] * 3, [[np.array(energy)] for energy in energies])
        [0, 2]
    """
    first = first_of_copies(frames)
    kept: dict[int, list[int]] = {}
    copies, others = [], []
    for index, original in enumerate(first):
        known = kept.setdefault(int(original), [])
        if any(_are_equal(labels[index], labels[one]) for one in known):
            copies.append(index)
            continue
        if known:
            others.append(index)
        known.append(index)
    for what, found in (("the same labels: they count once", copies), ("other labels", others)):
        if found and is_told:
            log.warning(
                "%d of %d structures are copies of others with %s; the first is structure %d, "
                "a copy of %d", len(found), len(frames), what, found[0], first[found[0]],
            )  # fmt: skip
    return sorted(index for known in kept.values() for index in known)


def _are_equal(a: Sequence[np.ndarray | None], b: Sequence[np.ndarray | None]) -> bool:
    return all(
        x is y or (x is not None and y is not None and np.allclose(x, y, rtol=0, atol=EQUAL))
        for x, y in zip(a, b, strict=True)
    )
