"""The commands of tensors: what they write and print, and what they refuse."""

import argparse
import json
import shlex

import pytest
from ase.io import write

from tripletjax import InputError
from tripletjax.data.sets import load_frames
from tripletjax.tensor_commands import add_evaluate_tensor, add_train_tensor
from tripletjax.tensor_properties import load_tensor

SMALL = "n_radial: 2\nl_max: 1\nchannels: 2\ntags: 3\nunits: 4\nodd_units: 1\nwidth: 4\n"


def command(line: str) -> None:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()

    def add_command(commands, name, run, summary, example):
        assert example.startswith(f"tripletjax {name} ") and summary
        added = commands.add_parser(name)
        added.set_defaults(run=run)
        return added

    add_train_tensor(commands, add_command)
    add_evaluate_tensor(commands, add_command)
    parsed = parser.parse_args(shlex.split(line))
    parsed.run(parsed)


@pytest.fixture
def files(tmp_path):
    frames = [f for f in load_frames("molecules") if f.info["name"] == "H2O"]
    write(tmp_path / "data.xyz", frames, format="extxyz")
    (tmp_path / "small.yaml").write_text(SMALL)
    return tmp_path


def test_train_then_evaluate(files, capsys):
    fit = files / "fit"
    command(
        f"train-tensor --target polarizability --train {files}/data.xyz --test {files}/data.xyz "
        f"--out {fit} --config {files}/small.yaml --cutoff 3 --max-epochs 2"
    )
    assert capsys.readouterr().out.splitlines()[-1].startswith("test: mae ")
    record = json.loads((fit / "metrics.json").read_text())
    assert record["structures"] == {"train": 8, "valid": 1, "test": 9}
    assert load_tensor(fit).architecture.cutoff == 3.0
    command(f"evaluate-tensor {fit} {files}/data.xyz --out {files}/errors.json")
    assert "Å³" in capsys.readouterr().out
    assert json.loads((files / "errors.json").read_text()) == pytest.approx(record["test"])
    with pytest.raises(InputError, match="already holds files"):
        command(f"train-tensor --target dipole --train {files}/data.xyz --out {fit}")


def test_a_file_without_labels_is_named(files):
    frames = load_frames("ethanol")[:3]
    write(files / "ethanol.xyz", frames, format="extxyz")
    with pytest.raises(InputError, match=r"ethanol.xyz has no polarizability.*'dipole'"):
        command(
            f"train-tensor --target polarizability --train {files}/ethanol.xyz --out {files}/other"
        )
