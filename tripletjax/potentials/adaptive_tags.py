"""Smooth weights that tag a few of the nearest neighbours, at any distance."""

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.numerics import smooth_step
from tripletjax.types import Array

REACH = 0.8  # of the cutoff: tags are nearer
RIM = 0.8  # of the distance of a neighbour: the tag radius at which it begins to count
STEEPNESS = 24  # power of the number of neighbours counted relative to the first excess number
N_BISECTIONS, N_NEWTON = 9, 5


def nearest(distances: Array, count: int) -> Array:
    """Indices of the nearest neighbours, in order of their distances.

    Args:
        distances: ``[K]``, in any order; of equal ones the first counts as nearer.
        count: number of neighbours to select, at most K.

    Returns:
        ``[count]``.

    Example:
        >>> nearest(jnp.array([3.0, 1.0, 2.0]), 2).tolist()
        [1, 2]
    """
    remaining, places = jax.lax.stop_gradient(distances), np.arange(len(distances))
    indices = []
    for _ in range(count):  # a few: faster than sorting all
        indices.append(jnp.argmin(remaining))
        remaining = jnp.where(places == indices[-1], jnp.inf, remaining)
    return jnp.stack(indices)


def adaptive_weights(
    distances: Array,
    radii: Array,
    directions: Array,
    count: int,
    cutoff: float,
    n_pairs: float,
) -> Array:
    """Weights f(r_j / r_t) of neighbours, with a radius r_t that adapts to the environment:

        Σ_{j<k} f_j f_k sin²θ_jk + b(r_t) + y²⁴ / (1 - y) = n_pairs,
        y = Σ_j s(r_t / r_j) / (T + 1),

    with f(x) = (1 - x⁴)⁴ below 1 and 0 above. The tags therefore contain a fixed number of pairs,
    counted by weight and by their deviation from collinearity, in both dense and open environments.
    b is 0 up to half the cutoff and diverges at 0.8 of it, so r_t exists for every environment. s
    increases from 0 at 0.8 to 1 at 1: y would reach 1 with T + 1 neighbours within r_t, so only the
    nearest T can have a weight. The weights have three continuous derivatives, by the implicit
    function theorem, even when neighbours change places.

    Args:
        distances: ``[K]`` Å, of all neighbours; the cutoff on padding.
        radii: ``[t]`` Å, of the nearest min(T, K), ascending.
        directions: ``[t, 3]`` their unit vectors.
        count: T, the maximum number of neighbours with a weight.
        cutoff: Å.
        n_pairs: number of pairs.

    Returns:
        ``[t]``, between 0 and 1.

    Example:
        >>> r, u = jnp.array([1.0, 1.1, 3.0]), jnp.eye(3)
        >>> [round(w, 2) for w in adaptive_weights(r, r, u, 3, 5.0, 0.5).tolist()]
        [0.76, 0.66, 0.0]
    """
    everyone = distances * (1 / cutoff)
    x = radii * (1 / cutoff)
    squared_sines = 1 - jnp.einsum("ti,si->ts", directions, directions) ** 2

    def excess(radius):
        weights = _falloff(x / radius)
        pairs = 0.5 * jnp.vdot(weights, squared_sines @ weights)
        inside = jnp.sum(1 - smooth_step((radius / everyone - RIM) * (1 / (1 - RIM))))
        y = jnp.minimum(inside * (1 / (count + 1)), 1 - 1e-6)
        barrier = _barrier(radius, 0.5, REACH) + y**STEEPNESS / (1 - y)
        return pairs + n_pairs * barrier - n_pairs

    def solve(function, guess):
        def halve(_, bracket):
            low, high = bracket
            middle = 0.5 * (low + high)
            above = function(middle) > 0
            return jnp.where(above, low, middle), jnp.where(above, middle, high)

        low, high = jax.lax.fori_loop(
            0, N_BISECTIONS, halve, (jnp.zeros_like(guess), jnp.full_like(guess, REACH))
        )

        def newton(_, radius):
            value, slope = jax.jvp(function, (radius,), (jnp.ones_like(radius),))
            return jnp.clip(radius - value / slope, low, high)

        return jax.lax.fori_loop(0, N_NEWTON, newton, 0.5 * (low + high))

    guess = jnp.full((), 0.5, x.dtype)
    radius = jax.lax.custom_root(excess, guess, solve, lambda g, y: y / g(jnp.ones_like(y)))
    return _falloff(x / radius)


def _falloff(x: Array) -> Array:
    return jnp.maximum(1 - (x * x) ** 2, 0) ** 4


def _barrier(x: Array, start: float, end: float) -> Array:
    """0 up to start, three times differentiable there, and diverging at the end."""
    y = jnp.clip((x - start) * (1 / (end - start)), 0, 1 - 1e-6)
    return y**4 / (1 - y)
