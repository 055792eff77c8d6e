"""Fits and simulations that are killed at random moments end as those that were not."""

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.io import write

from tests.faults.conftest import CONFIG, FULL
from tests.md_runs import potential, rows, silicon
from tests.test_training import clusters
from tripletjax.locks import is_unfinished
from tripletjax.md.files import FINAL, THERMO, TRAJECTORY
from tripletjax.sealing import unsealed
from tripletjax.training.folder import CHECKPOINT

pytestmark = [pytest.mark.once("float64"), pytest.mark.long]

KILLS = 50
EPOCHS, STEPS = (250, 3000) if FULL else (60, 800)


def carried_out(task: dict) -> dict[str, int]:
    command = [sys.executable, "-W", "error", "-m", "tests.faults.killing"]
    found = subprocess.run(
        command, input=json.dumps(task), capture_output=True, text=True, check=False,
        env=os.environ | {
            "JAX_ENABLE_X64": "0", "PYTHONPATH": os.pathsep.join(sys.path),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        },
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


def parts(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("part-*") if path.is_dir())


def unfinished(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if is_unfinished(path)]


def history(folder: Path) -> list[dict[str, str]]:
    """But for the seconds, which no two runs share."""
    with (folder / "history.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def test_fits(tmp_path, scaled, record):
    (tmp_path / "config.yaml").write_text(CONFIG + "checkpoint_minutes: 0\n")
    write(tmp_path / "train.xyz", clusters(6))
    command = ["train", "--train", str(tmp_path / "train.xyz"), "--max-epochs", str(EPOCHS)]
    record |= carried_out({
        "command": [*command, "--config", str(tmp_path / "config.yaml")],
        "goes_on": "--resume", "grows": CHECKPOINT, "delay": 0.5, "folder": str(tmp_path),
        "kills": scaled(KILLS, 50), "kills_a_chain": 10, "seed": 0,
    })  # fmt: skip
    whole = tmp_path / "whole"
    assert [int(row["epoch"]) for row in history(whole)] == list(range(1, EPOCHS + 1))
    for part in parts(tmp_path):
        for name in ("model/weights.safetensors", "model/model.json"):
            assert (part / name).read_bytes() == (whole / name).read_bytes()
        state, expected = (
            unsealed((path / CHECKPOINT).read_bytes(), ("format", "record"))[1]
            for path in (part, whole)
        )
        for name, array in expected.items():
            np.testing.assert_array_equal(state[name], array)
        assert history(part) == history(whole)
        errors = [json.loads((path / "metrics.json").read_text()) for path in (part, whole)]
        assert errors[0]["train"] == errors[1]["train"] and errors[0]["valid"] == errors[1]["valid"]
        assert not unfinished(part)


def test_simulations(tmp_path, scaled, record):
    replace(potential(), scale=0.01).save(tmp_path / "model")  # atoms that hardly feel each other
    silicon().write(tmp_path / "start.xyz")
    command = ["md", str(tmp_path / "model"), str(tmp_path / "start.xyz"), "--ensemble", "nvt"]
    command += ["--steps", str(STEPS)]
    record |= carried_out({
        "command": [*command, "--log-every", "5", "--write-every", "10"],
        "goes_on": "--resume", "grows": THERMO, "delay": 0.5, "folder": str(tmp_path),
        "kills": scaled(KILLS), "kills_a_chain": 10, "seed": 1, "springs": not FULL,
    })  # fmt: skip
    whole = tmp_path / "whole"
    assert [int(row["step"]) for row in rows(whole)] == list(range(0, STEPS + 1, 5))
    for part in parts(tmp_path):
        for name in (THERMO, TRAJECTORY, FINAL):
            assert (part / name).read_bytes() == (whole / name).read_bytes()
        assert not unfinished(part)
