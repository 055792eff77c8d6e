"""A stress counts where a cell of the user's own has a volume, in fits and in scores alike."""

import logging

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator

from tripletjax import descriptor
from tripletjax.kernels.observations import check_observations
from tripletjax.potentials.network import Architecture
from tripletjax.potentials.triplet import untrained
from tripletjax.training import Labels, TrainConfig, evaluate, read_labels
from tripletjax.training.data import make_buckets
from tripletjax.training.energies import EnergyTask
from tripletjax.training.labels import countable
from tripletjax.training.metrics import compare
from tripletjax.volumes import has_volume

pytestmark = pytest.mark.once("float32")

TINY = Architecture(
    cutoff=3.0, n_radial=3, l_max=1, channels=2, messages=0, tags=2, units=4, width=4
)
POTENTIAL = untrained([1, 8], TINY)
CONFIG = TrainConfig(stress_weight=10.0, final_energy_weight=1e-3)
VOIGT = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
THIRDS = {"proper": [0.5, 0, 12.0], "missing": [0, 0, 0], "in the plane": [4.0, 1.0, 0]}


def layer(third) -> Atoms:
    """Water, periodic along two directions, with this third cell vector."""
    frame = molecule("H2O")
    frame.rattle(0.05, seed=1)
    frame.set_cell([[4.0, 0, 0], [0.3, 4.5, 0], third])
    frame.pbc = [True, True, False]
    return frame


def labelled(frame: Atoms, stress, energy: float = 0.0) -> Atoms:
    results = {"energy": energy, "forces": np.zeros((len(frame), 3)), "stress": stress}
    frame.calc = SinglePointCalculator(frame, **results)
    return frame


@pytest.mark.parametrize("third", THIRDS)
def test_a_layer_has_a_stress_if_its_third_vector_gives_a_volume(third):
    assert has_volume(layer(THIRDS[third])) == (third == "proper")


def test_molecules_and_crystals():
    box = molecule("H2O", vacuum=5.0)
    assert not has_volume(box) and not has_volume(molecule("H2O"))
    box.pbc = True
    assert has_volume(box)


def test_the_stress_of_a_layer_is_scored_by_the_volume_of_its_own_cell():
    """Slopes of the energy under small strains, over the volume, have no error."""
    frame, step, strained = layer(THIRDS["proper"]), 0.01, []
    for a, b in VOIGT:
        for sign in (-1, 1):
            strain = np.zeros((3, 3))
            strain[a, b] += sign * step / 2
            strain[b, a] += sign * step / 2
            strained.append(frame.copy())
            strained[-1].set_cell(frame.cell @ (np.eye(3) + strain), scale_atoms=True)
    nothing = [Labels(0.0, None, None)] * len(strained)
    energies = compare(POTENTIAL, make_buckets(strained, nothing, POTENTIAL)).predicted_energy
    stress = np.diff(energies.reshape(6, 2))[:, 0] / (2 * step * frame.get_volume())
    same = [labelled(frame.copy(), stress) for _ in strained]  # as many: the same program
    found = evaluate(POTENTIAL, same, read_labels(same))
    size = np.abs(stress).max() * 1000
    assert size > 1 and found["stress_mae_mev_per_A3"] < 0.01 * size


def test_validation_counts_the_stress():
    frames = [layer(THIRDS["proper"]) for _ in range(12)]
    scores = []
    for size in (0.0, 0.1, 1.0):
        buckets = make_buckets(frames, [Labels(0.0, None, size * np.eye(3))] * 12, POTENTIAL)
        score, _ = EnergyTask(POTENTIAL, buckets, buckets, CONFIG, 1.0).validate(POTENTIAL.weights)
        scores.append(score)
    assert scores[2] > 2 * scores[1] > 2 * scores[0]


def without_volume() -> list[Atoms]:
    """A molecule in a box, one without a cell, and a layer without a third vector."""
    frames = [molecule("H2O", vacuum=5.0), molecule("H2O"), layer([0, 0, 0])]
    return [labelled(frame, np.full(6, 7.0)) for frame in frames]


def test_a_stress_without_a_volume_is_left_out_and_said_once(caplog):
    caplog.set_level(logging.INFO)
    frames = [*without_volume(), labelled(layer(THIRDS["proper"]), np.ones(6))]
    labels = read_labels(frames, source="a.xyz")
    assert [label.stress is None for label in labels] == [True] * 3 + [False]
    assert countable(frames, labels) == labels
    said = [r.getMessage() for r in caplog.records if "volume" in r.getMessage()]
    assert len(said) == 1 and "stress of 3 of 4" in said[0] and "a.xyz" in said[0]


def test_labels_made_by_hand_are_neither_fitted_nor_scored(caplog):
    caplog.set_level(logging.INFO)
    frames = without_volume()
    labels = [Labels(0.0, None, np.eye(3))] * 3
    assert not any(b.has_stress.any() for b in make_buckets(frames, labels, POTENTIAL))
    assert "stress_mae_mev_per_A3" not in evaluate(POTENTIAL, frames, labels)
    assert caplog.text.count("stress of 3 of 3") == 1


def test_kernels_leave_it_out_too(caplog):
    caplog.set_level(logging.INFO)
    frames = [*without_volume(), layer(THIRDS["proper"])]
    describer = descriptor("power_spectrum", (1, 8), cutoff=3.0, n_max=2, l_max=1)
    stress = [np.eye(3)] * 4
    found = check_observations(frames, np.zeros(4), None, stress, describer)
    assert [value is None for value in found.stress] == [True, True, True, False]
    assert "stress of 3 of 4" in caplog.messages[0]
    assert caplog.messages[1] == "labels of 4 structures: 4 energies, forces of 0, stress of 1"
