"""The neighbour density of one environment, expanded in radial functions and harmonics.

All functions here take one environment: ``vectors`` [K, 3] in Å from the centre to its neighbours,
``species`` [K] integers from 0, ``mask`` [K] False on padding. Batch with ``vmap``. With a
``Mixing``, a and n in the shapes are its channels.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.basis.angular import harmonic_slice, harmonics_first
from tripletjax.basis.cutoffs import cutoff_function
from tripletjax.basis.radial import radial_functions, radial_scaling
from tripletjax.numerics import computed_once, fill_padding, safe_norm
from tripletjax.types import Array, Basis


class Mixing(NamedTuple):
    """Linear maps of the density's channels to fewer or better ones; a pytree.

    The species channels become Σ_a S_{ba} c_{a,nlm}. A neighbour of species a then adds column a of
    S, so species are distinguished only if no two columns are equal, and all densities only if S is
    injective, which it cannot be with fewer rows than columns: fewer channels are not complete. The
    radial functions become Σ_n W_{l,pn} R_nl, with one matrix for each l: a learned radial basis.
    Both are constants fitted to data (``mixing.fit_mixing``), or learned with ``jax.grad``.
    """

    species: Array | None = None  # [b, a]; None: one channel for each species
    radial: Array | None = None  # [l, p, n]; None: the original basis


class Neighborhood(NamedTuple):
    """The quantities of one environment that all descriptors need."""

    distances: Array  # [K] Å; the cutoff on padding and beyond
    directions: Array  # [K, 3] unit vectors
    weights: Array  # [K] f_c(r), zero on padding
    density_weights: Array  # [K] f_c(r) u(r), the weights in the density
    channels: Array  # [K, a] one-hot species, or mixed
    radial: Array  # [K, l, n] R_nl(r)
    harmonics: Array  # [(l_max + 1)², K]


def neighborhood(
    vectors: Array,
    species: Array,
    mask: Array,
    basis: Basis,
    n_species: int,
    mixing: Mixing | None = None,
) -> Neighborhood:
    """Distances, directions, weights, channels, radial functions and harmonics.

    Neighbours at or beyond the cutoff are masked, as a batch may be prepared with a larger cutoff.
    """
    inside = mask & (safe_norm(vectors) < basis.cutoff)
    vectors = fill_padding(vectors, inside, basis.cutoff)
    distances = safe_norm(vectors)
    weights = jnp.where(inside, cutoff_function(distances, basis), 0)
    parts = computed_once(jnp.column_stack([vectors / distances[:, None], weights]))
    directions, weights = parts[:, :3], parts[:, 3]
    channels = jax.nn.one_hot(species, n_species, dtype=vectors.dtype)
    radial = radial_functions(distances, basis)
    if mixing is not None and mixing.species is not None:
        of_species = jnp.asarray(mixing.species, vectors.dtype).T  # [a, b]
        channels = jnp.matmul(channels, of_species, precision="highest")
    if mixing is not None and mixing.radial is not None:
        combined = jnp.asarray(mixing.radial, vectors.dtype)
        radial = jnp.einsum("kln,lpn->klp", radial, combined, precision="highest")
    return Neighborhood(
        distances,
        directions,
        weights,
        weights * radial_scaling(distances, basis),
        channels,
        radial,
        harmonics_first(directions, basis.l_max),
    )


def pair_expansion(vectors: Array, mask: Array, basis: Basis) -> Array:
    """Term of each neighbour in the density: g^{ij}_{nlm} = f_c(r_ij) R_nl(r_ij) Y_lm(r̂_ij).

    With ``basis.radial_scaling``, f_c is multiplied by u(r_ij), here and in the density.

    Args:
        vectors, mask: one environment, [K, 3] Å and [K].
        basis: the expansion.

    Returns:
        ``[K, n_max, (l_max + 1)²]``, zero on padding; Σ_j g^{ij} is the density.

    Source: Nigam et al., arXiv 2302.14770, eq. 2.

    Example:
        >>> vectors, mask = jnp.array([[1.0, 0.0, 0.0]]), jnp.array([True])
        >>> pair_expansion(vectors, mask, Basis(n_max=2, l_max=3)).shape
        (1, 2, 16)
    """
    return pairs_of(neighborhood(vectors, jnp.zeros(len(mask), int), mask, basis, 1))


def pairs_of(hood: Neighborhood) -> Array:
    """``pair_expansion`` of a given neighbourhood, [K, n, lm]."""
    weighted = hood.density_weights[:, None, None] * hood.radial  # [K, l, n]
    parts = []
    for l in range(hood.radial.shape[1]):
        harmonics = hood.harmonics[harmonic_slice(l)].T
        parts.append(weighted[:, l, :, None] * harmonics[:, None])
    return jnp.concatenate(parts, axis=-1)


def density_coefficients(
    vectors: Array,
    species: Array,
    mask: Array,
    basis: Basis,
    n_species: int,
    mixing: Mixing | None = None,
) -> Array:
    """c_{a,nlm} = Σ_{j of species a} f_c(r_ij) R_nl(r_ij) Y_lm(r̂_ij), without the centre.

    Args:
        vectors, species, mask: one environment, [K, 3] Å, [K] and [K].
        basis: the expansion.
        n_species: number of species channels.
        mixing: linear maps of the species channels and radial functions; None: none.

    Returns:
        ``[n_species, n_max, (l_max + 1)²]``; zero for an empty environment.

    Source: Nigam et al., arXiv 2302.14770, eq. 1; for mixed species, Willatt, Musil, Ceriotti,
    Phys. Chem. Chem. Phys. 20, 29661 (2018).

    Example:
        >>> vectors, species = jnp.array([[1.0, 0.0, 0.0]]), jnp.array([0])
        >>> mask = jnp.array([True])
        >>> density_coefficients(vectors, species, mask, Basis(n_max=2, l_max=3), 1).shape
        (1, 2, 16)
    """
    return density_of(neighborhood(vectors, species, mask, basis, n_species, mixing))


def density_of(hood: Neighborhood) -> Array:
    """``density_coefficients`` of a given neighbourhood, [a, n, lm]."""
    weighted = hood.density_weights * hood.harmonics  # [lm, K]
    parts = []
    for l in range(hood.radial.shape[1]):
        radial = hood.channels[:, :, None] * hood.radial[:, l, None, :]  # [K, a, n]
        harmonics = weighted[harmonic_slice(l)]
        parts.append(jnp.einsum("kan,mk->anm", radial, harmonics, precision="highest"))
    return jnp.concatenate(parts, axis=-1)


def density_slopes(
    vectors: Array,
    species: Array,
    mask: Array,
    basis: Basis,
    n_species: int,
    mixing: Mixing | None = None,
) -> Array:
    """dc_{a,nlm} / dr_k: the derivative of the term of neighbour k alone, for all neighbours.

    Args:
        vectors, species, mask, basis, n_species, mixing: as for ``density_coefficients``.

    Returns:
        ``[K, 3, n_species, n_max, (l_max + 1)²]`` 1/Å; zero on padding.

    Example:
        >>> vectors, species = jnp.array([[1.0, 0.0, 0.0]]), jnp.array([0])
        >>> mask = jnp.array([True])
        >>> density_slopes(vectors, species, mask, Basis(n_max=2, l_max=3), 1).shape
        (1, 3, 1, 2, 16)
    """

    def parts(vectors):
        hood = neighborhood(vectors, species, mask, basis, n_species, mixing)
        radial = hood.density_weights[:, None, None] * hood.radial
        return (jnp.swapaxes(radial, 1, 2), hood.harmonics.T), hood.channels

    vectors = jnp.asarray(vectors)
    (radial, harmonics), push, channels = jax.linearize(parts, vectors, has_aux=True)
    along = lambda axis: push(jnp.broadcast_to(axis, vectors.shape))  # noqa: E731
    moved_radial, moved_harmonics = jax.vmap(along, out_axes=1)(jnp.eye(3, dtype=vectors.dtype))
    of_degree = np.repeat(np.eye(basis.l_max + 1), 2 * np.arange(basis.l_max + 1) + 1, axis=1)
    spread = partial(jnp.matmul, b=of_degree.astype(vectors.dtype), precision="highest")
    pairs = spread(moved_radial) * harmonics[:, None, None]  # [K, 3, n, lm]
    pairs += spread(radial)[:, None] * moved_harmonics[:, :, None]
    return channels[:, None, :, None, None] * pairs[:, :, None]


def center_density(
    center: Array | int, basis: Basis, n_species: int, mixing: Mixing | None, dtype
) -> Array:
    """Term of the central atom itself in the density: δ_{a,a_i} δ_{l,0} R_n0(0) Y_00.

    The cutoff function and the radial scaling are 1 at the centre.

    Args:
        center: index of the centre's species.
        basis, n_species, mixing: as for ``density_coefficients``.
        dtype: of the result.

    Returns:
        ``[a, n, (l_max + 1)²]``, constant in the positions.

    Example:
        >>> own = center_density(1, Basis(n_max=2, l_max=1), 3, None, jnp.zeros(()).dtype)
        >>> own.shape, bool((own[0] == 0).all()), bool((own[1, :, 1:] == 0).all())
        ((3, 2, 4), True, True)
    """
    channels = jax.nn.one_hot(center, n_species, dtype=dtype)  # [a]
    radial = radial_functions(jnp.zeros(1, dtype), basis)[0, 0]  # [n] of l = 0
    if mixing is not None and mixing.species is not None:
        of_species = jnp.asarray(mixing.species, dtype)
        channels = jnp.matmul(of_species, channels, precision="highest")
    if mixing is not None and mixing.radial is not None:
        combined = jnp.asarray(mixing.radial, dtype)[0]  # [p, n]
        radial = jnp.matmul(combined, radial, precision="highest")
    constant = 1 / math.sqrt(4 * math.pi)
    own = constant * channels[:, None, None] * radial[:, None]  # [a, n, 1]
    return jnp.pad(own, ((0, 0), (0, 0), (0, basis.n_harmonics - 1)))
