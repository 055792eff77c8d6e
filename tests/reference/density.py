"""Cutoffs, radial functions and the density coefficients of one environment."""

from functools import cache
from itertools import pairwise
from math import pi, sqrt

import numpy as np
from scipy.optimize import brentq
from scipy.special import eval_chebyt, gamma, ive, spherical_jn

from .angular import spherical_harmonics


def cutoff_function(r, cutoff, width, kind):
    """f_c: 1 below cutoff - width, 0 from cutoff; in between, with x running from 0 to 1,

    "shifted_cosine": (1 + cos(pi x)) / 2; "smooth": 1 - (35 x^4 - 84 x^5 + 70 x^6 - 20 x^7);
    "bump": g(1-x) / (g(x) + g(1-x)) with g(x) = exp(-1/x).
    """
    x = np.clip((np.asarray(r, dtype=np.float64) - cutoff + width) / width, 0.0, 1.0)
    if kind == "shifted_cosine":
        return 0.5 * (1 + np.cos(pi * x))
    if kind == "smooth":
        return 1 - (35 * x**4 - 84 * x**5 + 70 * x**6 - 20 * x**7)
    if kind == "bump":
        g = [np.exp(-1 / np.maximum(y, 1e-3)) for y in (x, 1 - x)]
        return g[1] / (g[0] + g[1])
    raise ValueError(f"kind is {kind!r}, not 'shifted_cosine', 'smooth' or 'bump'")


def gto_widths(cutoff, n_max):
    """s_n = cutoff max(sqrt(n), 1) / n_max, n = 0 .. n_max-1."""
    return np.array([cutoff * max(sqrt(n), 1.0) / n_max for n in range(n_max)])


def gto_orthonormalization(cutoff, n_max):
    """Matrix M with R_n = sum_k M_nk r^k exp(-r^2 / (2 s_k^2)): M = S^(-1/2) diag(1 / norm).

    From int_0^inf r^(p+2) exp(-a r^2) dr = Gamma((p+3)/2) / (2 a^((p+3)/2)).
    """
    s = gto_widths(cutoff, n_max)
    product = np.empty((n_max, n_max))
    for n in range(n_max):
        for k in range(n_max):
            a = 1 / (2 * s[n] ** 2) + 1 / (2 * s[k] ** 2)
            product[n, k] = gamma((n + k + 3) / 2) / (2 * a ** ((n + k + 3) / 2))
    norm = np.sqrt(np.diag(product))
    eigenvalues, vectors = np.linalg.eigh(product / np.outer(norm, norm))
    return (vectors / np.sqrt(eigenvalues)) @ vectors.T / norm


def gto_functions(r, cutoff, n_max):
    """Orthonormal GTO basis R_n(r), [..., n_max], without smearing."""
    r = np.asarray(r, dtype=np.float64)[..., None]
    s = gto_widths(cutoff, n_max)
    primitives = r ** np.arange(n_max) * np.exp(-(r**2) / (2 * s**2))
    return primitives @ gto_orthonormalization(cutoff, n_max).T


def scaled_spherical_in(l, x):
    """exp(-x) i_l(x) for x > 0, from exp(-x) I_{l+1/2}(x): never overflows."""
    return np.sqrt(pi / (2 * x)) * ive(l + 0.5, x)


@cache
def gauss_legendre(n):
    """Nodes and weights on [-1, 1]; cached because finding them takes longer than using them."""
    return np.polynomial.legendre.leggauss(n)


def gto(r, cutoff, n_max, l_max, width):
    """Smeared GTO, [n_max, l_max+1], with sigma = width:

    R_nl(r) = 4 pi (pi sigma^2)^(-3/4)
              int_0^inf dr' r'^2 R_n(r') exp(-(r^2 + r'^2) / (2 sigma^2)) i_l(r r' / sigma^2).
    """
    # exp(-(r^2+r'^2)/(2 sigma^2)) i_l(x) = exp(-(r-r')^2/(2 sigma^2)) [exp(-x) i_l(x)], and
    # the first factor is below 1e-21 outside r +- 10 sigma.
    low, high = max(0.0, r - 10 * width), r + 10 * width
    nodes, weights = gauss_legendre(400)
    points = low + (high - low) * (nodes + 1) / 2
    weights = weights * (high - low) / 2
    basis = gto_functions(points, cutoff, n_max)
    gaussian_factor = np.exp(-((r - points) ** 2) / (2 * width**2))
    result = np.zeros((n_max, l_max + 1))
    for l in range(l_max + 1):
        if r > 0:
            bessel = scaled_spherical_in(l, r * points / width**2)
        else:
            bessel = np.full_like(points, 1.0 if l == 0 else 0.0)
        for n in range(n_max):
            result[n, l] = np.sum(weights * points**2 * basis[:, n] * gaussian_factor * bessel)
    return 4 * pi * (pi * width**2) ** (-3 / 4) * result


