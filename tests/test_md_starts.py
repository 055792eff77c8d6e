"""What a simulation takes from the file that it starts from, and what it keeps of it."""

import io
import logging

import ase.units
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from tests.md_runs import QUICK, run, silicon, springs
from tripletjax import InputError
from tripletjax.md import minimize
from tripletjax.md.starts import is_label, start_of, writable

pytestmark = pytest.mark.once("float32")

HEAVY = np.array([15.999, 2.014, 2.014])
SLOW = np.arange(9.0).reshape(3, 3) * 1e-3  # Å/fs


def water(columns, rows):
    """Water as another program would write it: ``columns`` as in extended xyz."""
    atoms = molecule("H2O")
    table = np.column_stack([atoms.positions, *rows])
    lines = [
        " ".join([s, *map(repr, map(float, row))])
        for s, row in zip(atoms.symbols, table, strict=True)
    ]
    header = f'Properties=species:S:1:pos:R:3:{columns} pbc="F F F"'
    return read(io.StringIO("\n".join(["3", header, *lines]) + "\n"), format="extxyz")


@pytest.mark.parametrize("name", ["mass", "masses", "Mass", "atomic_mass"])
def test_masses_of_any_usual_name(name):
    start = start_of(water(f"{name}:R:1", [HEAVY]))
    np.testing.assert_allclose(start.get_masses(), HEAVY)
    assert name == "masses" or name not in start.arrays


@pytest.mark.parametrize("columns", [
    "velocities:R:3", "vel:R:3", "velo:R:3", "Velocity:R:3", "vx:R:1:vy:R:1:vz:R:1",
])  # fmt: skip
def test_velocities_of_any_usual_name(columns, caplog):
    """In Å/fs, with the masses of the file, and the unit is named."""
    start = start_of(water(f"mass:R:1:{columns}", [HEAVY, SLOW]))
    expected = SLOW * HEAVY[:, None] / ase.units.fs  # 1 Å/fs is 1 / fs of ASE
    np.testing.assert_allclose(start.get_momenta(), expected)
    assert "angstrom/fs" in caplog.text and "velocity_unit" in caplog.text
    assert set(start.arrays) == {"numbers", "positions", "masses", "momenta"}


@pytest.mark.parametrize("unit, factor", [
    ("angstrom/fs", 1.0), ("angstrom/ps", 1e-3), ("ase", ase.units.fs),
    ("atomic", 21.876912541),  # bohr per atomic unit of time in Å/fs
])  # fmt: skip
def test_velocities_in_every_unit(unit, factor):
    start = start_of(water("velocities:R:3", [SLOW]), unit)
    np.testing.assert_allclose(start.get_velocities() * ase.units.fs, SLOW * factor, rtol=1e-6)


def test_a_unit_that_is_wrong_is_noticed():
    """Å/ps taken for Å/fs would be a million times as hot."""
    atoms = water("velocities:R:3", [1000 * SLOW])
    with pytest.raises(InputError, match=r"too hot in angstrom/fs.*angstrom/ps 37\.\d K"):
        start_of(atoms)
    assert start_of(atoms, "angstrom/ps").get_temperature() < 2000
    with pytest.raises(InputError, match="velocity_unit='m/s'"):
        start_of(atoms, "m/s")


@pytest.mark.parametrize("columns, rows, text", [
    ("mass:R:1", [-HEAVY], "atom 0 has -15.999; expected positive"),
    ("mass:R:1", [1822.9 * HEAVY], "atomic mass units"),
    ("mass:R:3", [SLOW], "expected one column"),
    ("velocities:R:2", [SLOW[:, :2]], "expected three columns"),
    ("vel:R:3", [SLOW * np.nan], "finite"),
])  # fmt: skip
def test_columns_that_cannot_be_used(columns, rows, text):
    with pytest.raises(InputError, match=text):
        start_of(water(columns, rows))


def test_what_is_ignored_is_said(caplog):
    atoms = water("momenta:R:3:vel:R:3:masses:R:1:mass:R:1:momentum:R:3",
                  [SLOW, 2 * SLOW, HEAVY, 2 * HEAVY, SLOW])  # fmt: skip
    start = start_of(atoms)
    np.testing.assert_allclose(start.get_momenta(), SLOW)
    np.testing.assert_allclose(start.get_masses(), HEAVY)
    assert sorted(r.args[0] for r in caplog.records) == ["mass", "momentum", "vel"]


def test_labels_are_known_by_their_names():
    assert all(map(is_label, ("energy", "dft_energy", "REF_forces", "forces_xtb", "free_energy",
                              "stress", "mace_virials", "dipole", "Energy")))  # fmt: skip
    assert not any(map(is_label, ("charge", "energy_cutoff", "workforce", "residuenames", 3)))


def start_with_everything():
    atoms = silicon()
    atoms.set_initial_charges(np.arange(8) * 0.1)
    atoms.set_initial_magnetic_moments(np.ones(8))
    atoms.set_tags(range(8))
    atoms.set_array("residuenames", np.array(["SIL"] * 8))
    atoms.set_array("frozen", np.array([True, False] * 4))
    atoms.info |= {"charge": 1, "name": "bulk silicon", "origin": {"code": "xtb", "run": 3}}
    atoms.set_array("dft_forces", np.ones((8, 3)))
    atoms.info |= {"REF_energy": -3.0, "virial": np.eye(3)}
    atoms.calc = SinglePointCalculator(atoms, energy=5.0, forces=np.ones((8, 3)))
    return atoms


def test_what_is_no_label_stays_with_the_atoms(tmp_path, float32):
    """In every frame and file, and from a minimisation to the run; labels of the start do not."""
    atoms = start_with_everything()
    resting = minimize(springs(), atoms, fmax=10.0)
    run(tmp_path / "run", atoms=resting)
    frames = [*read(tmp_path / "run/trajectory.xyz", ":"), read(tmp_path / "run/final.xyz")]
    for frame in frames:
        for name in ("initial_magmoms", "tags", "residuenames", "frozen"):
            np.testing.assert_array_equal(frame.arrays[name], atoms.arrays[name])
        np.testing.assert_allclose(frame.get_initial_charges(), atoms.get_initial_charges())
        extra = {name: frame.info[name] for name in ("charge", "name", "origin")}
        assert extra == {name: atoms.info[name] for name in extra}
        assert not {"dft_forces", "REF_energy", "virial"} & (set(frame.arrays) | set(frame.info))
        assert frame.get_potential_energy() != 5.0
    assert [frame.info["step"] for frame in frames] == [0, 10, 20, 20]


def test_what_a_file_cannot_hold_is_left_out_and_said(caplog):
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.7]], info={"good": 1.5, "bad": "a\nb", "worse": {1}})
    atoms.set_array("spaces", np.array(["a b", "c d"]))
    atoms.set_array("matrices", np.zeros((2, 3, 3)))
    atoms.set_array("flags", np.array([1, 2]))
    kept = writable(atoms)
    assert set(kept.info) == {"good"} and "flags" in kept.arrays
    assert not {"spaces", "matrices"} & set(kept.arrays)
    assert sorted(r.args[1] for r in caplog.records) == ["bad", "matrices", "spaces", "worse"]
    text = io.StringIO()
    write(text, kept, format="extxyz")
    assert read(io.StringIO(text.getvalue()), format="extxyz").info == {"good": 1.5}


def test_stages_are_logged(tmp_path, caplog, float32):
    caplog.set_level(logging.INFO, "tripletjax")
    run(tmp_path / "run", QUICK)
    assert "compiling" in caplog.text
