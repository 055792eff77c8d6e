"""Environments as unit vectors, whose inner products say how similar they are across species."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms

from tripletjax.descriptors.base import Descriptor, descriptor
from tripletjax.descriptors.ragged import RaggedEnvironments
from tripletjax.descriptors.rows import fill_rows, gathered
from tripletjax.structures import require_centers

# The density decays over its full range: energies depend less on distant neighbours.
HYPERS = {
    "cutoff": 5.0, "cutoff_width": 5.0, "radial_scaling": (1.0, 2.0, 4.0), "n_max": 6, "l_max": 4,
}  # fmt: skip
STEP = 1e-3  # Å, of central differences: errors are of 1e-6 of a derivative


class Similar(NamedTuple):
    """Environments of S structures; their inner products are ½ (p̂_i·p̂_j + q̂_i·q̂_j).

    p is the power spectrum, q that of all neighbours as one species, hats are for unit vectors.
    """

    vectors: np.ndarray  # [N, D]
    kinds: np.ndarray  # [N] atomic number of the centre
    start: np.ndarray  # [S] first row of each structure

    def similarity(self, others: "Similar") -> np.ndarray:
        """½ (p̂_i·p̂_j + q̂_i·q̂_j), [N, M]."""
        return self.vectors @ others.vectors.T

    def weights(self, others: "Similar") -> np.ndarray:
        """½ (1 + δ) of the species of the centres, [N, M]."""
        return 0.5 * (1 + (self.kinds[:, None] == others.kinds))

    def take(self, rows: np.ndarray) -> "Similar":
        """Some environments, each as a structure of its own."""
        return Similar(self.vectors[rows], self.kinds[rows], np.arange(len(rows)))

    def of(self, structures: slice) -> "Similar":
        """The environments of consecutive structures."""
        edges = np.append(self.start, len(self.kinds))
        first, last, _ = structures.indices(len(self.start))
        rows = slice(edges[first], edges[last])
        return Similar(self.vectors[rows], self.kinds[rows], self.start[structures] - edges[first])


def spectrum(elements: Iterable[int], hypers: dict[str, Any]) -> Descriptor:
    """The power spectrum with the settings of ``HYPERS``, unless others are given."""
    return descriptor("power_spectrum", tuple(map(int, elements)), **HYPERS | hypers)


def environments_of(frames: Sequence[Atoms], power: Descriptor) -> list[RaggedEnvironments]:
    """The neighbours of all atoms of some structures, in parts."""
    atoms = require_centers(frames, None)
    return list(gathered(frames, atoms, power.cutoff, np.array(power.elements)))


def similar(
    frames: Sequence[Atoms],
    power: Descriptor,
    environments: Iterable[RaggedEnvironments] | None = None,
) -> Similar:
    """The environments of all atoms of some structures, in float64."""
    parts = environments_of(frames, power) if environments is None else environments
    vectors = np.concatenate([_unit_vectors(part, power) for part in parts])
    kinds = np.concatenate([frame.numbers for frame in frames])
    sizes = np.array([len(frame) for frame in frames])
    return Similar(vectors, kinds, np.cumsum(sizes) - sizes)


def slopes(
    environments: Sequence[RaggedEnvironments], power: Descriptor, moves: Sequence[np.ndarray]
) -> Iterator[np.ndarray]:
    """Derivatives of the vectors of ``similar`` along displacements of all atoms.

    They are central differences over ``2 * STEP``, with the compiled program of the vectors.

    Args:
        environments: of S structures.
        power: from ``spectrum``.
        moves: for each structure [n_moves, atoms, 3], displacements in Å.

    Yields:
        ``[N, D]`` for each of the moves.
    """
    for place in range(len(moves[0])):
        yield np.concatenate([_slope(part, power, moves, place) for part in environments])


def _slope(part: RaggedEnvironments, power: Descriptor, moves, place: int) -> np.ndarray:
    structure = np.repeat(part.structure, part.count)
    atom = np.repeat(part.atom, part.count)
    first = np.cumsum([0, *(len(of_frame[place]) for of_frame in moves)])[:-1]
    moved = np.concatenate([of_frame[place] for of_frame in moves])
    step = STEP * (
        moved[first[structure] + part.neighbor.astype(int)] - moved[first[structure] + atom]
    )
    ahead, behind = (
        _unit_vectors(replace(part, vectors=part.vectors + sign * step), power) for sign in (1, -1)
    )
    ahead -= behind
    ahead /= 2 * STEP
    return ahead


def _unit_vectors(part: RaggedEnvironments, power: Descriptor) -> np.ndarray:
    """(p̂, q̂) / √2, [N, D]."""
    layout = power.layout()
    rows = np.zeros((len(part.count), len(layout.names)))
    fill_rows(power, layout, part, rows)
    sums = _sums_over_species(len(power.elements), power.hypers.n_max)  # [pairs, pairs of n]
    blind = (rows.reshape(len(rows), -1, len(sums)) @ sums).reshape(len(rows), -1)
    vectors = np.empty((len(rows), rows.shape[1] + blind.shape[1]))
    np.multiply(rows, _half(rows), out=vectors[:, : rows.shape[1]])
    np.multiply(blind, _half(blind), out=vectors[:, rows.shape[1] :])
    return vectors


@cache
def _sums_over_species(n_species: int, n_max: int) -> np.ndarray:
    """Matrix from the power spectrum to that of Σ_a c_anlm, for each l: [pairs of a·n, pairs of n].

    Off the diagonal both store one of two equal products, times √2.
    """
    radial = np.arange(n_species * n_max) % n_max
    place = {pair: k for k, pair in enumerate(zip(*np.triu_indices(n_max), strict=True))}
    first, second = np.triu_indices(len(radial))
    matrix = np.zeros((len(first), len(place)))
    for row, (p, q) in enumerate(zip(first, second, strict=True)):
        n, m = sorted((radial[p], radial[q]))
        matrix[row, place[n, m]] = np.sqrt(2.0) if n == m and p < q else 1.0
    return matrix


def _half(rows: np.ndarray) -> np.ndarray:
    """Factors [N, 1] that give rows the length 1/√2; one for rows of zeros."""
    squares = np.einsum("nd,nd->n", rows, rows)
    return np.sqrt(0.5 / np.where(squares > 0, squares, 0.5))[:, None]
