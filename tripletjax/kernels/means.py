"""The mean of a process as a function of environments: values and slopes by matrix products.

With points z_m, weights α_m and tangents q_m,

    e(p) = Σ_m (α_m + q_m·∂/∂z_m) k(p, z_m).

A kernel of the products s = p·z, u = ½|p|², v = ½|z|² needs t = p·q besides,

    e = Σ_m α k + k_s t + k_v z·q,   ∂e/∂p = Σ_m e_s z + e_t q + e_u p,

with derivatives e_s, e_t, e_u for pairs of environments: two products with the points and tangents
of all environments, whatever their number. Other kernels are differentiated as functions of the
vectors.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.types import Array


class SpeciesMean(NamedTuple):
    """The weights of one species; a pytree."""

    factors: Array  # [2 M, D] points z and tangents q, or [M, D] without tangents
    alpha: Array  # [M]


def species_means(
    weights: dict[str, Any], kinds: Sequence[int], widths: Sequence[int]
) -> tuple[SpeciesMean, ...]:
    """The weights of points, in arrays for each species.

    Args:
        weights: "points" [M, D], "alpha" [M] and "tangents" [M, D], if there are any.
        kinds: species of the points.
        widths: for each species, the number of columns of which others are zero.

    Example:
        >>> weights = {"points": np.ones((3, 4)), "alpha": np.ones(3)}
        >>> [part.factors.shape for part in species_means(weights, (0, 1, 1), (4, 2))]
        [(1, 4), (2, 2)]
    """
    names = [name for name in ("points", "tangents") if name in weights]
    found = []
    for kind, width in enumerate(widths):
        own = np.flatnonzero(np.asarray(kinds) == kind)
        factors = np.concatenate([np.asarray(weights[name])[own, :width] for name in names])
        found.append(SpeciesMean(factors, np.asarray(weights["alpha"])[own]))
    return tuple(found)


def mean_and_slopes(
    kernel: Any, vectors: Array, points: Array, alpha: Array, tangents: Array | None = None
) -> tuple[Array, Array]:
    """e [N] and ∂e/∂p [N, D] of environments of one species.

    Args:
        kernel: between environments.
        vectors: ``[N, D]`` p.
        points: ``[M, D]`` z, environments of the same species.
        alpha: ``[M]`` α.
        tangents: ``[M, D]`` q; None: zero.

    Example:
        >>> from tripletjax.kernels import EnvironmentKernel
        >>> origin = jnp.zeros((1, 2))
        >>> found = mean_and_slopes(EnvironmentKernel(), origin, origin, jnp.ones(1), origin + 1)
        >>> [part.tolist() for part in found]
        [[1.0], [[1.0, 1.0]]]
    """
    factors = points if tangents is None else jnp.concatenate([points, tangents])
    return mean_of_species(kernel, vectors, SpeciesMean(factors, alpha))


def mean_of_species(kernel: Any, vectors: Array, mean: SpeciesMean) -> tuple[Array, Array]:
    """``mean_and_slopes`` with the weights in the arrays of one species."""
    factors, alpha = mean
    if hasattr(kernel, "of_products") and not hasattr(kernel, "blocks"):
        return _by_products(kernel, vectors, factors, alpha)
    has_tangents = len(factors) > len(alpha)
    tangents = factors[len(alpha) :] if has_tangents else None
    return _by_derivatives(kernel, vectors, factors[: len(alpha)], alpha, tangents)


def _by_products(kernel: Any, vectors: Array, factors: Array, alpha: Array) -> tuple[Array, Array]:
    points, tangents = factors[: len(alpha)], factors[len(alpha) :]
    half = 0.5 * jnp.sum(points**2, -1)
    along = jnp.sum(points * tangents, -1) if len(tangents) else jnp.zeros_like(half)

    def total(products, u):
        s, t = products[:, : len(alpha)], products[:, len(alpha) :]
        u, v = (jnp.broadcast_to(a, s.shape) for a in (u[:, None], half))
        of_points = lambda s, v: kernel.of_products(s, u, v)  # noqa: E731
        if len(tangents):
            change = t, jnp.broadcast_to(along, s.shape)
            values, slopes = jax.jvp(of_points, (s, v), change)
            found = jnp.sum(alpha * values + slopes, -1)
        else:
            found = jnp.sum(alpha * of_points(s, v), -1)
        return jnp.sum(found), found

    products = jnp.matmul(vectors, factors.T, precision="highest")  # [N, 2 M]
    u = 0.5 * jnp.sum(vectors**2, -1)
    (of_products, of_u), values = jax.grad(total, argnums=(0, 1), has_aux=True)(products, u)
    slopes = jnp.matmul(of_products, factors, precision="highest") + of_u[:, None] * vectors
    return values, slopes


def _by_derivatives(kernel, vectors, points, alpha, tangents) -> tuple[Array, Array]:
    def total(vectors):
        row = lambda z: kernel.matrix(vectors, z)  # noqa: E731
        if tangents is None:
            found = jnp.matmul(row(points), alpha, precision="highest")
        else:
            values, slopes = jax.jvp(row, (points,), (tangents,))
            found = jnp.matmul(values, alpha, precision="highest") + jnp.sum(slopes, -1)
        return jnp.sum(found), found

    slopes, values = jax.grad(total, has_aux=True)(vectors)
    return values, slopes
