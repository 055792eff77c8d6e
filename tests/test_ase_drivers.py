"""ASE's own optimisers, dynamics, phonons and elastic constants run on the calculator unchanged."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.filters import FrechetCellFilter
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from ase.optimize import BFGS
from ase.phonons import Phonons

from tests.md_runs import springs
from tripletjax.engines.ase import TripletCalculator
from tripletjax.md import minimize
from tripletjax.potentials.base import _mechanics

# The calculator has a precision of its own.
pytestmark = pytest.mark.once("float32")


@pytest.fixture(scope="module")
def calculator():
    return TripletCalculator(springs(), dtype="float64")


@pytest.fixture(scope="module")
def crystal(calculator):
    """A cell at rest, stable with springs between next neighbours alone."""
    atoms = bulk("Si", "fcc", a=3.4)
    atoms.calc = calculator
    with BFGS(FrechetCellFilter(atoms), logfile=None) as optimizer:
        assert optimizer.run(fmax=1e-6, steps=200)
    return atoms


def test_two_optimisers_find_the_same_cell(crystal):
    other = minimize(springs(), bulk("Si", "fcc", a=3.5), fmax=1e-5, cell=True)
    assert other.get_volume() == pytest.approx(crystal.get_volume(), rel=1e-5)
    assert np.abs(crystal.get_stress()).max() < 1e-7


def test_the_cell_of_a_layer_is_relaxed(calculator):
    """Along its two periodic directions, by the stress of a cell that holds vacuum."""
    layer = Atoms("Si", cell=[[2.7, 0, 0], [0.9, 2.6, 0], [0, 0, 12]], pbc=(True, True, False))
    layer.calc = calculator
    in_plane = [True, True, False, False, False, True]
    before = layer.get_potential_energy()
    with BFGS(FrechetCellFilter(layer, mask=in_plane), logfile=None) as optimizer:
        assert optimizer.run(fmax=1e-5, steps=200)
    assert layer.get_potential_energy() < before
    assert np.abs(layer.get_stress()[in_plane]).max() * layer.get_volume() < 1e-4
    np.testing.assert_allclose(layer.cell[2], [0, 0, 12], atol=1e-9)
    first, second = layer.cell.lengths()[:2]  # a triangular layer, which has the most neighbours
    assert first == pytest.approx(second, rel=1e-3)
    assert abs(np.sin(np.radians(3 * layer.cell.angles()[2]))) < 0.01  # 60° or 120°


def test_langevin_compiles_once_and_keeps_the_temperature(crystal):
    atoms = crystal * (4, 4, 4)
    thermalize_momenta(atoms, 300, rng=np.random.default_rng(0))
    atoms.calc = crystal.calc
    atoms.get_forces()
    before = _mechanics._cache_size()
    random = np.random.RandomState(0)
    dynamics = Langevin(
        atoms, units.fs, temperature_K=300, friction=0.05 / units.fs, rng=random, fixcm=False
    )
    found = []
    dynamics.attach(lambda: found.append(atoms.get_temperature()), interval=5)
    dynamics.run(400)
    assert _mechanics._cache_size() == before
    # Neighbouring values hold together for about 20 fs; a twentieth is five standard errors.
    assert np.mean(found[20:]) == pytest.approx(300, rel=0.1)


def test_sound_of_the_phonons_is_that_of_the_stress(crystal, tmp_path):
    """Along [100], from the slope of the longitudinal branch, it is √(C11 / ρ)."""
    phonons = Phonons(crystal, crystal.calc, supercell=(5, 5, 5), delta=1e-3, name=tmp_path / "ph")
    phonons.run()
    phonons.read(acoustic=True)
    at_rest = phonons.band_structure([[0, 0, 0]])[0]
    assert np.abs(at_rest).max() < 1e-4
    wave = np.array([0.0, 0.02, 0.02])  # along x
    energies = phonons.band_structure([wave])[0]  # eV
    along = 2 * np.pi * np.linalg.norm(wave @ crystal.cell.reciprocal())
    frequency = energies[2] / (units._hbar * units.J * units.s)
    density = crystal.get_masses().sum() / crystal.get_volume()
    assert (frequency / along) ** 2 * density == pytest.approx(c11(crystal), rel=0.02)


def c11(crystal) -> float:
    """Stress by strain along x, eV/Å³."""
    stresses = []
    for strain in (-1e-3, 1e-3):
        strained = crystal.copy()
        strained.calc = crystal.calc
        strained.set_cell(crystal.cell.array @ np.diag([1 + strain, 1, 1]), scale_atoms=True)
        stresses.append(strained.get_stress()[0])
    return (stresses[1] - stresses[0]) / 2e-3
