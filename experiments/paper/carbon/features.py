"""Vectors of carbon clusters, sums over all their atoms: what the models are linear in.

- baseline: the power spectrum of every atom, and the number of atoms.
- nu3 and triplets: random Fourier features of rows r, which are atoms or triplets,
  Σ_r w_r √(2/D) cos(W·e_r + b) cos(V·o_r).

e and o are the even and odd numbers of a row: correlations of orders 1 to 3 of the atom's density
(w = 1), or distances and angle of an ordered pair of neighbours j1 ≠ j2 and the invariants of the
density in their frame (w = f_c f_c, all triplets of all atoms). They are hidden layers with random
Gaussian weights of standard deviation 1 / length_scale, for a linear output that is fitted in
closed form; the product of cosines makes them invariant under inversion.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.paper.carbon.make import Structure
from tripletjax.basis.cutoffs import cutoff_function
from tripletjax.basis.densities import density_coefficients
from tripletjax.invariants.correlations import bispectrum, power_spectrum
from tripletjax.invariants.triplets import environment_triplets
from tripletjax.neighbors import pad_rows
from tripletjax.types import Basis

TAIL = 1e-4  # of the variance: principal components of rows below it are left out
WIDTHS = (6, 10, 15, 23)  # neighbours that environments are padded to: few shapes to compile
BLOCK = 32  # environments a call
ROWS = 4096  # whose hidden units are in memory at once


class Rows(NamedTuple):
    """What a head sees: one row an atom, or a triplet."""

    even: tuple[np.ndarray, ...]  # [R, D] each; the last has the units of the odd ones
    odd: np.ndarray  # [R, D']
    weights: np.ndarray  # [R]
    structure: np.ndarray  # [R], ascending


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


def triplets(structures: Sequence[Structure], basis: Basis) -> Rows:
    """Invariants of all ordered pairs of different neighbours of all atoms."""
    parts = _by_environment(structures, basis, _compiled(_triplets, basis), is_ragged=True)
    geometry, even, odd, weights, atom = parts
    structure = np.repeat(np.arange(len(structures)), sizes_of(structures))[atom]
    return Rows((geometry, even), odd, weights, structure)


KINDS: dict[str, Callable[[Sequence[Structure], Basis], Rows]] = {
    "nu3": atoms,
    "triplets": triplets,
}


def sizes_of(structures: Sequence[Structure]) -> np.ndarray:
    """Atoms of each cluster."""
    return np.array([len(s.positions) for s in structures])


def fit_units(rows: Rows) -> Units:
    """The units of some rows, of training structures, to be used for all."""
    spreads = [np.sqrt(block.var(0, dtype=float).sum()) for block in rows.even]
    scales = np.concatenate(
        [np.full(b.shape[1], 1 / s) for b, s in zip(rows.even, spreads, strict=True)]
    )
    even = np.concatenate(rows.even, 1)
    center = even.mean(0, dtype=float)
    to_even, even_size = _components((even - center) * scales)
    to_odd, odd_size = _components(rows.odd / spreads[-1])
    unit = np.sqrt(even_size + odd_size)
    return Units(
        center.astype(np.float32),
        (scales[:, None] * to_even / unit).astype(np.float32),
        (to_odd / spreads[-1] / unit).astype(np.float32),
    )


def hidden_sums(
    rows: Rows, units: Units, n_structures: int, n_features: int, length_scale: float, seed: int
) -> np.ndarray:
    """Hidden units summed over the rows of each structure, ``[S, n_features]``, float32."""
    random = np.random.Generator(np.random.PCG64(seed))
    to_even, to_odd = (
        matrix
        @ (random.normal(size=(matrix.shape[1], n_features)) / length_scale).astype(np.float32)
        for matrix in (units.even, units.odd)
    )
    phase = random.uniform(0, 2 * np.pi, n_features).astype(np.float32)
    phase -= units.center @ to_even
    sums = np.zeros((n_structures, n_features), np.float32)
    even = np.concatenate(rows.even, 1)
    for first in range(0, len(even), ROWS):
        part = slice(first, first + ROWS)
        waves = np.cos(even[part] @ to_even + phase)
        waves *= np.cos(rows.odd[part] @ to_odd)
        waves *= rows.weights[part, None]
        present, starts = np.unique(rows.structure[part], return_index=True)
        sums[present] += np.add.reduceat(waves, starts)
    return sums * np.float32(np.sqrt(2 / n_features))


def _components(values: np.ndarray) -> tuple[np.ndarray, float]:
    """Principal components about zero [D, k], and the mean square of rows in them."""
    values = values.astype(float)
    squares, vectors = np.linalg.eigh(values.T @ values / len(values))
    kept = squares > TAIL * squares.sum()
    return vectors[:, kept], float(squares[kept].sum())


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
