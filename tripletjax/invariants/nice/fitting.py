"""Fit the contraction by principal component analysis of every block; host side, float64."""

import heapq
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from tripletjax.basis.angular import degree_of, harmonic_slice
from tripletjax.invariants.nice.pca import mean_square, principal_channels, principal_components
from tripletjax.invariants.nice.products import (
    Key,
    Pieces,
    all_pieces,
    coupled_products,
    couplings,
    n_products,
    reachable,
)
from tripletjax.invariants.nice.recursion import Contraction, Layout, contract, principal_density
from tripletjax.invariants.nice.request import Components, Step, checked_densities, steps_of
from tripletjax.types import NU_LIMIT, Array, InputError, as_integer

logger = logging.getLogger(__name__)

# Numbers kept in the paper on completeness (arXiv 2302.14770) at orders 2 ... 6 for l, λ <= 3. Read
# in the order of ``block_order``, each list cuts the blocks of an order at similar variances on B8;
# with σ = -1 in descending λ the cuts of one order would differ by factors of 10³ to 10⁴.
PAPER_COMPONENTS = (
    (25, 25, 40, 25, 15, 20, 22),
    (80, 180, 200, 200, 120, 120, 180, 30),
    (150, 500, 400, 500, 500, 500, 600, 120),
    (200, 700, 700, 700, 600, 600, 700, 150),
    (300, 800, 800, 800, 800, 800, 800, 250),
)
PART_BYTES = 2**27  # of products computed at a time
HELD_BYTES = 2**30  # smaller blocks of products are computed once, larger ones for each pass


def fit_contraction(
    coefficients: Array,
    nu: int,
    components: Components | Sequence[Components] | Mapping[int, Components],
    lambda_max: int | Sequence[int] | None = None,
    max_products: int | None = None,
    n_fit: int | None = None,
    seed: int = 0,
) -> Contraction:
    """Fit the contraction of every order 2 ... ν-1 to the densities of some environments.

    Of each block (σ, λ) the leading principal components of its products are kept: the directions
    v of largest Σ_{samples} Σ_μ (v · x_μ)², the same for every μ, so that components remain
    covariant. No mean is removed, not even of the invariant block (1, 0): components are linear in
    the products and zero for an empty environment. Directions of zero variance are dropped. The
    channels of the density are first rotated to the principal channels of each l.

    Memory scales as products times components of the largest block; products are only stored for a
    part of the samples at a time. The search is randomised, and exact if as many components are
    requested as there are products or rows.

    Args:
        coefficients: ``[N, a, n, (l_max + 1)²]`` densities.
        nu: highest order of invariants, at least 3.
        components: maximum number to keep in each block of each order 2 ... ν-1: one number for
            all; or a sequence over orders, or a dict by order, each entry a number, a dict
            ``{(σ, λ): number}`` or a sequence over ``block_order(order, lambda_max, l_max)``. A
            block missing from a dict is dropped. If there are fewer products, all are kept.
        lambda_max: highest λ, one number or one for each order 2 ... ν-1; None: l_max.
        max_products: maximum number of products in a block from order 3 on, those with the largest
            product of their factors' mean squares; None: all.
        n_fit: number of environments to fit to, chosen at random; None: all.
        seed: seed of that choice and of the search.

    Returns:
        A ``Contraction``, of float64 NumPy arrays.

    Raises:
        InputError: a number is out of range, a list does not match the blocks, or a block has fewer
            rows (environments times 2λ+1) than requested components.

    Source: Nigam, Pozdnyakov, Ceriotti, J. Chem. Phys. 153, 121101 (2020), arXiv 2007.03407;
    randomised search: Halko, Martinsson, Tropp, SIAM Rev. 53, 217 (2011), algorithm 4.4.

    Example:
        >>> densities = np.random.default_rng(0).normal(size=(50, 1, 2, 9))
        >>> contraction = fit_contraction(densities, 4, components=5)
        >>> contraction.nu, contraction.weights[0][(1, 0)].shape
        (4, (12, 5))
    """
    coefficients = checked_densities(coefficients)
    nu = as_integer("nu", nu, 3, NU_LIMIT)
    random = np.random.default_rng(as_integer("seed", seed, 0))
    n_samples = len(coefficients)
    n_fit = n_samples if n_fit is None else as_integer("n_fit", n_fit, 1)
    if n_fit > n_samples:
        raise InputError(f"invalid n_fit={n_fit}: expected at most the {n_samples} densities")
    if max_products is not None:
        max_products = as_integer("max_products", max_products, 1)
    flat = coefficients.reshape(n_samples, -1, coefficients.shape[-1])
    steps = steps_of(flat.shape[1:], nu, components, lambda_max, max_products, n_fit)
    flat = flat[np.sort(random.choice(n_samples, n_fit, replace=False))]
    return _fit(flat, steps, max_products, random)


