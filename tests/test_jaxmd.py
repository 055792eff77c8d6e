"""Potentials in jax-md: the energies and forces of the ASE calculator, and never silently wrong."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from tests.md_runs import SIZES, springs
from tripletjax import InputError
from tripletjax.engines.ase import TripletCalculator
from tripletjax.md import neighbor_list
from tripletjax.potentials.triplet import untrained

pytestmark = pytest.mark.once("float32")


@pytest.fixture(scope="module")
def space():
    """jax-md takes seconds to import; its warnings and promotions are not ours."""
    import warnings

    with warnings.catch_warnings(), jax.numpy_dtype_promotion("standard"):
        warnings.simplefilter("ignore")
        from jax_md import space
    return space


def shaken(atoms, seed=0):
    atoms = atoms.copy()
    atoms.rattle(0.05, seed=seed)
    return atoms


def strained(atoms, strain):
    """With lattice vectors multiplied by a matrix from the left, as jax-md has them."""
    atoms = atoms.copy()
    atoms.set_cell(atoms.cell @ strain.T, scale_atoms=True)
    return atoms


def triclinic():
    """64 atoms in a skewed cell whose vectors are not along the axes as jax-md needs them."""
    atoms = bulk("Si", "diamond", a=5.43, cubic=True) * (2, 2, 2)
    shear = np.array([[1, 0, 0], [0.15, 1.02, 0], [-0.1, 0.05, 0.98]])
    atoms.set_cell(atoms.cell @ shear, scale_atoms=True)
    return shaken(atoms)


def water():
    """Twenty-seven molecules, no two alike, 3.1 Å apart."""
    random, atoms = np.random.default_rng(4), Atoms(cell=np.eye(3) * 9.3, pbc=True)
    for place in np.ndindex(3, 3, 3):
        one = molecule("H2O")
        one.rotate(*random.uniform(0, 180, 1), random.normal(size=3))
        one.positions += 3.1 * np.array(place) + 0.3
        atoms += one
    return shaken(atoms)


SYSTEMS = {
    "molecule": shaken(molecule("CH3CH2OH")),
    "silicon": shaken(bulk("Si", "diamond", a=5.43, cubic=True) * (2, 2, 2)),
    "triclinic": triclinic(),
    "water": water(),
    "cells": shaken(bulk("Si", "diamond", a=5.43, cubic=True) * (3, 3, 3)),
    "512 atoms": shaken(bulk("Si", "diamond", a=5.43, cubic=True) * (4, 4, 4)),
    "slab": shaken(fcc111("Al", (3, 3, 3), vacuum=5.0, periodic=True, orthogonal=False)),
}


def potential_of(atoms, name="springs"):
    """A network for one."""
    if name == "molecule":
        return untrained(np.unique(atoms.numbers), SIZES, references=None, scale=0.3, seed=1)
    return springs(atoms.numbers)


def by_ase(atoms, name="springs"):
    atoms = atoms.copy()
    atoms.calc = TripletCalculator(potential_of(atoms, name), dtype="float64")
    return atoms.get_potential_energy(), atoms.get_forces()


def upper(atoms):
    """jax-md's box: lattice vectors as columns, upper triangular; and positions turned alike."""
    q, r = np.linalg.qr(atoms.cell.array.T)
    signs = np.sign(np.diag(r))
    return (signs[:, None] * r), atoms.positions @ (q * signs), q * signs


def compile_for(space, atoms, fractional=True, name="springs"):
    """What to give to neighbor_list, the positions, and how to turn forces back."""
    potential = potential_of(atoms, name)
    if not atoms.pbc.any():
        displacement, _ = space.free()
        return displacement, None, jnp.asarray(atoms.positions), np.eye(3), potential
    box, positions, turn = upper(atoms)
    displacement, _ = space.periodic_general(box, fractional_coordinates=fractional)
    scaled = np.linalg.solve(box, positions.T).T % 1.0
    at = scaled if fractional else scaled @ box.T
    return displacement, jnp.asarray(box), jnp.asarray(at), turn, potential


