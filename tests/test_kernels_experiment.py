"""The learning curve of Gaussian processes, in small."""

import json
import sys

import pytest
from ase.io import write

from experiments.kernels.exact import main
from tripletjax import InputError
from tripletjax.data.sets import load_frames

pytestmark = pytest.mark.once("float32")


def test_a_learning_curve_grows_by_its_sizes(tmp_path, monkeypatch):
    frames = load_frames("ethanol")
    write(tmp_path / "train.xyz", frames[:6])
    write(tmp_path / "test.xyz", frames[6:8])
    (tmp_path / "small.yaml").write_text("cutoff: 3\nn_max: 2\nl_max: 1\ntune: false\n")
    monkeypatch.chdir(tmp_path)

    def run(*sizes):
        command = "exact --train train.xyz --test test.xyz --config small.yaml --out . --sizes"
        monkeypatch.setattr(sys, "argv", [*command.split(), *sizes])
        main()
        return json.loads((tmp_path / "exact-train.json").read_text())["rows"]

    first = run("3")
    grown = run("3", "5")
    assert grown["3"] == first["3"] and grown["5"]["structures"] == 5
    assert grown["5"]["test"]["force_mae_ev_per_A"] > 0
    with pytest.raises(InputError, match="has 6 structures; expected 7 or more"):
        run("7")
