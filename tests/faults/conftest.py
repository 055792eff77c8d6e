"""Counts of the fault suite: all of them with FAULTS=full (``make faults``), else a tenth.

What was tried in full, and how long it took, is written to ``results.json`` beside this file.
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ase.io import write

from tests.test_training import clusters
from tripletjax.cli import main
from tripletjax.io import provenance, save_json

# The least to compile.
CONFIG = """
n_radial: 2
l_max: 1
channels: 2
tags: 2
units: 2
odd_units: 1
width: 2
cutoff: 3.0
batch_size: 2
steps_between_validations: 1
laplace_members: 0
"""
FULL = os.environ.get("FAULTS", "tenth") == "full"
RESULTS = Path(__file__).parent / "results.json"
_found: dict[str, dict[str, Any]] = {}


@pytest.fixture(scope="session")
def scaled() -> Callable[..., int]:
    """The number of trials to make of a full count: all, or a tenth, or less where that is slow."""
    return lambda count, part=10: count if FULL else max(1, count // part)


@pytest.fixture(scope="session")
def fit(tmp_path_factory) -> Path:
    """A folder with train.xyz, test.xyz, config.yaml and the fit that train made of them."""
    folder = tmp_path_factory.mktemp("faults")
    write(folder / "train.xyz", clusters(6))
    write(folder / "test.xyz", clusters(3, seed=1))
    (folder / "config.yaml").write_text(CONFIG)
    data = ["--train", str(folder / "train.xyz"), "--test", str(folder / "test.xyz")]
    options = ["--config", str(folder / "config.yaml"), "--max-epochs", "2", "--seed", "3"]
    assert main(["train", *data, *options, "--out", str(folder / "fit")]) == 0
    return folder


@pytest.fixture
def record(request):
    """What a test counted; kept under its name, with its time, if it passed."""
    counted: dict[str, Any] = {}
    began = time.monotonic()
    failed = request.session.testsfailed
    yield counted
    if request.session.testsfailed == failed:
        counted["seconds"] = round(time.monotonic() - began, 1)
        _found[f"{request.path.stem}::{request.node.name}"] = counted


def pytest_sessionfinish():
    if not (FULL and _found):
        return
    old = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    parts = {name: counted for name, counted in old.get("parts", {}).items()} | _found
    save_json(RESULTS, provenance() | {"parts": dict(sorted(parts.items()))})
