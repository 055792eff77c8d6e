"""Invariants of a triplet (centre and two tagged directions) together with the density."""

from math import factorial, isqrt, pi, sqrt

import numpy as np
from numpy.polynomial.legendre import Legendre

from .angular import clebsch_gordan_real, spherical_harmonics
from .density import cutoff_function


def stretched_harmonic(u1, u2, l1, l2, l):
    """B_m = sum_{m1 m2} CG(l1 m1 l2 m2 | l m) Y_l1m1(u1) Y_l2m2(u2), [2l+1]."""
    y1 = spherical_harmonics(u1, l1)[l1**2 :]
    y2 = spherical_harmonics(u2, l2)[l2**2 :]
    return np.einsum("abc,a,b->c", clebsch_gordan_real(l1, l2, l), y1, y2)


def stretched(c, u1, u2):
    """{(a, n, l, k, parity): sum_m c_anlm B^{l,k}_m}, B coupling l1 = k with l2 to l;

    "even": k = 0 .. l, l2 = l - k; "odd": k = 1 .. l, l2 = l + 1 - k. u1, u2: unit vectors.
    """
    n_species, n_max, n_lm = c.shape
    result = {}
    for l in range(isqrt(n_lm)):
        terms = [(k, l - k, "even") for k in range(l + 1)]
        terms += [(k, l + 1 - k, "odd") for k in range(1, l + 1)]
        for k, l2, parity in terms:
            b = stretched_harmonic(u1, u2, k, l2, l)
            for a in range(n_species):
                for n in range(n_max):
                    result[a, n, l, k, parity] = c[a, n, l**2 : (l + 1) ** 2] @ b
    return result


def polar_factor(l, m, z):
    """K_lm(z) with K_lm(cos theta) sin^m(theta) cos(m phi) = Y_lm(theta, phi), m >= 0:

    K_lm = sqrt((2 - delta_m0) (2l+1) / (4 pi) (l-m)! / (l+m)!) d^m P_l(z) / dz^m.
    """
    square = (1 if m == 0 else 2) * (2 * l + 1) / (4 * pi) * factorial(l - m) / factorial(l + m)
    return sqrt(square) * Legendre.basis(l).deriv(m)(z)


def edge(vectors, species, n_species, radial, cutoff, cutoff_width, kind, l_max, u, v):
    """{(a, n, l, m, parity): sum_k f_c(r_k) R_nl(r_k) K_lm(u.s_k) {Re, Im} w_k^m} over the
    neighbours k of species a, s_k = r_k / |r_k|, w_k = s.v - (u.s)(u.v) + i u.(v x s);

    "even": Re, m = 0 .. l; "odd": Im, m = 1 .. l. u, v: unit vectors; radial: as in density.
    """
    n_max = len(radial(cutoff))
    result = {}
    for a in range(n_species):
        for n in range(n_max):
            for l in range(l_max + 1):
                for m in range(l + 1):
                    result[a, n, l, m, "even"] = 0.0
                    if m > 0:
                        result[a, n, l, m, "odd"] = 0.0
    for vector, a in zip(np.asarray(vectors, dtype=np.float64), species, strict=True):
        r = np.linalg.norm(vector)
        s = vector / r
        f = cutoff_function(r, cutoff, cutoff_width, kind)
        r_nl = np.broadcast_to(radial(r), (n_max, l_max + 1))
        w = complex(s @ v - (u @ s) * (u @ v), u @ np.cross(v, s))
        for l in range(l_max + 1):
            for m in range(l + 1):
                angular = polar_factor(l, m, u @ s) * w**m
                for n in range(n_max):
                    result[a, n, l, m, "even"] += f * r_nl[n, l] * angular.real
                    if m > 0:
                        result[a, n, l, m, "odd"] += f * r_nl[n, l] * angular.imag
    return result


def pair_sum(function, vectors, weights):
    """sum_{j1 != j2} w_j1 w_j2 function(r_j1, r_j2), over ordered pairs."""
    total = 0.0
    for j1 in range(len(vectors)):
        for j2 in range(len(vectors)):
            if j1 != j2:
                total = total + weights[j1] * weights[j2] * function(vectors[j1], vectors[j2])
    return total
