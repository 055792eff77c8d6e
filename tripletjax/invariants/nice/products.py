"""Clebsch-Gordan products of covariants with the density: one step of the recursion.

Covariants are a mapping (σ, λ) -> block, where σ is the parity relative to that of Y_λ: under
inversion a block is multiplied by σ (-1)^λ. Blocks are ``[features, 2λ+1]`` in public functions,
like densities, and ``[..., 2λ+1, features]`` internally, so that products need no transposition
before the contraction.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from tripletjax.basis.angular import degree_of, harmonic_slice
from tripletjax.basis.coupling import clebsch_gordan
from tripletjax.numerics import array_module
from tripletjax.types import Array

Key = tuple[int, int]  # (σ, λ)
Covariants = Mapping[Key, Array]


class Piece(NamedTuple):
    """A rectangle of products: leading channels of degree l and leading features of (σ1, λ1).

    σ1 follows from the parity of the block of the products. Hashable, static under jit.
    """

    lambda1: int
    l: int
    channels: int
    features: int


Pieces = tuple[Piece, ...]


def block_order(nu: int, lambda_max: int, l_max: int) -> list[Key]:
    """The blocks (σ, λ) that exist at order ν, in the order expected of lists of sizes.

    First σ = +1 with λ ascending, then σ = -1 with λ = 1, 2 ... and λ = 0 last: the order in which
    they are first reached by products of the blocks of the previous order with l = 0, 1 .... The
    pseudoscalars (-1, 0) occur from ν = 3 on.

    Args:
        nu: order, from 1.
        lambda_max: highest λ at orders up to ν.
        l_max: highest degree of the density.

    Source: blocks of Nigam et al., arXiv 2302.14770, section on B8.

    Example:
        >>> block_order(2, 1, 1), block_order(3, 1, 1)[-1]
        ([(1, 0), (1, 1), (-1, 1)], (-1, 0))
    """
    keys = [(1, l) for l in range(l_max + 1)]
    for _ in range(nu - 1):
        keys = reachable(keys, l_max, lambda_max)
    return keys


def reachable(sources: Iterable[Key], l_max: int, lambda_max: int) -> list[Key]:
    """The blocks of the products of some blocks and the density, in ``block_order``."""
    found = {
        (sigma1 * (-1) ** (lambda1 + l + degree), degree)
        for sigma1, lambda1 in sources
        for l in range(l_max + 1)
        for degree in range(abs(lambda1 - l), min(lambda1 + l, lambda_max) + 1)
    }
    return sorted(found, key=lambda key: (-key[0], key[1] == 0 and key[0] == -1, key[1]))


def density_covariants(coefficients: Array) -> dict[Key, Array]:
    """The density as covariants of order 1: block (+1, l) is c_{qlm} with q = (a, n).

    Args:
        coefficients: ``[a, n, (l_max + 1)²]`` density of one environment.

    Returns:
        ``{(1, l): [a·n, 2l+1]}``.

    Example:
        >>> {key: block.shape for key, block in density_covariants(jnp.ones((1, 2, 4))).items()}
        {(1, 0): (2, 1), (1, 1): (2, 3)}
    """
    flat = coefficients.reshape(-1, coefficients.shape[-1])
    return {(1, l): flat[:, harmonic_slice(l)] for l in range(degree_of(flat) + 1)}


def expand(covariants: Covariants, coefficients: Array, lambda_max: int) -> dict[Key, Array]:
    """All products of covariants of order ν and the density: raw covariants of order ν + 1.

    |ρ^{ν+1}; σ λ μ⟩ = Σ_{m1 m2} C^{λ1 l λ}_{m1 m2 μ} |ρ^ν; σ1 λ1 m1⟩ c_{q l m2} for every block
    (σ1, λ1), feature f, degree l and channel q, with σ = σ1 (-1)^{λ1+l+λ}.

    Args:
        covariants: ``{(σ1, λ1): [features, 2λ1+1]}`` of one environment.
        coefficients: ``[a, n, (l_max + 1)²]`` its density.
        lambda_max: highest λ to keep, inclusive.

    Returns:
        ``{(σ, λ): [products, 2λ+1]}``, the products by (λ1, l, q, f), f fastest.

    Source: Nigam, Pozdnyakov, Ceriotti, J. Chem. Phys. 153, 121101 (2020), arXiv 2007.03407, eq. 5.

    Example:
        >>> c = jnp.ones((1, 2, 4))
        >>> expand(density_covariants(c), c, 1)[(1, 0)].shape  # (l, q, q')
        (8, 1)
    """
    sources = {key: jnp.swapaxes(block, -1, -2) for key, block in covariants.items()}
    flat = coefficients.reshape(-1, coefficients.shape[-1])
    sizes = {key: block.shape[-1] for key, block in sources.items()}
    l_max = degree_of(flat)
    plan = {
        key: all_pieces(key, sizes, len(flat), l_max) for key in reachable(sizes, l_max, lambda_max)
    }
    products = coupled_products(sources, flat, plan)
    return {key: jnp.swapaxes(block, -1, -2) for key, block in products.items()}


def all_pieces(key: Key, sizes: Mapping[Key, int], n_channels: int, l_max: int) -> Pieces:
    """All products that contribute to a block, for sources with the given numbers of features."""
    return tuple(
        Piece(lambda1, l, n_channels, sizes[source])
        for source, lambda1, l in couplings(key, sizes, l_max)
    )


def couplings(key: Key, sources: Iterable[Key], l_max: int) -> list[tuple[Key, int, int]]:
    """(source, λ1, l) of every coupling that contributes to a block, by λ1 and then l."""
    sigma, degree = key
    known = set(sources)
    found = []
    for lambda1 in sorted({source[1] for source in known}):
        for l in range(abs(lambda1 - degree), min(lambda1 + degree, l_max) + 1):
            source = (source_parity(sigma, lambda1, l, degree), lambda1)
            if source in known:
                found.append((source, lambda1, l))
    return found


def source_parity(sigma: int, lambda1: int, l: int, degree: int) -> int:
    """σ1 of the block that couples with degree l to (σ, λ)."""
    return sigma * (-1) ** (lambda1 + l + degree)


def n_products(pieces: Pieces) -> int:
    """The number of products in a block."""
    return sum(piece.channels * piece.features for piece in pieces)


def coupled_products(sources: Covariants, flat: Array, plan: Mapping[Key, Pieces]) -> dict:
    """The planned products, ``{(σ, λ): [..., 2λ+1, products]}``, NumPy or JAX arrays.

    ``sources`` are ``[..., 2λ1+1, features]`` and ``flat`` is the density ``[..., q, lm]``. Each
    source block enters one matrix product with the tensor T_{μ q m1} = Σ_{m2} C_{m1 m2 μ} c_{q m2}
    of all (l, λ) at once: few large operations that compile quickly.
    """
    xp = array_module(flat)
    parts: dict[tuple[Key, int, int], Array] = {}
    for source, block in sources.items():
        wanted = [
            (key, piece)
            for key, pieces in plan.items()
            for piece in pieces
            if source == (source_parity(key[0], piece.lambda1, piece.l, key[1]), piece.lambda1)
        ]
        if not wanted:
            continue
        degrees = tuple((piece.l, key[1]) for key, piece in wanted)
        longest = max(piece.features for _, piece in wanted)
        every = _all_channels(block[..., :longest], flat, source[1], degrees)  # [..., μ, q, f]
        first = 0
        for key, piece in wanted:
            last = first + 2 * key[1] + 1
            part = every[..., first:last, : piece.channels, : piece.features]
            parts[key, piece.lambda1, piece.l] = part.reshape(*part.shape[:-2], -1)
            first = last
    return {
        key: xp.concatenate([parts[key, piece.lambda1, piece.l] for piece in pieces], -1)
        for key, pieces in plan.items()
    }


def _all_channels(block: Array, flat: Array, lambda1: int, degrees: tuple) -> Array:
    """Products of one source and all channels, [..., μ of all (l, λ), q, f]."""
    table = _coupling_table(lambda1, degrees, flat.shape[-1])  # [lm, μ m1]
    turned = matmul(flat, table.astype(flat.dtype))
    turned = turned.reshape(*turned.shape[:-1], -1, 2 * lambda1 + 1)  # [..., q, μ, m1]
    turned = turned.swapaxes(-2, -3).reshape(*turned.shape[:-3], -1, 2 * lambda1 + 1)
    products = matmul(turned, block)  # [..., μ q, f]
    return products.reshape(*products.shape[:-2], -1, flat.shape[-2], block.shape[-1])


@cache
def _coupling_table(lambda1: int, degrees: tuple[tuple[int, int], ...], n_harmonics: int):
    """C[lm, (l λ μ) m1] for the given (l, λ), zero where the degree of lm is not l; read-only."""
    columns = []
    for l, degree in degrees:
        column = np.zeros((n_harmonics, 2 * degree + 1, 2 * lambda1 + 1))
        column[harmonic_slice(l)] = np.transpose(clebsch_gordan(lambda1, l, degree), (1, 2, 0))
        columns.append(column)
    table = np.concatenate(columns, axis=1).reshape(n_harmonics, -1)
    table.flags.writeable = False
    return table


def matmul(a: Array, b: Array) -> Any:
    """a @ b in full precision on every device."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        if b.ndim > 2:
            return a @ b
        # NumPy loops over leading axes, which is much slower than all rows at once.
        return (a.reshape(-1, a.shape[-1]) @ b).reshape(*a.shape[:-1], b.shape[-1])
    return jnp.matmul(a, b, precision="highest")
