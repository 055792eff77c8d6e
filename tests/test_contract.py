"""What ``describe`` promises of every descriptor, one of a user too: symmetries, and the rows."""

import numpy as np
import pytest
from ase import Atoms
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from tests.systems import (
    CHIRAL_KINDS,
    HYPERS,
    INVARIANT_KINDS,
    OWN,
    SPECIES,
    SYSTEMS,
    methanol,
    read,
    slab,
)
from tripletjax import describe
from tripletjax.basis.angular import wigner_matrix
from tripletjax.descriptors.kinds import KINDS
from tripletjax.testing import INVARIANCE, PADDING, assert_close, random_rotation, tolerance

TURN = random_rotation(7)
ROTATIONS = {
    "rotation": TURN,
    "rotation that permutes the axes": np.roll(np.eye(3), 1, axis=0),
    "half turn": np.diag([-1.0, 1.0, -1.0]),
}
INVERSIONS = {"inversion": -np.eye(3), "mirror": np.diag([1.0, -1.0, 1.0]), "improper": -TURN}

kinds = pytest.mark.parametrize("kind", [*KINDS, OWN])
systems = pytest.mark.parametrize("system", SYSTEMS)


def described(frames, kind, **changes):
    return describe(frames, **read(kind, **({"species": SPECIES} | changes)))


def transformed(atoms: Atoms, matrix: np.ndarray) -> Atoms:
    """The structure turned by an orthogonal matrix, its cell too."""
    result = atoms.copy()
    result.set_cell(np.asarray(atoms.cell) @ matrix.T, scale_atoms=False)
    result.positions = atoms.positions @ matrix.T
    return result


def assert_same_rows(actual, expected, moved_to=None, change=lambda rows: rows, rtol=None):
    """Each atom of ``expected`` has, changed, the rows of ``moved_to[atom]`` in ``actual``.

    Triplets are compared as sets: equal distances may come in another order.
    """
    rtol = tolerance(INVARIANCE, actual.values) if rtol is None else rtol
    assert actual.names == expected.names
    assert len(actual.values) == len(expected.values)
    for atom in np.unique(expected.atom):
        here = expected.atom == atom
        there = actual.atom == (atom if moved_to is None else moved_to[atom])
        rows, found = change(expected.values[here]), actual.values[there]
        if expected.neighbors is not None:
            tags = expected.neighbors[here]
            tags = tags if moved_to is None else moved_to[tags]
            found = found[matched(rows, tags, found, actual.neighbors[there])]
        assert_close(found, rows, rtol, f"descriptors of atom {atom}", axis=-1)


def matched(rows, tags, found, found_tags):
    """For each row the place of the closest of the found ones with the same tagged atoms."""
    assert len(rows) == len(found)
    cost = cdist(rows.astype(float), found.astype(float))
    same_tags = (tags[:, None] == found_tags).all(-1)
    assert (same_tags.sum(1) > 0).all()
    return linear_sum_assignment(np.where(same_tags, cost, 1e9))[1]


def turn_density(matrix: np.ndarray):
    wigner = wigner_matrix(matrix, HYPERS["l_max"])

    def change(rows):
        coefficients = rows.reshape(len(rows), -1, len(wigner))
        return (coefficients @ wigner.T).reshape(rows.shape)

    return change


@pytest.mark.parametrize("matrix", (ROTATIONS | INVERSIONS).values(), ids=ROTATIONS | INVERSIONS)
@systems
@kinds
def test_turned_structure(kind, system, matrix):
    """Invariance under rotation and inversion; the density turns with the structure."""
    atoms = SYSTEMS[system]
    expected = described(atoms, kind)
    actual = described(transformed(atoms, matrix), kind)
    if kind == "density":
        assert_same_rows(actual, expected, change=turn_density(matrix))
    else:
        assert_same_rows(actual, expected)


@systems
@kinds
def test_translation(kind, system):
    atoms = SYSTEMS[system].copy()
    expected = described(atoms, kind)
    atoms.translate([1.3, -0.7, 2.1])
    assert_same_rows(described(atoms, kind), expected)


@kinds
def test_translation_by_lattice_vectors(kind):
    """Of each atom by another one, along the periodic directions; the cell stays."""
    atoms = slab()
    expected = described(atoms, kind)
    atoms.positions += np.array([[2, 0, -1], [-3, 0, 4]]) @ np.asarray(atoms.cell)
    assert_same_rows(described(atoms, kind), expected)


