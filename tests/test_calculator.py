"""The ASE calculator."""

import jax
import numpy as np
import pytest
from ase import units
from ase.build import molecule
from ase.md.verlet import VelocityVerlet

from tests.systems import methanol
from tests.test_potential import compound, interaction, potential, predicted
from tripletjax import InputError
from tripletjax.calculator import TripletCalculator, _evaluate
from tripletjax.potential import untrained


def test_results_are_those_of_the_potential(dtype):
    frame = methanol()
    frame.calc = TripletCalculator(potential())
    expected = predicted(potential().prepare(frame))
    energy = float(interaction(potential().prepare(frame))[0])
    rtol = 1e-5 if dtype == np.float32 else 1e-12
    reference = potential().reference(frame)
    np.testing.assert_allclose(frame.get_potential_energy() - reference, energy, rtol=rtol)
    np.testing.assert_allclose(frame.get_forces(), expected.forces[:6], atol=rtol)
    np.testing.assert_allclose(frame.get_potential_energies().sum(), frame.get_potential_energy())


def test_stress_needs_a_periodic_structure():
    frame = compound()
    frame.calc = TripletCalculator(potential())
    expected = predicted(potential().prepare(frame)).stress[0]
    np.testing.assert_allclose(frame.get_stress(voigt=False), expected, atol=1e-6)
    water = molecule("H2O")
    water.calc = TripletCalculator(potential())
    water.get_potential_energy()
    assert "stress" not in water.calc.results


def test_float64_without_the_switch():
    frame = methanol()
    frame.calc = TripletCalculator(potential(), dtype="float64")
    forces = frame.get_forces()
    assert np.abs(forces.sum(0)).max() < 1e-12 * np.abs(forces).max()
    moved, step = [], 1e-4
    for steps, coefficient in ((-2, 1), (-1, -8), (1, 8), (2, -1)):
        other = frame.copy()
        other.calc = frame.calc
        other.positions[1, 1] += steps * step
        moved.append(coefficient * other.get_potential_energy())
    assert abs(sum(moved) / (12 * step) + forces[1, 1]) < 1e-7 * np.abs(forces).max()


def test_dynamics_conserve_energy_and_compile_once():
    frame = molecule("CH3OH")
    frame.calc = TripletCalculator(
        untrained([1, 6, 8], potential().architecture, scale=0.02), "float64"
    )
    masses = frame.get_masses()[:, None]
    kicks = np.random.default_rng(0).normal(size=(6, 3))
    frame.set_momenta(np.sqrt(masses * units.kB * 200) * kicks)
    frame.get_forces()
    before = _evaluate._cache_size()
    energies = []
    dynamics = VelocityVerlet(frame, 0.25 * units.fs)
    dynamics.attach(lambda: energies.append(frame.get_total_energy()))
    dynamics.run(60)
    assert _evaluate._cache_size() == before
    assert np.ptp(energies) < 0.02 * frame.get_kinetic_energy()


def test_the_folder_of_a_model_is_enough(tmp_path):
    potential().save(tmp_path / "model")
    frame = methanol()
    frame.calc = TripletCalculator(tmp_path)
    assert np.isfinite(frame.get_potential_energy())


def test_bad_input_is_named(tmp_path):
    with pytest.raises(InputError, match="no model"):
        TripletCalculator(tmp_path)
    with pytest.raises(InputError, match="float16"):
        TripletCalculator(potential(), dtype="float16")
    frame = molecule("NH3")
    frame.calc = TripletCalculator(potential())
    with pytest.raises(InputError, match="7"):
        frame.get_potential_energy()


def test_the_default_follows_the_switch(dtype):
    calculator = TripletCalculator(potential())
    assert calculator.potential.prepare(methanol()).positions.dtype == dtype
    assert jax.config.jax_enable_x64 == (dtype == np.float64)
