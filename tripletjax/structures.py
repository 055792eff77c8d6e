"""Validation of input structures, and their translation to where float32 resolves them best."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.cell import Cell
from numpy.typing import ArrayLike

from tripletjax.checks import InputError

MIN_CELL_VOLUME = 1e-4  # relative to the product of the lengths; flatter cells are singular
MAX_LENGTH = 1e8  # Å; float64 resolves positions up to here to 1e-8 Å
EDGE = 1e-6  # of a lattice vector; atoms halfway along one all wrap to the same side


def check_frames(frames: Atoms | Iterable[Atoms]) -> list[Atoms]:
    """One structure or several as a list, each validated by ``check_frame``.

    Raises:
        InputError: not Atoms, no atoms, positions that are
            not finite, or periodic directions without a valid cell; the frame and atom are named.
    """
    if not isinstance(frames, (Atoms, Iterable)):
        raise InputError(
            f"invalid structures of type {type(frames).__name__}: expected ASE Atoms or a list"
        )
    frames = [frames] if isinstance(frames, Atoms) else list(frames)
    if not frames:
        raise InputError("no structures given: expected one ASE Atoms or a list of them")
    for index, frame in enumerate(frames):
        check_frame(frame, f"frame {index}")
    return frames


def check_frame(frame: Atoms, where: str) -> None:
    """Raise InputError if no neighbour list can be built; ``where`` names it, as in "frame 3"."""
    if not isinstance(frame, Atoms):
        raise InputError(f"{where} is of type {type(frame).__name__}: expected ASE Atoms")
    if len(frame) == 0:
        raise InputError(f"{where} has no atoms: expected at least one")
    usable = (np.abs(frame.positions) <= MAX_LENGTH).all(axis=1)  # False for NaN
    if not usable.all():
        atom = int(np.argmin(usable))
        raise InputError(
            f"atom {atom} of {where} is at {frame.positions[atom].tolist()}: expected finite "
            f"positions within {MAX_LENGTH:g} Å of the origin"
        )
    _check_cell(frame, where)


def _check_cell(frame: Atoms, where: str) -> None:
    periodic = frame.pbc
    if not periodic.any():
        return
    cell = np.asarray(frame.cell)
    if not (np.abs(cell) <= MAX_LENGTH).all():
        raise InputError(
            f"invalid cell of {where}: {cell.tolist()}: expected finite lattice vectors (Å) "
            f"shorter than {MAX_LENGTH:g} Å"
        )
    if not _relative_volume(cell[periodic]) > MIN_CELL_VOLUME:
        raise InputError(
            f"the cell of {where} is singular along its periodic directions "
            f"{''.join(np.array(list('xyz'))[periodic])}: {cell.tolist()}; "
            "expected linearly independent lattice vectors (Å), or pbc=False"
        )


def _relative_volume(rows: np.ndarray) -> float:
    """The volume of some vectors relative to the product of their lengths; NaN for zero vectors."""
    lengths = np.linalg.norm(rows, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt(np.linalg.det(rows @ rows.T / np.outer(lengths, lengths)))


def full_cell(frame: Atoms) -> np.ndarray:
    """Three independent lattice vectors, even if some or all directions are not periodic.

    Example:
        >>> full_cell(Atoms("H")).tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    if not frame.pbc.any():
        return np.eye(3)
    cell = frame.cell.complete()
    if not _relative_volume(cell.array) > MIN_CELL_VOLUME:  # an unused vector
        cell = Cell(np.where(frame.pbc[:, None], frame.cell.array, 0)).complete()
    return cell.array


class Centred(NamedTuple):
    """The atoms of a structure near the origin, and the shifts to restore them: see ``centred``."""

    positions: np.ndarray  # [N, 3] Å, float64
    wraps: np.ndarray  # [N, 3] lattice vectors subtracted from each atom, integers
    translation: np.ndarray  # [3] Å, subtracted from all atoms

    def restored(self, positions: ArrayLike, cell: ArrayLike) -> np.ndarray:
        """Positions in the original frame of atoms that have moved to ``positions``, in float64.

        Args:
            positions: ``[N, 3]`` Å, of the atoms that were at ``self.positions``.
            cell: ``[3, 3]`` Å, the current cell.
        """
        lattice = self.wraps @ np.asarray(cell, np.float64)
        return np.asarray(positions, np.float64) + lattice + self.translation


