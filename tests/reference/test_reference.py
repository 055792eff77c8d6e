"""The reference bases and neighbours against tables, closed forms and quadrature."""

from itertools import product

import ase.neighborlist
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from scipy.integrate import quad
from scipy.special import gamma, hyp1f1

from .angular import PUBLISHED, clebsch_gordan_real, spherical_harmonics
from .density import (
    chebyshev,
    cutoff_function,
    gaussian,
    gto,
    gto_functions,
    gto_orthonormalization,
    gto_widths,
    laplacian,
)
from .neighbors import neighbor_list
from .samples import directions, rotation, wigner

pytestmark = pytest.mark.once("float64")

CUTOFF = 4.0


def test_harmonics_match_the_published_table():
    points = np.concatenate([directions(50), np.eye(3), -np.eye(3)])
    y = spherical_harmonics(points, 4)
    assert len(PUBLISHED) == 25
    for (l, m), formula in PUBLISHED.items():
        np.testing.assert_allclose(y[:, l * (l + 1) + m], formula(*points.T), rtol=0, atol=1e-14)


def test_harmonics_are_orthonormal():
    l_max = 8
    z, weight = np.polynomial.legendre.leggauss(l_max + 1)
    phi = 2 * np.pi * np.arange(2 * l_max + 1) / (2 * l_max + 1)
    z, phi = z[:, None], phi[None, :]
    x, y = np.sqrt(1 - z**2) * np.cos(phi), np.sqrt(1 - z**2) * np.sin(phi)
    values = spherical_harmonics(np.stack([x, y, z + 0 * phi], axis=-1), l_max)
    gram = np.einsum("zpa,zpb,z->ab", values, values, weight) * 2 * np.pi / (2 * l_max + 1)
    np.testing.assert_allclose(gram, np.eye((l_max + 1) ** 2), rtol=0, atol=1e-13)


def test_clebsch_gordan_is_orthogonal():
    for l1, l2 in product(range(5), repeat=2):
        blocks = [clebsch_gordan_real(l1, l2, l) for l in range(abs(l1 - l2), l1 + l2 + 1)]
        matrix = np.concatenate(blocks, axis=-1).reshape((2 * l1 + 1) * (2 * l2 + 1), -1)
        np.testing.assert_allclose(matrix.T @ matrix, np.eye(len(matrix)), rtol=0, atol=1e-13)


def test_clebsch_gordan_of_vectors():
    u, v = directions(2)
    y_z_x = [1, 2, 0]
    cross = np.einsum("abc,a,b->c", clebsch_gordan_real(1, 1, 1), u[y_z_x], v[y_z_x])
    np.testing.assert_allclose(cross, np.cross(u, v)[y_z_x] / np.sqrt(2), atol=1e-15)
    dot = np.einsum("abc,a,b->c", clebsch_gordan_real(1, 1, 0), u[y_z_x], v[y_z_x])
    np.testing.assert_allclose(abs(dot[0]), abs(u @ v) / np.sqrt(3), atol=1e-15)


def test_coupling_is_covariant():
    r = rotation()
    for l1, l2, l in product(range(4), repeat=3):
        if abs(l1 - l2) <= l <= l1 + l2:
            table = clebsch_gordan_real(l1, l2, l)
            rotated = np.einsum(
                "xyc,xa,yb->abc", table, wigner(r, l1), wigner(r, l2), optimize=True
            )
            expected = np.einsum("abx,cx->abc", table, wigner(r, l))
            np.testing.assert_allclose(rotated, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["shifted_cosine", "smooth"])
def test_cutoff_function(kind):
    values = cutoff_function(np.array([0.0, 3.5, 3.75, 4.0, 5.0]), CUTOFF, 0.5, kind)
    np.testing.assert_allclose(values, [1, 1, 0.5, 0, 0], atol=1e-15)


def test_gto_functions_are_orthonormal():
    for n, k in product(range(4), repeat=2):
        value = quad(lambda r: r**2 * np.prod(gto_functions(r, 5.0, 4)[[n, k]]), 0, 40)[0]  # noqa: B023
        assert value == pytest.approx(float(n == k), abs=1e-9)


@pytest.mark.parametrize("r", [0.0, 0.1, 1.3, 4.0])
def test_gto_matches_its_closed_form(r):
    """int r'^(n+2) exp(-a r'^2) i_l(b r') dr' as a confluent hypergeometric function."""
    n_max, l_max, width = 5, 6, 0.5
    primitives = np.empty((n_max, l_max + 1))
    for n, s in enumerate(gto_widths(5.0, n_max)):
        a, b = 1 / (2 * s**2) + 1 / (2 * width**2), r / width**2
        for l in range(l_max + 1):
            p = (n + l + 3) / 2
            value = np.sqrt(np.pi) / 4 * (b / 2) ** l * a**-p * gamma(p) / gamma(l + 1.5)
            primitives[n, l] = value * hyp1f1(p, l + 1.5, b**2 / (4 * a))
    primitives *= 4 * np.pi * (np.pi * width**2) ** (-3 / 4) * np.exp(-(r**2) / (2 * width**2))
    expected = gto_orthonormalization(5.0, n_max) @ primitives
    np.testing.assert_allclose(gto(r, 5.0, n_max, l_max, width), expected, rtol=0, atol=1e-12)


