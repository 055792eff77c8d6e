"""Harmonics and their coupling against the published table, scipy and exact formulas."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.reference import angular as reference
from tests.systems import quick_jit
from tripletjax.basis.angular import (
    degree_of,
    edge_frame,
    harmonic_slice,
    harmonics_of_monomials,
    monomials,
    spherical_harmonics,
    to_edge_frame,
    wigner_matrix,
)
from tripletjax.basis.coupling import clebsch_gordan
from tripletjax.testing import random_rotation

AXES = np.concatenate([np.eye(3), -np.eye(3)])


def directions(n=50, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(n, 3))
    return np.concatenate([vectors / np.linalg.norm(vectors, axis=1, keepdims=True), AXES])


def test_published_table():
    """Every entry to l = 4, as printed."""
    u = directions()
    values = spherical_harmonics(u, 4)
    assert len(reference.PUBLISHED) == 25
    for (l, m), formula in reference.PUBLISHED.items():
        expected = np.broadcast_to(formula(*u.T), len(u))
        np.testing.assert_allclose(values[:, l * (l + 1) + m], expected, atol=2e-15)


@pytest.mark.parametrize("degree", range(1, 9))
def test_harmonics_are_linear_forms_of_monomials(degree, dtype):
    """The matrix from one set of directions, at others; in the precision of the input."""
    u = directions(seed=1)
    found = monomials(jnp.asarray(u, dtype), degree) @ harmonics_of_monomials(degree).astype(dtype)
    assert found.dtype == dtype
    atol = 1e-12 if dtype == np.float64 else 3e-5
    np.testing.assert_allclose(found, spherical_harmonics(u, degree), atol=atol)


@pytest.mark.parametrize("l_max", [0, 1, 12, 20])
def test_scipy(l_max, dtype):
    u = directions()
    expected = reference.spherical_harmonics(u, l_max)
    np.testing.assert_allclose(spherical_harmonics(u, l_max), expected, atol=2e-13)
    compiled = quick_jit(lambda u: spherical_harmonics(u, l_max))(jnp.asarray(u, dtype))
    assert compiled.dtype == dtype and degree_of(compiled) == l_max
    np.testing.assert_allclose(compiled, expected, atol=500 * np.finfo(dtype).eps)


def test_harmonics_turn_with_wigner_matrices():
    for rotation in (random_rotation(1), -random_rotation(2), np.diag([1.0, -1.0, 1.0])):
        matrix = wigner_matrix(rotation, 6)
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(49), atol=1e-13)
        turned = spherical_harmonics(directions() @ rotation.T, 6)
        np.testing.assert_allclose(
            turned, spherical_harmonics(directions(), 6) @ matrix.T, atol=1e-13
        )


@quick_jit
def in_edge_frame(direction, coefficients):
    """The axes of the frame of a direction, and coefficients to degree 5 in it."""
    frame = edge_frame(direction, 5)
    return frame.axes, to_edge_frame(coefficients, frame, 5)


@pytest.mark.parametrize("index", range(0, 56, 5))
def test_edge_frame_puts_the_direction_on_the_pole(index, dtype):
    l_max, direction = 5, directions()[index]
    tolerance = 100 * np.finfo(dtype).eps
    coefficients = spherical_harmonics(directions(), l_max)
    axes, turned = map(
        np.asarray, in_edge_frame(direction.astype(dtype), coefficients.astype(dtype))
    )
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=tolerance)
    assert np.linalg.det(axes) == pytest.approx(1)
    np.testing.assert_allclose(axes @ direction, [0, 0, 1], atol=tolerance)
    expected = spherical_harmonics(directions() @ axes.T.astype(float), l_max)
    np.testing.assert_allclose(turned, expected, atol=tolerance)


@pytest.mark.parametrize(
    "degrees",
    [(0, 0, 0), (1, 1, 0), (1, 1, 1), (1, 1, 2), (2, 3, 4), (3, 2, 2), (4, 4, 8), (5, 6, 7)],
)
def test_clebsch_gordan(degrees):
    l1, l2, l = degrees
    table = clebsch_gordan(l1, l2, l)
    np.testing.assert_allclose(table, reference.clebsch_gordan_real(l1, l2, l), atol=1e-13)
    np.testing.assert_allclose(
        np.einsum("abm,abn->mn", table, table), np.eye(2 * l + 1), atol=1e-13
    )
    matrix = wigner_matrix(random_rotation(3), 8)
    a, b, c = (matrix[harmonic_slice(x), harmonic_slice(x)] for x in degrees)
    turned = np.einsum("ijk,ia,jb->abk", table, a, b)
    np.testing.assert_allclose(turned, np.einsum("abn,kn->abk", table, c), atol=1e-13)


def test_clebsch_gordan_outside_the_triangle_and_at_high_degree():
    assert not clebsch_gordan(1, 1, 3).any()
    table = clebsch_gordan(12, 12, 12)
    np.testing.assert_allclose(np.einsum("abm,abn->mn", table, table), np.eye(25), atol=1e-12)
    with pytest.raises(ValueError, match="read-only"):
        table[0, 0, 0] = 1.0
