"""What training data lack or contradict is said before a fit, once and with its place."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from tests.test_training import FAST
from tripletjax.training import Dataset, Labels, train
from tripletjax.training.shortcomings import warn_of_shortcomings

pytestmark = pytest.mark.once("float32")


def crystals(count: int) -> list[Atoms]:
    frames = [bulk("Cu", cubic=True) for _ in range(count)]
    for seed, frame in enumerate(frames):
        frame.rattle(0.1, seed=seed)
    return frames


def labels_of(frames, energies=None) -> list[Labels]:
    energies = np.zeros(len(frames)) if energies is None else energies
    return [
        Labels(float(e), np.zeros((len(f), 3)), None) for f, e in zip(frames, energies, strict=True)
    ]


def warnings(caplog, frames, labels) -> list[str]:
    caplog.clear()
    warn_of_shortcomings(frames, labels)
    return [record.getMessage() for record in caplog.records]


def test_good_data_say_nothing(caplog):
    frames = crystals(4)
    repeated = [*frames, frames[0].copy()]
    assert warnings(caplog, repeated, labels_of(repeated)) == []


@pytest.mark.parametrize("periodic", [True, False])
def test_equal_structures_with_other_labels_are_named(periodic, caplog):
    frames = crystals(4)
    copy = frames[1].copy()
    copy.positions += [0.3, -1.7, 40.0]
    if periodic:
        copy.wrap()
    frames.append(copy)
    for frame in frames:
        frame.pbc = periodic
    (message,) = warnings(caplog, frames, labels_of(frames, [0, 0, 0, 0, 0.4]))
    assert "1 structures" in message and "4 and 1" in message and "100 meV/atom" in message
    labels = labels_of(frames)
    labels[4].forces[2, 1] = 0.5
    (message,) = warnings(caplog, frames, labels)
    assert "0 meV/atom and 500 meV/Å" in message


def test_atoms_in_another_cell_are_another_structure(caplog):
    frames = crystals(1) * 2
    frames[1] = frames[1].copy()
    frames[1].set_cell(frames[1].cell.array * 1.1)
    assert warnings(caplog, frames, labels_of(frames, [0, 1.0])) == []


def test_species_of_one_structure_and_missing_forces_are_named(caplog):
    frames = crystals(3)
    frames[2].symbols[0] = "Au"
    labels = [label._replace(forces=None) for label in labels_of(frames)]
    rare, forces = warnings(caplog, frames, labels)
    assert "only one structure contains Au" in rare
    assert "no structure has forces" in forces


def test_one_structure_is_fitted_and_said(caplog):
    frames = crystals(1)
    random = np.random.default_rng(0)
    forces = random.normal(size=(4, 3))
    labels = [Labels(-3.0, forces - forces.mean(0), None)]
    potential, record = train(Dataset(frames, labels), None, FAST, show=False)
    assert np.isfinite(potential.predict(frames).energy).all()
    assert record["structures"] == {"train": 1, "valid": 1}
    assert any("validation uses the training data" in r.getMessage() for r in caplog.records)
