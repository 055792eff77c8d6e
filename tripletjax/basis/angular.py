"""Real spherical harmonics and the rotation of their coefficients.

Real orthonormal Y_lm without Condon-Shortley phase, so that Y_1m is proportional to (y, z, x) for
m = -1, 0, 1. Coefficients are flattened as index = l (l + 1) + m, l = 0 ... l_max inclusive.
"""

from functools import cache
from math import isqrt
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from tripletjax.numerics import array_module, powers, separate_powers
from tripletjax.types import Array


def harmonic_slice(l: int) -> slice:
    """Slice of the 2l+1 components of degree l along a flattened (l, m) axis."""
    return slice(l * l, (l + 1) * (l + 1))


def degree_of(coefficients: Array) -> int:
    """l_max of coefficients whose last axis is (l, m)."""
    return isqrt(coefficients.shape[-1]) - 1


@cache
def _legendre_recursion(l: int) -> tuple[list[float], list[float], float]:
    """Factors a, b (m = 0 ... l-1) and diagonal of P̃_l^m = a (z P̃_{l-1}^m + b P̃_{l-2}^m)."""
    m = np.arange(l, dtype=float)
    a = np.sqrt((4.0 * l**2 - 1) / (l**2 - m**2))
    b = np.zeros(l)
    if l >= 2:
        b[:-1] = -np.sqrt(((l - 1) ** 2 - m[:-1] ** 2) / (4.0 * (l - 1) ** 2 - 1))
    k = np.arange(1, l + 1)
    diagonal = np.sqrt(np.prod((2 * k + 1) / (2 * k)) / (4 * np.pi))
    return a.tolist(), b.tolist(), float(diagonal)


def spherical_harmonics(directions: Array, l_max: int) -> Array:
    """Real orthonormal spherical harmonics of unit vectors.

    Y_lm = P̃_l^|m|(z) · {√2 Im (x+iy)^|m| for m < 0, 1 for m = 0, √2 Re (x+iy)^m for m > 0}
    with P̃_l^m the normalised associated Legendre function divided by sin^m θ, a polynomial in z.
    Hence Y is a polynomial in the components, and all its derivatives are smooth at the poles.

    Args:
        directions: ``[..., 3]`` unit vectors, a NumPy or JAX array.
        l_max: highest degree, inclusive.

    Returns:
        ``[..., (l_max + 1)²]`` in the dtype of the input.

    Source: Bigi, Fraux, Browning, Ceriotti, J. Chem. Phys. 159, 064802 (2023), eqs. 1-7.

    Example:
        >>> y = spherical_harmonics(np.array([0.0, 0.0, 1.0]), 1)
        >>> bool(np.allclose(y, [np.sqrt(1 / 4 / np.pi), 0, np.sqrt(3 / 4 / np.pi), 0]))
        True
    """
    return array_module(directions).stack(_components(directions, l_max), -1)


def harmonics_first(directions: Array, l_max: int) -> Array:
    """``spherical_harmonics`` with (l, m) as the first axis, ``[(l_max + 1)², ...]``.

    Every component is a contiguous array, with which sums over neighbours and their derivatives
    take half of the time.
    """
    return array_module(directions).stack(_components(directions, l_max))


def _components(directions: Array, l_max: int) -> list[Array]:
    """Y_lm in the order l (l + 1) + m, each [...]."""
    x, y, z = (directions[..., i] for i in range(3))
    root2 = float(np.sqrt(2.0))
    cosines, sines = separate_powers(x, y, l_max)
    ones = cosines[0]
    before, current = [], [float(np.sqrt(1 / (4 * np.pi))) * ones]  # P̃ of m = 0 ... l
    components = [current[0]]
    for l in range(1, l_max + 1):
        a, b, diagonal = _legendre_recursion(l)
        lower = [a[m] * z * current[m] for m in range(l)]
        for m in range(l - 1):
            lower[m] = lower[m] + a[m] * b[m] * before[m]
        before, current = current, [*lower, diagonal * ones]
        tail = [root2 * p for p in current[1:]]
        negative = [p * s for p, s in zip(tail, sines[1 : l + 1], strict=True)]
        positive = [p * c for p, c in zip(tail, cosines[1 : l + 1], strict=True)]
        components += [*negative[::-1], current[0], *positive]
    return components