@cache
def spherical_bessel_zeros(l, n_max):
    """First n_max positive zeros of j_l; between two zeros of j_{l-1} lies one of j_l."""
    zeros = pi * np.arange(1, n_max + l + 1)
    for order in range(1, l + 1):
        zeros = np.array(
            [
                brentq(lambda x, order=order: spherical_jn(order, x), a, b, xtol=1e-14, rtol=1e-15)
                for a, b in pairwise(zeros)
            ]
        )
    return zeros


def laplacian(r, cutoff, n_max, l_max):
    """Laplacian eigenstates, [n_max, l_max+1]: R_nl = j_l(z_nl r / cutoff) / norm, j_l(z_nl) = 0.

    norm^2 = int_0^cutoff r^2 j_l(z_nl r / cutoff)^2 dr = cutoff^3 j_{l+1}(z_nl)^2 / 2.
    """
    result = np.empty((n_max, l_max + 1))
    for l in range(l_max + 1):
        for n, zero in enumerate(spherical_bessel_zeros(l, n_max)):
            norm = sqrt(cutoff**3 / 2) * abs(spherical_jn(l + 1, zero))
            result[n, l] = spherical_jn(l, zero * r / cutoff) / norm
    return result


def chebyshev(r, cutoff, n_max):
    """R_nl = T_n(2 r / cutoff - 1), n = 0 .. n_max-1; [n_max, 1], the same for every l."""
    return np.array([[eval_chebyt(n, 2 * r / cutoff - 1)] for n in range(n_max)])


def gaussian(r, low, high, n_max, width):
    """R_nl = exp(-(r - c_n)^2 / (2 width^2)), c = linspace(low, high, n_max); [n_max, 1]."""
    centers = np.linspace(low, high, n_max)
    return np.exp(-((r - centers[:, None]) ** 2) / (2 * width**2))


def logarithmic(r, low, high, n_max, l_max):
    """R_nl = exp(-(ln(r / c_n) / w)^2 / 2 - l (l + 1) w^2 / 2), [n_max, l_max+1].

    c_n = low (high / low)^(n / (n_max - 1)), w = ln(c_{n+1} / c_n).
    """
    w = np.log(high / low) / max(n_max - 1, 1)
    result = np.empty((n_max, l_max + 1))
    for n in range(n_max):
        c = low * np.exp(n * w) if n_max > 1 else sqrt(low * high)
        for l in range(l_max + 1):
            result[n, l] = np.exp(-((np.log(r / c) / w) ** 2) / 2 - l * (l + 1) * w**2 / 2)
    return result


def density_coefficients(vectors, species, n_species, radial, cutoff, cutoff_width, kind, l_max):
    """c[a, n, lm] = sum_{j: a_j = a} f_c(r_j) R_nl(r_j) Y_lm(r_j / |r_j|).

    species: indices 0 .. n_species-1; radial: r -> [n_max, l_max+1] or [n_max, 1].
    """
    n_max = len(radial(cutoff))
    c = np.zeros((n_species, n_max, (l_max + 1) ** 2))
    for vector, a in zip(np.asarray(vectors, dtype=np.float64), species, strict=True):
        r = np.linalg.norm(vector)
        f = cutoff_function(r, cutoff, cutoff_width, kind)
        r_nl = np.broadcast_to(radial(r), (n_max, l_max + 1))
        y = spherical_harmonics(vector / r, l_max)
        for n in range(n_max):
            for l in range(l_max + 1):
                for m in range(-l, l + 1):
                    lm = l * (l + 1) + m
                    c[a, n, lm] += f * r_nl[n, l] * y[lm]
    return c
