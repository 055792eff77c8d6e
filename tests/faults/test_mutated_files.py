"""Files of structures with faults: one line that names file and frame, or the right result."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from tests.faults.mutations import MUTATIONS, Mutated
from tests.faults.worker import Ended, Worker
from tests.md_runs import silicon
from tests.test_training import clusters
from tripletjax import InputError
from tripletjax.training import read_labels

pytestmark = pytest.mark.once("float32")

COUNTS = {"describe": 600, "audit": 140, "evaluate": 100, "md": 100, "train": 60}
NOT_LINES = re.compile(r"tripletjax: warning: |\d\d:\d\d:\d\d ")  # what may precede the error
HYPERS = ["--kind", "density", "--cutoff", "3.0", "--n-max", "1", "--l-max", "1"]
AUDITED = ["--kind", "power_spectrum", *HYPERS[2:]]
SPECIES = ["--species", "H", "He", "C", "O", "Si", "Ar", "U", "Og"]


def labelled(frames: list[Atoms]) -> list[Atoms]:
    for number, frame in enumerate(frames):
        frame.calc = SinglePointCalculator(
            frame, energy=-10.0 - number, forces=0.1 * np.ones((len(frame), 3))
        )
    return frames


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> dict[str, bytes]:
    """Small files: molecules, crystals with a cell, and the structures of a fit."""
    folder = tmp_path_factory.mktemp("originals")
    slab = silicon()
    slab.pbc = (True, True, False)
    files = {
        "molecules": labelled([molecule("H2O"), molecule("CH4"), molecule("CO2")]),
        "crystals": labelled([silicon(), slab]),
        "clusters": clusters(4),
    }
    for name, frames in files.items():
        write(folder / f"{name}.xyz", frames, format="extxyz")
    return {name: (folder / f"{name}.xyz").read_bytes() for name in files}


@pytest.fixture(scope="module")
def worker():
    with Worker() as worker:
        yield worker


def command(name: str, path: Path, out: Path, fit: Path) -> list[str]:
    model = str(fit / "fit")
    return {
        "describe": ["describe", str(path), str(out / "rows.npz"), *HYPERS, *SPECIES],
        "audit": ["audit", str(path), "--out", str(out / "audit"), *AUDITED, *SPECIES],
        "evaluate": ["evaluate", model, str(path), "--out", str(out / "errors.json")],
        "md": ["md", model, str(path), "--steps", "1", "--out", str(out / "run")],
        "train": [
            "train", "--train", str(path), "--config", str(fit / "config.yaml"),
            "--max-epochs", "1", "--out", str(out / "fit"),
        ],
    }[name]  # fmt: skip


def assert_refused(ended: Ended, mutated: Mutated, path: Path, name: str) -> None:
    assert ended.status in ((1, 2) if name == "md" else (2,)), "\n".join(ended.errors)
    lines = [line for line in ended.errors if not NOT_LINES.match(line)]
    assert len(lines) == 1, "\n".join(ended.errors)
    if ended.status == 1:  # a simulation that begins, but not from a structure of its potential
        assert "blew up" in lines[0]
        return
    assert str(path) in lines[0] or "structure" in lines[0] or "frame" in lines[0], lines[0]
    if mutated.frame is not None and name in ("describe", "audit"):
        assert re.search(rf"frames? {mutated.frame}\b", lines[0]), lines[0]


def assert_right(out: Path, name: str, mutated: Mutated, expected: dict[str, np.ndarray]) -> None:
    """Finite numbers of consistent shapes; those of frames that did not change, as before."""
    if name == "describe":
        with np.load(out / "rows.npz") as rows:
            values, structure, atom = rows["values"], rows["structure"], rows["atom"]
        assert np.isfinite(values).all() and values.shape[1] == expected["values"].shape[1]
        assert len(values) == len(structure) == len(atom)
        counts = np.bincount(structure)
        assert (counts > 0).all()
        np.testing.assert_array_equal(atom, np.concatenate([np.arange(n) for n in counts]))
        if mutated.same:
            np.testing.assert_allclose(values, expected["values"], rtol=1e-5, atol=1e-6)
        elif mutated.frame is not None:
            assert counts.size == np.unique(expected["structure"]).size
            for frame in set(range(counts.size)) - {mutated.frame}:
                np.testing.assert_allclose(
                    values[structure == frame],
                    expected["values"][expected["structure"] == frame], rtol=1e-5, atol=1e-6,
                )  # fmt: skip
    elif name == "evaluate":
        errors = json.loads((out / "errors.json").read_text())
        assert np.isfinite([v for v in errors.values() if isinstance(v, float)]).all()
    elif name == "audit":
        assert (out / "audit" / "report.md").is_file()
    elif name == "md":
        assert (out / "run" / "final.xyz").is_file()
    else:
        assert (out / "fit" / "model" / "model.json").is_file()


@pytest.mark.parametrize("name", COUNTS)
def test_commands(name, originals, fit, worker, scaled, tmp_path, record):
    random = np.random.default_rng(list(COUNTS).index(name))
    sources = ["molecules", "crystals"] if name in ("describe", "audit") else ["clusters"]
    expected: dict[str, dict[str, np.ndarray]] = {}
    for source in sources if name == "describe" else ():
        path = tmp_path / f"{source}.xyz"
        path.write_bytes(originals[source])
        assert worker.run(command(name, path, tmp_path, fit)).status == 0
        with np.load(tmp_path / "rows.npz") as rows:
            expected[source] = {key: rows[key] for key in ("values", "structure")}
    kinds = list(MUTATIONS)
    order = random.permutation(len(kinds))
    slowest, accepted, faults = 0.0, 0, []
    count = scaled(COUNTS[name], 20 if name == "train" else 10)
    for trial in range(count):
        kind, source = kinds[order[trial % len(kinds)]], sources[trial % len(sources)]
        mutated = MUTATIONS[kind](originals[source], random)
        out, path = tmp_path / f"out-{trial}", tmp_path / f"{trial}.xyz"
        path.write_bytes(mutated.content)
        ended = worker.run(command(name, path, out, fit))
        slowest = max(slowest, ended.seconds)
        try:
            assert path.read_bytes() == mutated.content
            if ended.status:
                left = [p for p in out.rglob("*") if p.is_file()] if out.exists() else []
                assert ended.status == 1 or not left, left
                assert_refused(ended, mutated, path, name)
            else:
                accepted += 1
                assert_right(out, name, mutated, expected.get(source, {}))
        except AssertionError as error:
            faults.append(f"{kind}, {path}: {error}")
        shutil.rmtree(out, ignore_errors=True)
    assert not faults, "\n\n".join(faults)
    record |= {
        "files": count, "refused": count - accepted, "accepted": accepted,
        "slowest, s": round(slowest, 1),
    }  # fmt: skip


@pytest.mark.parametrize("value", [1e308, -1e13, np.inf, np.nan])
def test_labels_that_no_loss_can_hold(value):
    (frame,) = labelled([molecule("H2O")])
    frame.calc.results["forces"][1, 2] = value
    with pytest.raises(InputError, match=r"frame 0 .*forces.*finite numbers up to 1e\+12"):
        read_labels([frame])


def test_a_command_that_dies_or_hangs_would_be_seen(worker):
    """The worker itself: it reports a signal, and stops what takes too long."""
    assert worker.run(["describe", "/nowhere.xyz", "/tmp/x.npz"]).status == 2
    assert worker.process is not None
    worker.process.kill()
    assert worker.run(["describe"]).status == -9
    assert worker.run(["--version"]).status == 0
