"""The families of degenerate structures: what they claim, and what the descriptors see of them."""

import warnings
from functools import cache, partial
from itertools import product

import jax
import numpy as np
import pytest

from tripletjax import describe
from tripletjax.completeness.families import (
    FAMILIES,
    INVARIANTS,
    DegeneratePair,
    b8,
    capped_ring,
    centrosymmetric,
    circle_sets,
    circle_sums,
    coprime_rings,
    difference,
    double_ring,
    homometric_crystal,
    instances,
    k_chain,
    layered_colors,
    line_sums,
    methane,
    periodic_column,
    permuted_tetrahedra,
    planar_c,
    polyhedron_colors,
    polyhedron_subsets,
    rectangle_apex,
    relation_between,
    rotated_polygon,
    rotated_polyhedron,
    trapezium_kite,
    two_neighbors,
    verify,
    x_plus_minus,
)
from tripletjax.completeness.families.isometry import neighborhood
from tripletjax.descriptors.base import descriptor
from tripletjax.testing import random_rotation
from tripletjax.types import InputError

pytestmark = pytest.mark.once("float64")

PAIRS = {pair.name: pair for pair in instances()}
KINDS = ("power_spectrum", "bispectrum")


ELEMENTS = (1, 6, 8)
# One radial function and few degrees keep the suite fast; rings of 6·7 sites need l = 7.
HYPERS = {
    "power_spectrum": {"n_max": 2, "l_max": 4},
    "bispectrum": {"n_max": 2, "l_max": 3},
    "fingerprint": {"n_max": 1, "l_max": 7, "n_features": 256},
}
# Å; those of environments and finite structures span them, but for two long lines.
CUTOFFS = {"environment": 6.0, "structure": 10.0, "periodic": 4.6}
WIDTHS = (12, 40)  # neighbours, padded, so that two programs serve all pairs
BLOCK = 8  # environments at once


def sort_of(pair: DegeneratePair) -> str:
    if pair.cell is not None:
        return "periodic"
    return "structure" if pair.center is None else "environment"


def environments(pair: DegeneratePair, positions: np.ndarray):
    """Vectors and channels around the centre, or around every atom."""
    channels = np.unique(pair.species[np.arange(len(pair.species)) != pair.center])
    centers = range(len(positions)) if pair.center is None else [pair.center]
    for center in centers:
        cutoff = CUTOFFS[sort_of(pair)]
        vectors, species = neighborhood(positions, pair.species, center, pair.cell, cutoff)
        inside = np.linalg.norm(vectors, axis=1) < cutoff
        channel = np.searchsorted(channels, species[inside]).astype(np.int32)
        central = min(np.searchsorted(channels, pair.species[center]), len(channels) - 1)
        yield vectors[inside], channel, np.int32(central)


@cache
def descriptions(kind: str, sort: str) -> dict[str, np.ndarray]:
    """Descriptors [2, D] of both members of each pair, in float64, summed over the centres."""
    pairs = [pair for pair in PAIRS.values() if sort_of(pair) == sort]
    if kind != "fingerprint":
        pairs = [pair for pair in pairs if kind in pair.defeats + pair.separated_by]
    chosen = descriptor(kind, ELEMENTS, cutoff=CUTOFFS[sort], **HYPERS[kind])
    rows = [
        (index, *environment)
        for index, (pair, member) in enumerate(product(pairs, (0, 1)))
        for environment in environments(pair, (pair.first, pair.second)[member])
    ]
    sums = np.zeros((2 * len(pairs), len(chosen.names)))
    with jax.enable_x64(True):
        program = jax.jit(jax.vmap(partial(chosen.apply, chosen.parameters)))
        for low, width in zip((0, *WIDTHS), WIDTHS, strict=False):
            fitting = [row for row in rows if low < len(row[1]) <= width or len(row[1]) == low == 0]
            for start in range(0, len(fitting), BLOCK):
                block = fitting[start : start + BLOCK]
                vectors, species = np.zeros((BLOCK, width, 3)), np.zeros((BLOCK, width), np.int32)
                mask, central = np.zeros((BLOCK, width), bool), np.zeros(BLOCK, np.int32)
                for slot, (_, vector, channel, center) in enumerate(block):
                    order = np.argsort(np.linalg.norm(vector, axis=1), kind="stable")
                    vectors[slot, : len(order)] = vector[order]
                    species[slot, : len(order)], central[slot] = channel[order], center
                    mask[slot, : len(order)] = True
                values = np.asarray(program(vectors, species, mask, central))
                np.add.at(sums, [row[0] for row in block], values[: len(block)])
    assert max(len(row[1]) for row in rows) <= WIDTHS[-1]
    return {
        pair.name: both for pair, both in zip(pairs, sums.reshape(len(pairs), 2, -1), strict=True)
    }


