"""The driver: rows and frames, rolled back blocks, restarts, and what stops it."""

import csv
import json
from dataclasses import replace

import jax
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.io import read
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet

from tripletjax import InputError
from tripletjax.calculator import TripletCalculator
from tripletjax.cli import main
from tripletjax.md import MDConfig, minimize, simulate
from tripletjax.md.driver import _Run
from tripletjax.md.files import RESTART, THERMO, TRAJECTORY
from tripletjax.models import Architecture
from tripletjax.potential import untrained
from tripletjax.uncertainty import of_members

SIZES = Architecture(cutoff=3.0, n_radial=3, l_max=1, channels=2, units=4, odd_units=2, width=4)
QUICK = MDConfig(steps=20, log_every=5, write_every=10)


def silicon() -> Atoms:
    atoms = bulk("Si", "diamond", a=5.43, cubic=True)
    atoms.rattle(0.02, seed=0)
    MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=np.random.default_rng(0))
    momenta = atoms.get_momenta()
    atoms.set_momenta(momenta - momenta.mean(0))
    return atoms


def potential(seed=0):
    return untrained([14], SIZES, references=[-100.0], scale=0.1, seed=seed)


def rows(folder):
    with (folder / THERMO).open() as file:
        return list(csv.DictReader(file))


def run(folder, config=QUICK, atoms=None, model=None, **options):
    with jax.enable_x64(True):
        return simulate(
            model or potential(), atoms or silicon(), folder, config, show=False, **options
        )


def test_rows_and_frames(tmp_path, float32):
    final = run(tmp_path / "run")
    found, frames = rows(tmp_path / "run"), read(tmp_path / "run" / TRAJECTORY, ":")
    assert [int(row["step"]) for row in found] == [0, 5, 10, 15, 20]
    assert [frame.info["step"] for frame in frames] == [0, 10, 20]
    for row, frame in zip(found[::2], frames, strict=True):
        assert float(row["potential_eV"]) == pytest.approx(frame.get_potential_energy(), abs=1e-6)
        assert float(row["kinetic_eV"]) == pytest.approx(frame.get_kinetic_energy(), abs=1e-6)
        assert float(row["volume_A3"]) == pytest.approx(frame.get_volume(), rel=1e-9)
    conserved = [float(row["conserved_eV"]) for row in found]
    assert np.ptp(conserved) < 1e-3 * abs(float(found[0]["kinetic_eV"]))
    np.testing.assert_allclose(final.positions, frames[-1].positions, atol=1e-6)
    assert json.loads((tmp_path / "run/md.json").read_text())["steps"] == 20


def test_velocity_verlet_is_that_of_ase(tmp_path, float32):
    """The same trajectory, pressure included, from a cell smaller than the cutoff."""
    final = run(tmp_path / "run")
    atoms = silicon()
    atoms.calc = TripletCalculator(potential(), dtype="float64")
    VelocityVerlet(atoms, 0.5 * units.fs).run(20)
    np.testing.assert_allclose(final.positions, atoms.positions, atol=1e-8)
    np.testing.assert_allclose(final.get_momenta(), atoms.get_momenta(), atol=1e-8)
    stress = atoms.get_stress(voigt=False, include_ideal_gas=True)
    pressure = float(rows(tmp_path / "run")[-1]["pressure_GPa"])
    assert pressure == pytest.approx(-np.trace(stress) / 3 / units.GPa, abs=1e-7)


@pytest.mark.parametrize("ensemble", ["nve", "npt"])
def test_a_thin_skin_changes_nothing(ensemble, tmp_path, float32):
    """Blocks are rolled back and done again, in parts if need be."""
    config = replace(QUICK, ensemble=ensemble, timestep=2.0, tau_cell=50.0, pressure=5.0)
    thick = run(tmp_path / "thick", replace(config, skin=2.0))
    thin = run(tmp_path / "thin", replace(config, skin=0.02))
    np.testing.assert_allclose(thin.positions, thick.positions, atol=1e-9)
    np.testing.assert_allclose(thin.cell, thick.cell, atol=1e-9)
    assert [r["step"] for r in rows(tmp_path / "thin")] == [
        r["step"] for r in rows(tmp_path / "thick")
    ]


