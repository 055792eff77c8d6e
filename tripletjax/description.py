"""describe: structures in, an array of descriptors out; the one door for people."""

import warnings
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from ase import Atoms

from tripletjax.columns import Columns
from tripletjax.densities import Mixing
from tripletjax.descriptors import Descriptor, descriptor, pure_function
from tripletjax.neighbors import (
    bucket,
    check_frames,
    find_pairs,
    float_type,
    pad_rows,
    require_centers,
    require_elements,
)
from tripletjax.nice import Contraction
from tripletjax.pairs import Pairs
from tripletjax.progress import progress_bar
from tripletjax.types import Hypers

# Environments per compiled call: whole blocks of the first size, the rest in blocks of the second.
BLOCK_SIZES = (32, 4)
PAIRS_AT_ONCE = 2**20  # of centre and neighbour, after which the frames so far are described
BLOCK_NUMBERS = 2**25  # numbers that a block of triplets may hold; one environment always fits


@dataclass(frozen=True)
class Description:
    """Descriptors of some environments, with what each row and column is."""

    values: np.ndarray  # [row, D]
    structure: np.ndarray  # [row] which frame
    atom: np.ndarray  # [row] which atom of it is the centre
    names: tuple[str, ...]  # [D] meaning of every column
    columns: Columns  # the same as a dict of arrays [D]: species, n, l, parity ...
    hypers: dict[str, Any]  # everything needed to compute the same again
    neighbors: np.ndarray | None = None  # [row, 2] the tagged atoms, for kind "triplets"


def describe(
    frames: Atoms | Iterable[Atoms],
    kind: str = "fingerprint",
    *,
    centers: Iterable[int] | None = None,
    species: Iterable[int] | None = None,
    dtype: str | None = None,
    progress: bool = False,
    contraction: Contraction | None = None,
    mixing: Mixing | None = None,
    **hypers: Any,
) -> Description:
    """Describe the environment of every atom, or of the given centres.

    Kinds: "density" c_nlm; "power_spectrum" and "bispectrum", blind to some differences;
    "correlations" of any order ``nu``; "triplets", one row per ordered pair of neighbours, in the
    minimal basis or ``coupling="coupled"``; "triplet_sum", their linear sum, blind where the
    bispectrum is; "fingerprint", complete. All but the density are invariant under rotations,
    inversion (unless ``chiral=True``) and permutations. The central atom is not in its own density,
    its periodic images are; atoms count strictly inside the cutoff.

    Args:
        frames: one ASE Atoms or several.
        kind: see above.
        centers: atoms to describe, in this order, in every frame; None: all.
        species: atomic numbers or symbols of the species channels; None: all that occur.
        dtype: "float32" or "float64"; None: JAX's default float.
        progress: show a progress bar.
        contraction: of kind "correlations", fitted beforehand (``nice.fit_contraction``); required
            for nu >= 4.
        mixing: linear maps of the species channels and radial functions (``densities.Mixing``).
        **hypers: fields of ``Hypers``: cutoff, n_max (how many), l_max (inclusive) ...

    Returns:
        A ``Description``; rows by frame, then by centre. No row depends on another frame.

    Raises:
        InputError: names what cannot be used, where, and what is accepted.

    Example:
        >>> from ase.build import molecule
        >>> water = describe(molecule("H2O"), "power_spectrum", cutoff=3.0, n_max=2, l_max=1)
        >>> water.values.shape, water.names[0]
        ((3, 20), 'H n=0 | H n=0 | l=0 parity=+1')
    """
    frames = check_frames(frames)
    elements = require_elements(frames, species)
    chosen = require_centers(frames, centers)
    chosen_descriptor = descriptor(
        kind, tuple(elements.tolist()), contraction=contraction, mixing=mixing, **hypers
    )
    n_rows, per_triplet = sum(map(len, chosen)), kind == "triplets"
    shape = (0 if per_triplet else n_rows, len(chosen_descriptor.names))
    values, parts, shortage = np.zeros(shape, float_type(dtype)), [], _Shortage()
    with progress_bar(total=n_rows, unit="env", desc=kind, disable=not progress) as bar:
        done = 0
        for part in _gathered(frames, chosen, chosen_descriptor.hypers.cutoff, elements):
            shortage.add(part, chosen_descriptor.hypers, len(elements))
            if per_triplet:
                parts.append(_describe_triplets(chosen_descriptor, part, values.dtype, bar))
            else:
                out = values[done : done + len(part.count)]
                _describe_rows(chosen_descriptor, part, out, bar)
                parts.append((part.structure, part.atom))
            done += len(part.count)
    shortage.warn(chosen_descriptor.hypers)
    structure, atom, *of_triplets = (np.concatenate(p) for p in zip(*parts, strict=True))
    neighbors, values = of_triplets if per_triplet else (None, values)
    return Description(
        values=values,
        structure=structure,
        atom=atom,
        names=chosen_descriptor.names,
        columns=chosen_descriptor.columns,
        hypers=chosen_descriptor.record(),
        neighbors=neighbors,
    )


