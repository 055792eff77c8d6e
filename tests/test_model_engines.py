"""Potentials of any model in ASE, molecular dynamics and jax-md, and in files: the same numbers."""

import logging
import warnings
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from tests.systems import methanol, slab
from tests.test_energy_models import NAMES, differences, potential
from tripletjax import load
from tripletjax.engines.ase import TripletCalculator
from tripletjax.engines.jaxmd import neighbor_list
from tripletjax.md.lists import Lists, mechanics
from tripletjax.neighbors import full_cell


def crystal() -> Atoms:
    """Two atoms in a sheared cell that is shorter than the cutoff."""
    cell = [[2.3, 0.2, 0.0], [0.0, 2.4, 0.3], [0.1, 0.0, 2.5]]
    return Atoms("CO", positions=[[0.1, 0.2, 0.3], [1.2, 1.3, 1.1]], cell=cell, pbc=True)


def liquid() -> Atoms:
    """Three molecules of water, in a box that jax-md takes."""
    atoms = Atoms(cell=[7.3, 7.4, 7.5], pbc=True)
    for place, seed in zip(([1, 1, 1], [3.5, 4, 3], [6, 6.5, 5.5]), range(3), strict=True):
        one = molecule("H2O")
        one.rattle(0.1, seed=seed)
        one.rotate(70 * seed, [1, 2, 3])
        one.positions += place
        atoms += one
    return atoms


SYSTEMS = {"molecule": methanol(), "crystal": crystal(), "slab": slab(), "liquid": liquid()}


@cache
def calculator(name: str) -> TripletCalculator:
    return TripletCalculator(potential(name))


def computed(name: str, atoms: Atoms) -> tuple[float, np.ndarray]:
    atoms = atoms.copy()
    atoms.calc = calculator(name)
    return atoms.get_potential_energy(), atoms.get_forces()


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.mark.parametrize("system", SYSTEMS)
def test_forces_of_the_calculator_are_slopes_of_its_energy(name, system, float64):
    atoms = SYSTEMS[system]
    direction = np.random.default_rng(1).normal(size=(len(atoms), 3))

    def moved(step):
        changed = atoms.copy()
        changed.positions += step * direction
        return computed(name, changed)[0]

    slope = (computed(name, atoms)[1] * direction).sum()
    assert abs(slope + differences(moved)) < 1e-6 * max(1, abs(slope))


@pytest.mark.parametrize("system", SYSTEMS)
def test_dynamics_and_the_calculator_agree(name, system, dtype):
    """With a list longer than the cutoff; in float32 for one structure."""
    if dtype != np.float64 and system != "crystal":
        pytest.skip("in float64")
    atoms, fitted = SYSTEMS[system], potential(name)
    energy, forces = computed(name, atoms)
    cell = jnp.asarray(full_cell(atoms), dtype)
    made = Lists(fitted, atoms, 0.5, dtype).at(atoms.positions, cell)
    found = mechanics(fitted, made, jnp.asarray(atoms.positions, dtype), cell)
    tolerance = 1e-10 if dtype == np.float64 else 1e-4  # eV, and eV/Å
    assert abs(float(found.energy) + fitted.reference(atoms) - energy) < tolerance * 10
    np.testing.assert_allclose(found.forces, forces, atol=tolerance * 10)


@pytest.fixture(scope="module")
def space():
    """jax-md takes seconds to import; its warnings and promotions are not ours."""
    with warnings.catch_warnings(), jax.numpy_dtype_promotion("standard"):
        warnings.simplefilter("ignore")
        from jax_md import space
    return space


@pytest.mark.parametrize("system", ["molecule", "liquid"])
def test_jax_md_and_the_calculator_agree(name, system, dtype, space):
    if dtype != np.float64 and system != "liquid":
        pytest.skip("in float64")
    atoms = SYSTEMS[system]
    energy, forces = computed(name, atoms)
    box = jnp.asarray(atoms.cell.lengths(), dtype) if atoms.pbc.any() else None
    displacement, _ = space.free() if box is None else space.periodic(box)
    neighbor_fn, init_fn, energy_fn = neighbor_list(
        displacement, box, potential(name), atoms.numbers
    )
    at = jnp.asarray(atoms.positions, dtype)
    neighbors = neighbor_fn.allocate(at)
    params = init_fn(jax.random.key(0), at, neighbors)
    found, slopes = jax.jit(jax.value_and_grad(energy_fn, 1))(params, at, neighbors)
    tolerance = 1e-10 if dtype == np.float64 else 1e-4
    assert abs(found - energy) < 10 * tolerance * max(1, abs(energy) / 100)
    np.testing.assert_allclose(-slopes, forces, atol=10 * tolerance)


@pytest.mark.once("float32")
def test_saved_and_loaded_bit_for_bit(name, tmp_path, dtype, caplog):
    """A program serves all structures of a size."""
    fitted = potential(name)
    fitted.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.model == fitted.model and hash(loaded.model) == hash(fitted.model)
    batches = [fitted.prepare(methanol(seed), dtype) for seed in (0, 1)]
    first, found = (one.energy_forces_stress(batches[0]) for one in (fitted, loaded))
    with caplog.at_level(logging.WARNING), jax.log_compiles():
        other = loaded.energy_forces_stress(batches[1])
        assert not [line for line in caplog.messages if "Compiling" in line]
    for one, another in zip(first, found, strict=True):
        np.testing.assert_array_equal(one, another)
    assert not np.array_equal(other.forces, found.forces)
    again, expected = loaded.predict(crystal()), fitted.predict(crystal())
    assert (again.forces_std is None) == (name in ("springs", "network", "messages"))
    for one, another in zip(jax.tree.leaves(again), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(one, another)