@pytest.mark.parametrize("ensemble", ["nvt", "npt"])
def test_restart_after_a_kill_gives_the_same_bits(ensemble, tmp_path, monkeypatch, float32):
    """Killed between two saves: what was written since is cut off and written again."""
    config = replace(QUICK, ensemble=ensemble, skin=0.1)
    run(tmp_path / "whole", config)
    write, save, saves = _Run.write, _Run.save, []

    def dying(self, observed):
        if int(self.state.steps) == 15:
            write(self, observed)
            raise KeyboardInterrupt
        return write(self, observed)

    monkeypatch.setattr("tripletjax.md.driver.SECONDS_A_SAVE", -1.0)
    monkeypatch.setattr(_Run, "write", dying)
    monkeypatch.setattr(
        _Run, "save", lambda self: (saves.append(int(self.state.steps)), save(self))
    )
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "part", config)
    assert saves == [5, 10] and len(rows(tmp_path / "part")) == 4
    monkeypatch.setattr(_Run, "write", write)
    run(tmp_path / "part", config, restart=True)
    for name in (THERMO, TRAJECTORY):
        assert (tmp_path / "part" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_more_steps_may_be_asked_for(tmp_path, float32):
    run(tmp_path / "once", replace(QUICK, steps=20))
    run(tmp_path / "twice", replace(QUICK, steps=10))
    run(tmp_path / "twice", replace(QUICK, steps=20), restart=True)
    assert (tmp_path / "twice" / THERMO).read_bytes() == (tmp_path / "once" / THERMO).read_bytes()


def test_restart_with_other_settings(tmp_path, float32):
    run(tmp_path / "run")
    before = (tmp_path / "run" / THERMO).read_bytes()
    with pytest.raises(InputError, match="timestep"):
        run(tmp_path / "run", replace(QUICK, timestep=1.0), restart=True)
    assert (tmp_path / "run" / THERMO).read_bytes() == before


def test_a_blow_up_keeps_the_last_good_state(tmp_path, float32):
    with pytest.raises(InputError, match=r"blew up by step .*last_good\.xyz"):
        run(tmp_path / "run", replace(QUICK, timestep=400.0, max_temperature=1000.0))
    good = read(tmp_path / "run/last_good.xyz")
    assert np.isfinite(good.positions).all() and good.info["step"] < 20
    assert (tmp_path / "run" / RESTART).is_file()


def test_uncertainty_stops_the_run(tmp_path, float32):
    committee = of_members([potential(seed) for seed in range(3)])
    run(tmp_path / "free", model=committee)
    worst = [float(row["max_force_std_eV_per_A"]) for row in rows(tmp_path / "free")]
    assert min(worst) > 0
    limit = replace(QUICK, max_force_std=0.5 * min(worst))
    final = run(tmp_path / "stopped", limit, model=committee)
    kept = read(tmp_path / "stopped/uncertain.xyz")
    assert final.info["step"] == kept.info["step"] < 20
    with pytest.raises(InputError, match="committee"):
        run(tmp_path / "none", limit)


def test_minimize_positions_and_cell(float32):
    """At rest: forces, and with the cell the pressure, are what was asked for."""
    atoms = bulk("Si", "diamond", a=5.43, cubic=True)
    atoms.rattle(0.05, seed=1)
    resting = minimize(potential(), atoms, fmax=1e-4)
    assert np.abs(resting.get_forces()).max() < 1e-4
    assert resting.get_potential_energy() < -800 + 1
    np.testing.assert_array_equal(resting.cell, atoms.cell)


BAD = {
    "timestep": (["--timestep", "0"], "timestep"),
    "temperature": (["--temperature", "-3"], "temperature"),
    "steps": (["--steps", "0"], "steps"),
    "write-every": (["--write-every", "7"], "multiple of log_every"),
    "ensemble": (["--ensemble", "nph"], "nph"),
}


@pytest.fixture
def files(tmp_path):
    potential().save(tmp_path / "fit/model")
    silicon().write(tmp_path / "start.xyz")
    return tmp_path


def refused(capsys, files, *options, start="start.xyz", out="run"):
    """The one line on standard error."""
    arguments = ["md", str(files / "fit"), str(files / start), "--out", str(files / out)]
    try:
        status = main([*arguments, *options])
    except SystemExit as exit:
        status = exit.code
    error = capsys.readouterr().err
    assert status == 2 and error.count("\n") == 1
    return error


@pytest.mark.parametrize("name", BAD)
def test_settings_that_cannot_be_used(name, files, capsys, float32):
    options, text = BAD[name]
    assert text in refused(capsys, files, *options)
    assert not (files / "run").exists()


def test_structures_that_cannot_be_used(files, capsys, float32):
    close = silicon()
    close.positions[1] = close.positions[0] + [0.4, 0, 0]
    close.write(files / "close.xyz")
    assert "atoms 0 and 1 overlap" in refused(capsys, files, start="close.xyz")
    molecule("H2O").write(files / "water.xyz")
    assert "atomic number 8" in refused(capsys, files, start="water.xyz")
    alone = Atoms("Si2", [[0, 0, 0], [0, 0, 2.3]])
    alone.write(files / "alone.xyz")
    assert "periodic in all" in refused(capsys, files, "--ensemble", "npt", start="alone.xyz")


def test_a_folder_in_use_is_left_alone(files, capsys, float32):
    (files / "run").mkdir()
    (files / "run/precious").write_text("data")
    assert "--force" in refused(capsys, files)
    assert (files / "run/precious").read_text() == "data"


def test_the_command(files, capsys, float32):
    arguments = ["md", str(files / "fit"), str(files / "start.xyz"), "--out", str(files / "run")]
    assert main([*arguments, "--steps", "4", "--log-every", "2", "--write-every", "2"]) == 0
    assert "step 4:" in capsys.readouterr().out
    assert len(rows(files / "run")) == 3