def _cast(table: np.ndarray, dtype) -> np.ndarray:
    return table.astype(dtype)


def monomials(directions: Array, degree: int) -> Array:
    """Products x^a y^b z^c of the components of unit vectors with a + b + c = degree - 1 or degree.

    They span the same functions on the sphere as the harmonics up to this degree, and are as many:
    sums over neighbours may be taken of them, and turned into those of harmonics afterwards
    (``harmonics_of_monomials``), which is faster for small degrees, to compile as well.

    Args:
        directions: ``[..., 3]`` unit vectors.
        degree: at least 1.

    Returns:
        ``[..., (degree + 1)²]`` in the dtype of the input.

    Example:
        >>> monomials(jnp.array([2.0, 3.0, 5.0]), 2).tolist()  # z, y, x; zz, yz, xz, yy, xy, xx
        [5.0, 3.0, 2.0, 25.0, 15.0, 10.0, 9.0, 6.0, 4.0]
    """
    xp = array_module(directions)
    x, y, z = (directions[..., i : i + 1] for i in range(3))
    before, current = xp.ones_like(z)[..., :0], xp.ones_like(z)
    for d in range(1, degree + 1):
        without_z, without_y = current[..., -d:], current[..., -1:]
        following = xp.concatenate([z * current, y * without_z, x * without_y], -1)
        before, current = current, following
    return xp.concatenate([before, current], -1)


@cache
def harmonics_of_monomials(degree: int) -> np.ndarray:
    """The matrix ``[(degree + 1)²] * 2`` with Y = monomials @ matrix on the sphere; host side.

    Its condition number is 6 for degree 3 and 160 for degree 8.
    """
    points, _ = _sphere_quadrature(2 * degree)
    harmonics = spherical_harmonics(points, degree)
    matrix = np.linalg.lstsq(monomials(points, degree), harmonics, rcond=None)[0]
    return np.where(np.abs(matrix) < 1e-12, 0, matrix)


