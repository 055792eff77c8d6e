"""Certificates against known symmetries, and the resolution at which pairs of rings part."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from tests.systems import environment
from tripletjax import InputError, descriptor
from tripletjax.basis.densities import density_coefficients
from tripletjax.completeness.certificates import certificate, resolution_needed
from tripletjax.completeness.families import coprime_rings
from tripletjax.testing import random_rotation
from tripletjax.types import Basis

pytestmark = pytest.mark.once("float64")

BASIS = Basis(cutoff=3.0, radial="chebyshev", n_max=2, l_max=4)
TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)


def alike(vectors):
    return np.asarray(vectors, float), np.zeros(len(vectors), int), np.ones(len(vectors), bool)


def ring(n, radius=1.0, height=0.0):
    angles = 2 * np.pi * np.arange(n) / n
    return np.stack([radius * np.cos(angles), radius * np.sin(angles), np.full(n, height)], 1)


@pytest.mark.parametrize(
    "vectors, order",
    [(TETRAHEDRON, 24), (ring(4), 16), (ring(5, height=0.7), 10), (ring(3), 12)],
)
def test_point_groups_are_found(vectors, order):
    """T_d, D_4h, C_5v and D_3h, turned at random, seen at a resolution that tells them."""
    found = certificate(*alike(vectors @ random_rotation(3).T), replace(BASIS, l_max=5))
    assert len(found.isometries) == order
    assert found.same_symmetry and found.certified and found.anchors.all()
    assert found.density_symmetry == found.environment_symmetry == 0


def test_isometries_leave_the_density(float64):
    vectors, species, mask = alike(np.concatenate([ring(3), ring(2, 1.5)]))
    found = certificate(vectors, species, mask, replace(BASIS, l_max=2))
    expected = density_coefficients(vectors, species, mask, replace(BASIS, l_max=2), 1)
    assert len(found.isometries) > 1
    for turn in found.isometries:
        assert abs(turn @ turn.T - np.eye(3)).max() < 1e-12
        turned = density_coefficients(vectors @ turn.T, species, mask, replace(BASIS, l_max=2), 1)
        assert abs(turned - expected).max() < 1e-6 * np.linalg.norm(expected)


def test_a_regular_ring_looks_axial_below_its_order():
    """c of an n-fold ring has orders m = 0 and n only: at l_max < n it is symmetric about z."""
    for n in (3, 5):
        vectors = np.concatenate([ring(n), ring(n, 1.7) @ about_z(0.3).T])
        coarse = certificate(*alike(vectors), replace(BASIS, l_max=n - 1))
        assert coarse.density_symmetry == 1 and coarse.environment_symmetry == 0
        assert not coarse.certified and not coarse.same_symmetry
        fine = certificate(*alike(vectors), replace(BASIS, l_max=n))
        assert fine.density_symmetry == 0 and fine.certified


def about_z(angle):
    return np.array([
        [np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1],
    ])  # fmt: skip


def test_without_angular_resolution_only_one_neighbor_a_species_is_certified():
    basis = replace(BASIS, l_max=0)
    assert certificate(*alike(TETRAHEDRON[:1]), basis).certified
    found = certificate(*alike(TETRAHEDRON), basis)
    assert found.density_symmetry == 3 and not found.certified


@pytest.mark.parametrize("vectors", [np.zeros((0, 3)), [[0, 0, 1.0]], [[0, 0, 1.0], [0, 0, -1.5]]])
def test_empty_and_collinear_environments(vectors):
    found = certificate(*alike(np.reshape(vectors, (-1, 3))), BASIS)
    assert found.certified and found.n_neighbors == len(vectors)
    assert found.environment_symmetry == found.density_symmetry == (1 if len(vectors) else 3)


def test_general_environments_are_certified_at_low_resolution():
    for seed in range(3):
        vectors, species, mask = environment(seed=seed)
        found = certificate(vectors, species, mask, replace(BASIS, l_max=1))
        assert found.certified and len(found.isometries) == 1


def test_only_neighbors_inside_the_cutoff_count():
    vectors, species, mask = environment()
    expected = certificate(vectors, species, mask, BASIS)
    further = np.concatenate([vectors, [[3.0, 0, 0], [0, 1.0, 0]]])
    padded = certificate(further, np.append(species, [0, 0]), np.append(mask, [True, False]), BASIS)
    assert padded.n_neighbors == expected.n_neighbors == len(vectors)


@pytest.mark.parametrize("l_max, enough", [(1, False), (2, True)])
def test_the_inequality_for_untagged_neighbors(l_max, enough):
    """Seven of a species, two tagged: 15 unknowns against 2 (l_max + 1)² coefficients."""
    random = np.random.default_rng(0)
    vectors = random.normal(size=(7, 3))
    vectors *= np.linspace(1, 2, 7)[:, None] / np.linalg.norm(vectors, axis=1, keepdims=True)
    found = certificate(*alike(vectors), replace(BASIS, l_max=l_max), tags=2)
    assert found.enough_coefficients == enough and not found.certified
    assert certificate(*alike(vectors), replace(BASIS, l_max=l_max), tags=7).certified


RINGS = {
    "3x4": (dict(p=3, q=4, a=(0, 1), b=(0, 1)), 3),
    "6x7": (dict(p=6, q=7, a=(0, 1, 3), b=(0, 1, 3), radii_a=1.9, radii_b=3.1), 7),
}


@pytest.mark.parametrize("name", RINGS)
def test_the_resolution_at_which_coprime_rings_part(name, float64):
    """The certificate of each member alone predicts the first l_max that tells the two apart.

    3x4: one family shows its handedness to the density, so that no turn carries an atom of the
    other family to an atom of its kind. 6x7: that takes both families, m = 6 and m = 7.
    """
    parameters, expected = RINGS[name]
    pair = coprime_rings(**parameters)
    basis = Basis(cutoff=5.0, radial="chebyshev", n_max=2)
    members = [points[1:] - points[0] for points in (pair.first, pair.second)]
    species = np.searchsorted(np.unique(pair.species), pair.species[1:])
    mask = np.ones(len(species), bool)
    for vectors in members:
        assert resolution_needed(vectors, species, mask, basis, range(1, 9)) == expected
    for l_max, parted in ((expected - 1, False), (expected, True)):
        fingerprint = descriptor(
            "fingerprint", tuple(np.unique(pair.species).tolist()), cutoff=5.0,
            radial="chebyshev", n_max=2, l_max=l_max, n_features=16, length_scale=0.5,
        )  # fmt: skip
        evaluate = jax.jit(lambda v, d=fingerprint: d.environment(v, species, mask))
        first, second = (np.asarray(evaluate(vectors)) for vectors in members)
        distance = np.linalg.norm(first - second) / np.linalg.norm(first)
        assert (distance > 1e-11) == parted, f"l_max={l_max}: {distance:.1e}"


def test_no_degrees_are_refused():
    with pytest.raises(InputError, match="degrees"):
        resolution_needed(*alike(TETRAHEDRON), BASIS, [])
