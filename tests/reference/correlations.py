"""Power spectrum and bispectrum of density coefficients c[a, n, lm]; q = a n_max + n."""

from itertools import combinations_with_replacement
from math import isqrt, sqrt

import numpy as np

from .angular import clebsch_gordan_real


def flatten_channels(c):
    """c[a, n, lm] -> (c[q, lm] with q = a n_max + n, l_max)."""
    c = np.asarray(c, dtype=np.float64)
    return c.reshape(-1, c.shape[-1]), isqrt(c.shape[-1]) - 1


def of_l(c, l):
    """The 2l+1 components m = -l .. l of the last axis."""
    return c[..., l**2 : (l + 1) ** 2]


def power_spectrum(c):
    """{(q1, q2, l): sum_m c_q1lm c_q2lm / sqrt(2l+1)} for q1 <= q2, times sqrt(2) if q1 < q2."""
    c, l_max = flatten_channels(c)
    result = {}
    for q1, q2 in combinations_with_replacement(range(len(c)), 2):
        for l in range(l_max + 1):
            value = np.sum(of_l(c[q1], l) * of_l(c[q2], l)) / sqrt(2 * l + 1)
            result[q1, q2, l] = value * (sqrt(2) if q1 < q2 else 1.0)
    return result


def bispectrum(c, odd=False):
    """{((q1,l1),(q2,l2),(q3,l3)): sum_{m1 m2 m3} CG(l1 m1 l2 m2 | l3 m3) c1_m1 c2_m2 c3_m3}.

    Over triples sorted by (l, q), repetition allowed, with |l1-l2| <= l3 <= l1+l2 and
    l1+l2+l3 even (odd: the pseudoscalars, zero where two members are the same).
    """
    c, l_max = flatten_channels(c)
    members = [(q, l) for l in range(l_max + 1) for q in range(len(c))]
    result = {}
    for (q1, l1), (q2, l2), (q3, l3) in combinations_with_replacement(members, 3):
        if not abs(l1 - l2) <= l3 <= l1 + l2 or (l1 + l2 + l3) % 2 != int(odd):
            continue
        coupled = np.einsum(
            "abc,a,b->c", clebsch_gordan_real(l1, l2, l3), of_l(c[q1], l1), of_l(c[q2], l2)
        )
        result[(q1, l1), (q2, l2), (q3, l3)] = coupled @ of_l(c[q3], l3)
    return result