def centred(frame: Atoms) -> Centred:
    """Wrap the atoms of a valid structure into the cell around the first one, and centre them.

    float32 resolves about 1e-7 of a coordinate, so coordinates must not grow with the distance from
    the origin or with the number of cells that an atom has crossed. Along periodic directions all
    atoms are wrapped to within half a lattice vector of the first; then the structure is centred on
    the origin. Distances to periodic images do not change if the shifts are changed by the
    differences of the wraps. All arrays are float64.

    Example:
        >>> frame = Atoms("H2", [[100, 1, 1], [98.6, 1, 4]], cell=[3, 3, 3], pbc=[1, 1, 0])
        >>> place = centred(frame)
        >>> (place.positions.round(6) + 0.0).tolist()  # without the sign of zeros
        [[0.7, 0.0, -1.5], [-0.7, 0.0, 1.5]]
        >>> bool(abs(place.restored(place.positions, frame.cell) - frame.positions).max() < 1e-12)
        True
    """
    positions = frame.positions - frame.positions[0]
    wraps = np.zeros(positions.shape, np.int64)
    if frame.pbc.any():
        cell = full_cell(frame)
        fractions = np.linalg.solve(cell.T, positions.T).T
        wraps = np.where(frame.pbc, np.floor(fractions + 0.5 + EDGE), 0).astype(np.int64)
        positions = positions - wraps @ cell
    middle = (positions.min(axis=0) + positions.max(axis=0)) / 2
    return Centred(positions - middle, wraps, frame.positions[0] + middle)


def require_elements(frames: Sequence[Atoms], species: Iterable[int] | None) -> np.ndarray:
    """Sorted atomic numbers of the species channels, checked to include all species of the frames.

    Args:
        frames: the structures.
        species: atomic numbers or chemical symbols; None: all that occur.

    Raises:
        InputError: the species of an atom, which is named, is not among those given.
    """
    numbers = [frame.numbers for frame in frames]
    if species is None:
        return np.unique(np.concatenate(numbers))
    if not isinstance(species, Iterable):
        raise InputError(f"invalid species={species!r}: expected a list of numbers or symbols")
    elements = np.unique([atomic_number(s) for s in species])
    if unknown := first_unknown(frames, elements):
        index, atom = unknown
        raise InputError(
            f"atom {atom} of frame {index} has atomic number {numbers[index][atom]}, which is not "
            f"among species={elements.tolist()}; add it to species or remove the atom"
        )
    return elements


def first_unknown(
    frames: Iterable[Atoms], known: np.ndarray | Sequence[int]
) -> tuple[int, int] | None:
    """The first (frame, atom) whose atomic number is not among the known ones, or None.

    Example:
        >>> first_unknown([Atoms("H2"), Atoms("HCO")], [1, 6])
        (1, 2)
    """
    for index, frame in enumerate(frames):
        unknown = ~np.isin(frame.numbers, known)
        if unknown.any():
            return index, int(np.argmax(unknown))
    return None


def compositions(frames: Iterable[Atoms], species: Iterable[int]) -> np.ndarray:
    """Number of atoms of each species in each structure, [N, E].

    Example:
        >>> compositions([Atoms("H2O"), Atoms("CO")], (1, 8)).tolist()
        [[2, 1], [0, 1]]
    """
    species = list(species)
    return np.stack([(frame.numbers[:, None] == species).sum(0) for frame in frames])


def require_known(frames: Iterable[Atoms], known: Sequence[int], owner: str) -> None:
    """Raise InputError for a species that a fitted model does not know.

    Example:
        >>> require_known([Atoms("H2")], (1, 8), "the potential")
    """
    frames = list(frames)
    if unknown := first_unknown(frames, known):
        index, atom = unknown
        raise InputError(
            f"atom {atom} of frame {index} has atomic number {frames[index].numbers[atom]}, but "
            f"{owner} knows only {list(known)}; fit it to structures with this species"
        )


def atomic_number(species: Any) -> int:
    """Atomic number of a number or a symbol.

    Raises:
        InputError: it is neither.

    Example:
        >>> atomic_number("Si"), atomic_number(14)
        (14, 14)
    """
    from ase.data import atomic_numbers

    number = species
    if isinstance(species, str):
        number = int(species) if species.isdecimal() else atomic_numbers.get(species)
    if isinstance(number, (int, np.integer)) and not isinstance(number, bool):
        if 0 <= number < len(atomic_numbers):
            return int(number)
    raise InputError(f"unknown species {species!r}: expected atomic numbers or chemical symbols")


def require_centers(frames: Sequence[Atoms], centers: Iterable[int] | None) -> list[np.ndarray]:
    """The central atoms of each frame: all, or the given ones, which must exist in every frame."""
    if centers is None:
        return [np.arange(len(frame)) for frame in frames]
    chosen = np.asarray(centers if isinstance(centers, (np.ndarray, int)) else list(centers))
    if chosen.ndim != 1 or chosen.size == 0 or chosen.dtype.kind not in "iu":
        raise InputError(f"invalid centers={chosen.tolist()!r}: expected whole numbers from 0")
    for index, frame in enumerate(frames):
        outside = (chosen < 0) | (chosen >= len(frame))
        if outside.any():
            raise InputError(
                f"centers holds {chosen[outside][0]}, but frame {index} has atoms 0 to "
                f"{len(frame) - 1}; expected atoms that every frame has"
            )
    return [chosen] * len(frames)
