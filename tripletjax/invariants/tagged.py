"""The tagged neighbours of one environment, and linear forms of their triplets.

A feature is a function of W·e + b and V·o, where e are the even invariants of a triplet, its
geometry and its species, and o its odd invariants. The linear forms are applied to the density
before the second tag: for each first tag and feature they become 2 l_max + 1 numbers, and a triplet
costs one short inner product.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.basis.angular import EdgeFrame, degree_of, edge_frame, to_edge_frame
from tripletjax.basis.densities import Neighborhood
from tripletjax.invariants.triplets import azimuthal_powers, tag_weights
from tripletjax.types import Array, Basis

FLATNESS = 8  # exponent of the tag weights


class LinearForms(NamedTuple):
    """W, V and b of D features of one level; arrays, or NumPy drawn on the host."""

    even: tuple[Array, ...]  # for m = 0 ... l_max: [a, n, l = m ... l_max, D]
    odd: tuple[Array, ...]  # for m = 1 ... l_max (level 1: only even m = 0)
    geometry: Array  # [3, D] of r_ij1 / cutoff, r_ij2 / cutoff, cos θ (level 1: [1, D])
    species: Array  # [3, a, D] of centre, first and second tag (level 1: [2, a, D])
    phase: Array  # [D]


class Tagged(NamedTuple):
    """The tagged neighbours, each with the density in a frame whose axis points to it."""

    distances: Array  # [T] divided by the cutoff
    directions: Array  # [T, 3]
    weights: Array  # [T] 1 - (1 - f_c)^8, with f_c times ``shell_weights`` if tags are limited
    species: Array  # [T]
    frames: EdgeFrame  # [T, ...]
    turned: Array  # [T, a, n, (l_max + 1)²]


def tagged_neighbors(
    hood: Neighborhood,
    species: Array,
    density: Array,
    basis: Basis,
    tags: int | None,
    slots: int | None = None,
) -> Tagged:
    """Tag all neighbours, or the nearest ones by the rule of ``tags``, with at least one slot.

    T is the number of slots, see ``triplets.tag_weights``.
    """
    weights = 1 - (1 - tag_weights(hood, basis, tags, slots)) ** FLATNESS
    n_tags = len(weights)
    directions = hood.directions[:n_tags]
    frames = jax.vmap(lambda u: edge_frame(u, basis.l_max))(directions)
    return Tagged(
        hood.distances[:n_tags] / basis.cutoff,
        directions,
        weights,
        jnp.asarray(species)[:n_tags],
        frames,
        jax.vmap(lambda f: to_edge_frame(density, f, basis.l_max))(frames),
    )


def single_phases(tagged: Tagged, forms: LinearForms, center: Array | int) -> Array:
    """Level 1: W·(Σ_m c_nlm Y_lm(r̂_j), r_j, species) + b of every tag, [T, D]."""
    phases = jax.vmap(lambda turned: _project(turned, forms.even[0], 0))(tagged.turned)
    phases += tagged.distances[:, None] * forms.geometry
    return phases + forms.species[0, center] + forms.species[1, tagged.species] + forms.phase


def second_phases(tagged: Tagged, forms: LinearForms, center: Array | int) -> Array:
    """The part of W·e + b that depends only on the second tag, with the centre and b, [T, D]."""
    phases = forms.species[0, center] + forms.species[2, tagged.species] + forms.phase
    return phases + tagged.distances[:, None] * forms.geometry[1]


def pair_phases(
    first: Tagged, tagged: Tagged, forms: LinearForms, of_second: Array
) -> tuple[Array, Array]:
    """W·e + b and V·o of the triplets of one first tag with all second tags, [T, D] each.

    With e + i o = (c'_m + i c'_-m) (x2 - i y2)^m for m = 0 ... l_max, see ``triplets``.

    Args:
        first: one entry of ``tagged``.
        tagged: all tagged neighbours.
        forms: the forms of level 2.
        of_second: from ``second_phases``.
    """
    l_max = degree_of(first.turned)
    orders = range(1, l_max + 1)
    real, imaginary = jax.vmap(lambda u: azimuthal_powers(first.frames, u, l_max))(
        tagged.directions
    )
    across = jnp.concatenate([real, imaginary[:, 1:]], -1)  # [T, 2 l_max + 1]
    to_even = [_project(first.turned, forms.even[m], m) for m in (0, *orders)]
    to_even += [_project(first.turned, forms.even[m], -m) for m in orders]
    even = jnp.matmul(across, jnp.stack(to_even), precision="highest") + of_second
    even += (tagged.directions @ first.directions)[:, None] * forms.geometry[2]
    even += first.distances * forms.geometry[0] + forms.species[1, first.species]
    if l_max == 0:
        return even, jnp.zeros_like(even)
    to_odd = [_project(first.turned, forms.odd[m - 1], -m) for m in orders]
    to_odd += [-_project(first.turned, forms.odd[m - 1], m) for m in orders]
    return even, jnp.matmul(across[:, 1:], jnp.stack(to_odd), precision="highest")


def other_weights(index: Array, tagged: Tagged) -> Array:
    """Weights of the second tag of each pair: zero for the first tag itself, [T]."""
    return jnp.where(jnp.arange(len(tagged.weights)) == index, 0, tagged.weights)


def feature_norm(n_features: int, dtype) -> np.ndarray:
    """√(2/D), which makes inner products of D random cosines a kernel of order one."""
    return np.sqrt(2 / n_features).astype(dtype)


def _project(turned: Array, forms: Array, m: int) -> Array:
    """Σ_{a,n,l} W_{a,n,l,d} c'_{a,n,lm} over l >= |m|, [D]."""
    at = [l * (l + 1) + m for l in range(abs(m), degree_of(turned) + 1)]
    of_order = jnp.stack([turned[..., i] for i in at], -1)  # [a, n, l]
    flat = forms.reshape(-1, forms.shape[-1])
    return jnp.matmul(of_order.ravel(), flat, precision="highest")