@kinds
def test_the_cell_is_a_choice(kind):
    """Other vectors of the same lattice, and a repeated cell, give the same environments."""
    atoms = slab()
    expected = described(atoms, kind)
    skewed = atoms.copy()
    skewed.set_cell(np.array([[1, 0, 0], [0, 1, 0], [2, 0, 1]]) @ np.asarray(atoms.cell))
    assert_same_rows(described(skewed, kind), expected)
    if kind != "triplets":  # whose tags then are atoms of other numbers
        repeated = described(atoms.repeat((2, 1, 3)), kind).values
        rtol = tolerance(INVARIANCE, repeated)
        assert_close(repeated, np.tile(expected.values, (6, 1)), rtol, axis=-1)


@pytest.mark.parametrize("system", ["methanol", "slab", "collinear"])
@kinds
def test_permutation_of_atoms(kind, system):
    atoms = SYSTEMS[system]
    order = np.random.default_rng(3).permutation(len(atoms))
    assert (order != np.arange(len(atoms))).any()
    permuted = described(atoms[order], kind)
    assert_same_rows(permuted, described(atoms, kind), moved_to=np.argsort(order))


@pytest.mark.parametrize("matrix", INVERSIONS.values(), ids=INVERSIONS)
@pytest.mark.parametrize("kind", CHIRAL_KINDS)
def test_chiral_parts_change_sign_under_inversion(kind, matrix):
    atoms = methanol()
    expected = described(atoms, kind, chiral=True)
    odd = np.array(["parity=-1" in name for name in expected.names])
    assert 0 < odd.sum() < len(odd)
    size = np.linalg.norm(expected.values, axis=-1)
    assert (np.linalg.norm(expected.values[:, odd], axis=-1) > 1e-3 * size).all()
    assert_same_rows(described(transformed(atoms, TURN), kind, chiral=True), expected)
    mirrored = described(transformed(atoms, matrix), kind, chiral=True)
    assert_same_rows(mirrored, expected, change=lambda rows: np.where(odd, -rows, rows))


@pytest.mark.parametrize("kind", CHIRAL_KINDS)
def test_chiral_only_adds_columns(kind, float32):
    atoms = methanol()
    achiral, chiral = described(atoms, kind), described(atoms, kind, chiral=True)
    even = np.array(["parity=-1" not in name for name in chiral.names])
    assert tuple(np.array(chiral.names)[even]) == achiral.names
    assert_close(chiral.values[:, even], achiral.values, tolerance(INVARIANCE, achiral.values))


@kinds
def test_rows_are_frame_major_and_columns_are_named(kind, float32):
    frames = [slab(), SYSTEMS["dimer"], methanol(), SYSTEMS["isolated atom"]]
    found = described(frames, kind)
    assert found.values.shape == (len(found.structure), len(found.names))
    assert len(set(found.names)) == len(found.names)
    if kind == "triplets":
        # n (n - 1) of each environment: 6 neighbours in the slab, 5 in methanol, 1, and none.
        assert np.bincount(found.structure, minlength=4).tolist() == [2 * 30, 0, 6 * 20, 0]
        assert (np.diff(found.structure) >= 0).all()
        for structure in (0, 2):
            assert (np.diff(found.atom[found.structure == structure]) >= 0).all()
        assert found.neighbors.shape == (len(found.values), 2)
    else:
        assert found.structure.tolist() == [0] * 2 + [1] * 2 + [2] * 6 + [3]
        assert found.atom.tolist() == [0, 1, 0, 1, 0, 1, 2, 3, 4, 5, 0]
        assert found.neighbors is None


@kinds
def test_a_row_does_not_depend_on_other_frames(kind):
    frames = [slab(), SYSTEMS["collinear"], methanol(), SYSTEMS["isolated atom"]]
    together = described(frames, kind)
    for index, frame in enumerate(frames):
        alone, rows = described(frame, kind), together.structure == index
        rtol = tolerance(PADDING, alone.values)
        assert together.atom[rows].tolist() == alone.atom.tolist()
        assert_close(together.values[rows], alone.values, rtol, axis=-1)
        if kind == "triplets":
            assert together.neighbors[rows].tolist() == alone.neighbors.tolist()