def _gathered(frames, chosen, cutoff: float, elements: np.ndarray) -> Iterator["_Environments"]:
    """All environments, in parts of a few frames: memory does not grow with the frames."""
    first, pairs = 0, []
    for index, (frame, atoms) in enumerate(zip(frames, chosen, strict=True)):
        pairs.append(find_pairs(frame, cutoff, atoms, index))
        if index == len(frames) - 1 or sum(len(p.neighbors) for p in pairs) >= PAIRS_AT_ONCE:
            yield _Environments.gather(frames[first : index + 1], pairs, elements, first)
            first, pairs = index + 1, []


@dataclass(frozen=True)
class _Environments:
    """All environments of some frames, ragged: the neighbours of row r are start[r] ... stop[r]."""

    structure: np.ndarray  # [R]
    atom: np.ndarray  # [R]
    center: np.ndarray  # [R] species index
    start: np.ndarray  # [R]
    count: np.ndarray  # [R]
    vectors: np.ndarray  # [P, 3]
    species: np.ndarray  # [P]
    neighbor: np.ndarray  # [P] atom of the frame

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
        )

    def padded(self, rows: np.ndarray, width: int, size: int):
        """vectors [size, width, 3], species, mask [size, width] and centre [size] of some rows."""
        count = self.count[rows]
        flat = np.repeat(self.start[rows] - np.cumsum(count) + count, count) + np.arange(
            count.sum()
        )
        environment = np.repeat(np.arange(len(rows)), count)
        mask, vectors, species = pad_rows(
            environment, size, width, self.vectors[flat], self.species[flat]
        )
        center = np.concatenate([self.center[rows], np.zeros(size - len(rows), int)])
        return vectors, species.astype(np.int32), mask, center.astype(np.int32)

    def neighbor_atoms(self, rows: np.ndarray, slots: np.ndarray) -> np.ndarray:
        """Atoms at the given places of each row's list of neighbours, [row, 2]."""
        return self.neighbor[self.start[rows][:, None] + slots]

    def blocks(self, numbers_a_triplet: int = 0) -> Iterator[tuple[np.ndarray, int, int]]:
        """Rows of like width in blocks of few sizes: few shapes to compile, whatever the input.

        With ``numbers_a_triplet`` fewer rows, down to one, where a block would not fit.
        """
        widths = np.array([bucket(count) for count in range(self.count.max(initial=0) + 1)])
        width_of = widths[self.count]
        for width in np.unique(width_of):
            rows = np.nonzero(width_of == width)[0]
            limit = BLOCK_NUMBERS // max(1, numbers_a_triplet * int(width) ** 2)
            sizes = [max(1, min(size, limit)) for size in BLOCK_SIZES]
            whole = len(rows) - len(rows) % sizes[0]
            for size, part in zip(sizes, (rows[:whole], rows[whole:]), strict=True):
                for first in range(0, len(part), size):
                    yield part[first : first + size], int(width), size


