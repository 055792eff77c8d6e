"""Restarts: after any kind of kill, with the same bits; and not with anything else."""

import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.md_runs import QUICK, rows, run, silicon, springs
from tripletjax import InputError
from tripletjax.md import driver
from tripletjax.md.driver import Run
from tripletjax.md.files import FINAL, RECORD, RESTART, THERMO, TRAJECTORY
from tripletjax.md.motion import Motion
from tripletjax.md.restarts import Restart
from tripletjax.potentials.committee import committee_of

pytestmark = pytest.mark.once("float32")

DYING = """
import os, signal
import tests.conftest  # the settings of the suite
from dataclasses import replace
from tests.md_runs import QUICK, run
from tripletjax.md import driver
driver.SECONDS_A_SAVE = -1.0
frame = driver.Output.frame
def dying(self, atoms):
    frame(self, atoms)
    if atoms.info["step"] == 10:
        os.kill(os.getpid(), signal.SIGKILL)
driver.Output.frame = dying
run({folder!r}, replace(QUICK, ensemble="nvt"))
"""


class Killed(BaseException):
    """Caught by nothing, as a signal is."""


def assert_same(part, whole):
    for name in (THERMO, TRAJECTORY, FINAL):
        assert (part / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.parametrize("ensemble", ["nvt", "npt"])
def test_restart_after_a_kill_gives_the_same_bits(ensemble, tmp_path, monkeypatch, float32):
    """Killed between two saves: what was written since is cut off and written again."""
    config = replace(QUICK, ensemble=ensemble, skin=0.1)
    run(tmp_path / "whole", config)
    write, save, saves = Run.write, Restart.save, []

    def dying(self, observed):
        if self.motion.step == 15:
            write(self, observed)
            raise Killed
        return write(self, observed)

    monkeypatch.setattr("tripletjax.md.driver.SECONDS_A_SAVE", -1.0)
    monkeypatch.setattr(Run, "write", dying)
    monkeypatch.setattr(Restart, "save", lambda self: (save(self), saves.append(self.step)))
    with pytest.raises(Killed):
        run(tmp_path / "part", config)
    assert saves == [0, 5, 10] and len(rows(tmp_path / "part")) == 4
    monkeypatch.setattr(Run, "write", write)
    run(tmp_path / "part", config, resume=True)
    assert_same(tmp_path / "part", tmp_path / "whole")


def test_restart_after_sigkill(tmp_path, float32):
    """A process that is gone, in the middle of what it wrote."""
    config = replace(QUICK, ensemble="nvt")
    run(tmp_path / "whole", config)
    script = DYING.format(folder=str(tmp_path / "part"))
    found = subprocess.run([sys.executable, "-c", script], env=os.environ | {"JAX_ENABLE_X64": "0"})
    assert found.returncode == -signal.SIGKILL
    with (tmp_path / "part" / THERMO).open("a") as file:
        file.write("15,7.5,-80")
    run(tmp_path / "part", config, resume=True)
    assert_same(tmp_path / "part", tmp_path / "whole")


@pytest.mark.parametrize("moment", ["block", "row", "frame", "bar"])
def test_an_interrupted_run_goes_on(moment, tmp_path, monkeypatch, float32):
    """Ctrl-C at any moment leaves a state, and its message says of which step."""
    config = replace(QUICK, ensemble="nvt", write_every=5)
    run(tmp_path / "whole", config)
    place, name, late = {
        "block": (Motion, "advanced", False),
        "row": (driver.Output, "row", True),
        "frame": (driver.Output, "frame", False),
        "bar": (driver.progress_bar(disable=True).__class__, "set_postfix_str", False),
    }[moment]
    original, calls = getattr(place, name), []

    def interrupted(*arguments, **options):
        calls.append(name)
        if len(calls) < 4:
            return original(*arguments, **options)
        if late:
            original(*arguments, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(place, name, interrupted)
        with pytest.raises(KeyboardInterrupt, match=r"interrupted at step [12].*with resume"):
            run(tmp_path / "part", config)
    run(tmp_path / "part", config, resume=True)
    assert_same(tmp_path / "part", tmp_path / "whole")


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch, float32):
    """One line that names the file; with room again the run goes on from its last state."""
    run(tmp_path / "whole", QUICK)
    plain = driver.Output._append

    def full(path, text):
        if "\n" not in text[:-1] and text.startswith("15,"):
            with path.open("a") as file:
                file.write(text[:3])
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        plain(path, text)

    with monkeypatch.context() as patch:
        patch.setattr(driver, "SECONDS_A_SAVE", -1.0)
        patch.setattr(driver.Output, "_append", staticmethod(full))
        with pytest.raises(OSError, match=r"No space left.*from step 10.*thermo\.csv"):
            run(tmp_path / "part", QUICK)
    run(tmp_path / "part", QUICK, resume=True)
    assert_same(tmp_path / "part", tmp_path / "whole")


@pytest.mark.parametrize("place, killer", [(Run, "write"), (Restart, "save")])
def test_killed_before_the_first_state(place, killer, tmp_path, monkeypatch, float32):
    """Nothing to go on from, nothing lost: a restart begins again."""
    original = getattr(place, killer)

    def dying(self, *arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(place, killer, dying)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", QUICK)
    (tmp_path / "run/.restart.safetensors.a1b2").write_text("half")  # as a kill leaves it
    monkeypatch.setattr(place, killer, original)
    with pytest.raises(InputError, match="already holds files"):
        run(tmp_path / "run", QUICK)
    run(tmp_path / "run", QUICK, resume=True)
    assert [int(row["step"]) for row in rows(tmp_path / "run")] == [0, 5, 10, 15, 20]
    (tmp_path / "other").mkdir()
    (tmp_path / "other/precious").write_text("data")
    with pytest.raises(InputError, match="already holds files"):
        run(tmp_path / "other", QUICK, resume=True)


def test_what_looks_like_a_run_is_not_begun_again(tmp_path, float32):
    """A trajectory from elsewhere, and a run whose state was lost, need force."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / TRAJECTORY).write_text("precious")
    run(tmp_path / "done", QUICK)
    (tmp_path / "done" / RESTART).unlink()
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / THERMO).write_bytes((tmp_path / "done" / THERMO).read_bytes())
    for name in ("other", "done", "half"):
        before = {path: path.read_bytes() for path in (tmp_path / name).iterdir()}
        with pytest.raises(InputError, match="already holds files"):
            run(tmp_path / name, QUICK, resume=True)
        assert before == {path: path.read_bytes() for path in (tmp_path / name).iterdir()}
    with pytest.raises(InputError, match="one of them"):
        run(tmp_path / "done", QUICK, resume=True, force=True)


def test_an_unsure_run_stays_where_it_is(tmp_path, float32):
    """Going on with the same bound moves nothing; with a wider one it does."""
    committee = committee_of([springs(seed=seed) for seed in range(3)])
    limit = replace(QUICK, max_force_std=1e-6)
    for restart in (False, True):
        final = run(tmp_path / "run", limit, model=committee, resume=restart)
        assert final.info["step"] == 0 and len(rows(tmp_path / "run")) == 1
    wider = replace(limit, max_force_std=1e6)
    assert run(tmp_path / "run", wider, model=committee, resume=True).info["step"] == 20


def test_more_steps_may_be_asked_for(tmp_path, float32):
    """And another bound; the rows are those of one run."""
    run(tmp_path / "once", replace(QUICK, steps=20))
    run(tmp_path / "twice", replace(QUICK, steps=10))
    run(tmp_path / "twice", replace(QUICK, max_temperature=3000.0), resume=True)
    assert_same(tmp_path / "twice", tmp_path / "once")
    cost = json.loads((tmp_path / "twice" / RECORD).read_text())["us_per_atom_step"]
    run(tmp_path / "twice", QUICK, resume=True)  # nothing is left to do
    assert json.loads((tmp_path / "twice" / RECORD).read_text())["us_per_atom_step"] == cost
    assert_same(tmp_path / "twice", tmp_path / "once")


def heavier():
    atoms = silicon()
    atoms.set_masses([30.0] * 8)
    return atoms


def thinner():
    atoms = silicon()
    atoms.pbc = (True, True, False)
    return atoms


def moved():
    atoms = silicon()
    atoms.positions[3] += 0.01
    return atoms


def faster():
    atoms = silicon()
    atoms.set_momenta(1.01 * atoms.get_momenta())
    return atoms


def wider():
    atoms = silicon()
    atoms.set_cell(1.01 * atoms.cell, scale_atoms=True)
    return atoms


@pytest.mark.parametrize("change, text", [
    ({"config": replace(QUICK, timestep=1.0)}, "timestep"),
    ({"config": replace(QUICK, ensemble="npt")}, "ensemble"),
    ({"atoms": silicon() * (1, 1, 2)}, "structure"),
    ({"model": springs(seed=1)}, "model"),
    ({"model": replace(springs(), scale=0.2)}, "model"),
    ({"model": replace(springs(), references=(-99.0,))}, "model"),
    ({"model": committee_of([springs(), springs(seed=1)])}, "uncertainty"),
    ({"atoms": heavier()}, "masses"),
    ({"atoms": thinner()}, "pbc"),
    ({"atoms": wider()}, "start's cell"),
    ({"atoms": moved()}, "start's positions"),
    ({"atoms": faster()}, "start's momenta"),
    ({"dtype": "float32"}, "dtype"),
])  # fmt: skip
def test_restart_of_another_run(change, text, finished, float32):
    before = (finished / THERMO).read_bytes(), (finished / RESTART).read_bytes()
    with pytest.raises(InputError, match=f"different settings.*{text}"):
        run(finished, **({"config": QUICK} | change), resume=True)
    assert before == ((finished / THERMO).read_bytes(), (finished / RESTART).read_bytes())


def test_the_former_name_of_resume(finished, float32):
    before = (finished / THERMO).read_bytes()
    with pytest.warns(DeprecationWarning, match="restart= is now resume="):
        assert run(finished, restart=True).info["step"] == QUICK.steps  # nothing is left to do
    assert (finished / THERMO).read_bytes() == before


@pytest.fixture(scope="module")
def finished(tmp_path_factory, float32):
    folder = tmp_path_factory.mktemp("finished") / "run"
    run(folder)
    return folder


def test_force_replaces_a_run_and_nothing_else(tmp_path, float32):
    run(tmp_path / "run", replace(QUICK, steps=10))
    (tmp_path / "run/precious").write_text("data")
    with pytest.raises(InputError, match="with force"):
        run(tmp_path / "run")
    run(tmp_path / "run", force=True)
    assert len(rows(tmp_path / "run")) == 5
    assert (tmp_path / "run/precious").read_text() == "data"


def test_one_run_a_folder(tmp_path, monkeypatch, float32):
    """What another run writes is neither gone on with nor replaced."""
    write = Run.write

    def write_and_try(self, observed):
        before = {path.name: path.read_bytes() for path in self.folder.iterdir()}
        for other in ({"resume": True}, {"force": True}):
            if RESTART in before:
                with pytest.raises(InputError, match="another run writes to"):
                    run(tmp_path / "run", config, **other)
        assert before == {path.name: path.read_bytes() for path in self.folder.iterdir()}
        return write(self, observed)

    config = replace(QUICK, steps=10)
    monkeypatch.setattr(Run, "write", write_and_try)
    monkeypatch.setattr(driver, "SECONDS_A_SAVE", -1.0)
    run(tmp_path / "run", config)
    monkeypatch.setattr(Run, "write", write)
    run(tmp_path / "run", replace(config, steps=15), resume=True)
    assert len(rows(tmp_path / "run")) == 4
