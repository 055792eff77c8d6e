"""What spans a sparse process: kernels with inducing environments, and their derivatives.

Columns of the design are the functions of an environment p

    φ_m(p) = δ(species) k(p, z_m),   φ_t(p) = δ(species) q_t·∂/∂z k(p, z),   z = z_owner(t),

with inducing environments z_m and directions q_t in which they may move. Derivatives make few
environments say as much as many: those of a molecule differ in more directions than there are
structures.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.kernels.environments import Kernel, same_species
from tripletjax.types import Array


class Inducing(NamedTuple):
    """M inducing environments and T of their derivatives; a pytree."""

    vectors: Array  # [M, D] z in units of ``scale``
    kinds: Array  # [M] species index
    scale: Array  # scalar, unit of the environments' vectors
    owners: Array = np.zeros(0, np.int32)  # [T] whose derivatives
    directions: Array = np.zeros((0, 0))  # [T, D] q

    @property
    def column_kinds(self) -> Array:
        """Species [M + T] of all columns."""
        kinds = jnp.asarray(self.kinds)
        return jnp.concatenate([kinds, kinds[self.owners]])

    def moved(self, weights: Array) -> tuple[Array, Array]:
        """α [M] and Σ_t β_t q_t of every environment [M, D], from weights (α, β) [M + T].

        Example:
            >>> one = Inducing(np.ones((1, 2)), np.zeros(1, int), 1.0, np.zeros(2, int), np.eye(2))
            >>> [part.tolist() for part in one.moved(np.array([3.0, 4.0, 5.0]))]
            [[3.0], [[4.0, 5.0]]]
        """
        alpha, beta = np.split(np.asarray(weights), [len(self.kinds)])
        tangents = np.zeros(np.shape(self.vectors))
        if len(beta):
            np.add.at(tangents, np.asarray(self.owners), beta[:, None] * self.directions)
        return alpha, tangents


def columns(kernel: Kernel, inducing: Inducing, vectors: Array) -> Array:
    """φ of environments [N, D] of all species as if they were one, [N, M + T].

    Example:
        >>> from tripletjax.kernels import EnvironmentKernel
        >>> one = Inducing(np.zeros((1, 2)), np.zeros(1, int), 1.0, np.zeros(2, int), np.eye(2))
        >>> columns(EnvironmentKernel(), one, jnp.zeros((3, 2))).shape
        (3, 3)
    """
    points, directions = _as(vectors.dtype, inducing)
    values = kernel.matrix(vectors, points)
    if not len(inducing.owners):
        return values
    row = partial(kernel.matrix, vectors)
    slopes = jax.jvp(row, (points[inducing.owners],), (directions,))[1]
    return jnp.concatenate([values, slopes], 1)


def column_sums(kernel: Kernel, inducing: Inducing) -> Callable[[Array, Array], Array]:
    """Σ_i φ(p_i), [M + T], as a function of vectors [N, D] and species [N]; -1 is padding."""

    def sums_of(vectors: Array, species: Array) -> Array:
        values = columns(kernel, inducing, vectors)
        return jnp.sum(jnp.where(same_species(species, inducing.column_kinds), values, 0), 0)

    return sums_of


def columns_and_gradients(kernel: Kernel, inducing: Inducing, vector: Array) -> tuple[Array, Array]:
    """φ of one environment [D], [M + T], and their derivatives by its vector, [M + T, D]."""
    points, directions = _as(vector.dtype, inducing)
    of_point = lambda p, z: kernel.matrix(p[None], z[None])[0, 0]  # noqa: E731
    found = jax.vmap(jax.value_and_grad(of_point), in_axes=(None, 0))(vector, points)
    if not len(inducing.owners):
        return found
    of_move = lambda p, z, q: jax.jvp(partial(of_point, p), (z,), (q,))[1]  # noqa: E731
    of_moves = jax.vmap(jax.value_and_grad(of_move), in_axes=(None, 0, 0))
    moved = of_moves(vector, points[inducing.owners], directions)
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), found, moved)


def prior_covariance(kernel: Kernel, inducing: Inducing) -> np.ndarray:
    """Of all columns in units of the variance, [M + T, M + T]: k, and its first and second
    derivatives along the directions.

    Example:
        >>> from tripletjax.kernels import EnvironmentKernel
        >>> one = Inducing(np.zeros((1, 2)), np.zeros(1, int), 1.0, np.zeros(2, int), np.eye(2))
        >>> prior_covariance(EnvironmentKernel(length_scale=0.5), one).diagonal().tolist()
        [1.0, 4.0, 4.0]
    """
    points = jnp.asarray(inducing.vectors)
    values = columns(kernel, inducing, points)
    if len(inducing.owners):
        values = jnp.concatenate([values, _slopes(kernel, inducing)])
    kinds = np.asarray(inducing.column_kinds)
    values = np.where(kinds[:, None] == kinds, np.asarray(values, float), 0)
    return 0.5 * (values + values.T)


@jax.jit
def _slopes(kernel: Kernel, inducing: Inducing) -> Array:
    """Derivatives of all columns along the directions, [T, M + T]."""
    of_point = lambda z: columns(kernel, inducing, z[None])[0]  # noqa: E731
    of_pair = lambda pair: jax.jvp(of_point, pair[:1], pair[1:])[1]  # noqa: E731
    return jax.lax.map(of_pair, _moves(inducing))


@jax.jit
def slope_variances(kernel: Kernel, inducing: Inducing) -> Array:
    """Prior variances of the derivatives in units of that of the kernel, [T].

    Example:
        >>> from tripletjax.kernels import EnvironmentKernel
        >>> one = Inducing(np.zeros((1, 2)), np.zeros(1, int), 1.0, np.zeros(2, int), np.eye(2))
        >>> slope_variances(EnvironmentKernel(length_scale=0.5), one).tolist()
        [4.0, 4.0]
    """
    of_pair = lambda p, z: kernel.matrix(p[None], z[None])[0, 0]  # noqa: E731

    def slope(p, z, q):
        return jax.jvp(partial(of_pair, p), (z,), (q,))[1]

    def of_direction(z, q):
        return jax.jvp(lambda p: slope(p, z, q), (z,), (q,))[1]

    return jax.lax.map(lambda pair: of_direction(*pair), _moves(inducing))


def _moves(inducing: Inducing) -> tuple[Array, Array]:
    """The environment of every derivative, and its direction, [T, D]."""
    points = jnp.asarray(inducing.vectors)
    return points[inducing.owners], jnp.asarray(inducing.directions, points.dtype)


def _as(dtype: Any, inducing: Inducing) -> tuple[Array, Array]:
    return jnp.asarray(inducing.vectors, dtype), jnp.asarray(inducing.directions, dtype)
