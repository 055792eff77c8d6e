"""Smooth invariants of any order: powers of a density, integrated over the sphere.

Values on the points of a quadrature replace the couplings of angular momenta: with ρ(u) =
√(4π) Σ_lm c_lm Y_lm(u) and its parts e and o of even and odd degree,

    I_ab = 1/(4π) ∫ e(u)^a o(u)^b du,

is zero for odd b, and a sum over the correlations of order a + b of one channel with all its
couplings through Y_l1m1 Y_l2m2 (Gaunt coefficients). Opposite points share e and o up to sign, so
half of them are enough.
"""

from functools import cache

import jax.numpy as jnp
import numpy as np
from scipy.integrate import lebedev_rule

from tripletjax.basis.angular import degree_of, harmonic_slice, spherical_harmonics
from tripletjax.types import Array

LEBEDEV = (3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31, 35, 41, 47, 53, 59, 65, 71, 77)


def powers_of(order: int) -> list[tuple[int, int]]:
    """The powers (a, b) of even and odd part whose sum is the order: those with even b.

    Example:
        >>> powers_of(3)
        [(3, 0), (1, 2)]
    """
    return [(order - b, b) for b in range(0, order + 1, 2)]


def sphere_invariants(density: Array, orders: tuple[int, ...] = (3, 4)) -> Array:
    """I_ab of every channel for all powers of some orders.

    Args:
        density: ``[..., (l_max + 1)²]``.
        orders: each at least 1.

    Returns:
        ``[..., number of powers]``, in the order of ``powers_of``; invariant under rotations and
        inversion, exactly, and a polynomial of the density.

    Source: the quadrature of V. I. Lebedev, Zh. vychisl. mat. mat. fiz. 16, 293 (1976), through
    SciPy.

    Example:
        >>> density = np.array([[1.0, 0, 0, 0], [0, 0, 2.0, 0]])  # isotropic, and along z
        >>> sphere_invariants(density, (2,)).round(6).tolist()
        [[1.0, 0.0], [0.0, 4.0]]
    """
    l_max = degree_of(density)
    even, odd, weights = quadrature(l_max, max(orders) * l_max)
    e, o = _values(density, even, 0), _values(density, odd, 1)
    products = [e**a * o**b for order in orders for a, b in powers_of(order)]
    return jnp.stack([p @ jnp.asarray(weights, p.dtype) for p in products], -1)


@cache
def quadrature(l_max: int, degree: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Harmonics of even and of odd degree at half of the points of a rule, and its weights.

    Args:
        l_max: of the harmonics.
        degree: of the polynomials that are integrated exactly.

    Returns:
        √(4π) Y_lm for even l, ``[components, G]``, and for odd l; weights ``[G]`` with the sum 1.
    """
    points, weights = lebedev_rule(next(rule for rule in LEBEDEV if rule >= degree))
    points = np.where(np.abs(points.T) < 1e-12, 0, points.T)
    half = np.array([tuple(np.sign(point)) > (0, 0, 0) for point in points])
    harmonics = np.sqrt(4 * np.pi) * spherical_harmonics(points[half], l_max).T
    degrees = np.repeat(np.arange(l_max + 1), 2 * np.arange(l_max + 1) + 1)
    weights = weights[half] / weights[half].sum()
    return harmonics[degrees % 2 == 0], harmonics[degrees % 2 == 1], weights


def _values(density: Array, harmonics: np.ndarray, parity: int) -> Array:
    """The part of one parity at the points, [..., G]."""
    own = [density[..., harmonic_slice(l)] for l in range(parity, degree_of(density) + 1, 2)]
    if not own:
        return jnp.zeros((*density.shape[:-1], harmonics.shape[-1]), density.dtype)
    coefficients = jnp.concatenate(own, -1)
    return coefficients @ jnp.asarray(harmonics, coefficients.dtype)
