"""The reference descriptors against symmetry and each other."""

from functools import partial
from itertools import product

import numpy as np
import pytest
from scipy.special import lpmv

from .angular import spherical_harmonics
from .correlations import bispectrum, power_spectrum
from .density import cutoff_function, density_coefficients, gaussian, laplacian
from .samples import directions, rotation
from .triplets import edge, pair_sum, polar_factor, stretched

pytestmark = pytest.mark.once("float64")

CUTOFF, L_MAX = 4.0, 3
RADIAL = partial(laplacian, cutoff=CUTOFF, n_max=2, l_max=L_MAX)


def environment(seed=3):
    rng = np.random.default_rng(seed)
    return directions(6, seed) * rng.uniform(1.0, 3.9, size=(6, 1)), [0, 1, 0, 1, 1, 0]


def coefficients(vectors, species, radial=RADIAL):
    return density_coefficients(vectors, species, 2, radial, CUTOFF, 0.5, "shifted_cosine", L_MAX)


def test_polar_factor_is_the_associated_legendre_function():
    theta = 0.7
    y = spherical_harmonics(np.array([np.sin(theta), 0, np.cos(theta)]), 8)
    for l in range(9):
        for m in range(l + 1):
            value = polar_factor(l, m, np.cos(theta)) * np.sin(theta) ** m
            assert value == pytest.approx(y[l * (l + 1) + m], abs=1e-13)
            assert np.sign(value) == (-1) ** m * np.sign(lpmv(m, l, np.cos(theta)))


def all_invariants(vectors, species):
    """{key: value} of every descriptor, odd ones under keys that hold "odd"."""
    c = coefficients(vectors, species)
    u, v = (x / np.linalg.norm(x) for x in vectors[:2])
    return {
        **{("power", "even", k): x for k, x in power_spectrum(c).items()},
        **{("bispectrum", "even", k): x for k, x in bispectrum(c).items()},
        **{("bispectrum", "odd", k): x for k, x in bispectrum(c, odd=True).items()},
        **{("stretched", k[-1], k): x for k, x in stretched(c, u, v).items()},
        **{
            ("edge", k[-1], k): x
            for k, x in edge(
                vectors, species, 2, RADIAL, CUTOFF, 0.5, "shifted_cosine", L_MAX, u, v
            ).items()
        },
    }


def test_invariance_to_rotation_and_inversion():
    vectors, species = environment()
    first = all_invariants(vectors, species)
    rotated = all_invariants(vectors @ rotation().T, species)
    inverted = all_invariants(-vectors, species)
    for kind in ("bispectrum", "stretched", "edge"):
        assert max(abs(x) for k, x in first.items() if k[:2] == (kind, "odd")) > 1e-3
    for key, value in first.items():
        sign = -1 if key[1] == "odd" else 1
        assert rotated[key] == pytest.approx(value, abs=1e-13), key
        assert inverted[key] == pytest.approx(sign * value, abs=1e-13), key


def test_edge_is_the_density_in_the_frame_of_the_edge():
    vectors, species = environment()
    u, v = (x / np.linalg.norm(x) for x in vectors[:2])
    sine = np.linalg.norm(v - (u @ v) * u)
    x_axis = (v - (u @ v) * u) / sine
    frame = np.stack([x_axis, np.cross(u, x_axis), u])
    c = coefficients(vectors @ frame.T, species)
    values = edge(vectors, species, 2, RADIAL, CUTOFF, 0.5, "shifted_cosine", L_MAX, u, v)
    assert len(values) == c.size
    for (a, n, l, m, parity), value in values.items():
        expected = sine**m * c[a, n, l * (l + 1) + (m if parity == "even" else -m)]
        assert value == pytest.approx(expected, abs=1e-13)


def test_stretched_and_edge_span_the_same_space():
    """Over many densities, for each l and parity, one set is linear in the other."""
    u, v = directions(2, seed=4)
    radial = partial(gaussian, low=1.0, high=3.0, n_max=1, width=1.0)
    first, second = [], []
    for seed in range(12):
        others = directions(4, 50 + seed) * 2.0
        first.append(stretched(coefficients(others, [0] * 4, radial), u, v))
        second.append(edge(others, [0] * 4, 1, radial, CUTOFF, 0.5, "shifted_cosine", L_MAX, u, v))
    for l, parity in product(range(1, L_MAX + 1), ("even", "odd")):
        ks = range(0 if parity == "even" else 1, l + 1)
        left = np.array([[x[0, 0, l, k, parity] for k in ks] for x in first])
        right = np.array([[x[0, 0, l, m, parity] for m in ks] for x in second])
        solution, _, rank, _ = np.linalg.lstsq(left, right, rcond=1e-8)
        assert rank == len(ks)
        np.testing.assert_allclose(left @ solution, right, rtol=0, atol=1e-12)


def test_linear_sum_over_all_pairs_is_the_bispectrum():
    """sum over ordered pairs, diagonal included, of f f R R t = CG c c c, for each (l, k)."""
    vectors, _ = environment()
    species = [0] * len(vectors)
    radial = partial(gaussian, low=1.0, high=3.0, n_max=1, width=1.0)
    c = coefficients(vectors, species, radial)[:1]
    r = np.linalg.norm(vectors, axis=-1)
    weights = cutoff_function(r, CUTOFF, 0.5, "shifted_cosine")
    weights = weights * np.array([radial(x)[0, 0] for x in r])
    expected = bispectrum(c)
    for l in range(L_MAX + 1):
        for k in range(l // 2 + 1):  # sorted: l1 = k <= l2 = l - k

            def triplet(r1, r2, l=l, k=k):
                u1, u2 = r1 / np.linalg.norm(r1), r2 / np.linalg.norm(r2)
                return stretched(c, u1, u2)[0, 0, l, k, "even"]

            total = pair_sum(triplet, vectors, weights)
            total += sum(w**2 * triplet(x, x) for w, x in zip(weights, vectors, strict=True))
            assert total == pytest.approx(expected[(0, k), (0, l - k), (0, l)], abs=1e-12)