def test_gto_is_the_projection_of_a_gaussian():
    """int d^3x R_n(|x|) Y_lm(x) g(x - r) over a Cartesian-free product grid, r off the axes."""
    width, r_vector = 0.6, np.array([0.5, -0.9, 0.7])
    z, wz = np.polynomial.legendre.leggauss(60)
    x, wx = np.polynomial.legendre.leggauss(80)
    x, wx = 4 * (x + 1), 4 * wx
    phi = 2 * np.pi * np.arange(60) / 60
    sine = np.sqrt(1 - z**2)[:, None]
    unit = np.stack([sine * np.cos(phi), sine * np.sin(phi), z[:, None] + 0 * phi], axis=-1)
    points = x[:, None, None, None] * unit
    g = np.exp(-np.sum((points - r_vector) ** 2, axis=-1) / (2 * width**2))
    g *= (np.pi * width**2) ** (-3 / 4)
    y = spherical_harmonics(unit, 3)
    basis = gto_functions(x, 5.0, 3)
    projected = np.einsum("r,rn,z,rzp,zpm->nm", wx * x**2, basis, wz, g, y, optimize=True) / 60
    projected *= 2 * np.pi
    r = np.linalg.norm(r_vector)
    r_nl = gto(r, 5.0, 3, 3, width)
    expected = np.repeat(r_nl, [1, 3, 5, 7], axis=1) * spherical_harmonics(r_vector / r, 3)
    np.testing.assert_allclose(projected, expected, rtol=0, atol=1e-10)


def test_laplacian_is_orthonormal_and_vanishes_at_the_cutoff():
    nodes, weights = np.polynomial.legendre.leggauss(60)
    r, weights = CUTOFF * (nodes + 1) / 2, CUTOFF * weights / 2
    values = np.array([laplacian(x, CUTOFF, 4, 5) for x in r])
    for l in range(6):
        gram = np.einsum("r,rn,rk->nk", weights * r**2, values[..., l], values[..., l])
        np.testing.assert_allclose(gram, np.eye(4), rtol=0, atol=1e-13)
    np.testing.assert_allclose(laplacian(CUTOFF, CUTOFF, 4, 5), 0, atol=1e-13)


def test_chebyshev_and_gaussian():
    np.testing.assert_allclose(chebyshev(1.0, 4.0, 4)[:, 0], [1, -0.5, -0.5, 1], atol=1e-15)
    np.testing.assert_allclose(
        gaussian(1.0, 1.0, 2.0, 3, 0.5)[:, 0], np.exp([0, -0.5, -2]), atol=1e-15
    )


@pytest.mark.parametrize("pbc", [True, False, (True, False, True), (False, False, True)])
def test_neighbor_list_agrees_with_ase(pbc):
    rng = np.random.default_rng(0)
    cell = np.array([[2.0, 0.1, 0.0], [1.5, 2.2, 0.3], [-0.4, 0.5, 3.0]])
    atoms = Atoms("H3", positions=rng.uniform(-6, 6, size=(3, 3)), cell=cell, pbc=pbc)
    found = neighbor_list(atoms.positions, cell, pbc, 4.5)
    i, j, shift = ase.neighborlist.neighbor_list("ijS", atoms, 4.5)
    expected = sorted(zip(i, j, (tuple(s) for s in shift.tolist()), strict=True))
    assert sorted(pair[:3] for pair in found) == expected
    assert [(p[0], p[4]) for p in found] == sorted((p[0], p[4]) for p in found)
    for a, b, s, vector, distance in found:
        expected = atoms.positions[b] - atoms.positions[a] + np.array(s) @ cell
        np.testing.assert_allclose(vector, expected, atol=1e-12)
        assert distance == pytest.approx(np.linalg.norm(vector), abs=1e-12)


def test_neighbor_list_in_a_cell_smaller_than_the_cutoff():
    atoms = bulk("Cu", "fcc", a=3.6)
    found = neighbor_list(atoms.positions, atoms.cell, atoms.pbc, 3.7)
    assert [pair[:2] for pair in found] == [(0, 0)] * 18
    flat = neighbor_list([[0, 0, 0], [0, 0, 1]], np.diag([2.0, 0, 0]), [True, False, False], 2.1)
    assert len(flat) == 2 * (1 + 2)
