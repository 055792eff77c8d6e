"""All environments of some structures, for evaluation in blocks, and warnings about their tags."""

import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms

from tripletjax.invariants.tags import ragged_weights, tag_slots
from tripletjax.neighbors import bucket, pad_rows
from tripletjax.pairs import Pairs
from tripletjax.types import Hypers

# Environments per compiled call, if there are many and if there are few.
BLOCK_SIZES = (32, 4)
MERGED_PAIRS = 2**18  # pairs of neighbours up to which padding is faster than another program
BLOCK_NUMBERS = 2**25  # values in a block of triplets, at most; one environment is always allowed
HELD = 1e-3  # weight above which a neighbour counts as tagged, in warnings
COLLINEAR = 1e-6  # sin² of the angle below which two neighbours and the centre are collinear


@dataclass(frozen=True)
class RaggedEnvironments:
    """All environments of some frames, ragged: the neighbours of row r are start[r] ... stop[r]."""

    structure: np.ndarray  # [R]
    atom: np.ndarray  # [R]
    center: np.ndarray  # [R] species index
    start: np.ndarray  # [R]
    count: np.ndarray  # [R]
    vectors: np.ndarray  # [P, 3]
    species: np.ndarray  # [P]
    neighbor: np.ndarray  # [P] atom of the frame
    weight: np.ndarray  # [P] from ``tags.ragged_weights``, one if all are tagged
    slots: np.ndarray  # [R] sufficient number of slots for tags, 0 if all are tagged

    @classmethod
    def gather(cls, frames: list[Atoms], pairs: list[Pairs], elements: np.ndarray, first: int):
        channels = [np.searchsorted(elements, frame.numbers) for frame in frames]
        count = np.concatenate(
            [np.bincount(p.environment, minlength=len(p.centers)) for p in pairs]
        )
        per_frame = list(zip(channels, pairs, strict=True))
        return cls(
            structure=first + np.repeat(np.arange(len(frames)), [len(p.centers) for p in pairs]),
            atom=np.concatenate([p.centers for p in pairs]),
            center=np.concatenate([c[p.centers] for c, p in per_frame]),
            start=np.cumsum(count) - count,
            count=count,
            vectors=np.concatenate([p.vectors for p in pairs]),
            species=np.concatenate([c[p.neighbors] for c, p in per_frame]),
            neighbor=np.concatenate([p.neighbors for p in pairs]),
            weight=np.ones(count.sum()),
            slots=np.zeros(len(count), int),
        )

    def tagged(self, hypers: Hypers) -> "RaggedEnvironments":
        """The same environments with the weights of a limited number of tags."""
        if hypers.tags is None:
            return self
        distances = np.linalg.norm(self.vectors, axis=1)
        weight = ragged_weights(distances, self.count, hypers.cutoff, hypers.tags)
        row = np.repeat(np.arange(len(self.count)), self.count)
        most = np.bincount(row[weight > 0], minlength=len(self.count))
        few, many = hypers.tags, tag_slots(hypers.tags, sys.maxsize)
        return replace(self, weight=weight, slots=np.where(most <= few, few, many))

    def padded(self, rows: np.ndarray, width: int, size: int):
        """vectors [size, width, 3], species, mask [size, width] and centre [size] of some rows."""
        mask, vectors, species = self.padded_rows(rows, width, size, self.vectors, self.species)
        center = np.concatenate([self.center[rows], np.zeros(size - len(rows), int)])
        return vectors, species.astype(np.int32), mask, center.astype(np.int32)

    def padded_rows(self, rows: np.ndarray, width: int, size: int, *columns: np.ndarray):
        """Mask [size, width] and columns of neighbours of some rows, padded with zeros."""
        count = self.count[rows]
        flat = np.repeat(self.start[rows] - np.cumsum(count) + count, count) + np.arange(
            count.sum()
        )
        environment = np.repeat(np.arange(len(rows)), count)
        return pad_rows(environment, size, width, *(column[flat] for column in columns))

    def neighbor_atoms(self, rows: np.ndarray, slots: np.ndarray) -> np.ndarray:
        """Atoms at the given indices of each row's list of neighbours, [row, 2]."""
        return self.neighbor[self.start[rows][:, None] + slots]

    def blocks(self, numbers_a_triplet: int = 0) -> Iterator[tuple[np.ndarray, int, int, int]]:
        """Rows of similar width and slots in blocks of few shapes, each of which is compiled once.

        With ``numbers_a_triplet``, blocks that would be too large have fewer rows, at least one.
        """
        for slots in np.unique(self.slots).tolist():
            for width, rows in self._by_width(np.nonzero(self.slots == slots)[0]):
                limit = BLOCK_NUMBERS // max(1, numbers_a_triplet * width**2)
                size = max(1, min(BLOCK_SIZES[len(rows) <= BLOCK_SIZES[0] // 2], limit))
                for first in range(0, len(rows), size):
                    yield rows[first : first + size], width, size, slots

    def _by_width(self, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Rows by padded width; a few rows share the next larger width with others, since padding
        them takes less time than compiling a program for their own."""
        widths = np.array([bucket(count) for count in range(self.count.max(initial=0) + 1)])
        width_of = widths[self.count[rows]]
        ascending = np.unique(width_of).tolist()
        waiting = np.zeros(len(rows), bool)
        for width, following in zip(ascending, [*ascending[1:], None], strict=True):
            waiting |= width_of == width
            if following is None or waiting.sum() * following**2 > MERGED_PAIRS:
                yield width, rows[waiting]
                waiting[:] = False


class Shortage:
    """Counts the environments left undetermined by a limited number of tags, for warnings.

    Neighbours without a tag must be determined by the density, which needs enough coefficients; and
    if all tags are on one line, no triplet defines a frame.
    """

    def __init__(self) -> None:
        self.total = self.short = self.flat = 0
        self.example_of_short = self.example_of_flat = ""

    def add(self, environments: RaggedEnvironments, hypers: Hypers, n_species: int) -> None:
        """Add the counts of some environments."""
        if hypers.tags is None:
            return
        self.total += len(environments.count)
        row = np.repeat(np.arange(len(environments.count)), environments.count)
        untagged = environments.weight < HELD
        counts = np.zeros((len(environments.count), n_species), dtype=int)
        np.add.at(counts, (row[untagged], environments.species[untagged]), 1)
        available = hypers.n_max * hypers.basis.n_harmonics
        short = 3 * counts.max(axis=1, initial=0) > available
        self.short += int(short.sum())
        if short.any() and not self.example_of_short:
            first = int(np.argmax(short))
            self.example_of_short = (
                f"{_place(environments, first)} leaves {counts[first].max()} neighbours of one "
                f"species to {available} density coefficients, fewer than 3 for each"
            )
        flat = _is_bent(environments, np.ones(len(row), bool)) & ~_is_bent(environments, ~untagged)
        self.flat += int(flat.sum())
        if flat.any() and not self.example_of_flat:
            self.example_of_flat = _place(environments, int(np.argmax(flat)))

    def warn(self, hypers: Hypers) -> None:
        """Warn, once for each cause, if there are any."""
        if self.short:
            warnings.warn(
                f"{self.short} of {self.total} environments may not be determined: with tags="
                f"{hypers.tags}, {self.example_of_short}; raise tags, n_max or l_max",
                stacklevel=3,
            )
        if self.flat:
            warnings.warn(
                f"the tags of {self.flat} of {self.total} environments contain no two neighbours "
                f"that are not collinear, such as those of {self.example_of_flat} with tags="
                f"{hypers.tags}; raise tags",
                stacklevel=3,
            )


def _is_bent(environments: RaggedEnvironments, chosen: np.ndarray) -> np.ndarray:
    """Whether two of the chosen neighbours [P] and the centre are not collinear, [R]."""
    row = np.repeat(np.arange(len(environments.count)), environments.count)[chosen]
    vectors = environments.vectors[chosen]
    first = np.searchsorted(row, row)  # place of the first chosen neighbour of the same row
    across = np.cross(vectors, vectors[first])
    sizes = (vectors**2).sum(1) * (vectors[first] ** 2).sum(1)
    bent = (across**2).sum(1) > COLLINEAR * sizes
    return np.bincount(row[bent], minlength=len(environments.count)) > 0


def _place(environments: RaggedEnvironments, row: int) -> str:
    return f"atom {environments.atom[row]} of frame {environments.structure[row]}"
