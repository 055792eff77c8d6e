"""Derivatives of the vectors of environments by the positions of the neighbours."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from tripletjax.descriptors.protocol import EnvironmentDescriptor
from tripletjax.types import Array

REVERSE = 4  # times the cost of a derivative in forward mode


def environment_jacobian(
    describer: EnvironmentDescriptor, vectors: Array, species: Array, mask: Array, center: Any = 0
) -> tuple[Array, Array]:
    """An environment p and its derivatives dp/dr_k, by ``describer.jacobian`` if it has one.

    Args:
        describer: any descriptor; its ``jacobian``, if it has one, takes and returns the same.
        vectors: ``[K, 3]`` Å, from the centre to each neighbour.
        species: ``[K]`` index into the elements of the descriptor.
        mask: ``[K]`` False on padding.
        center: index of the central atom.

    Returns:
        ``[D]`` and ``[K, 3, D]`` 1/Å, zero on padding.

    Example:
        >>> from tripletjax.descriptors import descriptor
        >>> soap = descriptor("power_spectrum", (1,), cutoff=3.0, n_max=2, l_max=2)
        >>> atoms = jnp.eye(3), jnp.zeros(3, int), jnp.ones(3, bool)
        >>> values, slopes = environment_jacobian(soap, *atoms)
        >>> values.shape, slopes.shape
        ((9,), (3, 3, 9))
    """
    own = getattr(describer, "jacobian", None)
    if own is not None:
        return own(vectors, species, mask, center)
    return differentiated(describer, vectors, species, mask, center)


def differentiated(
    describer: EnvironmentDescriptor, vectors: Array, species: Array, mask: Array, center: Any
) -> tuple[Array, Array]:
    """``environment_jacobian`` by the cheaper of forward and reverse differentiation."""

    def row(vectors):
        values = describer.environment(vectors, species, mask, center)
        return values, values

    vectors = jnp.asarray(vectors)
    n_columns = jax.eval_shape(row, vectors)[0].size
    transform = jax.jacfwd if vectors.size <= REVERSE * n_columns else jax.jacrev
    slopes, values = transform(row, has_aux=True)(vectors)
    return values, jnp.moveaxis(slopes, (-2, -1), (0, 1))


def through_density(
    of_density: Callable[[Array], Array], density: Array, moves: Array
) -> tuple[Array, Array]:
    """p(c) and dp/dr_k = dp/dc · dc/dr_k.

    Args:
        of_density: pure function p of a density.
        density: c, of any shape.
        moves: dc/dr_k, ``[K, 3, ...]``.

    Returns:
        ``[D]`` and ``[K, 3, D]``.

    Example:
        >>> values, slopes = through_density(lambda c: c**2, jnp.ones(2), jnp.ones((4, 3, 2)))
        >>> slopes.shape
        (4, 3, 2)
    """
    values, push = jax.linearize(of_density, density)
    return values, jax.vmap(jax.vmap(push))(moves)
