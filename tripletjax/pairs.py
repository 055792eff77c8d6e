"""Pairs of atoms within a cutoff, including periodic images, in NumPy on the host."""

import os
from math import ceil
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import Atoms
from scipy.spatial import KDTree
from scipy.spatial.distance import pdist
from vesin import NeighborList

from tripletjax.structures import centred, full_cell
from tripletjax.types import InputError

MIN_DISTANCE = 1e-3  # Å; closer atoms are considered to coincide
# vesin uses at most about 1e5 cells and otherwise enlarges them proportionally: then there are none
# along the shortest side of a flat or long structure, and it divides by zero.
MAX_CELLS = 1e5
BYTES_A_PAIR = 250  # measured memory while pairs are found and sorted
BYTES_AN_IMAGE = 150
FEW = 200  # up to this number of atoms all distances are computed at once
SAMPLED = 64  # atoms whose neighbours are counted to estimate the number of pairs


class Pairs(NamedTuple):
    """The neighbours of some atoms of one structure, sorted by centre, then by distance.

    P neighbours in total, of C centres.
    """

    centers: np.ndarray  # [C] atom of each environment
    environment: np.ndarray  # [P] position of the centre in ``centers``
    neighbors: np.ndarray  # [P] atom
    shifts: np.ndarray  # [P, 3] lattice translations
    vectors: np.ndarray  # [P, 3] Å, from centre to neighbour


class _Ordered(NamedTuple):
    """All ordered pairs of a structure, unsorted: arrays [P] or [P, 3]."""

    first: np.ndarray
    second: np.ndarray
    shifts: np.ndarray
    distances: np.ndarray
    vectors: np.ndarray