def _fit(flat: np.ndarray, steps: list[Step], max_products: int | None, random) -> Contraction:
    l_max = degree_of(flat)
    channels = principal_channels(flat)
    flat = np.asarray(principal_density(flat, channels))
    sources = {
        (1, l): flat[..., harmonic_slice(l)].swapaxes(-1, -2).copy() for l in range(l_max + 1)
    }
    density = [mean_square(sources[1, l]) for l in range(l_max + 1)]
    plans, weights, variances, discarded = [], [], [], []
    for step in steps:
        plan = _plan(step.components, sources, density, step.max_products)
        fits = {}
        for key, pieces in plan.items():
            fit = _fit_block(sources, flat, key, pieces, step.components[key], random)
            if len(fit.variances):
                fits[key] = fit
        plan = {key: plan[key] for key in fits}
        maps = {key: fit.directions for key, fit in fits.items()}
        sources = {key: _components(sources, flat, key, plan[key], maps[key]) for key in plan}
        plans.append(tuple(plan.items()))
        weights.append(maps)
        variances.append({key: fit.variances for key, fit in fits.items()})
        discarded.append({key: fit.discarded for key, fit in fits.items()})
        sizes = {key: len(fit.variances) for key, fit in fits.items()}
        logger.info("order %d: components %s", step.order, sizes)
    plan = _plan(reachable(sources, l_max, 0), sources, density, max_products)
    plans.append(tuple(plan.items()))
    layout = Layout(l_max, flat.shape[-2], tuple(plans))
    return Contraction(channels, tuple(weights), tuple(variances), tuple(discarded), layout)


def _plan(
    keys: Iterable[Key],
    sources: Mapping[Key, np.ndarray],
    density: list[np.ndarray],
    max_products: int | None,
) -> dict[Key, Pieces]:
    """The products of each reachable block: all, or those with the largest factors."""
    l_max, n_channels = len(density) - 1, len(density[0])
    sizes = {key: block.shape[-1] for key, block in sources.items()}
    # Components have descending variances; rounding must not change the order.
    importance = {key: np.minimum.accumulate(mean_square(b)) for key, b in sources.items()}
    plan = {}
    for key in keys:
        pieces = all_pieces(key, sizes, n_channels, l_max)
        if not pieces:
            continue
        if max_products is not None and n_products(pieces) > max_products:
            factors = [
                (density[l], importance[source]) for source, _, l in couplings(key, sizes, l_max)
            ]
            pieces = _leading(pieces, factors, max_products)
        plan[key] = pieces
    return plan


def _leading(
    pieces: Pieces, factors: list[tuple[np.ndarray, np.ndarray]], max_products: int
) -> Pieces:
    """Grow the rectangles of products by the row or column of the largest gain.

    The gain is the product of the factors' mean squares, per added product.
    """
    sums = [tuple(np.concatenate([[0], np.cumsum(f)]) for f in pair) for pair in factors]
    chosen, total = [(0, 0)] * len(pieces), 0
    queue = [(-factor[0][0] * factor[1][0], n, (1, 1)) for n, factor in enumerate(factors)]
    heapq.heapify(queue)
    while queue:
        _, n, (channels, features) = heapq.heappop(queue)
        added = channels * features - chosen[n][0] * chosen[n][1]
        if total + added > max_products:
            continue  # this rectangle is complete; smaller steps of others may still fit
        chosen[n], total = (channels, features), total + added
        (v, w), (sum_v, sum_w) = factors[n], sums[n]
        grown = []
        if channels < len(v):
            grown.append((-v[channels] * sum_w[features] / features, n, (channels + 1, features)))
        if features < len(w):
            grown.append((-w[features] * sum_v[channels] / channels, n, (channels, features + 1)))
        if grown:
            heapq.heappush(queue, min(grown))
    return tuple(
        piece._replace(channels=channels, features=features)
        for piece, (channels, features) in zip(pieces, chosen, strict=True)
        if channels
    )


def _fit_block(sources, flat: np.ndarray, key: Key, pieces: Pieces, count: int, random):
    """At most ``count`` principal components of one block."""
    rows_per_sample, columns = 2 * key[1] + 1, n_products(pieces)

    def rows() -> Iterator[np.ndarray]:
        for part in _parts(len(flat), rows_per_sample * columns):
            chosen = {source: block[part] for source, block in sources.items()}
            products = coupled_products(chosen, flat[part], {key: pieces})[key]
            yield products.reshape(-1, columns)

    shape = (len(flat) * rows_per_sample, columns)
    factors = sum(float(np.vdot(block, block)) for block in sources.values())
    scale = float(np.sqrt(factors * np.vdot(flat, flat) / len(flat)))
    if 8 * shape[0] * shape[1] <= HELD_BYTES:
        held = list(rows())
        return principal_components(lambda: iter(held), shape, count, scale, random)
    return principal_components(rows, shape, count, scale, random)


def _components(sources, flat: np.ndarray, key: Key, pieces: Pieces, directions: np.ndarray):
    """The components of one block of all samples, [N, 2λ+1, components]."""
    found = []
    for part in _parts(len(flat), (2 * key[1] + 1) * n_products(pieces)):
        chosen = {source: block[part] for source, block in sources.items()}
        products = coupled_products(chosen, flat[part], {key: pieces})
        found.append(contract(products, {key: directions})[key])
    return np.concatenate(found)


def _parts(n_samples: int, numbers_per_sample: int) -> Iterator[slice]:
    """Slices of the samples whose products fit into ``PART_BYTES``."""
    size = max(1, PART_BYTES // (8 * numbers_per_sample))
    for first in range(0, n_samples, size):
        yield slice(first, first + size)
