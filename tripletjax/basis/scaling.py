"""Radial scaling: distant neighbours contribute less to the density."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from tripletjax.types import Array

AT_CENTER = 1e-9  # r / r0 below which u is 1


def radial_scaling_weights(
    distances: Array, rate: Array | float, scale: Array | float, exponent: Array | float
) -> Array:
    """u(r) = c / (c + (r/r0)^m): 1 at the centre, then decreasing as r^-m.

    It is ½ at r = r0 c^(1/m). The parameters may be arrays, with respect to which it can be
    differentiated, as in ``hood._replace(density_weights=hood.weights * radial_scaling_weights(
    hood.distances, rate, scale, exponent))`` for the density of a ``Neighborhood``. All derivatives
    are finite; at r = 0 they are zero.

    Args:
        distances: ``[...]`` Å, not negative.
        rate: c > 0.
        scale: r0 > 0, Å.
        exponent: m > 0.

    Returns:
        ``[...]``, between 0 and 1, of the dtype of the distances.

    Source: Willatt, Musil, Ceriotti, Phys. Chem. Chem. Phys. 20, 29661 (2018); "Willatt2018" in
    featomic.

    Example:
        >>> radial_scaling_weights(np.array([0.0, 2.0, 4.0]), 1.0, 2.0, 2.0).round(6).tolist()
        [1.0, 0.5, 0.2]
    """
    parameters = rate, scale, exponent
    if isinstance(distances, np.ndarray) and not any(isinstance(p, jax.Array) for p in parameters):
        ratio, is_center = _filled(distances / scale, np)
        decay = np.log(rate) - exponent * np.log(ratio)
        return np.where(is_center, 1, special.expit(decay)).astype(distances.dtype)
    distances = jnp.asarray(distances)
    rate, scale, exponent = (jnp.asarray(p, distances.dtype) for p in parameters)
    ratio, is_center = _filled(distances / scale, jnp)
    decay = jnp.log(rate) - exponent * jnp.log(ratio)
    return jnp.where(is_center, 1, jax.nn.sigmoid(decay))


def _filled(ratio, xp):
    """r / r0, with 1 in place of what is too small for the derivatives of its logarithm."""
    is_center = ratio < AT_CENTER
    return xp.where(is_center, 1, ratio), is_center
