"""The folder of a fit: an earlier fit is replaced on request only, other people's files never."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule

from tests.test_training import FAST, clusters
from tripletjax import InputError
from tripletjax.potentials import load, untrained
from tripletjax.potentials.committee import committee_of
from tripletjax.potentials.network import Architecture
from tripletjax.properties.fitting import TensorData, fit_tensors
from tripletjax.properties.tensor_model import load_tensor, untrained_tensor
from tripletjax.training import Labels, train, train_committee
from tripletjax.training.parts import Dataset

pytestmark = pytest.mark.once("float32")

SETTINGS = "settings.yaml"
FIT = (SETTINGS, "checkpoint.safetensors", "history.csv", "metrics.json", "parity.png", "loss.png",
       "calibration.png", "model/model.json", "model/weights.safetensors",
       "committee/committee.json", "committee/members.safetensors", "committee/model/model.json",
       "committee/model/weights.safetensors")  # fmt: skip
FOREIGN = ("notes.txt", "data.xyz", "model/README", "member-1/plot.png", "figures/loss.png")


class Reached(Exception):
    """The fit would begin: the folder is as it will be."""


def reached(*arguments, **options):
    raise Reached


@pytest.fixture
def stopped(monkeypatch):
    """Fits end before their first step, when the folder is ready."""
    for place in ("training.run", "properties.fitting.fit"):
        monkeypatch.setattr(f"tripletjax.{place}.run_epochs", reached)


def dataset() -> Dataset:
    frames = clusters(6)
    labels = [Labels(f.get_potential_energy(), f.get_forces(), None) for f in frames]
    return Dataset(frames, labels)


def filled(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def fits():
    tensors = TensorData([molecule("H2O")] * 4, np.ones((4, 3)))
    return {
        "potential": lambda folder, **o: train(dataset(), folder, FAST, show=False, **o),
        "committee": lambda folder, **o: train_committee(
            dataset(), folder, 2, FAST, show=False, **o
        ),
        "tensors": lambda folder, **o: fit_tensors(
            tensors, "dipole", folder, FAST, show=False, **o
        ),
    }


@pytest.mark.parametrize("kind", fits())
@pytest.mark.parametrize("names", [("metrics.json",), ("notes.txt",), ("member-0/metrics.json",)])
def test_a_folder_in_use_is_refused(kind, names, tmp_path, stopped):
    folder = filled(tmp_path / "fit", *names)
    with pytest.raises(InputError, match="already holds files"):
        fits()[kind](folder)
    assert files(folder) == set(names)


@pytest.mark.parametrize("kind", fits())
def test_force_replaces_an_earlier_fit_and_nothing_else(kind, tmp_path, stopped):
    members = [f"member-{number}/{name}" for number in (0, 1, 12) for name in FIT]
    folder = filled(tmp_path / "fit", *FIT, *members, "model/tensor.json", *FOREIGN)
    with pytest.raises(Reached):
        fits()[kind](folder, force=True)
    settings = folder / ("member-0" if kind == "committee" else "") / SETTINGS
    assert settings.read_text() != SETTINGS  # those of the new fit
    settings.unlink()
    assert files(folder) == set(FOREIGN)
    assert (folder / "notes.txt").read_text() == "notes.txt"


@pytest.mark.parametrize("kind", fits())
def test_bad_input_leaves_the_earlier_fit(kind, tmp_path, stopped):
    folder = filled(tmp_path / "fit", *FIT, "member-0/metrics.json")
    before = files(folder)
    ammonia = molecule("NH3")
    test = Dataset([ammonia], [Labels(0.0, None, None)])
    if kind == "tensors":
        test = TensorData([ammonia], np.ones((1, 3)))
    with pytest.raises(InputError, match=r"7 \(N\)"):
        fits()[kind](folder, force=True, test=test)
    assert files(folder) == before


@pytest.mark.parametrize("kind", ["potential", "committee"])
def test_settings_that_do_not_suit_the_data_leave_the_earlier_fit(kind, tmp_path, stopped):
    folder = filled(tmp_path / "fit", *FIT, "member-0/metrics.json")
    before, config = files(folder), replace(FAST, reference_energies={"He": -1.0})
    with pytest.raises(InputError, match="no reference energy of Ar"):
        if kind == "potential":
            train(dataset(), folder, config, force=True, show=False)
        else:
            train_committee(dataset(), folder, 2, config, force=True, show=False)
    assert files(folder) == before


def test_resume_keeps_what_is_there(tmp_path, stopped):
    folder = filled(tmp_path / "fit", "notes.txt", "member-0/notes.txt")
    with pytest.raises(InputError, match=r"member-0/checkpoint.safetensors does not exist"):
        fits()["committee"](folder, resume=True)
    assert files(folder) == {"notes.txt", "member-0/notes.txt"}


def test_models_saved_over_others_keep_other_files(tmp_path):
    sizes = Architecture(n_radial=3, l_max=1, channels=2, tags=4, units=4, width=4)
    model = untrained([1, 8], sizes)
    committee = committee_of([model, untrained([1, 8], sizes, seed=1)])
    tensors = untrained_tensor("dipole", [1, 8])
    for thing, name in ((model, "a"), (committee, "b"), (tensors, "c")):
        thing.save(tmp_path / name)
        filled(tmp_path / name, "notes.txt")
        replace_scale(thing).save(tmp_path / name, force=True)
        assert (tmp_path / name / "notes.txt").read_text() == "notes.txt"
    assert load(tmp_path / "a").scale == load(tmp_path / "b").scale == 2.0
    assert load_tensor(tmp_path / "c").scale == 2.0


def replace_scale(thing):
    if hasattr(thing, "potential"):
        return replace(thing, potential=replace(thing.potential, scale=2.0))
    return replace(thing, scale=2.0)
