"""A complete vector of one environment that needs no training: the fingerprint.

Level 2 is the kernel mean embedding of the multiset of triplets in random Fourier features,

    F_d = √(2/D) Σ_{j1 ≠ j2} w_{j1} w_{j2} cos(W_d·e + b_d) cos(V_d·o),

with e the even invariants of the triplet, its geometry and its species, o the odd invariants and
w = 1 - (1 - f_c)^8 a cutoff weight that stays near one for longer than f_c: what counts is which
triplets there are, not how the cutoff weighs them. In the mean over random W, V and b,

    F·F' = Σ_t Σ_t' w_t w_t' k(e, e') ½ [k(o, o') + k(o, -o')],

k Gaussian: a characteristic kernel on (e, ±o), hence two environments are equal only if their
triplets are, up to O(3). Level 1 does the same with one tagged neighbour, for collinear
environments; level 0 is the centre's species and the isotropic density, for empty ones.

The weight of degree l falls as exp(-l (l+1) DAMPING): high degrees vary fast as atoms move.
"""

from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.angular import EdgeFrame, edge_frame, to_edge_frame
from tripletjax.densities import density_of, neighborhood
from tripletjax.numerics import cosine, scan_sum
from tripletjax.radial import density_scale
from tripletjax.triplets import azimuthal_powers, tag_weights
from tripletjax.types import Array, Basis

DAMPING = 0.03
FLATNESS = 8  # exponent of the tag weights
LEVEL_1_SHARE = 8  # level 1 has n_features / 8 columns


class LevelWeights(NamedTuple):
    """Random directions of one level, with D features; float64 NumPy, drawn on the host."""

    even: tuple[np.ndarray, ...]  # for m = 0 ... l_max: [a, n, l = m ... l_max, D]
    odd: tuple[np.ndarray, ...]  # for m = 1 ... l_max (level 1: only even m = 0)
    geometry: np.ndarray  # [3, D] of r_ij1 / cutoff, r_ij2 / cutoff, cos θ (level 1: [1, D])
    species: np.ndarray  # [3, a, D] of centre, first and second tag (level 1: [2, a, D])
    phase: np.ndarray  # [D]


class FingerprintWeights(NamedTuple):
    """All random numbers and scales of a fingerprint."""

    isotropic: np.ndarray  # [n] factors that bring c_{n00} to order one
    level_1: LevelWeights
    level_2: LevelWeights


