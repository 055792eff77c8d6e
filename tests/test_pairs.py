"""Pairs of atoms by cells and by a tree: the same, for structures of any shape and spread."""

import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene, molecule

from tests.systems import slab
from tripletjax import InputError, prepare
from tripletjax.pairs import _Box, _memory, check_spots, find_pairs
from tripletjax.structures import centred, full_cell

pytestmark = pytest.mark.once("float64")

CORNERS = [[0, 0, 0], [1e4, 0, 0], [0, 1e4, 0]]


def box(frame: Atoms) -> _Box:
    return _Box(centred(frame).positions, full_cell(frame), frame.pbc)


def by_key(pairs) -> dict:
    keys = zip(pairs.first, pairs.second, *pairs.shifts.T, strict=True)
    values = zip(pairs.distances, *pairs.vectors.T, strict=True)
    found = dict(zip((tuple(map(int, key)) for key in keys), values, strict=True))
    assert len(found) == len(pairs.first)
    return found


@pytest.mark.parametrize("pbc", list(np.ndindex(2, 2, 2)))
def test_tree_and_cells_agree(pbc):
    random = np.random.default_rng(0)
    for cutoff, copies in ((4.0, (2, 1, 1)), (9.1, (1, 1, 1)), (1.2, (3, 1, 2))):
        frame = slab().repeat(copies)
        frame.pbc = pbc
        frame.positions += random.normal(scale=3.0, size=frame.positions.shape)
        cells, tree = (
            by_key(find(cutoff)) for find in (box(frame).pairs_by_cells, box(frame).pairs_by_tree)
        )
        assert cells.keys() == tree.keys()
        for key, value in cells.items():
            np.testing.assert_allclose(value, tree[key], atol=1e-10)


SPREAD = {
    "three atoms far apart": (Atoms("H3", CORNERS), 0),
    "pairs far apart": (Atoms("H6", [*CORNERS, *np.add(CORNERS, [0.7, 0, 0])]), 1),
    "a flat periodic cell": (Atoms("H", cell=[3e3, 3e3, 1.5], pbc=True), 6),
    "a thin periodic cell": (Atoms("H", cell=[1e6, 1.5, 1.5], pbc=True), 36),
    "a thread": (Atoms("H2", [[0, 0, 0], [1e6, 0, 0]]), 0),
    "a wide slab": (
        Atoms("H2", [[0, 0, 0], [9e3, 9e3, 9e3]], cell=[1e4, 1e4, 0], pbc=(1, 1, 0)),
        0,
    ),
}


@pytest.mark.parametrize("frame, neighbors", SPREAD.values(), ids=SPREAD)
def test_flat_and_wide_structures(frame, neighbors):
    """Where cells of a fixed number would have no length along the shortest side."""
    pairs = find_pairs(frame, 5.0, np.arange(len(frame)))
    counts = np.bincount(pairs.environment, minlength=len(frame))
    assert counts.tolist() == [neighbors] * len(frame)


def test_a_flat_sheet():
    sheet = graphene(size=(60, 60, 1))
    sheet.pbc = False
    inner = np.linalg.norm(sheet.positions - sheet.positions.mean(axis=0), axis=1).argmin()
    distances = np.linalg.norm(find_pairs(sheet, 5.0, np.array([inner])).vectors, axis=1)
    shells, counts = np.unique(distances.round(6), return_counts=True)
    np.testing.assert_allclose((shells / shells[0]) ** 2, [1, 3, 4, 7, 9, 12], rtol=1e-6)
    assert counts.tolist() == [3, 6, 3, 6, 6, 6]


def test_dense_structures_go_to_the_cells():
    """The tree is for what is spread: it is slower where atoms fill their box."""
    assert box(bulk("Cu", cubic=True).repeat(6)).suits_cells(5.0)
    assert box(bulk("Cu", cubic=True)).suits_cells(5.0)
    assert box(molecule("C6H6")).suits_cells(5.0)
    assert not box(Atoms("H3", CORNERS)).suits_cells(5.0)


CRASHING = """
import numpy as np
from ase import Atoms
from ase.build import graphene
from tripletjax import prepare
sheet = graphene(size=(100, 100, 1))
sheet.pbc = False
from tripletjax.md.checking import check_overlap
check_overlap(sheet)
prepare(Atoms("H3", [[0, 0, 0], [1e4, 0, 0], [0, 1e4, 0]]))
"""


def test_nothing_kills_the_process():
    ended = subprocess.run([sys.executable, "-c", CRASHING], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    "frame",
    [
        Atoms("H2", [[0, 0, 0], [1e308, 0, 0]]),
        Atoms("H", [[-1e9, 0, 0]], cell=[3, 3, 3], pbc=True),
        Atoms("H", cell=[1e308, 3, 3], pbc=True),
    ],
)
def test_absurd_lengths_are_refused(frame):
    with pytest.raises(InputError, match=r"frame 0.*expected finite.*1e\+08 Å"):
        prepare(frame)


def test_more_pairs_than_memory_holds():
    """They are counted before they are made: by volume, or from those of some atoms."""
    with pytest.raises(InputError, match=r"frame 0 has about 5\.2e\+\d+ pairs .* within 100000 Å"):
        prepare(Atoms("H", cell=[2, 2, 2], pbc=True), cutoff=1e5)
    with pytest.raises(InputError, match=r"about 1\.\de\+\d+ pairs .* expected a smaller cutoff"):
        prepare(Atoms("H", cell=[2, 2, 0], pbc=(1, 1, 0)), cutoff=4e9)
    count = int(2 * np.sqrt(_memory() / 250))
    line = Atoms(f"H{count}", np.arange(count)[:, None] * [1.5, 0, 0])
    box(line).require_memory(5.0, "a line")
    with pytest.raises(InputError, match="a line has about"):
        box(line).require_memory(1e7, "a line")


def test_atoms_on_one_spot():
    check_spots(molecule("H2O"), "here")
    frame = Atoms("Si2", positions=[[0, 0, 0], [3, 0, 3 - 1e-4]], cell=[3, 3, 3], pbc=True)
    with pytest.raises(InputError, match="atoms 0 and 1 of here coincide"):
        check_spots(frame, "here")
    frame.pbc = False
    check_spots(frame, "here")
