"""The experiment on liquid water: its analysis on systems with known answers, and a smoke run."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write

import experiments.md.conservation as conservation
import experiments.md.run as experiment
import experiments.md.scaling as scaling
from experiments.md.analysis import pair_distribution, squared_displacement, velocity_spectrum
from tests.md_runs import SIZES, springs
from tripletjax.data.sets import load_frames

pytestmark = pytest.mark.once("float32")


def test_pair_distribution_of_an_ideal_gas():
    random = np.random.default_rng(0)
    cells = np.tile(np.diag([9.0, 10.0, 11.0]), (40, 1, 1))
    positions = random.uniform(size=(40, 60, 3)) @ cells[0]
    first, second = np.arange(20), np.arange(20, 60)
    edges = np.linspace(1.0, 4.5, 8)
    for kinds in ((first, first), (first, second)):
        found = pair_distribution(positions, cells, kinds, edges)
        np.testing.assert_allclose(found, 1, atol=0.3)
        assert found.mean() == pytest.approx(1, abs=0.05)


def test_displacement_and_spectrum_of_a_drifting_oscillator():
    times, wavenumber = np.arange(2000) * 2.0, 1500.0  # fs, 1/cm
    phase = 2 * np.pi * wavenumber * 2.99792458e-5 * times
    velocities = np.cos(phase)[:, None, None] * np.ones((1, 3, 3))
    found, power = velocity_spectrum(velocities, np.ones(3), 2.0)
    assert found[np.argmax(power)] == pytest.approx(wavenumber, rel=0.01)
    assert np.trapezoid(power, found) == pytest.approx(1)
    drift = times[:, None, None] * np.array([0.1, 0.0, 0.0]) * np.ones((1, 4, 1))
    np.testing.assert_allclose(squared_displacement(drift, 4), (0.2 * np.arange(4)) ** 2)


def test_smoke_run(tmp_path, monkeypatch, float32):
    """From given data to the figure, with soft springs instead of a fit."""
    soft = springs([1, 8], scale=0.002)
    monkeypatch.setattr(experiment, "fitted", lambda *_: (soft, {"force_mae_ev_per_A": 0.1}))
    frames = load_frames("water")
    (tmp_path / "data").mkdir()
    write(tmp_path / "data/water_train.xyz", frames[:3])
    write(tmp_path / "data/water_test.xyz", frames[3:5])
    scratch, out = tmp_path / "scratch", tmp_path / "out"
    found = experiment.run(tmp_path / "data", 1.0, 0.1, scratch, out)
    record = json.loads((out / "results.json").read_text())
    assert record["drift_eV_atom_ps"] == found["drift_eV_atom_ps"]
    assert len(found["pair_distribution"]["reference"]["OO"]) == len(found["edges_A"]) - 1
    assert np.isfinite(found["diffusion_cm2_s"]) and found["temperature_K"][0] > 50
    assert (out / "water.png").read_bytes().startswith(b"\x89PNG")


def test_data_that_are_not_there(tmp_path):
    with pytest.raises(experiment.InputError, match="water_train"):
        experiment.frames_of(tmp_path)
    train, test = experiment.frames_of(None)
    assert len(train) + len(test) == 60 and isinstance(train[0], Atoms)


def test_drift_and_fluctuation_of_a_line_and_a_wave():
    times = np.linspace(0, 10, 2001)
    found = conservation.drift_and_fluctuation(times, 3e-6 * times + 1e-4 * np.sin(44 * times) - 5)
    assert found["drift_eV_atom_ps"] == pytest.approx(3e-6, rel=0.2)
    assert found["fluctuation_eV_atom"] == pytest.approx(1e-4 / np.sqrt(2), rel=0.01)


def test_conservation_smoke_run(tmp_path, monkeypatch, float32):
    """Springs conserve better with shorter steps; a second run repeats nothing."""
    monkeypatch.setattr(conservation, "load", lambda _: springs())
    monkeypatch.setattr(conservation, "THERMALIZED", 20.0)
    monkeypatch.setattr(conservation, "FRAME_EVERY", 4.0)
    monkeypatch.setattr(conservation, "ROWS", (("float64", 1.0, 1.0), ("float64", 0.5, 1.0)))
    resting = bulk("Si", "fcc", a=2.81, cubic=True) * (2, 1, 1)  # the springs at rest
    write(tmp_path / "start.xyz", resting)
    arguments = "model", tmp_path / "start.xyz", 0.1, tmp_path / "scratch", tmp_path / "out"
    rows = conservation.run(*arguments)
    assert rows == conservation.run(*arguments)
    spread = [row["energy"]["fluctuation_eV_atom"] for row in rows]
    assert spread[0] == pytest.approx(4 * spread[1], rel=0.3)
    for row in rows:
        left = row["shadow_energy"]["fluctuation_eV_atom"]
        assert left < 0.1 * row["energy"]["fluctuation_eV_atom"]
    record = json.loads((tmp_path / "out" / "conservation.json").read_text())
    assert record["structure"] == "Si8" and record["rows"] == rows


def test_scaling_smoke_run(monkeypatch, float32):
    monkeypatch.setattr(scaling, "Architecture", lambda: SIZES)
    monkeypatch.setattr(scaling, "ATOM_STEPS", 1)
    found = scaling.one(64)
    assert found["atoms"] == 64 and found["us_per_atom_step"] > 0 and found["peak_MB"] > 100
    assert scaling.exponent([10, 100, 1000], [3, 60, 1200]) == pytest.approx(1.30, abs=0.01)