@pytest.mark.parametrize("kind", ["power_spectrum", "triplets"])
def test_many_rows_are_those_of_few(kind, float32):
    """More environments than one compiled call takes, of several widths, interleaved."""
    frames = [SYSTEMS["collinear"], methanol(1), methanol(2)] * 4
    frames[4] = methanol(5)
    together = described(frames, kind)
    for index, frame in enumerate(frames):
        alone, rows = described(frame, kind), together.structure == index
        rtol = tolerance(PADDING, alone.values)
        assert_close(together.values[rows], alone.values, rtol, axis=-1)


@kinds
def test_centers_choose_rows_and_their_order(kind, float32):
    frames = [methanol(1), methanol(2)]
    everything, chosen = described(frames, kind), described(frames, kind, centers=[4, 0])
    rows = [
        np.nonzero((everything.structure == structure) & (everything.atom == atom))[0]
        for structure in (0, 1)
        for atom in (4, 0)
    ]
    rows = np.concatenate(rows)
    assert chosen.structure.tolist() == everything.structure[rows].tolist()
    assert chosen.atom.tolist() == everything.atom[rows].tolist()
    rtol = tolerance(PADDING, chosen.values)
    assert_close(chosen.values, everything.values[rows], rtol, axis=-1)


def test_neighbors_of_triplets_are_the_tagged_atoms(float32):
    atoms = methanol()
    found = described(atoms, "triplets")
    for row, center, (first, second) in zip(found.values, found.atom, found.neighbors, strict=True):
        arms = atoms.positions[[first, second]] - atoms.positions[center]
        r1, r2 = np.linalg.norm(arms, axis=-1)
        expected = [r1, r2, arms[0] @ arms[1] / (r1 * r2)]
        assert_close(row[:3], expected, tolerance(INVARIANCE, row))
        assert len({center, first, second}) == 3


@kinds
def test_the_record_is_enough_to_compute_the_same_again(kind, float32):
    atoms = methanol()
    first = described(atoms, kind, n_max=1, l_max=1, cutoff_function="smooth")
    again = describe(atoms, **first.hypers)
    assert first.hypers["cutoff"] == HYPERS["cutoff"]
    np.testing.assert_array_equal(again.values, first.values)
    assert again.names == first.names and again.hypers == first.hypers


@pytest.mark.parametrize("name", ["float32", "float64"])
@kinds
def test_dtype_is_chosen_whatever_the_default(kind, name, dtype):
    atoms = methanol()
    found = described(atoms, kind, dtype=name)
    assert found.values.dtype == name
    assert described(atoms, kind).values.dtype == dtype
    if kind != "density":
        # Full precision inside, not only in the result.
        turned = described(transformed(atoms, TURN), kind, dtype=name)
        assert_same_rows(turned, found)


def test_one_frame_or_a_list_or_a_generator(float32):
    atoms = methanol()
    one, several = described(atoms, "power_spectrum"), described([atoms], "power_spectrum")
    generated = described((frame for frame in [atoms]), "power_spectrum")
    for other in (several, generated):
        np.testing.assert_array_equal(other.values, one.values)
        np.testing.assert_array_equal(other.structure, one.structure)


def test_species_may_be_symbols_and_need_no_order(float32):
    atoms = methanol()
    one = described(atoms, "power_spectrum")
    other = described(atoms, "power_spectrum", species=["O", "H", "C"])
    np.testing.assert_array_equal(other.values, one.values)
    assert other.hypers == one.hypers
    # None takes those that occur, here all of them.
    assert described(atoms, "power_spectrum", species=None).names == one.names


@pytest.mark.parametrize("kind", INVARIANT_KINDS)
def test_species_matter(kind, float32):
    """Swapping the species of two neighbours changes every invariant description."""
    atoms = methanol()
    swapped = atoms.copy()
    swapped.numbers[[2, 1]] = swapped.numbers[[1, 2]]
    assert swapped.numbers.tolist() != atoms.numbers.tolist()
    one, other = (described(frame, kind, centers=[0]).values for frame in (atoms, swapped))
    assert np.linalg.norm(one - other) > 1e-2 * np.linalg.norm(one)
