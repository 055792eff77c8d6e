"""Atom-centred density correlations of order 2 and 3: power spectrum and bispectrum.

Both are functions of the density coefficients c [a, n, lm] of one environment. With q = (a, n)
flattened, symmetric products are stored once, with weights that preserve the inner products of the
full tensors.
"""

from functools import lru_cache
from itertools import combinations_with_replacement
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.basis.angular import degree_of, harmonic_slice
from tripletjax.basis.coupling import clebsch_gordan
from tripletjax.types import Array


def power_spectrum(coefficients: Array) -> Array:
    """p_{qq'l} = Σ_m c_{qlm} c_{q'lm} / √(2l+1), q <= q', times √2 for q < q'.

    Args:
        coefficients: ``[a, n, (l_max + 1)²]`` density of one environment.

    Returns:
        ``[(l_max + 1) Q (Q + 1) / 2]`` with Q = a·n, l slowest, as in ``power_spectrum_index``.

    Source: Bartók, Kondor, Csányi, Phys. Rev. B 87, 184115 (2013); normalisation of featomic.

    Example:
        >>> power_spectrum(jnp.ones((1, 2, 9))).shape
        (9,)
    """
    l_max = degree_of(coefficients)
    flat = coefficients.reshape(-1, coefficients.shape[-1])  # [q, lm]
    first, second = np.triu_indices(len(flat))
    degrees = np.arange(l_max + 1)[:, None]
    weight = np.where(first < second, np.sqrt(2.0), 1.0) / np.sqrt(2 * degrees + 1)
    products = jnp.stack([_gram(flat[:, harmonic_slice(l)]) for l in range(l_max + 1)])
    return (weight.astype(flat.dtype) * products[:, first, second]).ravel()


@jax.custom_jvp
def _gram(rows: Array) -> Array:
    """Inner products of rows [q, m] with each other, [q, q]; one product for each derivative."""
    return jnp.matmul(rows, rows.T, precision="highest")


@_gram.defjvp
def _gram_jvp(primals, tangents):
    (rows,), (moved,) = primals, tangents
    half = jnp.matmul(moved, rows.T, precision="highest")
    return _gram(rows), half + half.T


def power_spectrum_index(n_channels: int, l_max: int) -> list[tuple[int, int, int]]:
    """(l, q, q') of every column of ``power_spectrum``."""
    pairs = list(zip(*np.triu_indices(n_channels), strict=True))
    return [(l, int(p), int(q)) for l in range(l_max + 1) for p, q in pairs]


class _Block(NamedTuple):
    """The products of one (l1 <= l2 <= l3): the triples (q1, q2, q3) kept, and their weights."""

    degrees: tuple[int, int, int]
    channels: np.ndarray  # [3, columns]
    weights: np.ndarray  # [columns]


def bispectrum(coefficients: Array, parity: int = 1) -> Array:
    """B = Σ_m C^{l1 l2 l3}_{m1 m2 m3} c_{q1 l1 m1} c_{q2 l2 m2} c_{q3 l3 m3} / √(2 l3 + 1).

    The columns are l1 <= l2 <= l3 that satisfy the triangle inequality, with q sorted for equal
    degrees; the weight √(number of orderings) preserves inner products. C are the real
    Clebsch-Gordan coefficients.

    Args:
        coefficients: ``[a, n, (l_max + 1)²]`` density of one environment.
        parity: +1 for l1 + l2 + l3 even (invariant under inversion), -1 for odd (changes sign).

    Returns:
        ``[columns]``; ``bispectrum_index`` names them.

    Source: Bartók, Kondor, Csányi, Phys. Rev. B 87, 184115 (2013).

    Example:
        >>> bispectrum(jnp.ones((1, 1, 4))).shape  # (0,0,0), (0,1,1)
        (2,)
    """
    flat = coefficients.reshape(-1, coefficients.shape[-1])
    parts = []
    for block in _bispectrum_blocks(len(flat), degree_of(coefficients), parity):
        l1, l2, l3 = block.degrees
        table = (clebsch_gordan(l1, l2, l3) / np.sqrt(2 * l3 + 1)).astype(flat.dtype)
        first, second, third = (flat[:, harmonic_slice(l)] for l in block.degrees)
        coupled = jnp.einsum("ijk,pi,qj->pqk", table, first, second, precision="highest")
        products = jnp.einsum("pqk,rk->pqr", coupled, third, precision="highest")
        parts.append(block.weights.astype(flat.dtype) * products[tuple(block.channels)])
    return jnp.concatenate(parts) if parts else jnp.zeros(0, flat.dtype)


def bispectrum_index(n_channels: int, l_max: int, parity: int = 1):
    """((l1, l2, l3), (q1, q2, q3)) of every column of ``bispectrum``."""
    return [
        (block.degrees, tuple(int(q) for q in channels))
        for block in _bispectrum_blocks(n_channels, l_max, parity)
        for channels in block.channels.T
    ]


@lru_cache(maxsize=64)
def _bispectrum_blocks(n_channels: int, l_max: int, parity: int) -> tuple[_Block, ...]:
    blocks = []
    for degrees in combinations_with_replacement(range(l_max + 1), 3):
        l1, l2, l3 = degrees
        if l3 > l1 + l2 or (-1) ** sum(degrees) != parity:
            continue
        p, q, r = (grid.ravel() for grid in np.indices((n_channels,) * 3))
        # Coupling two equal vectors to an odd degree, or three to an odd sum, gives zero.
        odd = parity == -1
        keep = np.ones(p.shape, dtype=bool)
        if l1 == l2:
            keep &= (p < q) if odd else (p <= q)
        if l2 == l3:
            keep &= (q < r) if odd else (q <= r)
        channels = np.stack([p, q, r])[:, keep]
        if channels.shape[1]:
            blocks.append(_Block(degrees, channels, np.sqrt(_orderings(degrees, channels))))
    return tuple(blocks)


def _orderings(degrees: tuple[int, int, int], channels: np.ndarray) -> np.ndarray:
    """The number of orderings of the three factors (l, q) of each column."""
    labels = np.array(degrees)[:, None] * (channels.max() + 1) + channels
    distinct = 1 + (np.diff(np.sort(labels, axis=0), axis=0) != 0).sum(0)
    return np.array([1, 3, 6])[distinct - 1]
