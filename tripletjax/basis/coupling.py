"""Clebsch-Gordan coefficients in the basis of real spherical harmonics; host side, float64."""

from functools import cache
from math import comb, sqrt

import numpy as np


@cache
def clebsch_gordan(l1: int, l2: int, l: int) -> np.ndarray:
    """Coefficients C[m1, m2, m] that couple two real tensors of degrees l1 and l2 to degree l.

    y_m = Σ_{m1 m2} C[m1, m2, m] a_{m1} b_{m2} transforms as Y_lm; Σ_{m1 m2} C[..., m] C[..., m']
    = δ_{mm'}. If l1 + l2 + l is odd, the complex coefficients are imaginary in the real basis and
    are multiplied by the unit that makes (1, 1, 1) the cross product divided by +√2; y is then a
    pseudotensor.

    Args:
        l1, l2, l: degrees.

    Returns:
        ``[2 l1 + 1, 2 l2 + 1, 2 l + 1]``, read-only; all zero outside |l1 - l2| <= l <= l1 + l2.

    Source: G. Racah, Phys. Rev. 62, 438 (1942).

    Example:
        >>> u, v = np.array([0, 0, 1.0]), np.array([1.0, 0, 0])  # x and y, ordered y, z, x
        >>> cross = np.einsum("i,j,ijk", u, v, clebsch_gordan(1, 1, 1)) * np.sqrt(2)
        >>> (np.round(cross, 12) + 0.0).tolist()  # z; without the sign of zeros
        [0.0, 1.0, 0.0]
    """
    complex_table = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l + 1))
    for m1 in range(-l1, l1 + 1):
        for m2 in range(-l2, l2 + 1):
            if abs(m1 + m2) <= l:
                value = _racah(l1, m1, l2, m2, l)
                complex_table[m1 + l1, m2 + l2, m1 + m2 + l] = value
    u1, u2, u3 = _real_from_complex(l1), _real_from_complex(l2), _real_from_complex(l)
    table = np.einsum("abc,ia,jb,kc->ijk", complex_table, u1.conj(), u2.conj(), u3, optimize=True)
    real = table.real if (l1 + l2 + l) % 2 == 0 else table.imag
    real = np.ascontiguousarray(real)
    real.flags.writeable = False
    return real


def _racah(l1: int, m1: int, l2: int, m2: int, l: int) -> float:
    """⟨l1 m1 l2 m2 | l m1+m2⟩ in the Condon-Shortley convention, from integer binomials."""
    if not abs(l1 - l2) <= l <= l1 + l2:
        return 0.0
    total = l1 + l2 + l
    excess = l1 + l2 - l
    first = max(0, l1 - m1 - (total - 2 * l2), l2 + m2 - (total - 2 * l1))
    last = min(excess, l1 - m1, l2 + m2)
    series = sum(
        (-1) ** k
        * comb(excess, k)
        * comb(total - 2 * l2, l1 - m1 - k)
        * comb(total - 2 * l1, l2 + m2 - k)
        for k in range(first, last + 1)
    )
    top = comb(2 * l1, excess) * comb(2 * l2, excess)
    bottom = comb(total + 1, excess) * comb(2 * l1, l1 - m1) * comb(2 * l2, l2 - m2)
    bottom *= comb(2 * l, l - m1 - m2)
    return series * sqrt(top / bottom)


@cache
def _real_from_complex(l: int) -> np.ndarray:
    """U[real m, complex m]: real harmonics from complex ones with Condon-Shortley phase."""
    unitary = np.zeros((2 * l + 1, 2 * l + 1), dtype=complex)
    unitary[l, l] = 1
    for m in range(1, l + 1):
        phase = (-1) ** m / sqrt(2)
        unitary[l + m, l + m] = phase
        unitary[l + m, l - m] = 1 / sqrt(2)
        unitary[l - m, l + m] = -1j * phase
        unitary[l - m, l - m] = 1j / sqrt(2)
    return unitary
