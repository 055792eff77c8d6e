"""The B8 experiment: its figures on sets of other seeds, and the demo in small."""

import json

import numpy as np
import pytest

from experiments.b8.run import run_other_seed
from tripletjax.demo import pair_errors, report, run_b8

pytestmark = pytest.mark.once("float64")


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
def test_other_seeds_are_learned(seed):
    """1600 structures to train, 400 to test, a Gaussian process with fixed settings."""
    errors = run_other_seed(seed)["errors"]
    assert errors["chosen for B8"]["mean"] < 0.12
    assert errors["chosen for B8"]["difference"] < 0.25
    assert errors["defaults"]["difference"] < 0.35


def test_demo_writes_its_record_and_figure(tmp_path):
    record = run_b8(400, 100, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["b8.png", "results.json"]
    assert json.loads((tmp_path / "out/results.json").read_text())["errors"] == record["errors"]
    assert (tmp_path / "out/b8.png").read_bytes().startswith(b"\x89PNG")
    for kind in ("power_spectrum", "bispectrum", "triplet_sum"):
        assert record["relative_distance_in_pairs"][kind]["largest"] < 1e-13
    assert record["relative_distance_in_pairs"]["fingerprint"]["median"] > 1e-3
    errors = record["errors"]
    assert errors["bispectrum, Gaussian process"]["difference"] == pytest.approx(1.0, abs=0.02)
    assert errors["fingerprint, Gaussian process"]["difference"] < 0.5
    assert all(name in report(record) for name in errors)


def test_pair_errors_are_those_of_the_definition():
    reference = np.array([0.0, 1.0, 4.0, 3.0])
    predicted = np.array([1.0, 1.0, 4.0, 4.0])
    errors = pair_errors(predicted, reference)  # means off by ½ and ½, differences by 1 and -1
    assert errors["mean"] == pytest.approx(0.5 / reference.std())
    assert errors["difference"] == pytest.approx(1.0 / np.std([-1.0, 1.0]))
