"""Real spherical harmonics and the Clebsch-Gordan coefficients of their basis."""

from fractions import Fraction
from functools import cache
from math import factorial, pi, sqrt

import numpy as np
from scipy.special import sph_harm_y


def spherical_harmonics(r_hat, l_max):
    """Real orthonormal Y_lm of unit vectors, [..., (l_max+1)^2], component l(l+1)+m.

    Y_l0 = Y_l^0; m > 0: (-1)^m sqrt(2) Re Y_l^m; m < 0: (-1)^m sqrt(2) Im Y_l^|m|,
    with Y_l^m the complex ones with Condon-Shortley phase; the (-1)^m takes that phase out.
    """
    x, y, z = np.moveaxis(np.asarray(r_hat, dtype=np.float64), -1, 0)
    theta, phi = np.arctan2(np.hypot(x, y), z), np.arctan2(y, x)
    result = np.empty((*x.shape, (l_max + 1) ** 2))
    for l in range(l_max + 1):
        result[..., l * (l + 1)] = sph_harm_y(l, 0, theta, phi).real
        for m in range(1, l + 1):
            complex_y = (-1) ** m * sqrt(2) * sph_harm_y(l, m, theta, phi)
            result[..., l * (l + 1) + m] = complex_y.real
            result[..., l * (l + 1) - m] = complex_y.imag
    return result


# Wikipedia, "Table of spherical harmonics", section "Real spherical harmonics", with r = 1.
PUBLISHED = {
    (0, 0): lambda x, y, z: 1 / 2 * sqrt(1 / pi) * np.ones_like(x),
    (1, -1): lambda x, y, z: sqrt(3 / (4 * pi)) * y,
    (1, 0): lambda x, y, z: sqrt(3 / (4 * pi)) * z,
    (1, 1): lambda x, y, z: sqrt(3 / (4 * pi)) * x,
    (2, -2): lambda x, y, z: 1 / 2 * sqrt(15 / pi) * x * y,
    (2, -1): lambda x, y, z: 1 / 2 * sqrt(15 / pi) * y * z,
    (2, 0): lambda x, y, z: 1 / 4 * sqrt(5 / pi) * (3 * z**2 - 1),
    (2, 1): lambda x, y, z: 1 / 2 * sqrt(15 / pi) * x * z,
    (2, 2): lambda x, y, z: 1 / 4 * sqrt(15 / pi) * (x**2 - y**2),
    (3, -3): lambda x, y, z: 1 / 4 * sqrt(35 / (2 * pi)) * y * (3 * x**2 - y**2),
    (3, -2): lambda x, y, z: 1 / 2 * sqrt(105 / pi) * x * y * z,
    (3, -1): lambda x, y, z: 1 / 4 * sqrt(21 / (2 * pi)) * y * (5 * z**2 - 1),
    (3, 0): lambda x, y, z: 1 / 4 * sqrt(7 / pi) * (5 * z**3 - 3 * z),
    (3, 1): lambda x, y, z: 1 / 4 * sqrt(21 / (2 * pi)) * x * (5 * z**2 - 1),
    (3, 2): lambda x, y, z: 1 / 4 * sqrt(105 / pi) * (x**2 - y**2) * z,
    (3, 3): lambda x, y, z: 1 / 4 * sqrt(35 / (2 * pi)) * x * (x**2 - 3 * y**2),
    (4, -4): lambda x, y, z: 3 / 4 * sqrt(35 / pi) * x * y * (x**2 - y**2),
    (4, -3): lambda x, y, z: 3 / 4 * sqrt(35 / (2 * pi)) * y * (3 * x**2 - y**2) * z,
    (4, -2): lambda x, y, z: 3 / 4 * sqrt(5 / pi) * x * y * (7 * z**2 - 1),
    (4, -1): lambda x, y, z: 3 / 4 * sqrt(5 / (2 * pi)) * y * (7 * z**3 - 3 * z),
    (4, 0): lambda x, y, z: 3 / 16 * sqrt(1 / pi) * (35 * z**4 - 30 * z**2 + 3),
    (4, 1): lambda x, y, z: 3 / 4 * sqrt(5 / (2 * pi)) * x * (7 * z**3 - 3 * z),
    (4, 2): lambda x, y, z: 3 / 8 * sqrt(5 / pi) * (x**2 - y**2) * (7 * z**2 - 1),
    (4, 3): lambda x, y, z: 3 / 4 * sqrt(35 / (2 * pi)) * x * (x**2 - 3 * y**2) * z,
    (4, 4): lambda x, y, z: (
        3 / 16 * sqrt(35 / pi) * (x**2 * (x**2 - 3 * y**2) - y**2 * (3 * x**2 - y**2))
    ),
}


def clebsch_gordan_complex(l1, m1, l2, m2, l, m):
    """<l1 m1 l2 m2 | l m> by Racah's formula, exact up to the final square root."""
    if m1 + m2 != m or not abs(l1 - l2) <= l <= l1 + l2:
        return 0.0
    f = factorial
    square = Fraction(
        (2 * l + 1) * f(l + l1 - l2) * f(l - l1 + l2) * f(l1 + l2 - l), f(l1 + l2 + l + 1)
    )
    square *= f(l + m) * f(l - m) * f(l1 - m1) * f(l1 + m1) * f(l2 - m2) * f(l2 + m2)
    total = Fraction(0)
    for k in range(l1 + l2 - l + 1):
        arguments = (l1 + l2 - l - k, l1 - m1 - k, l2 + m2 - k, l - l2 + m1 + k, l - l1 - m2 + k)
        if min(arguments) >= 0:
            denominator = f(k)
            for argument in arguments:
                denominator *= f(argument)
            total += Fraction((-1) ** k, denominator)
    return (1 if total >= 0 else -1) * sqrt(square * total**2)


def real_from_complex(l):
    """Unitary U with Y_lm(real) = sum_mu U_{m mu} Y_l^mu(complex, Condon-Shortley phase)."""
    u = np.zeros((2 * l + 1, 2 * l + 1), dtype=np.complex128)
    u[l, l] = 1
    for m in range(1, l + 1):
        u[l + m, l + m], u[l + m, l - m] = (-1) ** m / sqrt(2), 1 / sqrt(2)
        u[l - m, l + m], u[l - m, l - m] = (-1) ** m / (1j * sqrt(2)), -1 / (1j * sqrt(2))
    return u


@cache
def clebsch_gordan_real(l1, l2, l):
    """Coefficients in the real basis, [2 l1+1, 2 l2+1, 2 l+1], of (a x b)_m = sum C a_m1 b_m2.

    C = conj(U1) conj(U2) U <l1 mu1 l2 mu2 | l mu>, times -i when l1+l2+l is odd: then it is
    real, and the case (1, 1, 1) is +(u x v) / sqrt(2) with vectors ordered y, z, x.
    """
    table = np.array(
        [
            [
                [clebsch_gordan_complex(l1, m1, l2, m2, l, m) for m in range(-l, l + 1)]
                for m2 in range(-l2, l2 + 1)
            ]
            for m1 in range(-l1, l1 + 1)
        ]
    )
    u1, u2, u = real_from_complex(l1), real_from_complex(l2), real_from_complex(l)
    result = np.einsum("ax,by,cz,xyz->abc", u1.conj(), u2.conj(), u, table, optimize=True)
    if (l1 + l2 + l) % 2 == 1:
        result = -1j * result
    assert np.abs(result.imag).max() < 1e-13
    real = result.real.copy()
    real.flags.writeable = False  # cached: shared by all callers
    return real
