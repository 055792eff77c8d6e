"""Vectors of carbon clusters, sums over all their atoms: what the three models are linear in.

- baseline: the power spectrum of every atom, and the number of atoms.
- nu3: a hidden layer on every atom, Σ_i √(2/D) cos(W·e_i + b) cos(V·o_i), whose even and odd
  numbers e and o are the correlations of orders 1 to 3 of its density.
- triplets: the same layer, with numbers more among e: a first layer of the same form on every
  triplet, summed over the triplets of the atom with weights f_c f_c. Numbers of a triplet are the
  distances and the angle of an ordered pair of neighbours, and the invariants of the density in
  their frame.

Layers have random Gaussian weights of standard deviation 1 / length_scale; the output is linear
and fitted in closed form. The product of cosines makes layers invariant under inversion.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.paper.carbon.make import Structure
from tripletjax.correlations import bispectrum, power_spectrum
from tripletjax.densities import density_coefficients
from tripletjax.neighbors import pad_rows
from tripletjax.radial import cutoff_function
from tripletjax.triplets import environment_triplets
from tripletjax.types import Basis

TAIL = 1e-4  # of the variance: principal components of rows below it are left out
WIDTHS = (6, 10, 15, 23)  # neighbours that environments are padded to: few shapes to compile
BLOCK = 32  # environments a call
ROWS = 4096  # whose hidden units are in memory at once


class Rows(NamedTuple):
    """What a layer sees: one row an atom, or a triplet."""

    even: tuple[np.ndarray, ...]  # [R, D] each; the last has the units of the odd ones
    odd: np.ndarray  # [R, D']
    weights: np.ndarray  # [R]
    group: np.ndarray  # [R], ascending: the structure of an atom, the atom of a triplet


class Units(NamedTuple):
    """Principal components of rows, in which their mean square is one in all."""

    center: np.ndarray  # [D] of all even numbers; the odd ones keep their zero
    even: np.ndarray  # [D, k]
    odd: np.ndarray  # [D', k']


def baseline(structures: Sequence[Structure], basis: Basis) -> np.ndarray:
    """Power spectra summed over atoms, then the number of atoms, ``[S, D + 1]``."""
    values = _by_environment(structures, basis, _compiled(_powers, basis))
    sizes = sizes_of(structures)
    sums = np.add.reduceat(values, np.cumsum(sizes) - sizes)
    return np.concatenate([sums, sizes[:, None].astype(np.float32)], 1)


def atoms(structures: Sequence[Structure], basis: Basis) -> Rows:
    """Correlations of all atoms: isotropic density, power spectrum, even and odd bispectrum."""
    *even, odd = _by_environment(structures, basis, _compiled(_correlations, basis))
    structure = np.repeat(np.arange(len(structures)), sizes_of(structures))
    return Rows(tuple(even), odd, np.ones(len(odd), np.float32), structure)


def atoms_with_triplets(structures: Sequence[Structure], basis: Basis, layer: "Layer") -> Rows:
    """Correlations of all atoms, and what a layer gives for their triplets."""
    rows = atoms(structures, basis)
    return rows._replace(even=(layer(triplets(structures, basis), len(rows.odd)), *rows.even))


def triplets(structures: Sequence[Structure], basis: Basis) -> Rows:
    """Invariants of all ordered pairs of different neighbours of all atoms."""
    parts = _by_environment(structures, basis, _compiled(_triplets, basis), is_ragged=True)
    geometry, even, odd, weights, atom = parts
    return Rows((geometry, even), odd, weights, atom)


def sizes_of(structures: Sequence[Structure]) -> np.ndarray:
    """Atoms of each cluster."""
    return np.array([len(s.positions) for s in structures])


def fit_units(rows: Rows, whitening: float) -> Units:
    """The units of some rows, to be used for all.

    Args:
        rows: of training structures.
        whitening: p: components are divided by their mean square to the power p / 2, from 0, the
            metric of the invariants, to 1, all components alike.
    """
    spreads = [np.sqrt(block.var(0, dtype=float).sum()) for block in rows.even]
    scales = np.concatenate(
        [np.full(b.shape[1], 1 / s) for b, s in zip(rows.even, spreads, strict=True)]
    )
    even = np.concatenate(rows.even, 1)
    center = even.mean(0, dtype=float)
    to_even, even_size = _components((even - center) * scales, whitening)
    to_odd, odd_size = _components(rows.odd / spreads[-1], whitening)
    unit = np.sqrt(even_size + odd_size)
    return Units(
        center.astype(np.float32),
        (scales[:, None] * to_even / unit).astype(np.float32),
        (to_odd / spreads[-1] / unit).astype(np.float32),
    )


class Layer(NamedTuple):
    """A hidden layer with random weights, and the sum over the rows of a group."""

    units: Units
    n_features: int
    length_scale: float
    seed: int

    def __call__(self, rows: Rows, n_groups: int) -> np.ndarray:
        """``[n_groups, n_features]``, float32."""
        random = np.random.Generator(np.random.PCG64(self.seed))
        to_even, to_odd = (
            matrix @ self._weights(random, matrix.shape[1])
            for matrix in (self.units.even, self.units.odd)
        )
        phase = random.uniform(0, 2 * np.pi, self.n_features).astype(np.float32)
        phase -= self.units.center @ to_even
        sums = np.zeros((n_groups, self.n_features), np.float32)
        for first in range(0, len(rows.odd), ROWS):
            part = slice(first, first + ROWS)
            even = np.concatenate([block[part] for block in rows.even], 1)
            waves = np.cos(even @ to_even + phase)
            waves *= np.cos(rows.odd[part] @ to_odd)
            waves *= rows.weights[part, None]
            present, starts = np.unique(rows.group[part], return_index=True)
            sums[present] += np.add.reduceat(waves, starts)
        return sums * np.float32(np.sqrt(2 / self.n_features))

    def _weights(self, random: np.random.Generator, n_inputs: int) -> np.ndarray:
        drawn = random.normal(size=(n_inputs, self.n_features))
        return (drawn / self.length_scale).astype(np.float32)


def _components(values: np.ndarray, whitening: float) -> tuple[np.ndarray, float]:
    """Principal components about zero [D, k], and the mean square of rows in them."""
    values = values.astype(float)
    squares, vectors = np.linalg.eigh(values.T @ values / len(values))
    kept = squares > TAIL * squares.sum()
    squares, vectors = squares[kept], vectors[:, kept]
    return vectors * squares ** (-whitening / 2), float((squares ** (1 - whitening)).sum())


def _environments(structures: Sequence[Structure], cutoff: float):
    """The centre of every neighbour strictly inside the cutoff, and its vector; nearest first."""
    vectors, centers, n_before = [], [], 0
    for structure in structures:
        positions = structure.positions.astype(float)
        between = positions - positions[:, None]  # [centre, neighbour]
        distances = np.linalg.norm(between, axis=-1)
        order = np.argsort(distances, 1)[:, 1:]  # the first is the centre
        between = np.take_along_axis(between, order[..., None], 1)
        inside = np.take_along_axis(distances, order, 1) < cutoff
        vectors.append(between[inside].astype(np.float32))
        centers.append(n_before + np.nonzero(inside)[0])
        n_before += len(positions)
    return np.concatenate(centers), np.concatenate(vectors), n_before


def _by_environment(
    structures: Sequence[Structure], basis: Basis, describe: Callable, is_ragged: bool = False
) -> Any:
    """Arrays [R, ...] of a compiled function of blocks of environments, one row for each.

    Ragged: one row for each pair of different neighbours, and which environment it is of.
    """
    centers, vectors, n_rows = _environments(structures, basis.cutoff)
    count = np.bincount(centers, minlength=n_rows)
    width_of = np.array(WIDTHS)[np.searchsorted(WIDTHS, count)]
    environment, parts = [], []
    for width in np.unique(width_of):
        rows = np.flatnonzero(width_of == width)
        for first in range(0, len(rows), BLOCK):
            block = rows[first : first + BLOCK]
            chosen = np.isin(centers, block)
            place = np.searchsorted(block, centers[chosen])
            mask, padded = pad_rows(place, BLOCK, int(width), vectors[chosen])
            found = jax.tree.map(np.asarray, describe(padded, mask))
            if is_ragged:
                real = mask[:, :, None] & mask[:, None, :] & ~np.eye(width, dtype=bool)
                found = tuple(array[real] for array in found)
                environment.append(block[np.nonzero(real)[0]])
            else:
                found = jax.tree.map(_first(len(block)), found)
                environment.append(block)
            parts.append(found)
    environment = np.concatenate(environment)
    order = np.argsort(environment, kind="stable")
    found = jax.tree.map(lambda *arrays: np.concatenate(arrays)[order], *parts)
    return (*found, environment[order]) if is_ragged else found


def _first(n: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda array: array[:n]


@lru_cache
def _compiled(function: Callable, basis: Basis):
    """A function of one environment for blocks."""
    return jax.jit(jax.vmap(lambda vectors, mask: function(vectors, mask, basis)))


def _powers(vectors, mask, basis: Basis):
    return power_spectrum(_density(vectors, mask, basis))


def _correlations(vectors, mask, basis: Basis):
    c = _density(vectors, mask, basis)
    return c[0, :, 0], power_spectrum(c), bispectrum(c), bispectrum(c, -1)


def _triplets(vectors, mask, basis: Basis):
    species = jnp.zeros(len(mask), jnp.int32)
    even, odd, geometry = environment_triplets(vectors, species, mask, basis, 1)
    n = len(mask)
    f = cutoff_function(geometry[..., :2], basis)
    weights = f[..., 0] * f[..., 1]
    return geometry, even.reshape(n, n, -1), odd.reshape(n, n, -1), weights


def _density(vectors, mask, basis: Basis):
    return density_coefficients(vectors, jnp.zeros(len(mask), jnp.int32), mask, basis, 1)
