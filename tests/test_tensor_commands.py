"""The commands of tensors: what they write and print, and what they refuse."""

import json
import shlex

import numpy as np
import pytest
from ase.io import write

from tripletjax.cli import main
from tripletjax.data.sets import load_frames
from tripletjax.properties.tensor_model import load_tensor
from tripletjax.settings import read_settings
from tripletjax.training.loop import Progress

pytestmark = pytest.mark.once("float32")

SMALL = "n_radial: 2\nl_max: 1\nchannels: 2\ntags: 3\nunits: 4\nodd_units: 1\nwidth: 4\n"
SMALL += "batch_size: 3\n"


def command(line: str) -> int:
    return main(shlex.split(line))


@pytest.fixture
def files(tmp_path):
    frames = [f for f in load_frames("molecules") if f.info["name"] == "H2O"]
    write(tmp_path / "data.xyz", frames, format="extxyz")
    (tmp_path / "small.yaml").write_text(SMALL)
    return tmp_path


def test_train_then_evaluate(files, capsys):
    fit = files / "fit"
    assert not command(
        f"train-tensor --target polarizability --train {files}/data.xyz --test {files}/data.xyz "
        f"--out {fit} --config {files}/small.yaml --cutoff 3 --max-epochs 2"
    )
    assert capsys.readouterr().out.splitlines()[-1].startswith("test: mae ")
    record = json.loads((fit / "metrics.json").read_text())
    assert record["structures"] == {"train": 8, "valid": 1, "test": 9}
    assert load_tensor(fit).architecture.cutoff == 3.0
    assert not command(f"evaluate-tensor {fit} {files}/data.xyz --out {files}/errors.json")
    assert "Å³" in capsys.readouterr().out
    assert json.loads((files / "errors.json").read_text()) == pytest.approx(record["test"])
    assert not command(f"evaluate {fit} {files}/data.xyz --out {files}/same.json")
    assert (files / "same.json").read_bytes() == (files / "errors.json").read_bytes()
    assert command(f"evaluate {fit} {files}/data.xyz --energy-key E") == 2
    assert "invalid --energy-key" in capsys.readouterr().err
    kept = read_settings(fit / "settings.yaml")
    assert (kept["target"], kept["charges"], kept["cutoff"]) == ("polarizability", True, 3.0)
    assert "energy_weight" not in kept
    again = f"train-tensor --train {files}/data.xyz --config {fit}/settings.yaml"
    assert command(f"{again} --out {files}/again") == 0
    for name in ("settings.yaml", "model/weights.safetensors"):  # bit for bit
        assert (files / "again" / name).read_bytes() == (fit / name).read_bytes()
    assert command(f"train-tensor --target dipole --train {files}/data.xyz --out {fit}") == 2
    assert "already holds files" in capsys.readouterr().err


def test_a_file_without_labels_is_named(files, capsys):
    frames = load_frames("ethanol")[:3]
    write(files / "ethanol.xyz", frames, format="extxyz")
    fit = f"train-tensor --train {files}/ethanol.xyz --out {files}/other"
    assert command(f"{fit} --target polarizability") == 2
    error = capsys.readouterr().err
    assert "ethanol.xyz has no polarizability" in error and "'dipole'" in error
    assert command(fit) == 2 and "give --target dipole or polarizability" in capsys.readouterr().err


class Killed(Exception):
    pass


def test_resume_gives_the_same_bits_and_refuses_other_settings(files, monkeypatch, capsys):
    always = "checkpoint_minutes: 0\nsteps_between_validations: 1\n"
    (files / "small.yaml").write_text(SMALL + always)
    fit = ["train-tensor", "--target", "polarizability", "--train", str(files / "data.xyz")]
    fit += ["--config", str(files / "small.yaml"), "--cutoff", "3", "--max-epochs", "3", "--out"]
    whole, parts = str(files / "whole"), str(files / "parts")
    assert main([*fit, whole]) == 0
    kept = 0

    def killed_within_an_epoch(self, settings):
        nonlocal kept
        kept += 1
        if kept > 6:  # three steps and the end of the first epoch, two steps of the next
            raise Killed
        return original(self, settings)

    original = Progress.checkpoint
    with monkeypatch.context() as patch:
        patch.setattr(Progress, "checkpoint", killed_within_an_epoch)
        with pytest.raises(Killed):
            main([*fit, parts])
    assert load_tensor(parts).species == (1, 8)  # the best so far is there
    written = (files / "parts" / "history.csv").read_text().splitlines()
    assert len(written) == 2 and not (files / "parts" / "metrics.json").exists()
    capsys.readouterr()
    assert main([*fit, parts, "--resume", "--seed", "5"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "different settings (seed" in lines[0]
    assert main([*fit, parts, "--resume"]) == 0
    one, other = load_tensor(whole), load_tensor(parts)
    for name, array in one.weights.items():
        assert np.array_equal(array, other.weights[name]), name
    records = [json.loads((files / n / "metrics.json").read_text()) for n in ("whole", "parts")]
    assert records[0]["train"] == records[1]["train"] and records[1]["epochs"] == 3
