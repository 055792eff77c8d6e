"""The mean of a process as a function of environments: values and slopes by matrix products.

With points z_m, weights α_m and tangents q_m,

    e(p) = Σ_m (α_m + q_m·∂/∂z_m) k(p, z_m).

A kernel of the products s = p·z, u = ½|p|², v = ½|z|² needs t = p·q besides,

    e = Σ_m α k + k_s t + k_v z·q,   ∂e/∂p = Σ_m e_s z + e_t q + e_u p,

with derivatives e_s, e_t, e_u for pairs of environments: two products with the points and tangents
of all environments, whatever their number. Those of blocks of columns are added. Other kernels are
differentiated as functions of the vectors.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from tripletjax.kernels.algebra import has_products, in_blocks
from tripletjax.types import Array


def mean(
    kernel: Any, vectors: Array, points: Array, alpha: Array, tangents: Array | None = None
) -> Array:
    """e [N] of environments of one species; see ``mean_and_slopes``.

    Example:
        >>> from tripletjax.kernels import EnvironmentKernel
        >>> origin = jnp.zeros((1, 2))
        >>> mean(EnvironmentKernel(), origin, origin, jnp.ones(1)).tolist()
        [1.0]
    """
    if has_products(kernel):
        arguments, of_products = _of_products(kernel, vectors, points, alpha, tangents)
        return of_products(*arguments)
    return _of_vectors(kernel, vectors, points, alpha, tangents)


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
    if not has_products(kernel):
        of_vectors = lambda p: _of_vectors(kernel, p, points, alpha, tangents)  # noqa: E731
        values, (slopes,) = _with_gradients(of_vectors, vectors)
        return values, slopes
    arguments, of_products = _of_products(kernel, vectors, points, alpha, tangents)
    values, found = _with_gradients(of_products, *arguments)
    width, slopes = vectors.shape[1], []
    for block, own in enumerate(in_blocks(kernel)[1]):
        of_s, of_u, *of_t = (part[block] for part in found)
        part = _product(of_s, points[:, own]) + of_u[:, None] * vectors[:, own]
        if tangents is not None:
            part += _product(of_t[0], tangents[:, own])
        start, stop, _ = own.indices(width)
        slopes.append(jnp.pad(part, [(0, 0), (start, width - stop)]))
    return values, sum(slopes[1:], slopes[0])


def _of_products(
    kernel: Any, vectors: Array, points: Array, alpha: Array, tangents: Array | None
) -> tuple[tuple[Array, ...], Callable[..., Array]]:
    """s [B, N, M], u [B, N] and t [B, N, M] of all blocks of columns, and e [N] as their function;
    without tangents there is no t."""
    kernel, blocks = in_blocks(kernel)

    def products(a, b):
        return jnp.stack([_product(a[:, own], b[:, own].T) for own in blocks])

    def along(a, b):
        return jnp.stack([jnp.sum(a[:, own] * b[:, own], -1) for own in blocks])

    s, u, v = products(vectors, points), 0.5 * along(vectors, vectors), 0.5 * along(points, points)
    if tangents is None:

        def of_points(s, u):
            return jnp.sum(alpha * kernel.of_products(s, *_wide(s, u, v)), -1)

        return (s, u), of_points
    change = along(points, tangents)

    def of_both(s, u, t):
        u, wide, moved = _wide(s, u, v, change)
        of_points = lambda s, v: kernel.of_products(s, u, v)  # noqa: E731
        values, slopes = jax.jvp(of_points, (s, wide), (t, moved))
        return jnp.sum(alpha * values + slopes, -1)

    return (s, u, products(vectors, tangents)), of_both


def _wide(s: Array, u: Array, *of_points: Array) -> list[Array]:
    """u [B, N] and numbers of points [B, M] for all pairs, [B, N, M]."""
    shaped = [u[..., None], *(array[:, None] for array in of_points)]
    return [jnp.broadcast_to(array, s.shape) for array in shaped]


def _of_vectors(kernel, vectors, points, alpha, tangents) -> Array:
    row = lambda z: kernel.matrix(vectors, z)  # noqa: E731
    if tangents is None:
        return _product(row(points), alpha)
    values, slopes = jax.jvp(row, (points,), (tangents,))
    return _product(values, alpha) + jnp.sum(slopes, -1)


def _with_gradients(function: Callable[..., Array], *arguments: Array) -> tuple[Array, Any]:
    """e [N], and the derivatives of their sum."""

    def total(*arguments):
        values = function(*arguments)
        return jnp.sum(values), values

    places = tuple(range(len(arguments)))
    found, values = jax.grad(total, argnums=places, has_aux=True)(*arguments)
    return values, found


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision="highest")