@pytest.mark.parametrize("name, fractional", [
    ("molecule", False), ("silicon", True), ("silicon", False), ("triclinic", True),
    ("triclinic", False), ("slab", True), ("water", True), ("cells", True), ("512 atoms", True),
])  # fmt: skip
def test_energy_and_forces_are_those_of_ase(name, fractional, space, float32):
    atoms = SYSTEMS[name]
    with jax.enable_x64(True):
        displacement, box, at, turn, potential = compile_for(space, atoms, fractional, name)
        neighbor_fn, init_fn, energy_fn = neighbor_list(
            displacement, box, potential, atoms.numbers,
            dr_threshold=0.3, fractional_coordinates=fractional and box is not None,
        )  # fmt: skip
        neighbor = neighbor_fn.allocate(at)
        assert (neighbor.cell_list_fn is not None) == (name in ("cells", "512 atoms"))
        params = init_fn(None, at, neighbor)
        energy, slopes = jax.jit(jax.value_and_grad(energy_fn, 1))(params, at, neighbor)
        # jax-md gives slopes in Å, by fractional coordinates too.
    expected, forces = by_ase(atoms, name)
    assert float(energy) == pytest.approx(expected, abs=1e-9)
    np.testing.assert_allclose(-np.asarray(slopes) @ turn.T, forces, atol=1e-8)


def periodic(space, atoms, dr_threshold=0.3):
    displacement, box, at, _, potential = compile_for(space, atoms)
    made = neighbor_list(
        displacement, box, potential, atoms.numbers,
        dr_threshold=dr_threshold, fractional_coordinates=True,
    )  # fmt: skip
    return box, at, made


def test_a_new_box_and_a_perturbation_are_forwarded(space, float32):
    """The strained energy of ASE, by either of jax-md's ways to strain."""
    atoms = SYSTEMS["silicon"]
    strain = np.array([[1.02, 0.01, 0.0], [0.0, 0.99, 0.02], [0.0, 0.0, 1.01]])
    expected, _ = by_ase(strained(atoms, strain))
    with jax.enable_x64(True):
        box, at, (neighbor_fn, init_fn, energy_fn) = periodic(space, atoms)
        neighbor = neighbor_fn.allocate(at, box=strain @ box)
        params = init_fn(None, at, neighbor)
        by_box = jax.jit(energy_fn)(params, at, neighbor, box=strain @ box)
        by_perturbation = jax.jit(energy_fn)(params, at, neighbor, perturbation=jnp.asarray(strain))
    assert float(by_box) == pytest.approx(expected, abs=1e-9)
    assert float(by_perturbation) == pytest.approx(expected, abs=1e-9)


def value_and_force(energy_fn, params, at, neighbor, **kwargs):
    """Energy, and forces as jax-md has them."""
    function = jax.jit(jax.value_and_grad(energy_fn, 1))
    energy, slopes = function(params, at, neighbor, **kwargs)
    return float(energy), -np.asarray(slopes)


def test_small_boxes_are_refused(space, float32):
    """Two images of one neighbour within the cutoff: jax-md would see one of them."""
    with pytest.raises(InputError, match="nearest image"):
        periodic(space, shaken(bulk("Si", "diamond", a=5.43, cubic=True)))
    with jax.enable_x64(True):
        box, at, (neighbor_fn, init_fn, energy_fn) = periodic(space, SYSTEMS["silicon"])
        neighbor = neighbor_fn.allocate(at)
        for name in ("box", "new_box"):
            with pytest.raises(InputError, match="nearest image"):
                neighbor_fn.allocate(at, **{name: 0.5 * box})
        params = init_fn(None, at, neighbor)
        small = neighbor_fn.update(at, neighbor, box=0.5 * box)
        for given in ({"box": 0.5 * box}, {"perturbation": 0.5 * jnp.eye(3)}):
            energy, forces = value_and_force(energy_fn, params, at, small, **given)
            assert np.isnan(energy) and np.isnan(forces).all()


