"""Neighbour lists with a skin: complete as long as they say, whatever moves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from tests.md_runs import SIZES, springs
from tests.systems import quick_jit
from tripletjax import InputError
from tripletjax.md.lists import Lists, mechanics, moved, roomy
from tripletjax.neighbors import full_cell
from tripletjax.potentials.triplet import untrained

pytestmark = pytest.mark.once("float32")

SKIN = 0.5
FRAMES = {
    "molecule": molecule("CH3CH2OH"),
    "one atom": Atoms("H"),
    "two atoms in a cell smaller than the cutoff": bulk("Si", "diamond", a=5.43),
    "slab": fcc111("Al", (2, 2, 3), vacuum=4.0),
    "triclinic": Atoms(
        "H2O", [[0, 0, 0], [1, 0, 0], [0, 1, 1]], cell=[[3, 0, 0], [1, 3, 0], [1, 1, 4]], pbc=True
    ),
}


def potential_of(frame, name="springs"):
    """A network where its tags matter most, in a crowded cell."""
    if name == "triclinic":
        return untrained(np.unique(frame.numbers), SIZES, seed=3)
    return springs(frame.numbers)


def direct(potential, frame):
    """Energy, forces and stress from a list made on the spot."""
    with jax.enable_x64(True):
        batch = potential.prepare(frame, "float64")
        found = quick_jit(potential.without_references.energy_forces_stress)(batch)
        return found.energy[0], found.forces[: len(frame)], found.stress[0]


@pytest.mark.parametrize("name", FRAMES)
def test_a_list_serves_while_it_says_so(name, float32):
    """Atoms and cell move until it is used up: the results are those of a fresh list."""
    frame = FRAMES[name].copy()
    frame.rattle(0.05, seed=1)
    potential, random = potential_of(frame, name), np.random.default_rng(2)
    with jax.enable_x64(True):
        lists = Lists(potential, frame, SKIN, "float64")
        cell = full_cell(frame)
        made = lists.at(jnp.asarray(frame.positions), jnp.asarray(cell))
        evaluate = quick_jit(lambda made, *at: mechanics(potential, made, *at))
        directions = random.normal(size=frame.positions.shape)
        strain = random.normal(size=(3, 3)) if frame.pbc.all() else np.zeros((3, 3))
        for amount in (0.0, 0.004, 0.01):
            deformation = np.eye(3) + amount * strain
            positions = frame.positions @ deformation + 6 * amount * directions
            at = jnp.asarray(positions), jnp.asarray(cell @ deformation)
            used = float(moved(made, *at, potential.cutoff, SKIN))
            assert used <= 1, "the test moves too far"
            found = evaluate(made, *at)
            there = frame.copy()
            there.positions = positions
            if frame.pbc.any():
                there.cell = cell @ deformation
            energy, forces, stress = direct(potential, there)
            np.testing.assert_allclose(found.energy, energy, atol=1e-10)
            np.testing.assert_allclose(found.forces, forces, atol=1e-10)
            if frame.pbc.all():
                np.testing.assert_allclose(found.stress, stress, atol=1e-11)
    assert amount == 0 or used > 0.1


def test_what_is_used_up_bounds_every_pair(float32):
    """Two atoms just outside the list, pushed together until it is used up, meet the cutoff."""
    cutoff = 3.0
    apart = cutoff + SKIN + 1e-6
    frame = Atoms("H2", [[1, 1, 1], [1 + apart, 1, 1]], cell=np.eye(3) * 20, pbc=True)
    with jax.enable_x64(True):
        lists = Lists(potential_of(frame), frame, SKIN, "float64")
        before, cell = frame.positions.copy(), frame.cell.array
        made = lists.at(before, cell)
        assert not made.batch.neighbor_mask.any()

        def at(amount, squeeze):
            """Positions and cell, with the atoms pushed towards each other and all squeezed."""
            deformation = np.diag([1 - squeeze * amount, 1, 1])
            push = amount * np.array([[1.0, 0, 0], [-1.0, 0, 0]])
            return before @ deformation + push, cell @ deformation

        def used(amount, squeeze):
            return float(moved(made, *map(jnp.asarray, at(amount, squeeze)), cutoff, SKIN))

        for squeeze in (0.0, 0.2, 5.0):
            amount = scipy.optimize.brentq(lambda x, s=squeeze: used(x, s) - 1, 0, 0.3)
            positions, _ = at(amount, squeeze)
            assert np.linalg.norm(positions[1] - positions[0]) == pytest.approx(cutoff, abs=2e-5)
        fixed = moved(made, at(0.1, 0.0)[0], cell, cutoff, SKIN, cell_moves=False)
        assert float(fixed) == pytest.approx(used(0.1, 0.0), abs=1e-12)


def test_width_of_a_list_never_shrinks(float32):
    frame = bulk("Si", "diamond", a=4.9, cubic=True)
    lists = Lists(potential_of(frame), frame, SKIN, "float32")
    dense = lists.at(frame.positions, frame.cell.array)
    sparse = lists.at(frame.positions * 1.4, frame.cell.array * 1.4)
    assert dense.batch.neighbors.shape == sparse.batch.neighbors.shape
    assert sparse.batch.neighbor_mask.sum() < dense.batch.neighbor_mask.sum()


def test_a_list_holds_no_padded_atoms_and_little_room(float32):
    """What is computed for is atoms, and as many neighbours as there are and a few more."""
    frame = bulk("Si", "diamond", a=5.43, cubic=True)
    made = Lists(potential_of(frame), frame, SKIN, "float32").at(frame.positions, frame.cell.array)
    most = int(made.batch.neighbor_mask.sum(1).max())
    assert made.batch.neighbors.shape == (8, roomy(most)) and roomy(most) <= most + 10
    assert made.batch.center_mask.all() and made.batch.atom_mask.all()
    assert all(isinstance(array, jax.Array) for array in jax.tree.leaves(made))


def test_unknown_species(float32):
    with pytest.raises(InputError, match="atomic number 8"):
        Lists(untrained([1], SIZES), molecule("H2O"), SKIN, "float32")
