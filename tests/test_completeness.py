"""What each descriptor sees and what it cannot, on environments made for it."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from tripletjax import describe
from tripletjax.data.b8 import load_b8
from tripletjax.demo import DESCRIPTORS, pair_distances

SMALL = {"cutoff": 3.0, "n_max": 2, "l_max": 2, "n_features": 64}


@pytest.fixture(scope="module")
def pairs():
    return load_b8().frames(slice(0, 60))


def relative_distance(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(a)


@pytest.mark.parametrize("kind", ["power_spectrum", "bispectrum", "triplet_sum"])
def test_four_body_correlations_are_blind_to_b8(kind, pairs, dtype):
    values = describe(pairs, kind, centers=[0], **DESCRIPTORS[kind]).values
    assert pair_distances(values).max() < 1e3 * np.finfo(dtype).eps


@pytest.mark.once("float64")
@pytest.mark.parametrize("form", ["edge", "stretched"])
def test_the_linear_sum_is_blind_in_either_form(form, pairs, dtype):
    hypers = {"cutoff": 2.0, "n_max": 2, "l_max": 3, "form": form}
    values = describe(pairs, "triplet_sum", centers=[0], **hypers).values
    assert pair_distances(values).max() < 1e3 * np.finfo(dtype).eps


@pytest.mark.once("float64")
@pytest.mark.parametrize("resolution", [{"n_max": 2, "l_max": 6}, {"n_max": 1, "l_max": 1}])
def test_the_fingerprint_parts_b8(resolution, pairs):
    hypers = DESCRIPTORS["fingerprint"] | {"n_features": 256} | resolution
    distances = pair_distances(describe(pairs, "fingerprint", centers=[0], **hypers).values)
    assert np.median(distances) > 1e-4


def test_mirror_images_part_only_if_chiral(dtype):
    left = Atoms("CHFClBr", positions=[[0, 0, 0], [1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]])
    right = left.copy()
    right.positions[:, 0] *= -1
    distances = []
    for chiral in (False, True):
        values = describe([left, right], centers=[0], chiral=chiral, **SMALL).values
        distances.append(relative_distance(*values))
    assert distances[0] < 1e2 * np.finfo(dtype).eps
    assert distances[1] > 1e-3


def test_a_turned_pair_is_equal(dtype):
    one = molecule("CH3CH2OH")
    other = one.copy()
    other.euler_rotate(20, 50, 70)
    values = describe([one, other], centers=[0], **SMALL).values
    assert relative_distance(*values) < 1e2 * np.finfo(dtype).eps


@pytest.mark.once("float64")
@pytest.mark.parametrize("one, other", [((1, 2, -2), (1, 2, 2.5)), ((1, 2, -1.5), (1, -2, -1.5))])
def test_collinear_environments_part(one, other):
    """They have no triplet that spans a frame: level 1 must do it."""
    frames = [Atoms("C4", [[0, 0, 0], *([0, 0, z] for z in heights)]) for heights in (one, other)]
    assert relative_distance(*describe(frames, centers=[0], **SMALL).values) > 1e-3


@pytest.mark.once("float64")
def test_equal_distances_on_a_line_part():
    """One neighbour on each side, or two on one side of a bent angle: same distances."""
    straight = Atoms("CO2", [[0, 0, 0], [0, 0, 1.2], [0, 0, -1.2]])
    bent = Atoms("CO2", [[0, 0, 0], [0, 0, 1.2], [0, 1.2, 0]])
    assert relative_distance(*describe([straight, bent], centers=[0], **SMALL).values) > 1e-3


@pytest.mark.once("float64")
def test_empty_environments_part_by_their_centre():
    values = describe([Atoms("H"), Atoms("O")], **SMALL).values
    assert relative_distance(*values) > 0.1


@pytest.mark.once("float64")
def test_species_of_centre_and_neighbours_matter():
    frames = [Atoms(symbols, molecule("H2O").positions) for symbols in ("OHH", "OHF", "FHH", "OFH")]
    rows = describe(frames, centers=[0], **SMALL).values
    assert relative_distance(rows[0], rows[1]) > 1e-2
    assert relative_distance(rows[0], rows[2]) > 1e-2
    assert relative_distance(rows[1], rows[3]) < 1e-5  # a mirror image: nothing has changed
