"""The coupled basis of triplets: Clebsch-Gordan products of two neighbours and the density.

|ρ⁰_{i j1 j2}; σλμ⟩ couples the expansions of two neighbours to degree λ, |ρ¹_{i j1 j2}; σ00⟩ that
with the density to an invariant (σ = +1) or a pseudoscalar (σ = -1). Summed over all ordered pairs
they are the density correlations of order 2 and 3; a nonlinear function of each triplet, summed,
is more. Channels are flattened, q = (a, n), and all degrees l1, l2, λ are at most l_max.

Much of this basis is redundant. A neighbour has one species and g_{qlm} = f_c R_nl Y_lm, so the
channels q1, q2 of a triplet are an outer product of radial functions, zero for all other pairs of
species; the remaining factor, one number for each (l1, l2, λ, q3), is a linear combination of the
(l_max + 1)² minimal invariants for each q3, with polynomials in cos θ as coefficients
(``tripletjax.invariants.coupled.minimal``). The functions here compute the full product.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from tripletjax.basis.angular import degree_of, harmonic_slice
from tripletjax.basis.coupling import clebsch_gordan
from tripletjax.basis.densities import Mixing, neighborhood, pairs_of
from tripletjax.numerics import scan_sum
from tripletjax.types import Array, Basis, InputError


class CoupledColumn(NamedTuple):
    """The factors of one coupled feature; q = a n_max + n."""

    q1: int
    l1: int
    q2: int
    l2: int
    lambda_: int
    q3: int | None  # channel of the density; None at ν = 0
    sigma: int  # +1 for l1 + l2 + λ even, -1 for odd


def coupled_index(n_channels: int, l_max: int, nu: int = 1, parity: int = 1) -> list[CoupledColumn]:
    """The factors of every column of ``coupled_invariants``, or row of ``coupled_covariants``.

    Args:
        n_channels: number of channels q, n_species times n_max.
        l_max: highest degree, inclusive, of l1, l2 and λ.
        nu: 0 or 1, the number of densities coupled to the two neighbours.
        parity: σ. At ν = 0 the rows of the blocks (σ, λ) are concatenated in order of λ.

    Returns:
        One entry per column, ordered by λ, q3, l1, l2, q2, q1, the last fastest.

    Raises:
        InputError: ν is neither 0 nor 1.

    Example:
        >>> columns = coupled_index(1, 1)
        >>> [(c.l1, c.l2, c.lambda_) for c in columns]
        [(0, 0, 0), (1, 1, 0), (0, 1, 1), (1, 0, 1)]
    """
    _check_order(nu)
    channels = range(n_channels)
    return [
        CoupledColumn(q1, l1, q2, l2, lambda_, q3, parity)
        for lambda_ in range(l_max + 1)
        for q3 in (channels if nu == 1 else (None,))
        for l1, l2 in couplings(lambda_, l_max, parity)
        for q2 in channels
        for q1 in channels
    ]


def _check_order(nu: int) -> None:
    if nu not in (0, 1):
        raise InputError(f"invalid nu={nu!r} of the coupled basis: expected 0 or 1")


def couplings(lambda_: int, l_max: int, parity: int) -> list[tuple[int, int]]:
    """(l1, l2) that couple to λ with σ = (-1)^(l1+l2+λ) = parity, in the order of columns."""
    degrees = range(l_max + 1)
    return [
        (l1, l2)
        for l1 in degrees
        for l2 in degrees
        if abs(l1 - l2) <= lambda_ <= l1 + l2 and (-1) ** (l1 + l2 + lambda_) == parity
    ]


def pair_channels(
    vectors: Array,
    species: Array,
    mask: Array,
    basis: Basis,
    n_species: int,
    mixing: Mixing | None = None,
) -> Array:
    """Term of each neighbour in the density, in its species channel: Σ_j g^{ij} = c^i.

    Args:
        vectors, species, mask: one environment, [K, 3] Å, [K] and [K].
        basis: the expansion.
        n_species: number of species channels.
        mixing: linear maps of the density's channels; None: none.

    Returns:
        ``[K, n_species, n_max, (l_max + 1)²]``, zero on padding.

    Source: Nigam et al., arXiv 2302.14770, eq. 2.

    Example:
        >>> environment = jnp.eye(3), jnp.array([0, 1, 1]), jnp.ones(3, bool)
        >>> pair_channels(*environment, Basis(n_max=2, l_max=3), 2).shape
        (3, 2, 2, 16)
    """
    hood = neighborhood(vectors, species, mask, basis, n_species, mixing)
    return hood.channels[:, :, None, None] * pairs_of(hood)[:, None]


def coupled_covariants(first: Array, second: Array) -> dict[tuple[int, int], Array]:
    """Couple two neighbours to every degree: the covariants of the triplet of order ν = 0.

    |ρ⁰; σλμ⟩ = Σ_{m1 m2} C^{l1 l2 λ}_{m1 m2 μ} g^{ij1}_{q1 l1 m1} g^{ij2}_{q2 l2 m2}, with
    σ = (-1)^{l1+l2+λ}: under inversion a block is multiplied by σ (-1)^λ.

    Args:
        first, second: ``[a, n, (l_max + 1)²]``, expansions of two neighbours
            (``pair_channels``), or the density twice, for |ρ²⟩.

    Returns:
        ``{(σ, λ): [products, 2λ+1]}`` for λ = 0 ... l_max; ``coupled_index`` names the products.

    Source: Nigam et al., arXiv 2302.14770.

    Example:
        >>> blocks = coupled_covariants(jnp.ones((1, 2, 4)), jnp.ones((1, 2, 4)))
        >>> {key: block.shape for key, block in blocks.items()}
        {(1, 0): (8, 1), (1, 1): (8, 3), (-1, 1): (4, 3)}
    """
    blocks = _covariants(first, second, 1) | _covariants(first, second, -1)
    return {key: block for key, block in blocks.items() if block.shape[0]}


def _covariants(first: Array, second: Array, parity: int) -> dict[tuple[int, int], Array]:
    """The blocks of one σ, including empty ones."""
    l_max, dtype = degree_of(first), first.dtype
    first, second = (g.reshape(-1, g.shape[-1]) for g in (first, second))  # [q, lm]
    blocks = {}
    for lambda_ in range(l_max + 1):
        products = [jnp.zeros((0, 2 * lambda_ + 1), dtype)]
        for l1, l2 in couplings(lambda_, l_max, parity):
            table = clebsch_gordan(l1, l2, lambda_).astype(dtype)
            g1, g2 = first[:, harmonic_slice(l1)], second[:, harmonic_slice(l2)]
            product = jnp.einsum("ijk,pi,qj->qpk", table, g1, g2, precision="highest")
            products.append(product.reshape(-1, 2 * lambda_ + 1))
        blocks[parity, lambda_] = jnp.concatenate(products)
    return blocks


def coupled_invariants(first: Array, second: Array, coefficients: Array, parity: int = 1) -> Array:
    """Couple two neighbours and the density to invariants: the features of the triplet at ν = 1.

    |ρ¹; σ00⟩ = Σ_μ C^{λλ0}_{μμ0} |ρ⁰; σλμ⟩ c_{q3 λμ}, and C^{λλ0}_{μμ0} = (-1)^λ / √(2λ+1).

    Args:
        first, second: ``[a, n, (l_max + 1)²]`` expansions of the two neighbours.
        coefficients: ``[a, n, (l_max + 1)²]`` density of the environment.
        parity: σ = +1 for invariants, -1 for pseudoscalars, which change sign under inversion.

    Returns:
        ``[columns]``, described by ``coupled_index``.

    Source: Nigam et al., arXiv 2302.14770.

    Example:
        >>> coupled_invariants(*jnp.ones((3, 1, 2, 9))).shape
        (88,)
    """
    flat = coefficients.reshape(-1, coefficients.shape[-1])
    columns = []
    for (_, lambda_), block in _covariants(first, second, parity).items():
        scaled = flat[:, harmonic_slice(lambda_)] * to_invariant(lambda_)
        columns.append(jnp.einsum("fm,qm->qf", block, scaled, precision="highest").ravel())
    return jnp.concatenate(columns)


def to_invariant(lambda_: int) -> float:
    """C^{λλ0}_{μμ0}, the same for every μ, which couples two tensors of degree λ to a scalar."""
    return float((-1) ** lambda_ / np.sqrt(2 * lambda_ + 1))


def _triplet_features(first: Array, second: Array, density: Array, nu: int, parity: int):
    if nu == 0:
        return coupled_covariants(first, second)
    return coupled_invariants(first, second, density, parity)


def environment_coupled(
    vectors: Array,
    species: Array,
    mask: Array,
    basis: Basis,
    n_species: int,
    nu: int = 1,
    parity: int = 1,
    mixing: Mixing | None = None,
) -> Any:
    """Coupled features of all ordered pairs of neighbours of one environment, all in memory.

    Args:
        vectors, species, mask: one environment, [K, 3] Å, [K] and [K].
        basis: the expansion.
        n_species: number of species channels.
        nu, parity: 0 for the covariants, both parities; 1 for the invariants of one parity.
        mixing: linear maps of the density's channels; None: none.

    Returns:
        ν = 1: ``[K, K, columns]``; ν = 0: ``{(σ, λ): [K, K, products, 2λ+1]}``. Zero on padding.

    Raises:
        InputError: ν is neither 0 nor 1.

    Example:
        >>> environment = jnp.eye(3), jnp.zeros(3, int), jnp.ones(3, bool)
        >>> environment_coupled(*environment, Basis(n_max=2, l_max=2), 1).shape
        (3, 3, 88)
    """
    _check_order(nu)
    pairs = pair_channels(vectors, species, mask, basis, n_species, mixing)
    density = pairs.sum(0)

    def triplet(first, second):
        return _triplet_features(first, second, density, nu, parity)

    return jax.vmap(lambda first: jax.vmap(lambda second: triplet(first, second))(pairs))(pairs)


def coupled_sum(
    vectors: Array,
    species: Array,
    mask: Array,
    basis: Basis,
    n_species: int,
    nu: int = 1,
    parity: int = 1,
    function: Callable[[Any], Any] | None = None,
    block: int = 16,
) -> Any:
    """Σ_{j1 j2} function(features of the triplet) over all ordered pairs, including j1 = j2.

    Without a function, and with no weights other than the f_c in g, the sum is exactly the density
    correlation of order 2 (ν = 0) or 3 (ν = 1), and as blind. Triplets are streamed: only ``block``
    of them are in memory at a time, also when differentiated.

    Args:
        vectors, species, mask: one environment, [K, 3] Å, [K] and [K].
        basis: the expansion.
        n_species: number of species channels.
        nu, parity: 0 for the covariants, both parities; 1 for the invariants of one parity.
        function: maps the features of one triplet to an array or pytree of arrays; None: identity.
            The sum excludes padding, but the function must be differentiable at zero.
        block: number of triplets computed at a time.

    Returns:
        ν = 1: ``[columns]``; ν = 0: ``{(σ, λ): [products, 2λ+1]}``; or the values of the function.

    Raises:
        InputError: ν is neither 0 nor 1.

    Source: Nigam et al., arXiv 2302.14770, eqs. 3-5.

    Example:
        >>> environment = jnp.eye(3), jnp.zeros(3, int), jnp.ones(3, bool)
        >>> coupled_sum(*environment, Basis(n_max=2, l_max=2), 1, function=jnp.tanh).shape
        (88,)
    """
    _check_order(nu)
    n_first = max(len(mask), 1)
    block = min(block, n_first)
    extra = -n_first % block + n_first - len(mask)
    pairs = pair_channels(vectors, species, mask, basis, n_species)
    density = pairs.sum(0)
    pairs = jnp.pad(pairs, ((0, extra), (0, 0), (0, 0), (0, 0)))
    real = jnp.pad(jnp.asarray(mask), (0, extra))

    def triplet(first, second):
        features = _triplet_features(first, second, density, nu, parity)
        return features if function is None else function(features)

    def term(first, second, counted):
        values = triplet(first, second)
        return ravel_pytree(jax.tree.map(lambda x: jnp.where(counted, x, 0), values))[0]

    blocks = pairs.reshape(-1, block, *pairs.shape[1:]), real.reshape(-1, block)

    def of_first(first, is_first):
        def of_block(seconds, are_seconds):
            return jax.vmap(lambda g, s: term(first, g, s & is_first))(seconds, are_seconds).sum(0)

        return scan_sum(of_block, *blocks)

    shapes = jax.eval_shape(triplet, pairs[0], pairs[0])
    _, unravel = ravel_pytree(jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes))
    total = scan_sum(of_first, pairs[:n_first], real[:n_first])
    return unravel(jnp.asarray(total))
