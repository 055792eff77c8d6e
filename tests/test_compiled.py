"""Programs that commands keep for later ones."""

import os
import subprocess
import sys
import time

import pytest

from tripletjax.commands.compiled import DAYS, EVERYTHING, FOLDER, kept_programs, programs_folder

pytestmark = pytest.mark.once("float32")


@pytest.fixture
def caches(tmp_path, monkeypatch):
    """A user without programs."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "caches"))
    for name in (FOLDER, *EVERYTHING):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def described(caches):
    """Describe a molecule in a new process; returns its programs, and what it says of errors."""
    water = caches / "water.xyz"
    water.write_text("3\n\nO 0 0 0\nH 0.76 0.58 0\nH -0.76 0.58 0\n")

    def described(name):
        options = ["--kind", "power_spectrum", "--cutoff", "3"]
        command = [sys.executable, "-m", "tripletjax.cli", "describe", str(water)]
        found = subprocess.run(
            [*command, str(caches / name), *options], check=True, capture_output=True, text=True
        )
        programs = {path: path.stat().st_mtime_ns for path in programs_folder().iterdir()}
        return programs, found.stderr

    return described


def test_programs_are_kept_by_commands_and_read_by_the_next(described):
    first, _ = described("first.npz")
    assert any("describe" in path.name for path in first)
    assert described("second.npz")[0] == first


def test_damaged_programs_are_compiled_again(described):
    programs, _ = described("first.npz")
    for path in programs:
        path.write_bytes(path.read_bytes()[:-20])
    assert "warning" not in described("second.npz")[1]


def test_the_environment_is_as_before(caches):
    before = dict(os.environ)
    with kept_programs():
        assert os.environ[FOLDER] == str(programs_folder())
    assert dict(os.environ) == before


@pytest.mark.parametrize("chosen", ["", "elsewhere"])
def test_another_folder_or_none(caches, monkeypatch, chosen):
    monkeypatch.setenv(FOLDER, chosen)
    with kept_programs():
        assert os.environ[FOLDER] == chosen
    assert not programs_folder().exists()


def test_old_programs_are_removed(caches):
    folder = programs_folder()
    folder.mkdir(parents=True)
    for name, days in (("old", DAYS + 1), ("new", DAYS - 1)):
        (folder / name).write_text("program")
        os.utime(folder / name, (time.time() - days * 86400,) * 2)
    (folder / "empty").touch()
    with kept_programs():
        assert [path.name for path in folder.iterdir()] == ["new"]


def test_without_a_place_to_write_nothing_is_kept(caches):
    programs_folder().parent.mkdir(parents=True)
    programs_folder().touch()  # a file where the folder should be
    with kept_programs():
        assert FOLDER not in os.environ
