"""Invariants of one triplet, a centre with two tagged neighbours, and the density around it.

Both forms are linear maps of the density coefficients c [a, n, lm], invertible unless the two
directions are collinear, smooth everywhere, and consist of (l_max + 1)² numbers per (a, n): those
of the even part are invariant under inversion, those of the odd part change sign.
"""

import jax
import jax.numpy as jnp

from tripletjax.basis.angular import (
    EdgeFrame,
    degree_of,
    edge_frame,
    harmonic_slice,
    spherical_harmonics,
    to_edge_frame,
)
from tripletjax.basis.coupling import clebsch_gordan
from tripletjax.basis.densities import Mixing, Neighborhood, density_of, neighborhood
from tripletjax.invariants.tags import by_distance, shell_weights, tag_slots
from tripletjax.numerics import powers, scan_sum
from tripletjax.types import Array, Basis


def triplet_invariants(
    coefficients: Array, first: Array, second: Array, form: str = "edge"
) -> tuple[Array, Array]:
    """Even and odd invariants of one triplet in the minimal basis.

    "edge": e_lm + i o_lm = (c'_lm + i c'_{l,-m}) (x2 - i y2)^m, m = 0 ... l, with c' the density
    rotated so that ``first`` is along +z and (x2, y2) the components of ``second`` perpendicular to
    it: the density in the triplet's own frame times sin^m θ. It is independent of the rotation of
    the frame about its axis and diagonal in m, and its condition number grows as sin^-l θ.

    "stretched": t_lk = Σ_m c_lm B^{l,k}_m with the bipolar harmonics
    B^{l,k} = {Y_l1(first) ⊗ Y_l2(second)}_l, l1 + l2 = l (even, k = l1 = 0 ... l) or l + 1 (odd,
    k = l1 = 1 ... l): symmetric in the two neighbours, but less well conditioned.

    Args:
        coefficients: ``[a, n, (l_max + 1)²]`` density of the environment.
        first, second: ``[3]`` unit vectors to the tagged neighbours.
        form: "edge" or "stretched".

    Returns:
        even ``[a, n, (l_max+1)(l_max+2)/2]`` and odd ``[a, n, l_max(l_max+1)/2]``, ordered by l,
        then by m or k (``triplet_index``).

    Source: Manakov, Marmo, Meremianin, J. Phys. B 29, 2711 (1996), for the stretched harmonics.

    Example:
        >>> x, y = jnp.array([1.0, 0.0, 0.0]), jnp.array([0.0, 1.0, 0.0])
        >>> even, odd = triplet_invariants(jnp.ones((1, 2, 9)), x, y)
        >>> even.shape, odd.shape
        ((1, 2, 6), (1, 2, 3))
    """
    l_max = degree_of(coefficients)
    if form == "stretched":
        return _stretched(coefficients, first, second, l_max)
    frame = edge_frame(first, l_max)
    return _edge_invariants(to_edge_frame(coefficients, frame, l_max), frame, second)


def _with_every_second(density: Array, first: Array, directions: Array, form: str):
    """Even and odd invariants [K, a, n, ...] of one first tag with every direction [K, 3]."""
    if form == "stretched":
        return jax.vmap(lambda second: triplet_invariants(density, first, second, form))(directions)
    frame = edge_frame(first, degree_of(density))
    turned = to_edge_frame(density, frame, degree_of(density))
    return jax.vmap(lambda second: _edge_invariants(turned, frame, second))(directions)


def environment_triplets(
    vectors: Array,
    species: Array,
    mask: Array,
    basis: Basis,
    n_species: int,
    form: str = "edge",
    mixing: Mixing | None = None,
) -> tuple[Array, Array, Array]:
    """Invariants and geometry of all ordered pairs of neighbours of one environment.

    Args:
        vectors, species, mask: one environment, [K, 3] Å, [K] and [K].
        basis: the density expansion.
        n_species: number of species channels.
        form: "edge" or "stretched".
        mixing: linear maps of the density's channels; None: none.

    Returns:
        even ``[K, K, a, n, ...]``, odd ``[K, K, a, n, ...]`` and geometry ``[K, K, 3]``: r_ij1 and
        r_ij2 in Å and cos θ. The diagonal and the padding are included but meaningless.
    """
    hood = neighborhood(vectors, species, mask, basis, n_species, mixing)
    density = density_of(hood)
    even, odd = jax.vmap(lambda first: _with_every_second(density, first, hood.directions, form))(
        hood.directions
    )
    r, cosines = hood.distances, hood.directions @ hood.directions.T
    first, second = jnp.broadcast_to(r[:, None], cosines.shape), jnp.broadcast_to(r, cosines.shape)
    return even, odd, jnp.stack([first, second, cosines], -1)