@pytest.mark.parametrize("box, text", [
    (np.diag([20.0, 20.0, -20.0]), "columns"), (bulk("Si", a=30.0).cell.array, "columns"),
    (np.diag([20.0, 20, 20]) + np.eye(3, k=-1), "columns"), (5.0, "nearest image"),
    (np.array([20.0, 20.0, 5.0]), "nearest image"), (np.nan, "columns"),
])  # fmt: skip
def test_boxes_that_jax_md_cannot_have(box, text, space, float32):
    with pytest.raises(InputError, match=text):
        neighbor_list(space.free()[0], box, untrained([1], SIZES), [1, 1])


@pytest.mark.parametrize("name", ["mask_self", "format", "r_cutoff", "custom_mask_function"])
def test_options_that_would_change_the_energy(name, space, float32):
    with pytest.raises(InputError, match=name):
        neighbor_list(space.free()[0], None, untrained([1], SIZES), [1, 1], **{name: None})


@pytest.mark.parametrize("name, growth", [("silicon", 1.06), ("cells", 1.15)])
def test_a_shrinking_box_brings_about_a_new_list(name, growth, space, float32):
    """jax-md watches the atoms alone: pairs would be lost without any flag."""
    atoms = SYSTEMS[name]
    with jax.enable_x64(True):
        box, at, (neighbor_fn, init_fn, energy_fn) = periodic(space, atoms, 0.1)
        large = neighbor_fn.allocate(at, 30, box=growth * box)
        params = init_fn(None, at, large)
        energy, forces = value_and_force(energy_fn, params, at, large, box=box)
        assert np.isnan(energy) and np.isnan(forces).all(), "an old list is not used"
        updated = jax.jit(lambda at, neighbor, box: neighbor.update(at, box=box))(at, large, box)
        energy, _ = value_and_force(energy_fn, params, at, updated, box=box)
        if name == "cells":  # its cells are too small now, and that is not an overflow
            assert bool(updated.cell_size_too_small) and not bool(updated.did_buffer_overflow)
            assert np.isnan(energy)
            updated = neighbor_fn.allocate(at, box=box)
            energy, _ = value_and_force(energy_fn, params, at, updated, box=box)
        assert not bool(updated.malformed_box)
        kept = neighbor_fn.update(at, updated, box=1.001 * box)  # growth is no reason
        np.testing.assert_array_equal(kept.box, updated.box)
    assert energy == pytest.approx(by_ase(atoms)[0], abs=1e-9)


@pytest.mark.parametrize("shift", [-0.02, -1.0, 0.97, 5.3])
def test_atoms_outside_the_box(shift, space, float32):
    """jax-md's cells truncate towards zero: what lies just below it would lose neighbours."""
    atoms = SYSTEMS["cells"]
    with jax.enable_x64(True):
        _, at, (neighbor_fn, init_fn, energy_fn) = periodic(space, atoms, 0.1)
        inside = neighbor_fn.allocate(at)
        outside = neighbor_fn.allocate(at + shift)
        assert outside.cell_list_fn is not None
        params = init_fn(None, at, inside)
        for neighbor in (outside, inside.update(at + shift)):
            energy, _ = value_and_force(energy_fn, params, at + shift, neighbor)
            assert energy == pytest.approx(by_ase(atoms)[0], abs=1e-9)


def test_real_coordinates_in_another_box(space, float32):
    """``box=`` holds the positions; ``new_box=`` strains them with the box."""
    atoms = SYSTEMS["silicon"]
    strain = np.array([[0.97, 0.01, 0.0], [0.0, 0.99, 0.02], [0.0, 0.0, 1.01]])
    expected, _ = by_ase(strained(atoms, strain))
    with jax.enable_x64(True):
        displacement, box, at, _, potential = compile_for(space, atoms, fractional=False)
        neighbor_fn, init_fn, energy_fn = neighbor_list(
            displacement, box, potential, atoms.numbers, dr_threshold=0.3
        )
        neighbor = neighbor_fn.allocate(at)
        params = init_fn(None, at, neighbor)
        for given, place in (
            ({"box": strain @ box}, at @ strain.T),
            ({"new_box": strain @ box}, at),
        ):
            updated = neighbor_fn.update(place, neighbor, **given)
            energy, _ = value_and_force(energy_fn, params, place, updated, **given)
            assert energy == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("sides", [16.29, [16.29, 16.29, 16.29]])