def relative_distance(pair: DegeneratePair, kind: str) -> float:
    one, other = descriptions(kind, sort_of(pair))[pair.name]
    return float(np.linalg.norm(one - other) / np.linalg.norm(one))


@pytest.mark.parametrize("name", PAIRS)
def test_claims_hold_and_are_sharp(name):
    """What is defeated agrees to 1e-12, what separates differs, the relation is as it says."""
    pair = PAIRS[name]
    assert verify(pair).failures == ()
    assert bool(pair.separated_by) == (pair.relation != "rotation")
    assert set(pair.defeats + pair.separated_by) <= set(INVARIANTS)
    assert np.array_equal(*[frame.numbers for frame in pair.frames()])


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_are_of_atomic_size(name):
    for frame in PAIRS[name].frames():
        distances = frame.get_all_distances(mic=True)
        closest = 0.55 if name == "coprime_rings/6x7" else 0.75
        assert distances[~np.eye(len(frame), dtype=bool)].min() > closest


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [n for n in PAIRS if "power_spectrum" in PAIRS[n].defeats])
def test_correlations_are_blind_where_claimed(name, kind):
    """For center=None the sum over atoms agrees: a model of pooled correlations is blind."""
    if kind in PAIRS[name].defeats:
        assert relative_distance(PAIRS[name], kind) < 1e-13


@pytest.mark.parametrize("name", [n for n in PAIRS if "power_spectrum" in PAIRS[n].separated_by])
def test_the_power_spectrum_sees_angles(name):
    """Pairs that only distances cannot part, summed over all atoms: a pooled one is enough."""
    assert relative_distance(PAIRS[name], "power_spectrum") > 1e-6


@pytest.mark.parametrize("name", PAIRS)
def test_the_fingerprint_parts_all_but_isometric_pairs(name):
    distance = relative_distance(PAIRS[name], "fingerprint")
    if PAIRS[name].relation == "none":
        assert distance > 1e-12
    else:
        assert distance < 1e-13


def test_a_chiral_fingerprint_parts_mirror_images():
    """A planar ring with a cap, whose handedness no triple of neighbours shows, and another."""
    frames = [frame for pair in instances(["capped_ring"])[:2] for frame in pair.frames()]
    hypers = {"cutoff": 6.0, "n_max": 2, "l_max": 4, "n_features": 256, "chiral": True}
    values = describe(frames, "fingerprint", centers=[0], **hypers).values
    gaps = np.linalg.norm(values[::2] - values[1::2], axis=1)
    assert (gaps > 1e-4 * np.linalg.norm(values[::2], axis=1)).all()


@pytest.mark.parametrize("name", ["ch6o", "periodic_column"])
def test_describe_takes_the_frames(name):
    """The door for people: blind and seeing as the pure functions are, periodic frames too."""
    pair = PAIRS[name]
    for kind, low, high in (("bispectrum", 0.0, 1e-13), ("fingerprint", 1e-6, 1.0)):
        hypers = {"cutoff": 6.0, "n_max": 2, "l_max": 4, "dtype": "float64"}
        one, other = describe(pair.frames(), kind, centers=[pair.center], **hypers).values
        assert low <= np.linalg.norm(one - other) / np.linalg.norm(one) < high


def test_the_fold_of_methane():
    """Power spectra are even in the last angle, so that their derivative vanishes at the fold."""
    gaps = [difference(methane(theta_c=theta), "bispectrum") for theta in (0.02, 0.01, 0.005)]
    assert np.allclose(np.array(gaps[:-1]) / gaps[1:], 2.0, rtol=0.05)
    with pytest.raises(InputError, match="rotation"):
        methane(theta_c=0.0)


@pytest.mark.parametrize("name", ["b8", "k_chain", "capped_ring/raised", "homometric_crystal"])
def test_false_claims_are_found(name):
    pair = PAIRS[name]
    wrong = pair._replace(
        defeats=pair.separated_by, separated_by=pair.defeats[:1], relation="rotation"
    )
    assert len(verify(wrong).failures) == 2 + len(pair.separated_by)


@pytest.mark.parametrize("name", ["x_plus_minus", "coprime_rings", "line_sums", "k_chain"])
@pytest.mark.parametrize("determinant", [1, -1])
def test_relations_are_found(name, determinant):
    """A turned, reflected and permuted copy of a member without symmetry, or with a mirror."""
    pair = PAIRS[name]
    order = np.random.default_rng(0).permutation(np.arange(1, len(pair.species)))
    order = np.concatenate([[0], order])
    copy = determinant * pair.first @ random_rotation(3).T
    copied = pair._replace(second=copy[order])
    if (pair.species == pair.species[order]).all():
        planar = np.linalg.matrix_rank(pair.first, tol=1e-9) < 3
        expected = "rotation" if determinant == 1 or planar else "reflection"
        assert relation_between(copied) == expected
    assert relation_between(pair._replace(second=1.001 * copy)) == "none"


