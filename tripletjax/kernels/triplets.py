"""The exact kernel between two environments: a sum over all pairs of their triplets.

    K(A, B) = Σ_t Σ_t' w_t w_t' κ(t, t'),   κ = k(e - e') ½ [k(o - o') + k(o + o')],

where k(x) = exp(-½ |x|²), e are the even invariants of a triplet with its geometry and species, and
o the odd invariants. Level 2 of the ``fingerprint`` consists of random features of this kernel,
with the same features, scales and weights w. κ is invariant under O(3), and K is the inner product
of the kernel mean embeddings of two multisets of triplets. The inner product of level 2 of two
fingerprints with D features equals K up to errors that decrease as 1/√D.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.basis.densities import Mixing, density_of, neighborhood
from tripletjax.basis.radial import density_scale
from tripletjax.invariants.fingerprints import DAMPING
from tripletjax.invariants.tagged import FLATNESS
from tripletjax.invariants.tags import by_distance, tag_slots
from tripletjax.invariants.triplets import tag_weights, triplet_index, triplet_invariants
from tripletjax.numerics import array_module, scan_sum
from tripletjax.types import Array, Basis


class TripletFeatures(NamedTuple):
    """The triplets of one environment with T tags: arguments of κ in units of its length scale."""

    even: Array  # [T, T, P] invariants, r1 / cutoff, r2 / cutoff, cos θ, species of all three
    odd: Array  # [T, T, Q] invariants that change sign under inversion
    weights: Array  # [T, T] w_{j1} w_{j2}, zero on the diagonal and on padding


def triplet_features(
    vectors: Array,
    species: Array,
    mask: Array,
    basis: Basis,
    n_species: int,
    length_scale: float = 1.5,
    center: Array | int = 0,
    tags: int | None = None,
    mixing: Mixing | None = None,
) -> TripletFeatures:
    """All triplets of one environment, with the features of the fingerprint.

    Args:
        vectors, species, mask: the environment, [K, 3] Å, [K] and [K].
        basis: the density expansion.
        n_species: number of species.
        length_scale: width of the Gaussian κ, in the same units as for the fingerprint.
        center: species index of the central atom.
        tags: number of nearest neighbours to tag, as for ``fingerprint``; None: all.
        mixing: linear maps of the density's channels; None: none.

    Returns:
        ``TripletFeatures``.

    Example:
        >>> basis, species, mask = Basis(n_max=2, l_max=3), jnp.zeros(3, int), jnp.ones(3, bool)
        >>> features = triplet_features(jnp.eye(3), species, mask, basis, 1)
        >>> features.even.shape, features.odd.shape
        ((3, 3, 26), (3, 3, 12))
    """
    vectors = jnp.asarray(vectors)
    dtype = vectors.dtype
    vectors, species, mask = by_distance(vectors, species, mask, tags)
    hood = neighborhood(vectors, species, mask, basis, n_species, mixing)
    density = density_of(hood)
    n_tags = tag_slots(tags, len(mask))
    distances, directions = hood.distances[:n_tags] / basis.cutoff, hood.directions[:n_tags]
    if n_tags == 0:
        size = [density[..., 0].size * len(triplet_index(basis.l_max, p)) for p in (1, -1)]
        even, odd = (jnp.zeros((0, 0, n), dtype) for n in (size[0] + 3 + 3 * n_species, size[1]))
        return TripletFeatures(even, odd, jnp.zeros((0, 0), dtype))

    # The rotation of the density only depends on the first direction, and is computed once for
    # each.
    def with_second(first, second):
        return triplet_invariants(density, first, second)

    def with_first(first):
        return jax.vmap(lambda second: with_second(first, second))(directions)

    even, odd = (
        part.reshape(n_tags, n_tags, -1) * _widths(basis, parity, density, dtype)
        for part, parity in zip(jax.vmap(with_first)(directions), (1, -1), strict=True)
    )
    kinds = jax.nn.one_hot(jnp.asarray(species)[:n_tags], n_species, dtype=dtype)  # [T, a]
    own = jax.nn.one_hot(center, n_species, dtype=dtype)
    pairs = (n_tags, n_tags)
    geometry = [
        jnp.broadcast_to(distances[:, None, None], (*pairs, 1)),
        jnp.broadcast_to(distances[None, :, None], (*pairs, 1)),
        jnp.einsum("ti,si->ts", directions, directions, precision="highest")[..., None],
        jnp.broadcast_to(own, (*pairs, n_species)),
        jnp.broadcast_to(kinds[:, None], (*pairs, n_species)),
        jnp.broadcast_to(kinds[None], (*pairs, n_species)),
    ]
    weights = 1 - (1 - tag_weights(hood, basis, tags, n_tags)) ** FLATNESS
    different = 1 - jnp.eye(n_tags, dtype=dtype)
    return TripletFeatures(
        jnp.concatenate([even, *geometry], -1) * (1 / length_scale),
        odd * (1 / length_scale),
        weights[:, None] * weights * different,
    )


def _widths(basis: Basis, parity: int, density: Array, dtype) -> np.ndarray:
    """exp(-l (l+1) DAMPING) / density scale for every flattened invariant (a, n, l, m)."""
    l = np.array([l for l, _ in triplet_index(basis.l_max, parity)], dtype=float)
    width = np.exp(-DAMPING * l * (l + 1)) / density_scale(basis)
    channels = density.shape[0] * density.shape[1]
    return np.tile(width, channels).astype(dtype)


def pair_kernel(even1: Array, odd1: Array, even2: Array, odd2: Array) -> Array:
    """κ between N and M triplets: exp(-½ |e - e'|²) ½ [exp(-½ |o - o'|²) + exp(-½ |o + o'|²)].

    Args:
        even1, odd1: ``[N, P]`` and ``[N, Q]``.
        even2, odd2: ``[M, P]`` and ``[M, Q]``.

    Returns:
        ``[N, M]``; computed in NumPy for NumPy arrays.

    Example:
        >>> e, o = np.zeros((1, 2)), np.array([[1.0]])
        >>> bool(np.isclose(pair_kernel(e, o, e, o)[0, 0], (1 + np.exp(-2)) / 2))
        True
    """
    xp = array_module(even1)
    size1, size2 = (
        0.5 * ((even**2).sum(-1) + (odd**2).sum(-1)) for even, odd in ((even1, odd1), (even2, odd2))
    )
    straight = _inner(even1, even2) - size1[:, None] - size2
    across = _inner(odd1, odd2)
    return 0.5 * (xp.exp(straight + across) + xp.exp(straight - across))


def triplet_kernel(first: TripletFeatures, second: TripletFeatures) -> Array:
    """K(A, B) = Σ_t Σ_t' w_t w_t' κ(t, t'), a scalar; exact, with T times T² triplets in memory.

    Args:
        first, second: from ``triplet_features`` with the same settings; their numbers of
            neighbours may differ.

    Returns:
        A scalar, three times differentiable in the vectors.

    Source: Gärtner et al., Multi-Instance Kernels, ICML 2002, for sums over all pairs of members.

    Example:
        >>> basis, species, mask = Basis(n_max=2, l_max=3), jnp.zeros(3, int), jnp.ones(3, bool)
        >>> a = triplet_features(jnp.eye(3), species, mask, basis, 1)
        >>> b = triplet_features(-2.0 * jnp.eye(3), species, mask, basis, 1)
        >>> bool(0 < triplet_kernel(a, b) < triplet_kernel(a, a))
        True
    """
    if 0 in (first.weights.size, second.weights.size):
        return jnp.zeros((), jnp.asarray(first.weights).dtype)
    even, odd, weights = _flat(second)

    def of_first_tag(even1, odd1, weights1):
        values = pair_kernel(even1, odd1, even, odd)
        return jnp.vdot(weights1, jnp.matmul(values, weights, precision="highest"))

    return scan_sum(of_first_tag, *first)


def normalized_triplet_kernel(first: TripletFeatures, second: TripletFeatures) -> Array:
    """K(A, B) / √(K(A, A) K(B, B)), between 0 and 1; zero if one of them has no triplets.

    It does not tend to zero as the last triplet leaves through the cutoff: it is only smooth for
    environments with triplets.
    """
    size = triplet_kernel(first, first) * triplet_kernel(second, second)
    is_empty = size == 0
    scale = jnp.sqrt(jnp.where(is_empty, 1, size))
    return jnp.where(is_empty, 0, triplet_kernel(first, second) / scale)


def _flat(features: TripletFeatures) -> tuple[Array, Array, Array]:
    """Features [T², ...] of all triplets."""
    even, odd, weights = features
    return (
        even.reshape(-1, even.shape[-1]),
        odd.reshape(weights.size, -1),
        weights.reshape(-1),
    )


def _inner(a: Array, b: Array) -> Array:
    if isinstance(a, np.ndarray):
        return a @ b.T
    return jnp.matmul(a, b.T, precision="highest")
