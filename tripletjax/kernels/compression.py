"""The principal axes of power spectra around each species, and the products that they need.

The products of all pairs of the density's channels number thousands. With channels that are the
principal components of the densities around the atoms of one species, for each degree l, and of
how these densities change with the positions, most products are small: they are left out, and the
others are projected on their principal axes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from tripletjax.basis.angular import degree_of, harmonic_slice
from tripletjax.descriptors.base import Descriptor
from tripletjax.descriptors.kinds import KINDS
from tripletjax.kernels.projection import FEW_COLUMNS, SAMPLE, STEP, on_principal_axes
from tripletjax.kernels.spectra import CompressedSpectrum, SpeciesSpectrum
from tripletjax.kernels.tangents import structure_tangents
from tripletjax.types import Batch

LEFT_OUT = 10.0  # root of the summed squares of products left out, in units of the truncation
MOST = 5e8  # bytes of derivatives of densities


def compressed(describer: Any, batches: Sequence[Batch], truncation: float) -> Any:
    """A descriptor on its principal axes in some structures, those of each species if it can.

    A power spectrum becomes a ``CompressedSpectrum``; other descriptors are projected by
    ``projection.on_principal_axes``.

    Args:
        describer: an ``EnvironmentDescriptor``.
        batches: one for each structure; evenly spaced ones are used.
        truncation: axes are left out whose singular values are below this part of the largest of
            all species, and products that together are ten times this part of all; zero: nothing
            is left out.
    """
    if truncation <= 0 or not _is_large_spectrum(describer):
        return on_principal_axes(describer, batches, truncation)
    sets = _densities(describer, batches)
    kinds = range(len(describer.elements))
    rotations = [_rotations(sets, kind) for kind in kinds]
    squares = [_squares(sets, *pair) for pair in enumerate(rotations)]
    total = np.sqrt(sum(one.sum() for one in squares))
    kept = [_kept(one, LEFT_OUT * truncation * total) for one in squares]
    found = [_axes(sets, kind, rotations[kind], kept[kind]) for kind in kinds]
    largest = max(sizes.max(initial=0) for sizes, _ in found)
    parts = []
    for rotation, mask, (sizes, axes) in zip(rotations, kept, found, strict=True):
        parts.append(_part(rotation, mask, axes[:, sizes > truncation * largest]))
    width = max(part.axes.shape[1] for part in parts)
    return CompressedSpectrum(describer, tuple(parts), width)


class Densities(NamedTuple):
    """Of one structure: densities of its N atoms, and how they change along 3N directions."""

    values: np.ndarray  # [N, Q, lm]
    moves: np.ndarray  # [J, N, Q, lm], for steps
    kinds: np.ndarray  # [N]


def _is_large_spectrum(describer: Any) -> bool:
    return (
        isinstance(describer, Descriptor)
        and describer.recipe == KINDS["power_spectrum"]
        and not describer.hypers.center_species
        and len(describer.names) >= FEW_COLUMNS
    )


def _densities(describer: Descriptor, batches: Sequence[Batch]) -> list[Densities]:
    density = replace(describer, recipe=KINDS["density"])
    tangents_of = jax.jit(partial(structure_tangents, density))
    shape = jax.eval_shape(tangents_of, 1.0, batches[0]).tangents.shape
    count = max(1, min(SAMPLE, int(MOST / (8 * np.prod(shape)))))
    n_harmonics = (describer.hypers.l_max + 1) ** 2
    found = []
    for batch in batches[:: -(-len(batches) // count)]:
        vectors, kinds, moves = jax.device_get(tangents_of(1.0, batch))
        real = kinds >= 0
        n_atoms = int(real.sum())
        values = np.asarray(vectors[real], float).reshape(n_atoms, -1, n_harmonics)
        moves = STEP * np.asarray(moves[:-6, real], float)
        moves = moves[np.any(moves != 0, (1, 2))]
        found.append(Densities(values, moves.reshape(len(moves), *values.shape), kinds[real]))
    return found


def _rotations(sets: Sequence[Densities], kind: int) -> list[np.ndarray]:
    """Principal components [Q, Q] of the densities around a species, for each l."""
    l_max, size = degree_of(sets[0].values), sets[0].values.shape[1]
    found = []
    for l in range(l_max + 1):
        gram = np.zeros((size, size))
        for values, moves, kinds in sets:
            for part in (values[kinds == kind], moves[:, kinds == kind]):
                rows = np.moveaxis(part[..., harmonic_slice(l)], -2, 0).reshape(size, -1)
                gram += rows @ rows.T
        found.append(np.linalg.eigh(gram)[1][:, ::-1].T)
    return found


def _spectra(
    sets: Sequence[Densities], kind: int, rotations: Sequence[np.ndarray], kept: Any = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Products [N, D] around a species and their changes [N', D], structure by structure."""
    size = len(rotations[0])
    first, second = np.triu_indices(size)
    for values, moves, kinds in sets:
        values, moves = values[kinds == kind], moves[:, kinds == kind]
        parts = []
        for l, rotation in enumerate(rotations):
            own = slice(None) if kept is None else kept[l]
            i, j = first[own], second[own]
            weight = np.where(i < j, np.sqrt(2), 1) / np.sqrt(2 * l + 1)
            c, d = (rotation @ part[..., harmonic_slice(l)] for part in (values, moves))
            square, change = (part @ np.swapaxes(c, -1, -2) for part in (c, d))
            change = change[..., i, j] + change[..., j, i]
            parts.append((weight * square[..., i, j], weight * change))
        rows, changes = (np.concatenate(part, -1) for part in zip(*parts, strict=True))
        changes = changes.reshape(-1, changes.shape[-1])
        yield rows, changes[np.any(changes != 0, 1)]


