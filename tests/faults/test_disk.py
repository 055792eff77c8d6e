"""A disk that is full at any write, folders that cannot be written, two runs in one folder."""

import builtins
import errno
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.io import write

from tests.md_runs import potential, silicon
from tripletjax.cli import main
from tripletjax.locks import hold, is_unfinished
from tripletjax.md.files import FINAL, THERMO, TRAJECTORY

pytestmark = pytest.mark.once("float32")


class FullDisk:
    """From the n-th write on there is no space left; reading and making files goes on."""

    def __init__(self, folder: Path, free: float):
        self.folder, self.free, self.writes = str(folder), free, 0

    def __enter__(self):
        self.open = io.open

        def opened(file, mode="r", *arguments, **options):
            found = self.open(file, mode, *arguments, **options)
            place = os.readlink(f"/proc/self/fd/{found.fileno()}")
            writes = set(mode) & set("wax+")
            return Written(found, self) if writes and place.startswith(self.folder) else found

        io.open = builtins.open = opened
        return self

    def __exit__(self, *_):
        io.open = builtins.open = self.open

    def write(self):
        self.writes += 1
        if self.writes > self.free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Written:
    """A file on the disk."""

    def __init__(self, file, disk: FullDisk):
        self._file, self._disk = file, disk

    def write(self, content):
        if content:
            self._disk.write()
        return self._file.write(content)

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def inputs(fit, tmp_path_factory):
    """Structures, a fit, and a model of silicon whose atoms hardly feel each other."""
    folder = tmp_path_factory.mktemp("inputs")
    write(folder / "in.xyz", [molecule("H2O"), molecule("CH4")])
    silicon().write(folder / "start.xyz")
    shutil.copytree(fit, folder / "trained")
    potential().save(folder / "silicon")
    return folder


SMALL = ["--kind", "power_spectrum", "--cutoff", "3.0", "--n-max", "2", "--l-max", "2"]


def commands(inputs: Path, out: Path) -> dict[str, list[str]]:
    trained = inputs / "trained"
    fitting = ["train", "--train", str(trained / "train.xyz"), "--max-epochs", "2", "--seed", "3"]
    simulating = ["md", str(inputs / "silicon"), str(inputs / "start.xyz"), "--steps", "4"]
    return {
        "describe": ["describe", str(inputs / "in.xyz"), str(out / "rows.npz"), *SMALL],
        "audit": ["audit", str(inputs / "in.xyz"), "--out", str(out / "audit"), *SMALL],
        "evaluate": [
            "evaluate", str(trained / "fit"), str(trained / "test.xyz"),
            "--out", str(out / "errors.json"),
        ],
        "train": [*fitting, "--config", str(trained / "config.yaml"), "--out", str(out / "fit")],
        "md": [*simulating, "--log-every", "2", "--write-every", "2", "--out", str(out / "run")],
    }  # fmt: skip


GO_ON = {"train": "--resume", "md": "--resume"}


@pytest.mark.parametrize("name", ["describe", "audit", "evaluate", "train", "md"])
def test_full_disk(name, inputs, tmp_path, scaled, capsys, record):
    """One line that names the file; nothing half-written; what runs can go on, does."""
    whole, command = tmp_path / "whole", commands(inputs, tmp_path / "whole")[name]
    with FullDisk(tmp_path, np.inf) as disk:
        assert main(command) == 0
    count = disk.writes
    assert count
    tried = np.sort(np.random.default_rng(0).permutation(count)[: max(1, scaled(count))])
    for free in tried:
        out = tmp_path / f"full-{free}"
        command = commands(inputs, out)[name]
        capsys.readouterr()
        with FullDisk(tmp_path, free) as disk:
            assert main(command) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith("tripletjax: ") and str(out) in line and "No space left" in line
        assert disk.writes > free
        left = list(out.rglob("*"))
        assert not [path for path in left if is_unfinished(path)]
        if name not in GO_ON:
            assert not [path for path in left if path.is_file()]
            continue
        for path in left:
            if path.suffix == ".json":
                json.loads(path.read_text())
        if free == tried[-1]:
            assert main([*command, GO_ON[name]]) == 0
            assert_same(out, whole)
    record |= {"writes": count, "failed": len(tried)}


def assert_same(out: Path, whole: Path):
    names = [f"run/{name}" for name in (THERMO, TRAJECTORY, FINAL)]
    for name in [*names, "fit/model/weights.safetensors"]:
        if (whole / name).exists():
            assert (out / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.parametrize("name", ["describe", "audit", "evaluate", "train", "md"])
def test_folders_that_cannot_be_written(name, inputs, tmp_path, capsys, record):
    """Below a file, where the system makes no folders, and where permission is missing."""
    (tmp_path / "file").write_text("")
    (tmp_path / "closed").mkdir(mode=0o500)
    places = [tmp_path / "file" / "out", Path("/proc/out")]
    places += [tmp_path / "closed" / "out"] if os.geteuid() else []  # root may write anywhere
    before = contents(tmp_path)
    for out in places:
        capsys.readouterr()
        assert main(commands(inputs, out)[name]) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith("tripletjax: ") and str(out) in line
        assert "cannot be written" in line
    assert contents(tmp_path) == before
    record["places"] = len(places)


@pytest.mark.parametrize("name, options", [
    ("train", ["--force"]), ("train", ["--resume"]), ("md", ["--force"]), ("md", ["--resume"]),
])  # fmt: skip
def test_two_runs_in_one_folder(name, options, inputs, tmp_path, capsys):
    """The second one is refused while the first is there; afterwards it may go on."""
    command = commands(inputs, tmp_path)[name]
    assert main(command) == 0
    folder = Path(command[-1])
    before = contents(tmp_path)
    with hold(folder):
        capsys.readouterr()
        assert main([*command, *options]) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert "another run writes to" in line and str(folder) in line
        assert contents(tmp_path) == before
    assert main([*command, *options]) == 0


def test_a_folder_that_is_not_used_does_not_stay(tmp_path):
    with hold(tmp_path / "a/b"):
        assert (tmp_path / "a/b").is_dir()
    assert not (tmp_path / "a").exists()
