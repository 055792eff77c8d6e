"""Powers of a density, integrated over the sphere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tripletjax.basis.angular import harmonic_slice, spherical_harmonics
from tripletjax.basis.coupling import clebsch_gordan
from tripletjax.invariants.spheres import powers_of, quadrature, sphere_invariants

pytestmark = pytest.mark.once("float64")


def densities(l_max: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(l_max).normal(size=(*shape, (l_max + 1) ** 2))


@pytest.mark.parametrize("l_max", [0, 1, 3, 8])
@pytest.mark.parametrize("order", [2, 3, 4])
def test_the_quadrature_integrates_products_of_harmonics_exactly(l_max, order):
    even, odd, weights = quadrature(l_max, order * l_max)
    for harmonics in (even, odd):
        overlaps = np.einsum("ig,jg,g->ij", harmonics, harmonics, weights)
        np.testing.assert_allclose(overlaps, np.eye(len(harmonics)), atol=1e-12)


def test_order_2_is_the_power_spectrum_summed_over_the_degrees_of_a_parity():
    density = densities(4, 5)
    of_degree = [np.sum(density[:, harmonic_slice(l)] ** 2, -1) for l in range(5)]
    expected = np.stack([sum(of_degree[0::2]), sum(of_degree[1::2])], -1)
    np.testing.assert_allclose(sphere_invariants(density, (2,)), expected, rtol=1e-12)


def test_order_3_is_a_sum_of_correlations_coupled_by_clebsch_gordan_coefficients():
    l_max = 3
    density = densities(l_max)
    parts = [density[harmonic_slice(l)] for l in range(l_max + 1)]
    expected = np.zeros(2)
    for l1, first in enumerate(parts):
        for l2, second in enumerate(parts):
            for l, third in enumerate(parts):
                table = clebsch_gordan(l1, l2, l)
                if (l1 + l2 + l) % 2 == 0:
                    size = np.sqrt((2 * l1 + 1) * (2 * l2 + 1) / (2 * l + 1)) * table[l1, l2, l]
                    coupled = size * np.einsum("i,j,k,ijk", first, second, third, table)
                    expected[0 if l1 % 2 == l2 % 2 == 0 else 1] += coupled
    found = np.array(sphere_invariants(density, (3,)))
    # e³ + 3 e o²: the odd parts of a product of three are in one of three places.
    np.testing.assert_allclose(found * [1, 3], expected, rtol=1e-11)


@pytest.mark.parametrize("l_max", [2, 5])
def test_rotations_and_inversion_change_nothing(l_max):
    random = np.random.default_rng(0)
    vectors, channels = random.normal(size=(7, 3)), random.normal(size=(4, 7))
    vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    rotation = -np.linalg.qr(random.normal(size=(3, 3)))[0]
    first, second = (
        sphere_invariants(channels @ spherical_harmonics(v, l_max), (1, 2, 3, 4, 5))
        for v in (vectors, vectors @ rotation)
    )
    assert first.shape == (4, sum(len(powers_of(order)) for order in range(1, 6)))
    scale = np.abs(first).max(0)
    np.testing.assert_allclose(first / scale, second / scale, atol=1e-12)


def test_derivatives_of_an_empty_density_are_finite():
    empty = jnp.zeros((2, 16))
    for derivative in (jax.jacfwd(sphere_invariants), jax.hessian(sphere_invariants)):
        assert np.isfinite(derivative(empty)).all()