@lru_cache(maxsize=16)
def fingerprint_weights(
    basis: Basis, n_species: int, n_features: int = 2048, length_scale: float = 1.5, seed: int = 0
) -> FingerprintWeights:
    """Draw the random directions: Gaussian, of standard deviation 1 / length_scale.

    Invariants are measured in units of ``density_scale``, a constant of the basis, so that
    ``length_scale`` means the same for every basis and never depends on data.

    Args:
        basis: the density expansion.
        n_species: number of species channels.
        n_features: columns of level 2.
        length_scale: width of the Gaussian kernel between triplets; small tells apart finely,
            large interpolates smoothly.
        seed: of NumPy's PCG64.

    Returns:
        The weights, a pytree of float64 NumPy arrays.

    Example:
        >>> fingerprint_weights(Basis(n_max=2, l_max=3), 1, n_features=16).level_2.even[1].shape
        (1, 2, 3, 16)
    """
    random = np.random.Generator(np.random.PCG64(seed))
    isotropic = np.full(basis.n_max, 1 / density_scale(basis))
    level_2 = _draw(random, basis, n_species, n_features, length_scale, tags=2)
    n_level_1 = max(1, n_features // LEVEL_1_SHARE)
    level_1 = _draw(random, basis, n_species, n_level_1, length_scale, tags=1)
    return FingerprintWeights(isotropic, level_1, level_2)


def _draw(random, basis: Basis, n_species: int, n_features: int, length_scale: float, tags: int):
    l = np.arange(basis.l_max + 1)
    width = np.exp(-DAMPING * l * (l + 1)) / (density_scale(basis) * length_scale)

    def form(m):
        shape = (n_species, basis.n_max, basis.l_max + 1 - m, n_features)
        return random.normal(size=shape) * width[m:, None]

    orders = range(basis.l_max + 1 if tags == 2 else 1)
    return LevelWeights(
        even=tuple(form(m) for m in orders),
        odd=tuple(form(m) for m in orders[1:]),
        geometry=random.normal(size=(2 * tags - 1, n_features)) / length_scale,
        species=random.normal(size=(tags + 1, n_species, n_features)) / length_scale,
        phase=random.uniform(0, 2 * np.pi, n_features),
    )


def fingerprint(
    vectors: Array,
    species: Array,
    mask: Array,
    basis: Basis,
    weights: FingerprintWeights,
    center: Array | int = 0,
    tags: int | None = None,
    chiral: bool = False,
) -> Array:
    """The fingerprint of one environment: levels 0, 1 and 2, concatenated.

    Invariant under rotations and permutations, and under inversion unless ``chiral``, which adds
    the columns √(2/D) Σ w cos(W·e + b) sin(V·o), of opposite sign for mirror images.

    Args:
        vectors, species, mask: the environment, [K, 3] Å, [K] and [K], sorted by distance if
            ``tags`` is given.
        basis: the density expansion.
        weights: from ``fingerprint_weights``, for the same basis.
        center: species index of the central atom.
        tags: tag only the nearest so many neighbours, with weights that fall to zero at the
            distance of the next one: continuous, with kinks where later neighbours change order.
            None tags all.
        chiral: append the columns that tell mirror images apart.

    Returns:
        ``[a (1 + n_max) + D/8 + D]``, or D more if chiral.

    Source: Rahimi and Recht, NIPS 2007 (random features); Nigam et al., arXiv 2302.14770.

    Example:
        >>> basis = Basis(n_max=2, l_max=3)
        >>> weights = fingerprint_weights(basis, 1, n_features=16)
        >>> vectors, species = jnp.eye(3), jnp.zeros(3, int)
        >>> fingerprint(vectors, species, jnp.ones(3, bool), basis, weights).shape
        (21,)
    """
    vectors = jnp.asarray(vectors)
    dtype = vectors.dtype
    weights = jax.tree.map(lambda w: jnp.asarray(w, dtype), weights)
    hood = neighborhood(vectors, mask, basis)
    n_species = weights.level_2.species.shape[1]
    density = density_of(hood, species, basis, n_species)
    level_0 = [
        jax.nn.one_hot(center, n_species, dtype=dtype),
        (density[..., 0] * weights.isotropic).ravel(),
    ]
    n_tags = len(mask) if tags is None else min(tags, len(mask))
    if n_tags == 0:
        level_1, level_2 = (jnp.zeros(len(w.phase), dtype) for w in weights[1:])
        level_2 = [level_2] * (2 if chiral else 1)
    else:
        flat = 1 - (1 - tag_weights(hood, basis, tags)) ** FLATNESS
        tagged = _Tagged(hood.distances / basis.cutoff, hood.directions, flat, species)
        tagged = jax.tree.map(lambda x: x[:n_tags], tagged)
        frames = jax.vmap(lambda u: edge_frame(u, basis.l_max))(tagged.directions)
        turned = jax.vmap(lambda f: to_edge_frame(density, f, basis.l_max))(frames)
        level_1 = _level_1(turned, tagged, weights.level_1, center, basis.l_max)
        level_2 = _level_2(turned, frames, tagged, weights.level_2, center, basis.l_max, chiral)
    return jnp.concatenate([*level_0, level_1, *level_2])


class _Tagged(NamedTuple):
    """The tagged neighbours."""

    distances: Array  # [T] over the cutoff
    directions: Array  # [T, 3]
    weights: Array  # [T]
    species: Array  # [T]


def _level_1(turned: Array, tagged: _Tagged, weights: LevelWeights, center, l_max: int) -> Array:
    """√(2/D) Σ_j w_j cos(W·(Σ_m c_nlm Y_lm(r̂_j), r_j, species) + b), [D]."""
    argument, _ = jax.vmap(lambda c: _linear_form(c, weights.even[0], 0, l_max))(turned)
    argument += tagged.distances[:, None] * weights.geometry
    argument += weights.species[0, center] + weights.species[1, tagged.species] + weights.phase
    normalization = np.sqrt(2 / argument.shape[-1]).astype(argument.dtype)
    return normalization * (tagged.weights @ cosine(argument))


def _level_2(
    turned: Array,
    frames: EdgeFrame,
    tagged: _Tagged,
    weights: LevelWeights,
    center,
    l_max: int,
    chiral: bool,
) -> list[Array]:
    """The sum over ordered pairs of tags: [D], or [D] even and [D] odd if chiral.

    The linear forms W·e act on the density before the sum over pairs: per tag and feature they
    become 2 l_max + 1 numbers, and a pair costs one short inner product.
    """
    n_tags, n_features = len(tagged.weights), len(weights.phase)
    of_second = weights.species[0, center] + weights.species[2, tagged.species] + weights.phase
    of_second += tagged.distances[:, None] * weights.geometry[1]  # [T, D]

    def sum_over_second(index, frame, first, turned):
        even = [_linear_form(turned, w, m, l_max) for m, w in enumerate(weights.even)]
        odd = [_linear_form(turned, w, m, l_max) for m, w in enumerate(weights.odd, start=1)]
        # In the order of ``across``: Re (x2 + i y2)^m for m = 0 ..., then Im for m = 1 ...
        to_even = jnp.stack([re for re, _ in even] + [im for _, im in even[1:]])  # [2 l + 1, D]
        to_odd = jnp.stack([im for _, im in odd] + [-re for re, _ in odd])  # [2 l, D]
        real, imaginary = jax.vmap(lambda u: azimuthal_powers(frame, u, l_max))(tagged.directions)
        across = jnp.concatenate([real, imaginary[:, 1:]], -1)
        argument = jnp.matmul(across, to_even, precision="highest") + of_second
        argument += (tagged.directions @ first.directions)[:, None] * weights.geometry[2]
        argument += first.distances * weights.geometry[0] + weights.species[1, first.species]
        pseudoscalar = jnp.matmul(across[:, 1:], to_odd, precision="highest")
        others = jnp.where(jnp.arange(n_tags) == index, 0, tagged.weights)
        pair_weights, waves = first.weights * others, cosine(argument)
        sums = pair_weights @ (waves * cosine(pseudoscalar))
        if chiral:
            sums = jnp.stack([sums, pair_weights @ (waves * cosine(pseudoscalar - np.pi / 2))])
        return sums

    total = scan_sum(sum_over_second, jnp.arange(n_tags), frames, tagged, turned)
    total = total * np.sqrt(2 / n_features).astype(turned.dtype)
    return list(total) if chiral else [total]


def _linear_form(turned: Array, weights: Array, m: int, l_max: int) -> tuple[Array, Array]:
    """Σ_{a,n,l} W_{a,n,l} c'_{l,±m} for turned coefficients [a, n, lm]: [D] for m and -m."""
    flat = weights.reshape(-1, weights.shape[-1])

    def contract(sign):
        at = [l * (l + 1) + sign * m for l in range(m, l_max + 1)]
        of_order = jnp.stack([turned[..., i] for i in at], -1)  # [a, n, l]
        return jnp.matmul(of_order.ravel(), flat, precision="highest")

    return contract(1), contract(-1)
