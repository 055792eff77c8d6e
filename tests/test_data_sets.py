"""The labelled structures of the package: counts, units, and labels that belong together."""

import numpy as np
import pytest

from tripletjax import InputError
from tripletjax.data.sets import load_frames, names
from tripletjax.training import read_labels
from tripletjax.training.consistency import energy_slope

pytestmark = pytest.mark.once("float32")

COUNTS = {"ethanol": 400, "molecules": 360, "silicon": 60, "water": 60}
PERIODIC = ("silicon", "water")
SYMMETRIC = "H2 N2 CO2 CH4 NCCN C2H2 C2H4 C2H6 C3H6_D3h C6H6".split()


def test_names_are_what_a_wrong_one_is_told():
    assert names() == sorted(COUNTS)
    with pytest.raises(InputError, match="ethanol, molecules, silicon, water"):
        load_frames("benzene")


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_labels_are_complete_and_finite(name):
    frames = load_frames(name)
    assert len(frames) == COUNTS[name]
    wanted = {"energy", "forces", "stress" if name in PERIODIC else "dipole"}
    for frame in frames:
        assert set(frame.calc.results) == wanted
        assert all(np.isfinite(value).all() for value in frame.calc.results.values())
        # nothing pulls at a structure as a whole; six decimals are kept
        assert np.abs(frame.get_forces().sum(0)).max() < 1e-4
        assert frame.pbc.all() == (name in PERIODIC)
    assert len(np.unique([frame.positions[-1] for frame in frames], axis=0)) == len(frames)


# Nine frames of a molecule lie too far apart for two forces to give the work between them exactly;
# other units would give factors of 23 and more.
@pytest.mark.parametrize(("name", "inexact"), [("ethanol", 0.1), ("molecules", 0.3)])
def test_forces_belong_to_the_energies(name, inexact):
    frames = load_frames(name)
    assert energy_slope(frames, read_labels(frames)) == pytest.approx(1, abs=inexact)


def test_stress_is_that_of_a_liquid_under_pressure():
    # dE/dV = -p: compressed water pushes back. The trace of the stress, 3 dE/dV without the
    # kinetic part, falls as the volume does.
    frames = load_frames("water")
    volumes = np.array([frame.get_volume() for frame in frames]).reshape(10, 6).mean(1)
    traces = np.array([frame.get_stress()[:3].sum() for frame in frames]).reshape(10, 6).mean(1)
    density = 16 * 18.015 / volumes * 1.66054  # g/cm³
    assert density.max() == pytest.approx(1.11, abs=0.01)
    assert density.min() == pytest.approx(0.91, abs=0.01)
    assert np.polyfit(volumes / volumes.mean(), traces, 1)[0] > 0
    assert np.abs(traces).max() < 0.1  # eV/Å³, 16 GPa


def test_stress_of_crystals_rises_with_their_volume():
    """And the hottest ones have the highest energies."""
    frames = load_frames("silicon")
    volumes = np.array([frame.get_volume() for frame in frames])
    traces = np.array([frame.get_stress()[:3].sum() for frame in frames])
    kind = np.arange(len(frames)) // 5 % 4  # four temperatures in turn
    energies = np.array([frame.get_potential_energy() / len(frame) for frame in frames])
    mean = [energies[kind == k].mean() for k in range(4)]
    assert max(mean[:-1]) < mean[-1] and 0.2 < mean[-1] - mean[0] < 1.5  # eV an atom
    modulus = np.polyfit(volumes[kind < 2] / volumes.mean(), traces[kind < 2], 1)[0] / 3
    assert 0.6 < modulus / 0.56 < 1.4  # eV/Å³, 90 GPa with PBE


def test_molecules_of_high_symmetry_have_no_dipole():
    first = [f for f in load_frames("molecules") if f.info["temperature"] == 0]
    by_name = {frame.info["name"]: frame for frame in first}
    assert len(first) == len(by_name) == 40
    for name in SYMMETRIC:
        assert np.linalg.norm(by_name[name].calc.results["dipole"]) < 2e-4, name
    water = by_name["H2O"]
    dipole = water.calc.results["dipole"]  # from the oxygen to the hydrogens
    towards_hydrogens = water.positions[1:].mean(0) - water.positions[0]
    assert dipole @ towards_hydrogens / np.linalg.norm(towards_hydrogens) == pytest.approx(
        np.linalg.norm(dipole)
    )
    assert 0.3 < np.linalg.norm(dipole) < 0.6  # e·Å; 0.39 is measured


def test_polarizabilities_are_symmetric_and_positive():
    for frame in load_frames("molecules"):
        alpha = frame.info["polarizability"]
        assert np.array_equal(alpha, alpha.T)
        per_electron = np.linalg.eigvalsh(alpha) / frame.numbers.sum()
        assert -1e-5 < per_electron.min() and per_electron.max() < 0.6  # Å³