@cache
def _sphere_quadrature(degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Points and weights that integrate polynomials up to ``degree`` over the sphere exactly."""
    z, weights = np.polynomial.legendre.leggauss(degree // 2 + 1)
    n_phi = degree + 1
    phi = 2 * np.pi * np.arange(n_phi) / n_phi
    rho = np.sqrt(1 - z**2)
    points = np.stack(
        [
            np.outer(rho, np.cos(phi)),
            np.outer(rho, np.sin(phi)),
            np.outer(z, np.ones(n_phi)),
        ],
        axis=-1,
    )
    return points.reshape(-1, 3), np.repeat(weights * 2 * np.pi / n_phi, n_phi)


def wigner_matrix(rotation: np.ndarray, l_max: int) -> np.ndarray:
    """D(R) with Y(R r) = D(R) Y(r): block diagonal in l, orthogonal; host side, float64.

    Args:
        rotation: ``[3, 3]`` orthogonal matrix, proper or improper.
        l_max: highest degree, inclusive.

    Returns:
        ``[(l_max + 1)², (l_max + 1)²]``. It also rotates coefficients c_lm = Σ_j f(r_j) Y_lm.
    """
    points, weights = _sphere_quadrature(2 * l_max)
    turned = spherical_harmonics(points @ np.asarray(rotation, dtype=float).T, l_max)
    dense = turned.T @ (weights[:, None] * spherical_harmonics(points, l_max))
    blocks = np.zeros_like(dense)
    for l in range(l_max + 1):
        part = harmonic_slice(l)
        blocks[part, part] = dense[part, part]
    return blocks


# Cyclic permutations of the axes, so that a given axis becomes x: k = 0, 1, 2 for x, y, z.
_CYCLIC = np.stack([np.roll(np.eye(3), k, axis=1) for k in range(3)])
# Maps z to y: its inverse converts a rotation about y to one about the pole.
_POLE_TO_Y = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])


@cache
def _cyclic_wigner(l_max: int) -> np.ndarray:
    return np.stack([wigner_matrix(permutation, l_max) for permutation in _CYCLIC])


@cache
def _tilt_wigner(l_max: int) -> np.ndarray:
    return wigner_matrix(_POLE_TO_Y, l_max)


class EdgeFrame(NamedTuple):
    """The rotation that maps one direction to +z, in the factors that rotate coefficients.

    Its angle about the direction (the gauge) is arbitrary and jumps where the largest component
    changes; results must not depend on it.
    """

    axes: Array  # [3, 3] rows are the axes of the frame, the last one along the direction
    largest: Array  # [3] one-hot: the largest component, which the permutation maps to x
    azimuth: tuple[Array, Array]  # [m] cos and sin of m times the azimuth after the permutation
    polar: tuple[Array, Array]  # [m] cos and sin of m times the polar angle


def edge_frame(direction: Array, l_max: int) -> EdgeFrame:
    """A frame with its z axis along ``direction`` [3], a unit vector, for degrees up to ``l_max``.

    The axes are first permuted so that the largest component is along x. This keeps the direction
    away from the pole, where azimuthal angles are singular.
    """
    magnitude = jnp.abs(direction)
    largest = (jnp.arange(3) == jnp.argmax(magnitude)).astype(direction.dtype)
    permutation = jnp.einsum("k,kij->ij", largest, _cast(_CYCLIC, direction.dtype))
    x, y, z = permutation @ direction
    rho = jnp.sqrt(x**2 + y**2)  # at least 1/√3
    cosine, sine = x / rho, y / rho
    zero = jnp.zeros_like(z)
    axes = jnp.stack(
        [
            jnp.stack([z * cosine, z * sine, -rho]),
            jnp.stack([-sine, cosine, zero]),
            jnp.stack([x, y, z]),
        ]
    )
    return EdgeFrame(
        axes @ permutation, largest, powers(cosine, sine, l_max), powers(z, rho, l_max)
    )


def to_edge_frame(coefficients: Array, frame: EdgeFrame, l_max: int) -> Array:
    """Rotate coefficients [..., (l_max + 1)²] into the frame: those of the rotated density.

    Two rotations about the polar axis and constant matrices; no Wigner matrix of the direction.
    """
    dtype = coefficients.dtype
    cyclic, tilt = _cast(_cyclic_wigner(l_max), dtype), _cast(_tilt_wigner(l_max), dtype)
    permuted = jnp.einsum("k,...j,kij->...i", frame.largest, coefficients, cyclic)
    upright = _turn_about_pole(permuted, *frame.azimuth, l_max)
    return _turn_about_pole(upright @ tilt, *frame.polar, l_max) @ tilt.T


def _turn_about_pole(coefficients: Array, cosines: Array, sines: Array, l_max: int) -> Array:
    """Rotate by -angle about z, given cos and sin of m·angle, m = 0 ... l_max."""
    turned = []
    for l in range(l_max + 1):
        part = coefficients[..., harmonic_slice(l)]
        cosine = cosines[..., : l + 1]
        sine = sines[..., : l + 1]
        cosine = jnp.concatenate([jnp.flip(cosine[..., 1:], -1), cosine], -1)
        sine = jnp.concatenate([-jnp.flip(sine[..., 1:], -1), sine], -1)
        turned.append(cosine * part + sine * jnp.flip(part, -1))
    return jnp.concatenate(turned, -1)