def find_pairs(frame: Atoms, cutoff: float, centers: np.ndarray, index: int = 0) -> Pairs:
    """Neighbours strictly inside the cutoff of the given atoms, including periodic images.

    Args:
        frame: a valid structure; any combination of periodic directions, cells of any size.
        cutoff: Å.
        centers: ``[C]`` atoms.
        index: number of the frame, for messages.

    Returns:
        Pairs sorted by environment, then distance, then neighbour and shift.

    Raises:
        InputError: two atoms coincide, or there are more pairs than fit in memory.
    """
    where, cutoff = f"frame {index}", float(cutoff)
    place, cell = centred(frame), full_cell(frame)
    box = _Box(place.positions, cell, frame.pbc)
    box.require_memory(cutoff, where)
    pairs = box.pairs_by_cells(cutoff) if box.suits_cells(cutoff) else box.pairs_by_tree(cutoff)
    _require_apart(pairs, where)
    i, j, distances = pairs.first, pairs.second, pairs.distances
    shifts = pairs.shifts - place.wraps[j] + place.wraps[i]
    order = _sorted(i, distances, j, shifts)
    order = order[distances[order] < cutoff]
    i, j, shifts, vectors = (x[order] for x in (i, j, shifts, pairs.vectors))
    start, stop = np.searchsorted(i, centers), np.searchsorted(i, centers, side="right")
    counts = stop - start
    rows = np.repeat(start - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
    environment = np.repeat(np.arange(len(centers)), counts)
    return Pairs(centers, environment, j[rows], shifts[rows], vectors[rows])


def _sorted(first, distances, second, shifts) -> np.ndarray:
    """Order by the first atom, then distance, then neighbour and shift, which decide between equal
    distances alone: these are rare outside perfect crystals, and sorting by six keys is slow."""
    order = np.lexsort((distances, first))
    equal = np.diff(distances[order]) == 0
    if (equal & (np.diff(first[order]) == 0)).any():
        return np.lexsort((*shifts.T[::-1], second, distances, first))
    return order


def check_spots(frame: Atoms, where: str) -> None:
    """Raise InputError if two atoms coincide; ``where`` names the structure, as in "frame 3"."""
    if len(frame) <= FEW and not frame.pbc.any():  # molecules, of which files contain many
        if pdist(frame.positions).min(initial=np.inf) >= MIN_DISTANCE:
            return
    box = _Box(centred(frame).positions, full_cell(frame), frame.pbc)
    _require_apart(box.pairs_by_tree(MIN_DISTANCE), where)


def _require_apart(pairs: _Ordered, where: str) -> None:
    too_close = pairs.distances < MIN_DISTANCE
    if too_close.any():
        worst = int(np.argmax(too_close))
        raise InputError(
            f"atoms {pairs.first[worst]} and {pairs.second[worst]} of {where} coincide "
            f"({pairs.distances[worst]:.1e} Å apart): expected distances of at least "
            f"{MIN_DISTANCE:g} Å; move or remove one"
        )


class _Box:
    """Centred atoms in a cell with some periodic directions."""

    def __init__(self, positions: np.ndarray, cell: np.ndarray, periodic: np.ndarray):
        self.positions, self.cell, self.periodic = positions, cell, periodic
        inverse = np.linalg.inv(cell)
        self.fractions = positions @ inverse
        self.heights = 1 / np.linalg.norm(inverse, axis=0)  # [3] Å, between opposite faces

    def suits_cells(self, cutoff: float) -> bool:
        """Whether the cells of a linked-cell list would be few, or all shorter than the box."""
        extents = np.where(self.periodic, 1, np.ptp(self.fractions, axis=0)) * self.heights
        cells = np.maximum(extents / cutoff, 1)
        most = np.prod(cells + 1)
        return bool(most < MAX_CELLS / 4 or cells.min() * np.cbrt(MAX_CELLS / most) > 3)

    def pairs_by_cells(self, cutoff: float) -> _Ordered:
        """With vesin: fast if the atoms fill their box."""
        pairs = NeighborList(cutoff=cutoff, full_list=True)
        return _Ordered(*pairs.compute(self.positions, self.cell, self.periodic.tolist(), "ijSdD"))

    def pairs_by_tree(self, cutoff: float) -> _Ordered:
        """With a k-d tree: for any distribution of atoms."""
        atom, shifts = self.images(cutoff)
        tree = KDTree(self.positions[atom] + shifts @ self.cell)
        centers = KDTree(self.positions)
        within = centers.sparse_distance_matrix(tree, cutoff, output_type="ndarray")
        i, image = within["i"], within["j"]
        is_other = (atom[image] != i) | shifts[image].any(axis=1)
        i, image = i[is_other], image[is_other]
        j, shifts = atom[image], shifts[image]
        vectors = self.positions[j] - self.positions[i] + shifts @ self.cell
        return _Ordered(i, j, shifts, np.linalg.norm(vectors, axis=1), vectors)

    def images(self, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
        """Atoms [I] and lattice translations [I, 3] of all images within the cutoff of the box."""
        reach = cutoff / self.heights * (1 + 1e-9) + 1e-9
        low, high = self.fractions.min(axis=0) - reach, self.fractions.max(axis=0) + reach
        atom = np.arange(len(self.positions))
        shifts = np.zeros((len(atom), 3), np.int64)
        for axis in np.flatnonzero(self.periodic):
            most = ceil(high[axis] - low[axis])
            steps = np.arange(-most, most + 1)
            at = self.fractions[atom, axis, None] + steps
            row, step = np.nonzero((at >= low[axis]) & (at <= high[axis]))
            atom, shifts = atom[row], shifts[row]
            shifts[:, axis] = steps[step]
        return atom, shifts

    def require_memory(self, cutoff: float, where: str) -> None:
        """Raise InputError if there are many more pairs than fit in memory."""
        count, memory = len(self.positions), _memory()
        images = count * np.prod(2 * cutoff / self.heights[self.periodic] + 1)
        if count * images * BYTES_A_PAIR < memory:
            return
        if images * BYTES_AN_IMAGE < memory:
            atom, shifts = self.images(cutoff)
            tree = KDTree(self.positions[atom] + shifts @ self.cell)
            sample = self.positions[:: max(1, count // SAMPLED)]
            pairs = count * tree.query_ball_point(sample, cutoff, return_length=True).mean()
        else:
            pairs = count**2 * self.cells_within(cutoff)
        if pairs * BYTES_A_PAIR > memory:
            raise InputError(
                f"{where} has about {pairs:.1e} pairs of atoms within {cutoff:g} Å, which require "
                f"{pairs * BYTES_A_PAIR / 1e9:.0f} GB of memory ({memory / 1e9:.0f} GB available): "
                "expected a smaller cutoff or structure"
            )

    def cells_within(self, cutoff: float) -> float:
        """Number of cells in a sphere, or its section in the plane or line of the cell."""
        rows = self.cell[self.periodic]
        measure = {1: 2, 2: np.pi, 3: 4 / 3 * np.pi}[len(rows)] * cutoff ** len(rows)
        return float(measure / np.sqrt(np.linalg.det(rows @ rows.T)))


def _memory() -> float:
    """Memory in bytes of this computer, or the limit of its container."""
    try:
        there = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):  # not available on this system
        there = 8e9
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.is_file() else "max"
    return min(there, float(text)) if text.isdecimal() else there