def _evaluate(chosen: Descriptor, environments: _Environments, dtype, bar):
    """Rows of environments and, for each, its row of values or square of triplets, by blocks."""
    with jax.enable_x64(True) if dtype == np.float64 else nullcontext():
        for rows, width, size in environments.blocks(
            len(chosen.names) if chosen.kind == "triplets" else 0
        ):
            vectors, *rest = environments.padded(rows, width, size)
            block = _describe_block(
                chosen.kind, chosen.hypers, len(chosen.elements), chosen.parameters,
                vectors.astype(dtype), *rest,
            )  # fmt: skip
            yield rows, np.asarray(block)[: len(rows)]
            bar.update(len(rows))


def _describe_rows(chosen: Descriptor, environments: _Environments, out: np.ndarray, bar) -> None:
    """Fill ``out`` [R, D]."""
    for rows, block in _evaluate(chosen, environments, out.dtype, bar):
        out[rows] = block


def _describe_triplets(chosen: Descriptor, environments: _Environments, dtype, bar):
    """Structure, centre and both tags of every triplet, and its values."""
    parts = [
        _real_triplets(rows, block, environments.count, chosen.hypers.tags)
        for rows, block in _evaluate(chosen, environments, dtype, bar)
    ]
    rows, slots, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.argsort(rows, kind="stable")
    rows, slots = rows[order], slots[order]
    atoms = environments.neighbor_atoms(rows, slots)
    return environments.structure[rows], environments.atom[rows], atoms, values[order]


@partial(jax.jit, static_argnames=("kind", "hypers", "n_species"))
def _describe_block(kind, hypers: Hypers, n_species, parameters, vectors, species, mask, center):
    apply = pure_function(kind, hypers, n_species)
    return jax.vmap(partial(apply, parameters))(vectors, species, mask, center)


def _real_triplets(rows, block: np.ndarray, count: np.ndarray, tags: int | None):
    """Environment, places and values of the ordered pairs of different tags in [E, K, K, D]."""
    n_tags = count[rows] if tags is None else np.minimum(count[rows], tags)
    place = np.arange(block.shape[1])
    is_tag = place < n_tags[:, None]  # [E, K]
    real = is_tag[:, :, None] & is_tag[:, None, :] & (place[:, None] != place)
    environment, first, second = np.nonzero(real)
    return rows[environment], np.stack([first, second], -1), block[real]


class _Shortage:
    """Fewer tags than neighbours leave the rest to the density, which must have enough numbers."""

    def __init__(self) -> None:
        self.short = self.total = 0
        self.example = ""

    def add(self, environments: _Environments, hypers: Hypers, n_species: int) -> None:
        """Count the environments that have too few numbers."""
        if hypers.tags is None:
            return
        place = np.arange(len(environments.species)) - np.repeat(
            environments.start, environments.count
        )
        row = np.repeat(np.arange(len(environments.count)), environments.count)
        untagged = place >= hypers.tags
        counts = np.zeros((len(environments.count), n_species), dtype=int)
        np.add.at(counts, (row[untagged], environments.species[untagged]), 1)
        available = hypers.n_max * hypers.basis.n_harmonics
        short = 3 * counts.max(axis=1, initial=0) > available
        self.total += len(short)
        self.short += int(short.sum())
        if short.any() and not self.example:
            first = int(np.argmax(short))
            self.example = (
                f"atom {environments.atom[first]} of frame {environments.structure[first]} leaves "
                f"{counts[first].max()} neighbours of one species to {available} density "
                "coefficients, fewer than 3 for each"
            )

    def warn(self, hypers: Hypers) -> None:
        """Warn, once, if there are any."""
        if self.short:
            warnings.warn(
                f"{self.short} of {self.total} environments may not be determined: with tags="
                f"{hypers.tags}, {self.example}; raise tags, n_max or l_max",
                stacklevel=3,
            )