def test_sides_instead_of_a_matrix(sides, space, float32):
    """``space.periodic`` in real coordinates, with cells; atoms outside the box too."""
    atoms = SYSTEMS["cells"]
    with jax.enable_x64(True):
        box = jnp.asarray(sides)
        displacement, _ = space.periodic(box)
        neighbor_fn, init_fn, energy_fn = neighbor_list(
            displacement, box, potential_of(atoms), atoms.numbers, dr_threshold=0.3
        )
        at = jnp.asarray(atoms.positions - 3.0)
        neighbor = neighbor_fn.allocate(at)
        assert neighbor.cell_list_fn is not None
        energy, forces = value_and_force(energy_fn, init_fn(None, at, neighbor), at, neighbor)
    expected = by_ase(atoms)
    assert energy == pytest.approx(expected[0], abs=1e-9)
    np.testing.assert_allclose(forces, expected[1], atol=1e-8)


def test_cells_know_one_box(space, float32):
    """jax-md would make cells of the new one and find atoms by the old."""
    atoms = SYSTEMS["cells"]
    with jax.enable_x64(True):
        displacement, _ = space.periodic(16.29)
        given = displacement, 16.29, potential_of(atoms), atoms.numbers
        at = jnp.asarray(atoms.positions)
        neighbor_fn, *_ = neighbor_list(*given, dr_threshold=0.3)
        with pytest.raises(InputError, match="disable_cell_list"):
            neighbor_fn.allocate(at, box=17.0)
        neighbor_fn, init_fn, energy_fn = neighbor_list(*given, disable_cell_list=True)
        neighbor = neighbor_fn.allocate(at)
        energy, _ = value_and_force(energy_fn, init_fn(None, at, neighbor), at, neighbor)
    assert energy == pytest.approx(by_ase(atoms)[0], abs=1e-9)


def test_a_perturbation_makes_no_list(space, float32):
    """Cells are sized without it: what it brings nearer than the threshold is not trusted."""
    atoms = SYSTEMS["cells"]
    with jax.enable_x64(True):
        _, at, (neighbor_fn, init_fn, energy_fn) = periodic(space, atoms, 0.1)
        neighbor = neighbor_fn.allocate(at)
        params = init_fn(None, at, neighbor)
        for factor, is_sound in ((0.9, False), (0.99, True)):
            strain = factor * jnp.eye(3)
            updated = neighbor.update(at, perturbation=strain)
            energy, _ = value_and_force(energy_fn, params, at, updated, perturbation=strain)
            assert np.isfinite(energy) == is_sound


def test_stress_has_the_other_sign_than_that_of_ase(space, float32):
    from jax_md import quantity

    atoms = SYSTEMS["silicon"].copy()
    with jax.enable_x64(True):
        box, at, (neighbor_fn, init_fn, energy_fn) = periodic(space, atoms)
        neighbor = neighbor_fn.allocate(at)
        params = init_fn(None, at, neighbor)

        def energy(position, **kwargs):
            return energy_fn(params, position, neighbor, **kwargs)

        with jax.numpy_dtype_promotion("standard"):
            found = jax.jit(lambda at, box: quantity.stress(energy, at, box))(at, box)
    atoms.calc = TripletCalculator(potential_of(atoms), dtype="float64")
    np.testing.assert_allclose(-found, atoms.get_stress(voigt=False), atol=1e-9)


def test_a_list_is_made_anew_after_motion(space, float32):
    """Within the threshold it is kept; beyond it is new, and complete."""
    atoms = SYSTEMS["silicon"].copy()
    with jax.enable_x64(True):
        _, at, (neighbor_fn, init_fn, energy_fn) = periodic(space, atoms, 0.3)
        neighbor = neighbor_fn.allocate(at, 8)
        update = jax.jit(lambda at, neighbor: neighbor.update(at))
        side = atoms.cell.lengths()[0]
        little = at.at[0, 0].add(0.14 / side)
        np.testing.assert_array_equal(update(little, neighbor).reference_position, at)
        far = at.at[0].add(0.6 / side)
        updated = update(far, neighbor)
        np.testing.assert_array_equal(updated.reference_position, far % 1.0)
        energy, _ = value_and_force(energy_fn, init_fn(None, at, neighbor), far, updated)
    atoms.positions[0] += 0.6
    assert energy == pytest.approx(by_ase(atoms)[0], abs=1e-9)


