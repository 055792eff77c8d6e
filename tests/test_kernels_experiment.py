"""The learning curve of Gaussian processes, in small."""

import json
import sys
from functools import partial

import pytest
from ase.io import write

from experiments.kernels.exact import main
from experiments.rows import complete_rows
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


def test_rows_of_a_result_are_made_once_and_an_interrupted_run_goes_on(tmp_path):
    path, made = tmp_path / "rows.json", []

    def make(name):
        if name == "broken":
            raise KeyboardInterrupt
        made.append(name)
        return {"error": len(made)}

    wanted = {name: partial(make, name) for name in ("a", "b", "broken")}
    with pytest.raises(KeyboardInterrupt):
        complete_rows(path, wanted, {"size": 1})
    complete_rows(path, {name: partial(make, name) for name in "abc"}, {"size": 1})
    assert made == ["a", "b", "c"]
    with pytest.raises(InputError, match=r"row a of .* is of other settings \(size\)"):
        complete_rows(path, {"a": partial(make, "a")}, {"size": 2})
    complete_rows(path, {"a": partial(make, "a")}, {"size": 2}, force=True)
    rows = json.loads(path.read_text())["rows"]
    assert rows["a"] == {"error": 4, "settings": {"size": 2}}
    assert rows["b"] == {"error": 2, "settings": {"size": 1}}