def _gram(sets: Sequence[Densities], kind: int, rotations, kept=None, diagonal=False) -> Any:
    """Σ of the squares of centred products and their changes, as a matrix or its diagonal."""
    of: Any = (lambda rows: (rows**2).sum(0)) if diagonal else (lambda rows: rows.T @ rows)
    total, values = 0, []
    for rows, changes in _spectra(sets, kind, rotations, kept):
        total = total + of(changes)
        values.append(rows)
    values = np.concatenate(values)
    return total + (of(values - values.mean(0)) if len(values) else 0)


def _squares(sets: Sequence[Densities], kind: int, rotations: Sequence[np.ndarray]) -> np.ndarray:
    """Σ of the squares of every product and its changes, [l, Q (Q + 1) / 2]."""
    return _gram(sets, kind, rotations, diagonal=True).reshape(len(rotations), -1)


def _kept(squares: np.ndarray, left_out: float) -> np.ndarray:
    """Which products are kept; the others are together smaller than a number."""
    order = np.argsort(squares, axis=None)
    total = np.cumsum(squares.ravel()[order])
    mask = np.ones(squares.size, bool)
    mask[order[total < left_out**2]] = False
    return mask.reshape(squares.shape)


def _axes(sets, kind: int, rotations, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Singular values, descending, and principal axes [D, D] of the products that are kept."""
    sizes, axes = np.linalg.eigh(_gram(sets, kind, rotations, kept))
    return np.sqrt(np.maximum(sizes[::-1], 0)), axes[:, ::-1]


def _part(rotations: Sequence[np.ndarray], kept: np.ndarray, axes: np.ndarray) -> SpeciesSpectrum:
    first, second = np.triu_indices(len(rotations[0]))
    parts, weights = [], []
    for l, (rotation, own) in enumerate(zip(rotations, kept, strict=True)):
        i, j = (index[own].astype(np.int32) for index in (first, second))
        size = int(j.max(initial=-1)) + 1
        place = np.full((size, size), len(i), np.int32)
        place[i, j] = place[j, i] = np.arange(len(i))
        parts.append((rotation[:size], i, j, place))
        weights.append(np.where(i < j, np.sqrt(2), 1) / np.sqrt(2 * l + 1))
    weight = np.concatenate(weights)[:, None]
    rotations, firsts, seconds, places = zip(*parts, strict=True)
    return SpeciesSpectrum(rotations, firsts, seconds, places, weight * axes)