def triplet_sum(
    vectors: Array,
    species: Array,
    mask: Array,
    basis: Basis,
    n_species: int,
    form: str = "edge",
    tags: int | None = None,
    parity: int = 1,
    mixing: Mixing | None = None,
    slots: int | None = None,
) -> Array:
    """Σ_{j1 ≠ j2} w_{j1} w_{j2} e^{j1 j2}, w = f_c: linear in every triplet, hence a function of
    four-body correlations, and blind to whatever the bispectrum is. Used as a control.

    Args:
        vectors, species, mask, basis, n_species, form: as for ``environment_triplets``.
        tags: number of nearest neighbours to tag, in complete shells (``tags``); None: all.
        parity: +1 sums the even invariants, -1 the odd ones.
        mixing: linear maps of the density's channels; None: none.
        slots: slots for tags, if fewer than ``tag_slots`` are known to suffice.

    Returns:
        ``[a, n, ...]``, one number per (l, m) of ``triplet_index``.
    """
    vectors, species, mask = by_distance(vectors, species, mask, tags, slots)
    hood = neighborhood(vectors, species, mask, basis, n_species, mixing)
    density = density_of(hood)
    if len(mask) == 0:
        size = len(triplet_index(basis.l_max, parity))
        return jnp.zeros((*density.shape[:-1], size), density.dtype)
    weights = tag_weights(hood, basis, tags, slots)
    n_tags = len(weights)
    directions = hood.directions[:n_tags]

    def of_first(index, first, weight):
        invariants = _with_every_second(density, first, directions, form)[0 if parity == 1 else 1]
        others = jnp.where(jnp.arange(n_tags) == index, 0, weights)
        return weight * jnp.tensordot(others, invariants, axes=1, precision="highest")

    return scan_sum(of_first, jnp.arange(n_tags), directions, weights)


def tag_weights(hood: Neighborhood, basis: Basis, tags: int | None, slots: int | None) -> Array:
    """f_c of the tagged neighbours, multiplied by ``shell_weights`` if ``tags`` is given, [t].

    Args:
        hood: neighbours sorted by distance, if ``tags`` is given.
        basis: the density expansion, whose cutoff is used.
        tags: number of nearest neighbours to tag, in complete shells; None: all.
        slots: maximum number of neighbours with a weight; None: ``tag_slots``.
    """
    if tags is None:
        return hood.weights
    slots = min(slots or tag_slots(tags, len(hood.weights)), len(hood.weights))
    return hood.weights[:slots] * shell_weights(hood.distances, basis.cutoff, tags, slots)


def triplet_index(l_max: int, parity: int) -> list[tuple[int, int]]:
    """(l, m) of the edge form, or (l, k) of the stretched one, of every even or odd invariant."""
    return [(l, m) for l in range(l_max + 1) for m in range(0 if parity == 1 else 1, l + 1)]


def azimuthal_powers(frame: EdgeFrame, direction: Array, l_max: int) -> tuple[Array, Array]:
    """Re and Im of (x2 + i y2)^m, m = 0 ... l_max, with (x2, y2) perpendicular to the axis."""
    return powers(frame.axes[0] @ direction, frame.axes[1] @ direction, l_max)


def _edge_invariants(turned: Array, frame: EdgeFrame, second: Array) -> tuple[Array, Array]:
    """The edge form from coefficients [..., lm] that are already in the frame of the first tag."""
    l_max = degree_of(turned)
    real, imaginary = azimuthal_powers(frame, second, l_max)
    even, odd = [], []
    for l in range(l_max + 1):
        part = turned[..., harmonic_slice(l)]
        cosine, sine = part[..., l:], jnp.flip(part[..., : l + 1], -1)  # m = 0 ... l
        re, im = real[: l + 1], imaginary[: l + 1]
        even.append(cosine * re + sine * im)
        odd.append((sine * re - cosine * im)[..., 1:])
    return jnp.concatenate(even, -1), jnp.concatenate(odd, -1)


def _stretched(coefficients: Array, first: Array, second: Array, l_max: int):
    """The stretched form: couple the tags' harmonics to the highest degrees."""
    y1, y2 = (spherical_harmonics(u, max(l_max, 1)) for u in (first, second))
    even, odd = [], []
    for l in range(l_max + 1):
        part = coefficients[..., harmonic_slice(l)]
        for total, low, columns in ((l, 0, even), (l + 1, 1, odd)):
            for l1 in range(low, l + 1):
                table = clebsch_gordan(l1, total - l1, l).astype(coefficients.dtype)
                a, b = y1[harmonic_slice(l1)], y2[harmonic_slice(total - l1)]
                bipolar = jnp.einsum("ijk,i,j->k", table, a, b, precision="highest")
                columns.append(part @ bipolar)
    shape = coefficients.shape[:-1]
    stacked_odd = jnp.stack(odd, -1) if odd else jnp.zeros((*shape, 0), coefficients.dtype)
    return jnp.stack(even, -1), stacked_odd
