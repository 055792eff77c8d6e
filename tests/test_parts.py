"""Validation data set aside: every species stays in training, and what cannot be split is named."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from tripletjax import InputError
from tripletjax.training import Labels, TrainConfig
from tripletjax.training.parts import Dataset, named_parts, split_dataset

pytestmark = pytest.mark.once("float32")


def dataset(frames) -> Dataset:
    return Dataset(frames, [Labels(float(i), None, None) for i in range(len(frames))])


def copper(count: int) -> list[Atoms]:
    return [Atoms("Cu2", [[0, 0, 0], [0, 0, 2.5]]) for _ in range(count)]


def species(data: Dataset) -> set[int]:
    return set(np.concatenate([frame.numbers for frame in data.frames]).tolist())


@pytest.mark.parametrize("seed", range(6))
def test_every_species_stays_in_training(seed):
    frames = copper(20)
    frames[seed].symbols[0] = "Au"  # one structure alone has it
    frames[7].symbols[1] = frames[12].symbols[1] = "Ag"  # two have it
    train, valid = split_dataset(dataset(frames), None, seed)
    assert species(train) == {29, 47, 79}
    assert len(valid.frames) == 2 and len(train.frames) == 18
    energies = sorted(label.energy for part in (train, valid) for label in part.labels)
    assert energies == list(range(20))


def test_the_whole_tenth_is_set_aside_where_species_alternate():
    """Pairs of structures share a species each: one of every pair may go, not both."""
    frames = [
        Atoms([s] * 2, [[0, 0, 0], [0, 0, 2.5]])
        for s in ("Cu", "Ag", "Au", "Pt", "Pd")
        for _ in range(2)
    ]
    for seed in range(5):
        train, valid = split_dataset(dataset(frames), None, seed)
        assert species(train) == {29, 46, 47, 78, 79} and len(valid.frames) == 1


def test_single_atoms_stay_in_training():
    frames = [Atoms("Cu"), *copper(4), Atoms("Cu")]
    for seed in range(6):
        _, valid = split_dataset(dataset(frames), None, seed)
        assert all(len(frame) > 1 for frame in valid.frames)


@pytest.mark.parametrize("frames", [[molecule("H2O"), *copper(1)], copper(1)])
def test_where_no_structure_can_be_set_aside(frames, caplog):
    data = dataset(frames)
    assert split_dataset(data, None, 0) == (data, data)
    (record,) = caplog.records
    assert "no structure can be set aside" in record.getMessage()


@pytest.mark.parametrize("part", ["valid", "test"])
def test_a_species_that_training_lacks_is_named_with_its_place(part):
    odd = copper(3)
    odd[2].symbols[1] = "Au"
    data = {"valid": dataset(copper(1)), "test": None} | {part: dataset(odd)}
    where = {"valid": "validation", "test": "test"}[part]
    with pytest.raises(InputError, match=rf"atom 1 of frame 2 of the {where} data .*79 \(Au\)"):
        named_parts(dataset(copper(3)), **data, config=TrainConfig())
