"""The ASE calculator."""

import jax
import numpy as np
import pytest
from ase import units
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.md.verlet import VelocityVerlet

from tests.md_runs import springs
from tests.systems import methanol
from tests.test_potential import compound, interaction, potential, predicted
from tripletjax import InputError, descriptor
from tripletjax.engines.ase import TripletCalculator, with_results
from tripletjax.io import read_frames
from tripletjax.kernels import fit_sparse_potential
from tripletjax.potentials.base import _mechanics
from tripletjax.potentials.committee import committee_of
from tripletjax.potentials.triplet import untrained


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


def test_stress_of_what_is_periodic():
    frame = compound()
    frame.calc = TripletCalculator(potential())
    expected = predicted(potential().prepare(frame)).stress[0]
    np.testing.assert_allclose(frame.get_stress(voigt=False), expected, atol=1e-6)


@pytest.mark.once("float32")
@pytest.mark.parametrize("pbc", [(True, True, False), (True, False, False)])
def test_stress_of_a_layer_and_a_wire(pbc):
    """Over the volume of the cell that was given: the slope of the energy with the strain."""
    frame = compound()
    frame.pbc = pbc
    frame.calc = TripletCalculator(springs(frame.numbers), "float64")
    stress, step = frame.get_stress(voigt=False), 1e-4
    for row, column in ((0, 0), (0, 1), (2, 2)):
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[row, column] += sign * step
            strained = frame.copy()
            strained.calc = frame.calc
            strained.set_cell(frame.cell @ strain, scale_atoms=True)
            energies.append(strained.get_potential_energy())
        slope = (energies[0] - energies[1]) / (2 * step * frame.get_volume())
        assert stress[row, column] == pytest.approx(slope, abs=1e-6 * abs(stress).max())


@pytest.mark.parametrize("cell, pbc", [(None, False), ([9, 9, 9], False), ([9, 9, 0], (1, 1, 0))])
def test_no_stress_without_a_volume(cell, pbc):
    """Of a molecule, in a box too, or a layer whose cell has no third vector."""
    water = molecule("H2O", cell=cell, pbc=pbc)
    water.calc = TripletCalculator(springs([1, 8]), "float64")
    water.get_potential_energy()
    assert "stress" not in water.calc.results


def test_results_are_the_users_own():
    """They can be written to, and given to ASE's calculator of one structure."""
    frame = compound()
    frame.calc = TripletCalculator(springs(frame.numbers), "float64")
    forces = frame.get_forces()
    for value in frame.calc.results.values():
        assert np.isscalar(value) or value.flags.writeable
    frozen = SinglePointCalculator(frame, **frame.calc.results)
    np.testing.assert_array_equal(frozen.get_forces(), forces)
    with pytest.raises(InputError, match="no uncertainty"):
        frame.calc.get_deviations()


def test_deviations_are_written(tmp_path):
    members = [springs([1, 8], seed=seed) for seed in range(2)]
    water = molecule("H2O")
    water.calc = TripletCalculator(committee_of(members), "float64", uncertainty=True)
    deviations = water.calc.get_deviations(water)
    SinglePointCalculator(water, **water.calc.results)
    write(tmp_path / "water.xyz", with_results(water))
    read = read_frames(tmp_path / "water.xyz")[0]
    assert read.info["energy_std"] == pytest.approx(deviations["energy_std"])
    np.testing.assert_allclose(read.arrays["forces_std"], deviations["forces_std"], atol=1e-7)
    np.testing.assert_allclose(read.get_forces(), water.get_forces(), atol=1e-7)
    water.positions[0] += 0.1
    moved = water.calc.get_deviations(water)
    assert moved["energy_std"] != deviations["energy_std"]
    np.testing.assert_array_equal(moved["forces_std"], with_results(water).arrays["forces_std"])
    with pytest.raises(InputError, match="no TripletCalculator"):
        with_results(molecule("H2O"))


def test_a_potential_of_kernels(float64):
    """In float64 by default: forces are slopes of the energy; stress and deviations are there."""
    frames = [bulk("Cu", "fcc", a=3.6, cubic=True) for _ in range(3)]
    for seed, frame in enumerate(frames):
        frame.rattle(0.05, seed=seed)
    describer = descriptor("power_spectrum", (29,), cutoff=3.0, n_max=2, l_max=1)
    fitted = fit_sparse_potential(frames, [0.1, 0.2, 0.3], describer=describer, n_inducing=4)
    frame = frames[0]
    frame.calc = TripletCalculator(fitted, uncertainty=True)
    batch = fitted.prepare(frame, "float64")
    expected, deviation = (
        jax.jit(fitted.energy_forces_stress)(batch),
        jax.jit(fitted.deviations)(batch),
    )
    assert frame.get_potential_energy() == pytest.approx(float(expected.energy[0]), rel=1e-10)
    np.testing.assert_allclose(frame.get_stress(voigt=False), expected.stress[0], atol=1e-10)
    moved, step = frame.copy(), 1e-4
    moved.calc = frame.calc
    slope = 0.0
    for sign in (1, -1):
        moved.positions[1, 1] = frame.positions[1, 1] + sign * step
        slope += sign * moved.get_potential_energy() / (2 * step)
    assert frame.get_forces()[1, 1] == pytest.approx(
        -slope, abs=1e-5 * abs(frame.get_forces()).max()
    )
    assert frame.get_potential_energies().sum() == pytest.approx(frame.get_potential_energy())
    deviations = frame.calc.get_deviations(frame)
    assert deviations["energy_std"] == pytest.approx(float(deviation.energy[0]), rel=1e-6)
    np.testing.assert_allclose(deviations["forces_std"], deviation.forces[:4], rtol=1e-6)


@pytest.mark.once("float32")
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


@pytest.mark.once("float32")
def test_dynamics_conserve_energy_and_compile_once():
    frame = molecule("CH3OH")
    frame.calc = TripletCalculator(
        untrained([1, 6, 8], potential().model.architecture, scale=0.02), "float64"
    )
    masses = frame.get_masses()[:, None]
    kicks = np.random.default_rng(0).normal(size=(6, 3))
    frame.set_momenta(np.sqrt(masses * units.kB * 200) * kicks)
    frame.get_forces()
    before = _mechanics._cache_size()
    energies = []
    dynamics = VelocityVerlet(frame, 0.25 * units.fs)
    dynamics.attach(lambda: energies.append(frame.get_total_energy()))
    dynamics.run(60)
    assert _mechanics._cache_size() == before
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
    with pytest.raises(InputError, match="invalid potential of type int"):
        TripletCalculator(3)
    frame = molecule("NH3")
    frame.calc = TripletCalculator(potential())
    with pytest.raises(InputError, match="7"):
        frame.get_potential_energy()


def test_the_default_follows_the_switch(dtype):
    calculator = TripletCalculator(potential())
    assert calculator.potential.prepare(methanol()).positions.dtype == dtype
    assert jax.config.jax_enable_x64 == (dtype == np.float64)
