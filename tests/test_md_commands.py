"""The command md: what it writes, and one line with exit status 2 for bad input."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import read

from tests.md_runs import potential, rows, silicon
from tripletjax.cli import main
from tripletjax.md import MDConfig, starts
from tripletjax.md.config import VELOCITY_UNITS, MDOptions
from tripletjax.potentials.committee import committee_of
from tripletjax.settings import read_settings

pytestmark = pytest.mark.once("float32")

SHORT = ["--steps", "4", "--log-every", "2", "--write-every", "2"]


@pytest.fixture(scope="module")
def model(tmp_path_factory, float32):
    folder = tmp_path_factory.mktemp("model")
    potential().save(folder / "fit/model")
    committee_of([potential(), potential(1)]).save(folder / "fit/committee")
    return folder / "fit"


@pytest.fixture
def files(tmp_path):
    silicon().write(tmp_path / "start.xyz")
    return tmp_path


def command(model, files, *options, start="start.xyz", out="run"):
    return main(["md", str(model), str(files / start), "--out", str(files / out), *options])


def refused(capsys, *arguments, **options):
    """The one line on standard error."""
    capsys.readouterr()
    try:
        status = command(*arguments, **options)
    except SystemExit as exit:
        status = exit.code
    error = capsys.readouterr().err
    assert status == 2 and error.count("\n") == 1
    return error


@pytest.mark.parametrize("options, text", [
    (["--timestep", "0"], "timestep"), (["--temperature", "-3"], "temperature"),
    (["--steps", "0"], "steps"), (["--write-every", "7"], "multiple of log_every"),
    (["--ensemble", "nph"], "nph"), (["--seed", "-1"], "seed"), (["--step", "9"], "--step"),
    (["--tau", "50"], "tau=50.0 is not used by nve"),
    (["--pressure", "1", "--minimize"], "pressure=1.0 is not used by nve"),
])  # fmt: skip
def test_settings_that_cannot_be_used(options, text, model, files, capsys):
    assert text in refused(capsys, model, files, *options)
    assert not (files / "run").exists()


def test_structures_that_cannot_be_used(model, files, capsys):
    close = silicon()
    close.positions[1] = close.positions[0] + [0.4, 0, 0]
    close.write(files / "close.xyz")
    assert "atoms 0 and 1 overlap" in refused(capsys, model, files, start="close.xyz")
    molecule("H2O").write(files / "water.xyz")
    assert "atomic number 8" in refused(capsys, model, files, start="water.xyz")
    alone = Atoms("Si2", [[0, 0, 0], [0, 0, 2.3]])
    alone.write(files / "alone.xyz")
    error = refused(capsys, model, files, "--ensemble", "npt", start="alone.xyz")
    assert "periodic in all" in error and not (files / "run").exists()


def test_run_restart_and_force(model, files, capsys):
    assert command(model, files, *SHORT, "--minimize") == 0
    assert "step 4:" in capsys.readouterr().out
    first = (files / "run/thermo.csv").read_bytes()
    assert len(rows(files / "run")) == 3
    longer = ["--steps", "8", *SHORT[2:]]
    assert "with force" in refused(capsys, model, files, *longer)
    assert command(model, files, *longer, "--minimize", "--resume") == 0
    again = (files / "run/thermo.csv").read_bytes()
    assert again.startswith(first) and len(rows(files / "run")) == 5
    assert "written over" in refused(capsys, model, files, *SHORT, "--force", start="run/final.xyz")
    assert (files / "run/thermo.csv").read_bytes() == again
    assert command(model, files, *SHORT, "--force") == 0
    assert len(rows(files / "run")) == 3


def test_print_config_gives_the_defaults(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["md", "--print-config"])
    assert stopped.value.code == 0
    (tmp_path / "template.yaml").write_text(capsys.readouterr().out)
    assert read_settings(tmp_path / "template.yaml") == MDConfig().flat() | MDOptions().flat()
    assert set(VELOCITY_UNITS) == set(starts.VELOCITY_UNITS)


def test_settings_repeat_the_run(model, files, capsys):
    options = [*SHORT, "--minimize", "--temperature", "200", "--seed", "3", "--uncertainty"]
    assert command(model, files, *options, out="first") == 0
    kept = files / "first/settings.yaml"
    chosen = {"minimize": True, "seed": 3, "temperature": 200.0, "uncertainty": True, "steps": 4}
    assert read_settings(kept).items() >= chosen.items()
    assert command(model, files, "--config", str(kept), out="second") == 0
    for name in ("thermo.csv", "trajectory.xyz", "settings.yaml"):
        assert (files / "second" / name).read_bytes() == (files / "first" / name).read_bytes()
    (files / "typo.yaml").write_text("stepz: 3")
    error = refused(capsys, model, files, "--config", str(files / "typo.yaml"), out="third")
    assert "typo.yaml: unknown setting 'stepz'; did you mean 'steps'?" in error


def test_minimize_comes_first(model, files, capsys):
    assert command(model, files, *SHORT, "--minimize", "--temperature", "1e-3", out="rest") == 0
    first = read(files / "rest/trajectory.xyz", 0)
    assert np.abs(first.get_forces()).max() < 0.02
    options = [*SHORT, "--minimize-cell", "--pressure", "0.05"]
    assert command(model, files, *options, out="rested") == 0
    volume = read(files / "rested/trajectory.xyz", 0).get_volume()
    assert volume != first.get_volume()
    options[1] = "6"  # steps
    assert command(model, files, *options, "--restart", out="rested") == 0  # the former name
    assert read(files / "rested/final.xyz").get_volume() == pytest.approx(volume, rel=1e-6)
    assert "minimize:" in capsys.readouterr().err


def test_uncertainty(model, files, caplog):
    assert command(model, files, *SHORT, "--uncertainty") == 0
    worst = [float(row["max_force_std_eV_per_A"]) for row in rows(files / "run")]
    assert min(worst) > 0
    options = [*SHORT, "--max-force-std", str(0.5 * min(worst))]
    assert command(model, files, *options, out="stopped") == 0
    assert "stopped at step 0" in caplog.text
    assert (files / "stopped/uncertain.xyz").is_file()