@pytest.mark.parametrize("make", [
    lambda: two_neighbors(angles=(1.0, 1.0)),
    lambda: two_neighbors(radius=-1.0),
    lambda: two_neighbors(species=("C", "H")),
    lambda: x_plus_minus(c=(0.0, 0.5)),
    lambda: x_plus_minus(a=(0.0, 0.0)),
    lambda: x_plus_minus(species=("C", "H", "H", "O", "H")),
    lambda: x_plus_minus(b=(0.0, 0.5, 0.5)),
    lambda: x_plus_minus(a=(np.nan, 1.0)),
    lambda: circle_sets(second=(0, 1, 2, 6)),
    lambda: circle_sets(second=(0, 1, 3, 4)),
    lambda: circle_sets(first=(0, 8, 1, 3)),
    lambda: circle_sums(b=(0.0, 1.1)),
    lambda: circle_sums(a=(0.0, 1.0, 2.5), b=(0.0, 1.0, 2.5)),
    lambda: centrosymmetric(cosines=(0.9, 0.9, 0.9)),
    lambda: centrosymmetric(cosines=(0.4, 0.4, 0.0)),
    lambda: centrosymmetric(species=("C", "Xx", "N", "N")),
    lambda: b8(phi1=2.0, phi2=2.0),
    lambda: double_ring(ring=(0.0, 2.0, 4.0)),
    lambda: double_ring(other=(0.0, 1.0, 2.0)),
    lambda: double_ring(species=("C", "H", "F", "O")),
    lambda: capped_ring(ring=(0.0, 2.0, 4.0)),
    lambda: capped_ring(relation="none"),
    lambda: polyhedron_subsets("cube_7"),
    lambda: polyhedron_subsets(radii=(1.0, 2.0)),
    lambda: coprime_rings(p=4, q=6),
    lambda: coprime_rings(p=2),
    lambda: coprime_rings(radii_a=2.0),
    lambda: coprime_rings(radii_a=(2.0, -1.0)),
    lambda: coprime_rings(b=(0, 1, 3)),
    lambda: coprime_rings(radii_b=(1.6, 2.5), species=("C", "H", "H")),
    lambda: trapezium_kite(a=0.0),
    lambda: planar_c(c=0.0),
    lambda: planar_c(species=("C", "C", "O", "C")),
    lambda: permuted_tetrahedra(permutation=(1, 0, 2, 3, 5, 4)),
    lambda: permuted_tetrahedra(permutation=(0, 0, 1, 2, 3, 4)),
    lambda: permuted_tetrahedra(edges=(1.0, 1.0, 1.0, 1.0, 1.0, 3.0)),
    lambda: line_sums(b=(0.0, 2.0)),
    lambda: rectangle_apex(sides=(2.0, 2.0)),
    lambda: rectangle_apex(sides=(2.0, 1.0), height=0.0),
    lambda: polyhedron_colors(solids=("sphere",)),
    lambda: polyhedron_colors(first=((0, 1, 2, 3, 4, 20),)),
    lambda: polyhedron_colors(second=((8, 9, 10, 11, 16),)),
    lambda: polyhedron_colors(second=((8, 9, 10, 11, 12, 15),)),
    lambda: layered_colors(scales=(1.0, 1.0, 1.0)),
    lambda: k_chain(k=1),
    lambda: k_chain(angle=np.pi),
    lambda: k_chain(angle=0.5),
    lambda: periodic_column("double_ring"),
    lambda: periodic_column(period=0.0),
    lambda: homometric_crystal(second=(0, 1, 2, 6)),
    lambda: homometric_crystal(second=(0, 1, 3, 4)),
    lambda: rotated_polygon(n=1),
    lambda: rotated_polyhedron("sphere"),
    lambda: instances(["x_pm"]),
    lambda: difference(b8(), "nu17"),
])  # fmt: skip
def test_parameters_that_destroy_the_class_are_refused(make):
    with warnings.catch_warnings(), pytest.raises(InputError) as caught:
        make()
    assert "\n" not in str(caught.value) and len(str(caught.value)) > 20


def test_instances_are_the_same_every_time():
    for one, other in zip(instances(), PAIRS.values(), strict=True):
        assert one.name == other.name
        assert np.array_equal(one.first, other.first) and np.array_equal(one.second, other.second)
    assert {name.split("/")[0] for name in PAIRS} == set(FAMILIES)
    assert len(PAIRS) == len(instances())


def test_generators_leave_their_arguments_alone():
    radii = np.array([1.2, 1.5, 1.9])
    centrosymmetric(radii=radii)
    assert radii.tolist() == [1.2, 1.5, 1.9]
