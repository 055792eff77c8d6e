"""The kernel between two environments as sums over their triplets, term by term."""

from math import exp, sqrt

import numpy as np

from .density import cutoff_function, gauss_legendre
from .triplets import edge

NUMBER_DENSITY = 0.1  # atoms per cubic Å, of the gas in which coefficients are of order one


def density_scale(radial, cutoff, width, kind, l_max):
    """sqrt(rho_0 int_0^cutoff r^2 sum_nl (2l+1) (f_c R_nl)^2 dr)."""
    nodes, weights = gauss_legendre(200)
    total = 0.0
    for low, high in ((0.0, cutoff - width), (cutoff - width, cutoff)):  # f_c is smooth on each
        for node, weight in zip(nodes, weights, strict=True):
            r = low + (high - low) * (node + 1) / 2
            values = np.broadcast_to(radial(r), (len(radial(r)), l_max + 1))
            power = sum((2 * l + 1) * (values[:, l] ** 2).sum() for l in range(l_max + 1))
            density = cutoff_function(r, cutoff, width, kind) ** 2 * power
            total += weight * (high - low) / 2 * r**2 * density
    return sqrt(NUMBER_DENSITY * total)


def triplets(vectors, species, center, n_species, radial, cutoff, width, kind, l_max, scale):
    """[(weight, even, odd)] of the ordered pairs of neighbours, even and odd as arrays.

    weight = w_j1 w_j2, w = 1 - (1 - f_c)^8. The invariants of degree l are multiplied by
    exp(-0.03 l (l+1)) / (density scale), and everything is divided by ``scale``.
    """
    unit = density_scale(radial, cutoff, width, kind, l_max)
    r = [float(np.linalg.norm(v)) for v in vectors]
    w = [1 - (1 - float(cutoff_function(x, cutoff, width, kind))) ** 8 for x in r]
    found = []
    for j1 in range(len(vectors)):
        for j2 in range(len(vectors)):
            if j1 == j2:
                continue
            u, v = vectors[j1] / r[j1], vectors[j2] / r[j2]
            invariants = edge(vectors, species, n_species, radial, cutoff, width, kind, l_max, u, v)
            parts = {"even": [], "odd": []}
            for (_, _, l, _, parity), value in invariants.items():
                parts[parity].append(value * exp(-0.03 * l * (l + 1)) / unit)
            parts["even"] += [r[j1] / cutoff, r[j2] / cutoff, float(u @ v)]
            for a in (center, species[j1], species[j2]):
                parts["even"] += [float(a == b) for b in range(n_species)]
            even, odd = (np.array(parts[parity]) / scale for parity in ("even", "odd"))
            found.append((w[j1] * w[j2], even, odd))
    return found


def pair_kernel(even1, odd1, even2, odd2):
    """exp(-|e - e'|^2 / 2) (exp(-|o - o'|^2 / 2) + exp(-|o + o'|^2 / 2)) / 2."""

    def gaussian(x):
        return exp(-0.5 * float(x @ x))

    return gaussian(even1 - even2) * (gaussian(odd1 - odd2) + gaussian(odd1 + odd2)) / 2


def triplet_kernel(first, second):
    """sum_t sum_t' w_t w_t' k(t, t') of two lists from ``triplets``."""
    total = 0.0
    for w1, even1, odd1 in first:
        for w2, even2, odd2 in second:
            total += w1 * w2 * pair_kernel(even1, odd1, even2, odd2)
    return total