def test_too_many_neighbours_are_flagged(space, float32):
    """The list of a dilute structure overflows in a dense one, until it is made anew."""
    atoms = SYSTEMS["silicon"]
    with jax.enable_x64(True):
        _, at, (neighbor_fn, init_fn, energy_fn) = periodic(space, atoms)
        neighbor = neighbor_fn.allocate(at)
        crowded = at.at[:30].multiply(0.4)
        updated = neighbor.update(crowded)
        assert bool(updated.did_buffer_overflow)
        assert bool(updated.update(at).did_buffer_overflow), "the flag stays"
        energy, _ = value_and_force(energy_fn, init_fn(None, at, neighbor), crowded, updated)
        assert np.isnan(energy)
        assert not bool(neighbor_fn.allocate(crowded).did_buffer_overflow)


def test_the_energy_compiles_once(space, caplog, float32):
    """Also where nobody compiles it: one program as long as the list keeps its size."""
    atoms = SYSTEMS["silicon"]
    _, at, (neighbor_fn, init_fn, energy_fn) = periodic(space, atoms)
    at = at.astype(jnp.float32)
    neighbor = neighbor_fn.allocate(at, 8)
    params = init_fn(None, at, neighbor)
    slope = jax.grad(energy_fn, 1)
    moved = at.at[0, 0].add(0.01)
    energy_fn(params, at, neighbor), slope(params, at, neighbor)
    neighbor = neighbor.update(moved)
    with caplog.at_level(logging.WARNING), jax.log_compiles():
        assert energy_fn(params, moved, neighbor).shape == ()
        assert slope(params, moved, neighbor).shape == at.shape
    assert not [line for line in caplog.messages if "Compiling" in line]


def test_one_atom(space, float32):
    """No neighbours, and no columns for any."""
    potential = untrained([1], SIZES, references=[-13.0], seed=1)
    neighbor_fn, init_fn, energy_fn = neighbor_list(space.free()[0], None, potential, [1])
    at = jnp.zeros((1, 3))
    neighbor = neighbor_fn.allocate(at)
    assert neighbor.idx.shape == (1, 0)
    energy, forces = value_and_force(energy_fn, init_fn(None, at, neighbor), at, neighbor)
    alone = Atoms("H")
    alone.calc = TripletCalculator(potential)
    assert energy == pytest.approx(alone.get_potential_energy(), abs=1e-5)
    np.testing.assert_array_equal(forces, 0)


def test_unknown_species(space, float32):
    displacement, _ = space.free()
    with pytest.raises(InputError, match="atomic number 8"):
        neighbor_list(displacement, None, untrained([1], SIZES), [1, 1, 8])


def test_dynamics_of_jax_md_conserve_energy(space, float32):
    from jax_md import simulate

    atoms = SYSTEMS["silicon"]
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        box, at, (neighbor_fn, init_fn, energy_fn) = periodic(space, atoms, dr_threshold=0.5)
        _, shift = space.periodic_general(box, fractional_coordinates=True)
        neighbor = neighbor_fn.allocate(at)
        params = init_fn(None, at, neighbor)

        def energy(position, neighbor, **kwargs):
            return energy_fn(params, position, neighbor, **kwargs)

        begin, step = simulate.nve(energy, shift, 0.01)
        state = begin(jax.random.key(0), at, 0.02, mass=28.0, neighbor=neighbor)

        def total(state):
            return energy(state.position, neighbor) + simulate.kinetic_energy(state)

        @jax.jit
        def go_on(state, neighbor):
            def body(_, carry):
                state, neighbor = carry
                state = step(state, neighbor=neighbor)
                return state, neighbor.update(state.position)

            return jax.lax.fori_loop(0, 50, body, (state, neighbor))

        before = float(total(state))
        state, neighbor = go_on(state, neighbor)
        assert not bool(neighbor.did_buffer_overflow)
        assert abs(float(total(state)) - before) < 1e-5
        assert float(simulate.kinetic_energy(state)) > 0.1
