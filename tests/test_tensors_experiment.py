"""Dipoles and polarisabilities: the split, the figure, and what the committed results claim."""

import json
from pathlib import Path

import numpy as np
import pytest

import experiments.tensors.run as tensors
from tripletjax.data.sets import load_frames

pytestmark = pytest.mark.once("float32")

RESULTS = Path(tensors.__file__).with_name("results")


@pytest.fixture(scope="module")
def committed():
    return json.loads((RESULTS / "results.json").read_text())


def test_no_structure_is_in_two_parts_and_no_molecule_held_out_is_trained_on():
    frames = load_frames("molecules")
    parts = tensors.split(frames)
    assert sorted(np.concatenate(list(parts.values()))) == list(range(len(frames)))
    names = {part: {frames[i].info["name"] for i in index} for part, index in parts.items()}
    assert len(names["molecules"]) == 8
    assert not names["molecules"] & (names["train"] | names["valid"])
    assert names["frames"] <= names["train"]


def test_committed_points_give_the_committed_errors(committed, tmp_path):
    points = dict(np.load(RESULTS / "points.npz"))
    for name, found in committed["models"].items():
        for part in tensors.COLORS:
            label, predicted = points[f"{name}/{part}"].astype(float)
            assert np.abs(predicted - label).mean() == pytest.approx(found[part]["mae"], rel=1e-3)
    tensors.figure(tmp_path / "parity.png", points)
    assert (tmp_path / "parity.png").read_bytes().startswith(b"\x89PNG")
