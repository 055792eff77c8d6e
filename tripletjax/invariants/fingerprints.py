"""A complete vector of one environment that needs no training: the fingerprint.

Level 2 is the kernel mean embedding of the multiset of triplets in random Fourier features,

    F_d = √(2/D) Σ_{j1 ≠ j2} w_{j1} w_{j2} cos(W_d·e + b_d) cos(V_d·o),

where e are the even invariants of the triplet, its geometry and its species, o the odd invariants
and w = 1 - (1 - f_c)^8 a cutoff weight that stays close to one for longer than f_c, because the
presence of a triplet matters more than its weight. Averaged over random W, V and b,

    F·F' = Σ_t Σ_t' w_t w_t' k(e, e') ½ [k(o, o') + k(o, -o')],

with k Gaussian: a characteristic kernel on (e, ±o), so two environments are equal only if their
triplets are, up to O(3). Level 1 does the same with one tagged neighbour, for collinear
environments; level 0 is the centre's species and the isotropic density, for empty environments.

The weight of degree l decays as exp(-l (l+1) DAMPING): high degrees vary fast as atoms move.
"""

from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.basis.densities import Mixing, density_of, neighborhood
from tripletjax.basis.radial import density_scale
from tripletjax.invariants.tagged import (
    LinearForms,
    Tagged,
    feature_norm,
    other_weights,
    pair_phases,
    second_phases,
    single_phases,
    tagged_neighbors,
)
from tripletjax.invariants.tags import by_distance
from tripletjax.numerics import cosine, scan_sum
from tripletjax.types import Array, Basis

DAMPING = 0.03
LEVEL_1_SHARE = 8  # level 1 has n_features / 8 columns


class FingerprintWeights(NamedTuple):
    """All random numbers and scales of a fingerprint."""

    isotropic: np.ndarray  # [n] factors that scale c_{n00} to order one
    level_1: LinearForms
    level_2: LinearForms


@lru_cache(maxsize=16)
def fingerprint_weights(
    basis: Basis,
    n_species: int,
    n_features: int = 2048,
    length_scale: float = 1.5,
    seed: int = 0,
    channels: tuple[int, int] | None = None,
) -> FingerprintWeights:
    """Draw the random directions: Gaussian with standard deviation 1 / length_scale.

    Invariants are measured in units of ``density_scale``, a constant of the basis, so that
    ``length_scale`` has the same meaning for every basis and never depends on data.

    Args:
        basis: the density expansion.
        n_species: number of species.
        n_features: columns of level 2.
        length_scale: width of the Gaussian kernel between triplets; small values distinguish
            finely, large values interpolate smoothly.
        seed: seed of NumPy's PCG64.
        channels: number of species channels and radial functions of the density, if it is mixed.

    Returns:
        The weights, a pytree of float64 NumPy arrays.

    Example:
        >>> fingerprint_weights(Basis(n_max=2, l_max=3), 1, n_features=16).level_2.even[1].shape
        (1, 2, 3, 16)
    """
    random = np.random.Generator(np.random.PCG64(seed))
    channels = channels or (n_species, basis.n_max)
    draw = lambda size, tags: _draw(random, basis, n_species, channels, size, length_scale, tags)  # noqa: E731
    level_2 = draw(n_features, 2)
    level_1 = draw(max(1, n_features // LEVEL_1_SHARE), 1)
    return FingerprintWeights(np.full(channels[1], 1 / density_scale(basis)), level_1, level_2)


def _draw(random, basis: Basis, n_species: int, channels, n_features: int, length_scale, tags: int):
    l = np.arange(basis.l_max + 1)
    width = np.exp(-DAMPING * l * (l + 1)) / (density_scale(basis) * length_scale)

    def form(m):
        shape = (*channels, basis.l_max + 1 - m, n_features)
        return random.normal(size=shape) * width[m:, None]

    orders = range(basis.l_max + 1 if tags == 2 else 1)
    return LinearForms(
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
    mixing: Mixing | None = None,
    slots: int | None = None,
) -> Array:
    """The fingerprint of one environment: levels 0, 1 and 2, concatenated.

    Invariant to rotations and permutations, and to inversion unless ``chiral``, which adds
    the columns √(2/D) Σ w cos(W·e + b) sin(V·o), which have opposite signs for mirror images.

    Args:
        vectors, species, mask: the environment, [K, 3] Å, [K] and [K].
        basis: the density expansion.
        weights: from ``fingerprint_weights``, for the same basis.
        center: species index of the central atom.
        tags: number of nearest neighbours to tag, including all neighbours in the same shell, with
            smooth weights, see ``tags``; None: all.
        chiral: append the columns that distinguish mirror images.
        mixing: linear maps of the density's channels; the weights must match their number.
        slots: slots for tags, if fewer than ``tags.tag_slots`` are known to suffice.

    Returns:
        ``[a (1 + n_max) + D/8 + D]``, plus D if chiral.

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
    n_species = weights.level_2.species.shape[1]
    vectors, species, mask = by_distance(vectors, species, mask, tags, slots)
    hood = neighborhood(vectors, species, mask, basis, n_species, mixing)
    density = density_of(hood)
    level_0 = [
        jax.nn.one_hot(center, n_species, dtype=dtype),
        (density[..., 0] * weights.isotropic).ravel(),
    ]
    if len(mask) == 0:
        level_1, level_2 = (jnp.zeros(len(w.phase), dtype) for w in weights[1:])
        return jnp.concatenate([*level_0, level_1, *[level_2] * (2 if chiral else 1)])
    tagged = tagged_neighbors(hood, species, density, basis, tags, slots)
    level_1 = _level_1(tagged, weights.level_1, center)
    level_2 = _level_2(tagged, weights.level_2, center, chiral)
    return jnp.concatenate([*level_0, level_1, *level_2])


def _level_1(tagged: Tagged, forms: LinearForms, center) -> Array:
    """√(2/D) Σ_j w_j cos(W·(Σ_m c_nlm Y_lm(r̂_j), r_j, species) + b), [D]."""
    waves = cosine(single_phases(tagged, forms, center))
    return feature_norm(waves.shape[-1], waves.dtype) * (tagged.weights @ waves)


def _level_2(tagged: Tagged, forms: LinearForms, center, chiral: bool) -> list[Array]:
    """The sum over ordered pairs of tags: [D], or [D] even and [D] odd if chiral."""
    of_second = second_phases(tagged, forms, center)

    def sum_over_second(index, first):
        even, odd = pair_phases(first, tagged, forms, of_second)
        weights, waves = first.weights * other_weights(index, tagged), cosine(even)
        sums = weights @ (waves * cosine(odd))
        if chiral:
            sums = jnp.stack([sums, weights @ (waves * cosine(odd - np.pi / 2))])
        return sums

    total = scan_sum(sum_over_second, jnp.arange(len(tagged.weights)), tagged)
    total = total * feature_norm(total.shape[-1], total.dtype)
    return list(total) if chiral else [total]
