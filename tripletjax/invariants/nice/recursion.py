"""Invariants of any order by recursion, with a contraction after every step."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.basis.angular import degree_of, harmonic_slice
from tripletjax.invariants.nice.products import (
    Key,
    Pieces,
    all_pieces,
    coupled_products,
    density_covariants,
    matmul,
    n_products,
    reachable,
    source_parity,
)
from tripletjax.numerics import array_module
from tripletjax.types import Array, InputError, as_integer

UNCONTRACTED_NU = 3  # beyond this order there are too many products


@jax.tree_util.register_static
@dataclass(frozen=True)
class Layout:
    """The products of each block: static, so that shapes are known at compile time."""

    l_max: int
    n_channels: int  # a·n
    steps: tuple[tuple[tuple[Key, Pieces], ...], ...]  # orders 2 ... ν; the last only λ = 0

    def plan(self, order: int) -> dict[Key, Pieces]:
        """The products of every block (σ, λ) of an order."""
        return dict(self.steps[order - 2])


class Contraction(NamedTuple):
    """Linear maps that keep the recursion small, for correlations up to order ``nu``; a pytree.

    Created by ``fit_contraction``. The blocks at order k are ``weights[k - 2].keys()``.
    """

    channels: tuple[Array, ...]  # of each l, [q, p] principal channels of the density, orthogonal
    weights: tuple[dict[Key, Array], ...]  # orders 2 ... ν-1: (σ, λ) -> [products, components]
    variances: tuple[dict[Key, Array], ...]  # mean square of each component, descending
    discarded: tuple[dict[Key, Array], ...]  # fraction of the block's mean square
    layout: Layout

    @property
    def nu(self) -> int:
        """The highest order of invariants that can be computed."""
        return len(self.weights) + 2


class Correlation(NamedTuple):
    """One column: Σ_m |ρ^{ν-1}; σ l m⟩_feature c_{channel l m} / √(2l+1)."""

    nu: int
    sigma: int
    l: int  # of both factors
    feature: int  # of block (sigma, l) of ``covariants(coefficients, contraction, nu - 1)``
    channel: int  # of the density, q = (a, n); with a contraction, the principal channel of l


def correlations(
    coefficients: Array, contraction: Contraction | None = None, nu: int = 3, parity: int = 1
) -> Array:
    """Atom-centred density correlations |ρ^ν; σ 0 0⟩ of one environment, of any order ν.

    |ρ^{ν}; σ λ μ⟩ = Σ_{m1 m2} C^{λ1 l λ}_{m1 m2 μ} |ρ^{ν-1}; σ1 λ1 m1⟩ c_{q l m2}, contracted
    after every step but the last; both parities contribute. They are polynomials in the density of
    degree ν, hence smooth, and zero for an empty environment. Uncontracted, ν = 2 and 3 are the
    power spectrum and the bispectrum, with all orderings of their factors.

    Args:
        coefficients: ``[a, n, (l_max + 1)²]`` density.
        contraction: from ``fit_contraction``; None for ν up to 3.
        nu: order, up to ``contraction.nu``.
        parity: +1 for invariants under inversion, -1 for pseudoscalars, which change sign (none
            below ν = 3).

    Returns:
        ``[columns]``, described by ``correlation_index``.

    Raises:
        InputError: ν is out of range, or the contraction is for a different density.

    Source: Nigam, Pozdnyakov, Ceriotti, J. Chem. Phys. 153, 121101 (2020), arXiv 2007.03407, eq. 5.

    Example:
        >>> correlations(jnp.ones((1, 2, 4)), nu=2).shape  # (l, q, q')
        (8,)
    """
    coefficients = jnp.asarray(coefficients)
    layout = _layout(coefficients, contraction, nu, parity)
    if nu == 1:
        first = coefficients[..., 0].ravel()
        return first if parity == 1 else first[:0]
    sources, flat = _recursion(coefficients, contraction, layout, nu - 1, parity)
    plan = {key: pieces for key, pieces in layout.plan(nu).items() if key == (parity, 0)}
    if not plan:
        return jnp.zeros(0, coefficients.dtype)
    return coupled_products(sources, flat, plan)[parity, 0][0]


def covariants(
    coefficients: Array, contraction: Contraction | None = None, nu: int = 2
) -> dict[Key, Array]:
    """Covariant correlations |ρ^ν; σ λ μ⟩ of one environment, contracted.

    Block (σ, λ) rotates with D^λ of ``angular.wigner_matrix``, and is multiplied by
    σ (-1)^λ under inversion.

    Args:
        coefficients: ``[a, n, (l_max + 1)²]`` density.
        contraction: from ``fit_contraction``; None for ν up to 2, with all products.
        nu: order, up to ``contraction.nu - 1``; 1 gives the density, in principal channels.

    Returns:
        ``{(σ, λ): [components, 2λ+1]}``.

    Raises:
        InputError: as for ``correlations`` of order ν + 1.

    Example:
        >>> {key: block.shape for key, block in covariants(jnp.ones((1, 2, 4))).items()}
        {(1, 0): (8, 1), (1, 1): (8, 3), (-1, 1): (4, 3)}
    """
    coefficients = jnp.asarray(coefficients)
    layout = _layout(coefficients, contraction, nu + 1, 1)
    sources, _ = _recursion(coefficients, contraction, layout, nu, None)
    return {key: jnp.swapaxes(block, -1, -2) for key, block in sources.items()}


def correlation_index(
    n_channels: int,
    l_max: int,
    contraction: Contraction | None = None,
    nu: int = 3,
    parity: int = 1,
) -> list[Correlation]:
    """The factors of every column of ``correlations``.

    Args:
        n_channels: a·n of the density.
        l_max: its highest degree.
        contraction, nu, parity: as for ``correlations``.

    Example:
        >>> correlation_index(2, 1, nu=2)[-1]
        Correlation(nu=2, sigma=1, l=1, feature=1, channel=1)
    """
    layout = _layout_of(n_channels, l_max, contraction, nu, parity)
    if nu == 1:
        return [Correlation(1, 1, 0, 0, q) for q in range(n_channels) if parity == 1]
    return [
        Correlation(nu, source_parity(parity, piece.lambda1, piece.l, 0), piece.l, feature, q)
        for piece in layout.plan(nu).get((parity, 0), ())
        for q in range(piece.channels)
        for feature in range(piece.features)
    ]


def product_index(n_channels: int, l_max: int) -> dict[Key, list[tuple[int, int, int, int]]]:
    """(l1, q1, l2, q2) of every row of the uncontracted blocks of ``covariants`` of order 2.

    Example:
        >>> product_index(1, 1)[(-1, 1)]
        [(1, 0, 1, 0)]
    """
    return {
        key: [
            (piece.lambda1, first, piece.l, second)
            for piece in pieces
            for second in range(piece.channels)
            for first in range(piece.features)
        ]
        for key, pieces in uncontracted_layout(n_channels, l_max).plan(2).items()
    }


def _layout(coefficients: Array, contraction: Contraction | None, nu: int, parity: int) -> Layout:
    n_channels = int(np.prod(coefficients.shape[:-1]))
    return _layout_of(n_channels, degree_of(coefficients), contraction, nu, parity)


def _layout_of(n_channels: int, l_max: int, contraction, nu: int, parity: int) -> Layout:
    """The layout of the contraction, or that of all products, after validating the arguments."""
    if parity not in (1, -1):
        raise InputError(f"invalid parity={parity!r}: expected 1 or -1")
    highest = UNCONTRACTED_NU if contraction is None else contraction.nu
    nu = as_integer("nu", nu, 1)
    if nu > highest:
        reason = "without a contraction" if contraction is None else "with this contraction"
        raise InputError(
            f"invalid nu={nu!r} {reason}: expected 1 to {highest}; use fit_contraction for more"
        )
    if contraction is None:
        return uncontracted_layout(n_channels, l_max)
    layout = contraction.layout
    if (layout.n_channels, layout.l_max) != (n_channels, l_max):
        raise InputError(
            f"the contraction was fitted to a density with {layout.n_channels} channels and l_max="
            f"{layout.l_max}, but this one has {n_channels} and l_max={l_max}; fit it again"
        )
    return layout


def uncontracted_layout(n_channels: int, l_max: int) -> Layout:
    """All products up to order ``UNCONTRACTED_NU``."""
    sizes, steps = {(1, l): n_channels for l in range(l_max + 1)}, []
    for order in range(2, UNCONTRACTED_NU + 1):
        lambda_max = l_max if order < UNCONTRACTED_NU else 0
        plan = {
            key: all_pieces(key, sizes, n_channels, l_max)
            for key in reachable(sizes, l_max, lambda_max)
        }
        steps.append(tuple(plan.items()))
        sizes = {key: n_products(pieces) for key, pieces in plan.items()}
    return Layout(l_max, n_channels, tuple(steps))


def principal_density(flat: Array, channels: tuple[Array, ...]) -> Array:
    """The density [..., q, lm] in the principal channels of each l."""
    xp = array_module(flat)
    turned = [
        matmul(_cast(matrix, flat.dtype).swapaxes(-1, -2), flat[..., harmonic_slice(l)])
        for l, matrix in enumerate(channels)
    ]
    return xp.concatenate(turned, -1)


def contract(products: Mapping[Key, Array], weights: Mapping[Key, Array]) -> dict[Key, Array]:
    """Contract products to ``[..., 2λ+1, components]``, with the same matrix for every μ."""
    return {
        key: matmul(products[key], _cast(matrix, products[key].dtype))
        for key, matrix in weights.items()
    }


def _recursion(coefficients, contraction: Contraction | None, layout: Layout, nu: int, parity):
    """Covariants of order ν, [2λ+1, components], and the density to multiply them with.

    ``parity`` +1 or -1: at order ν only the blocks of that σ, which invariants of this parity need.
    """
    flat = coefficients.reshape(-1, coefficients.shape[-1])
    if contraction is not None:
        flat = principal_density(flat, contraction.channels)
    blocks = density_covariants(flat[None])
    sources = {key: jnp.swapaxes(block, -1, -2) for key, block in blocks.items()}
    for order in range(2, nu + 1):
        plan = layout.plan(order)
        if parity is not None and order == nu:
            plan = {key: pieces for key, pieces in plan.items() if key[0] == parity}
        if contraction is None:
            sources = coupled_products(sources, flat, plan)
            continue
        weights = {key: contraction.weights[order - 2][key] for key in plan}
        sources = contract(coupled_products(sources, flat, plan), weights)
    return sources, flat


def _cast(matrix: Array, dtype) -> Array:
    return matrix.astype(dtype)
