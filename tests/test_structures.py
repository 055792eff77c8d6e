"""Where a structure lies and how it is wrapped changes nothing, in float32 either."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111

from tests.md_runs import springs
from tests.systems import methanol, quick_jit
from tripletjax import InputError, prepare
from tripletjax.neighbors import displacements, find_pairs
from tripletjax.structures import centred, first_unknown, full_cell, require_elements


def skewed() -> Atoms:
    cell = [[3.1, 0, 0], [1.0, 3.3, 0], [1.2, 0.7, 4.1]]
    return Atoms("H2O", [[0, 0, 0], [1, 0, 0], [0.2, 1, 1]], cell=cell, pbc=True)


FRAMES = {
    "molecule": methanol(),
    "small cell": bulk("Si", "diamond", a=5.43),
    "slab": fcc111("Al", (2, 2, 3), vacuum=4.0),
    "skewed": skewed(),
    "wire": Atoms("C2", [[0, 0, 0], [1.3, 0.1, 0.2]], cell=[2.5, 0, 0], pbc=[True, False, False]),
}
FAR = np.array([1e4, -1e4, 0.7e4])


def moved(frame: Atoms, shift=FAR, seed: int = 0) -> Atoms:
    """Elsewhere, with every atom some lattice vectors away along the periodic directions."""
    wraps = np.random.default_rng(seed).integers(-400, 400, size=(len(frame), 3)) * frame.pbc
    result = frame.copy()
    result.positions += shift + wraps @ full_cell(frame)
    return result


@pytest.mark.parametrize("name", FRAMES)
def test_forces_in_float32_far_from_the_origin(name, float32):
    """Positions in the thousands resolve 1e-3 Å in float32: they must not reach it."""
    frame = FRAMES[name].copy()
    frame.rattle(0.05, seed=1)
    potential = springs(frame.numbers)
    evaluate = quick_jit(potential.without_references.energy_forces_stress)
    here = evaluate(potential.prepare(frame, "float32"))
    scale = abs(here.forces).max()
    for other in (moved(frame, 0 * FAR), moved(frame)):
        there = evaluate(potential.prepare(other, "float32"))
        np.testing.assert_allclose(there.energy, here.energy, rtol=1e-5)
        np.testing.assert_allclose(there.forces, here.forces, atol=1e-5 * scale)
        np.testing.assert_allclose(there.stress, here.stress, atol=1e-5 * abs(here.stress).max())


@pytest.mark.parametrize("name", FRAMES)
def test_vectors_are_those_between_the_atoms(name, float64):
    """The shifts of a batch and of find_pairs go with the positions of each."""
    frame = moved(FRAMES[name])
    for wrap in (True, False):
        batch = prepare(frame, 4.0, wrap=wrap)
        vectors = np.asarray(displacements(batch)[0])[batch.neighbor_mask]
        pairs = find_pairs(frame, 4.0, np.arange(len(frame)))
        np.testing.assert_allclose(vectors, pairs.vectors, atol=1e-10)
        assert (batch.shifts == np.rint(batch.shifts)).all()
    np.testing.assert_array_equal(batch.positions[: len(frame)], frame.positions)
    first, second = pairs.centers[pairs.environment], pairs.neighbors
    by_hand = frame.positions[second] - frame.positions[first] + pairs.shifts @ full_cell(frame)
    np.testing.assert_allclose(pairs.vectors, by_hand, atol=1e-8)


@pytest.mark.parametrize("name", FRAMES)
def test_centred_positions(name, float64):
    """Near the origin, the same from anywhere, with a way back that follows the cell."""
    frame = FRAMES[name]
    other = moved(frame)
    place = centred(other)
    np.testing.assert_allclose(place.positions, centred(frame).positions, atol=1e-9)
    extent = np.abs(full_cell(frame)[frame.pbc]).sum() + np.ptp(frame.positions, axis=0).max()
    assert np.abs(place.positions).max() <= extent
    cell = full_cell(other)
    np.testing.assert_allclose(place.restored(place.positions, cell), other.positions, atol=1e-8)
    stretched = place.restored(place.positions, 2 * cell) - other.positions
    np.testing.assert_allclose(stretched, place.wraps @ cell, atol=1e-8)


def test_what_float32_cannot_resolve_is_said():
    """Molecules far from each other, not from the origin."""
    frame = Atoms("H2", [[0, 0, 0], [1e4, 0, 0]])
    with pytest.warns(UserWarning, match=r"frame 1 extends 5e\+03 Å from its centre.*5e-04 Å"):
        prepare([FRAMES["molecule"], frame], dtype="float32")
    prepare(frame, dtype="float64")
    prepare(moved(FRAMES["molecule"]), dtype="float32")


def test_a_vector_that_no_direction_uses():
    """A third vector in the plane of a slab does not matter."""
    frame = Atoms("C", cell=[[2, 0, 0], [0, 2, 0], [1, 1, 0]], pbc=[True, True, False])
    pairs = find_pairs(frame, 2.1, np.arange(1))
    assert len(pairs.neighbors) == 4
    assert prepare(frame, 2.1).cells[0, 2].tolist() == [0, 0, 1]


def test_the_first_unknown_species_is_found():
    frames = [Atoms("H2"), Atoms("HCO"), Atoms("N")]
    assert first_unknown(frames, np.array([1, 6])) == (1, 2)
    assert first_unknown(frames, (1, 6, 7, 8)) is None
    with pytest.raises(InputError, match="atom 2 of frame 1 has atomic number 8"):
        require_elements(frames, ["H", "C", "7"])
