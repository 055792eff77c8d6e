"""The driver: rows and frames, rolled back blocks, conservation, and what stops it."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, fcc111, molecule
from ase.constraints import FixAtoms
from ase.io import read
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet

from tests.md_runs import QUICK, potential, rows, run, silicon, springs
from tripletjax import ConvergenceError, InputError, SimulationError
from tripletjax.engines.ase import TripletCalculator
from tripletjax.md import MDConfig, blocks, minimize
from tripletjax.md.files import RECORD, RESTART, TRAJECTORY
from tripletjax.md.motion import Motion
from tripletjax.potentials.committee import committee_of

pytestmark = pytest.mark.once("float32")


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
    assert json.loads((tmp_path / "run" / RECORD).read_text())["steps"] == 20


def test_velocity_verlet_is_that_of_ase(tmp_path, float32):
    """The same trajectory, pressure included, from a cell smaller than the cutoff."""
    final = run(tmp_path / "run", model=potential())
    atoms = silicon()
    atoms.calc = TripletCalculator(potential(), dtype="float64")
    VelocityVerlet(atoms, 0.5 * units.fs).run(20)
    np.testing.assert_allclose(final.positions, atoms.positions, atol=1e-8)
    np.testing.assert_allclose(final.get_momenta(), atoms.get_momenta(), atol=1e-8)
    stress = atoms.get_stress(voigt=False, include_ideal_gas=True)
    pressure = float(rows(tmp_path / "run")[-1]["pressure_GPa"])
    assert pressure == pytest.approx(-np.trace(stress) / 3 / units.GPa, abs=1e-7)


@pytest.mark.parametrize("settings", [
    {"ensemble": "nve"}, {"ensemble": "npt", "tau_cell": 10_000.0, "pressure": 5.0},
])  # fmt: skip
def test_a_thin_skin_changes_nothing(settings, tmp_path, monkeypatch, float32):
    """Blocks are rolled back and done again, in parts if need be; nothing compiles for it."""
    config = replace(QUICK, timestep=1.0, **settings)
    thick = run(tmp_path / "thick", replace(config, skin=2.0))
    renew, advanced, renewed, parts = Motion.renew, Motion.advanced, [], []
    monkeypatch.setattr(Motion, "renew", lambda self: (renewed.append(1), renew(self))[1])
    monkeypatch.setattr(Motion, "advanced", lambda self, n: (parts.append(n), advanced(self, n))[1])
    before = blocks.advanced._cache_size()
    thin = run(tmp_path / "thin", replace(config, skin=0.06))
    assert len(renewed) >= 4 and min(parts) < 5
    assert blocks.advanced._cache_size() == before + 1
    np.testing.assert_allclose(thin.positions, thick.positions, atol=1e-9)
    np.testing.assert_allclose(thin.cell, thick.cell, atol=1e-9)
    assert [r["step"] for r in rows(tmp_path / "thin")] == [
        r["step"] for r in rows(tmp_path / "thick")
    ]


def aluminium():
    atoms = fcc111("Al", (1, 1, 3), vacuum=4.0)
    thermalize_momenta(atoms, 300, rng=np.random.default_rng(0))
    return atoms


def ethane():
    atoms = molecule("C2H6")
    thermalize_momenta(atoms, 300, rng=np.random.default_rng(0))
    return atoms


@pytest.mark.parametrize("name, settings", [
    ("silicon", {"ensemble": "npt", "cell": "flexible", "tau_cell": 300.0}),
    ("slab", {"ensemble": "nvt", "thermostat": "nose-hoover"}),
    ("molecule", {"ensemble": "nve"}),
])  # fmt: skip
def test_every_kind_of_structure_conserves(name, settings, tmp_path, float32):
    """In float32 too; volume and pressure are told of bulk alone."""
    atoms = {"silicon": silicon, "slab": aluminium, "molecule": ethane}[name]()
    model = springs(atoms.numbers, scale=1.0 if name == "silicon" else 0.02)
    config = replace(QUICK, steps=60, timestep=0.25, **settings)
    final = run(tmp_path / "run", config, atoms, model, dtype="float32")
    found = rows(tmp_path / "run")
    conserved = np.array([float(row["conserved_eV"]) for row in found])
    potentials = np.array([float(row["potential_eV"]) for row in found])
    assert np.ptp(conserved) < 0.03 * np.ptp(potentials) + 1e-5
    assert np.isnan(float(found[-1]["volume_A3"])) == (name != "silicon")
    assert np.isnan(float(found[-1]["pressure_GPa"])) == (name != "silicon")
    changed = np.abs(final.cell.array - atoms.cell.array).max()
    assert (changed > 1e-5) == (name == "silicon")
    if name == "silicon":  # sheared too
        assert np.abs(np.linalg.solve(atoms.cell.array, final.cell.array)[0, 1]) > 1e-5


def test_a_blow_up_keeps_the_last_good_state(tmp_path, float32):
    with pytest.raises(SimulationError, match=r"blew up by step .*last_good\.xyz"):
        run(tmp_path / "run", replace(QUICK, timestep=400.0, max_temperature=1000.0))
    good = read(tmp_path / "run/last_good.xyz")
    assert np.isfinite(good.positions).all() and good.info["step"] < 20
    assert (tmp_path / "run" / RESTART).is_file()


def test_a_step_beyond_the_skin_says_so(tmp_path, float32):
    with pytest.raises(SimulationError, match=r"half the skin in one step.*larger skin"):
        run(tmp_path / "run", replace(QUICK, skin=1e-4))


def test_the_start_is_judged(tmp_path, float32):
    hot = silicon()
    hot.set_momenta(10 * hot.get_momenta())
    with pytest.raises(InputError, match=r"start cannot be used: .* K are above"):
        run(tmp_path / "run", atoms=hot)
    nan = replace(springs(), scale=float("nan"))
    with pytest.raises(InputError, match=r"start cannot be used: .*not a finite number"):
        run(tmp_path / "run", model=nan)
    assert not (tmp_path / "run").exists()


def with_constraint():
    atoms = silicon()
    atoms.set_constraint(FixAtoms([0]))
    return atoms


def with_nan_momenta():
    atoms = silicon()
    atoms.set_momenta(np.full((8, 3), np.nan))
    return atoms


def of_copper():
    return bulk("Cu")


def without_mass():
    atoms = silicon()
    masses = atoms.get_masses()
    masses[2] = 0
    atoms.set_masses(masses)
    return atoms


def overlapping():
    atoms = silicon()
    atoms.positions[1] = atoms.positions[0] + [0.4, 0, 0]
    return atoms


@pytest.mark.parametrize("atoms, settings, text", [
    (of_copper, {}, "atomic number 29"),
    (with_constraint, {}, r"constraints \(FixAtoms\)"),
    (with_nan_momenta, {}, "momenta"),
    (without_mass, {}, "atom 2 has mass 0"),
    (overlapping, {}, "atoms 0 and 1 overlap"),
    (lambda: Atoms("Si"), {"ensemble": "nvt", "thermostat": "nose-hoover"}, "single atom"),
    (lambda: Atoms("Si2", [[0, 0, 0], [0, 0, 2.3]]), {"ensemble": "npt"}, "periodic in all"),
])  # fmt: skip
def test_structures_that_cannot_be_used(atoms, settings, text, tmp_path, float32):
    with pytest.raises(InputError, match=text):
        run(tmp_path / "run", replace(QUICK, **settings), atoms())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("settings, text", [
    ({"seed": -1}, "seed"), ({"seed": 0.5}, "seed"), ({"timestep": 0.0}, "timestep"),
    ({"temperature": -1.0}, "temperature"), ({"write_every": 15}, "multiple"),
    ({"pressure": float("nan")}, "pressure"), ({"pressure": "1"}, "pressure"),
    ({"cell": "cubic"}, "isotropic"),
])  # fmt: skip
def test_settings_that_cannot_be_used(settings, text, float32):
    with pytest.raises(InputError, match=text):
        MDConfig(**settings)


def test_settings_are_plain_numbers(float32):
    """Whatever kind of float they were, JSON can hold them."""
    config = MDConfig(temperature=np.float32(300), pressure=1, steps=np.int64(9), seed=np.array(3))
    assert json.dumps(asdict(config))
    assert config == MDConfig(temperature=300.0, pressure=1.0, steps=9, seed=3)


def test_uncertainty_stops_the_run(tmp_path, float32):
    committee = committee_of([springs(seed=seed) for seed in range(3)])
    run(tmp_path / "free", model=committee)
    worst = [float(row["max_force_std_eV_per_A"]) for row in rows(tmp_path / "free")]
    assert min(worst) > 0
    limit = replace(QUICK, max_force_std=0.5 * min(worst))
    final = run(tmp_path / "stopped", limit, model=committee)
    kept = read(tmp_path / "stopped/uncertain.xyz")
    assert final.info["step"] == kept.info["step"] == 0  # the start is judged too
    if worst[0] < max(worst[1:]):
        between = replace(QUICK, max_force_std=0.5 * (worst[0] + max(worst[1:])))
        assert run(tmp_path / "later", between, model=committee).info["step"] > 0
    with pytest.raises(InputError, match="committee"):
        run(tmp_path / "none", limit)


def test_minimize_positions_and_cell(float32):
    """At rest: no force, and with the cell the pressure that was asked for."""
    atoms = silicon()
    resting = minimize(springs(), atoms, fmax=1e-4)
    assert np.abs(resting.get_forces()).max() < 1e-4
    np.testing.assert_array_equal(resting.cell, atoms.cell)
    with pytest.raises(ConvergenceError, match=r"not converged after 1 steps: .* eV/Å, above fmax"):
        minimize(springs(), atoms, fmax=1e-9, steps=1)
    with pytest.raises(InputError, match="only a periodic cell"):
        minimize(springs(), Atoms("Si2", [[0, 0, 0], [0, 0, 2.3]]), cell=True)


def test_minimize_the_enthalpy(float32):
    """The stress balances the pressure."""
    pressure = 0.2 * units.GPa
    resting = minimize(springs(), silicon(), fmax=1e-3, cell=True, pressure=0.2)
    stress = resting.get_stress(voigt=False)
    np.testing.assert_allclose(
        stress * resting.get_volume(), -pressure * np.eye(3) * resting.get_volume(), atol=2e-3
    )
    assert np.abs(resting.get_forces()).max() < 1e-3


def test_frames_hold_no_labels_of_the_start(tmp_path, float32):
    """Forces of the first structure would be wrong beside any other; masses are kept."""
    atoms = silicon()
    atoms.arrays["REF_forces"] = np.ones((8, 3))
    atoms.set_masses([30.0] * 8)
    final = run(tmp_path / "run", replace(QUICK, steps=5), atoms)
    assert "REF_forces" not in final.arrays
    np.testing.assert_array_equal(final.get_masses(), 30.0)


def test_momenta_of_the_start(tmp_path, float32):
    """Zero is at rest; what all atoms have in common is no heat."""
    still = silicon()
    still.set_momenta(np.zeros((8, 3)))
    run(tmp_path / "still", replace(QUICK, steps=5), still)
    assert float(rows(tmp_path / "still")[0]["kinetic_eV"]) == 0
    drifting = silicon()
    drifting.set_velocities(drifting.get_velocities() + np.array([0.05, 0, 0]))
    for name, atoms in (("plain", silicon()), ("drifting", drifting)):
        run(tmp_path / name, replace(QUICK, steps=5), atoms)
    plain, moving = (rows(tmp_path / name)[0] for name in ("plain", "drifting"))
    assert float(moving["temperature_K"]) == pytest.approx(float(plain["temperature_K"]))
    assert float(moving["kinetic_eV"]) > 1.1 * float(plain["kinetic_eV"])


def test_one_atom_moves_freely(tmp_path, float32):
    """No neighbours: the list is all padding."""
    atoms = Atoms("Si")
    atoms.set_momenta([[1.0, 2.0, 3.0]])
    final = run(tmp_path / "run", replace(QUICK, skin=2.0), atoms)
    expected = atoms.get_velocities() * 20 * 0.5 * units.fs
    np.testing.assert_allclose(final.positions, expected, atol=1e-9)
