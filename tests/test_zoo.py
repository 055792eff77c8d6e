"""The models that come with the package."""

import json
from pathlib import Path

import numpy as np
import pytest

import tripletjax
from tripletjax import InputError
from tripletjax.calculator import TripletCalculator
from tripletjax.data.sets import load_frames
from tripletjax.potentials.storage import load
from tripletjax.training import evaluate, read_labels

pytestmark = pytest.mark.once("float32")

ZOO = Path(tripletjax.__file__).parent / "zoo"
SETS = {  # and one structure in so many that was held out of the fit
    "ethanol_gfn2": ("ethanol", 10),
    "silicon_pbe": ("silicon", 5),
    "water_gfn2": ("water", 10),
}
MODELS = sorted(path.name for path in ZOO.iterdir() if path.is_dir())


def test_every_model_is_tested_and_described():
    assert set(SETS) == set(MODELS)
    text = (ZOO / "README.md").read_text()
    assert all(name in text for name in MODELS)


@pytest.mark.parametrize("name", SETS)
def test_errors_are_those_on_record(name, float32):
    """On the structures that were held out of the fit."""
    of, every = SETS[name]
    frames = load_frames(of)[::every]
    found = evaluate(load(f"zoo:{name}"), frames, read_labels(frames))
    record = json.loads((ZOO / name / "metrics.json").read_text())["test"]
    for key, value in record.items():
        assert found[key] == pytest.approx(value, rel=1e-3), key


@pytest.mark.parametrize("name", SETS)
def test_use_with_uncertainty(name, float32):
    frame = load_frames(SETS[name][0])[0]
    labels = frame.get_forces()
    frame.calc = TripletCalculator(f"zoo:{name}", uncertainty=True)
    errors = frame.get_forces() - labels
    deviations = frame.calc.get_deviations()["forces_std"]
    assert 0.2 < np.sqrt(np.mean(errors**2) / np.mean(deviations**2)) < 5


def test_a_name_that_does_not_exist():
    with pytest.raises(InputError, match="ethanol_gfn2"):
        load("zoo:benzene")
