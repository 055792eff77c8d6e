"""One function weighs errors, in the loss and in the score of a validation."""

import numpy as np
import pytest

from tripletjax.training import TrainConfig
from tripletjax.training.errors import Differences, Weighting, weighted_error
from tripletjax.training.metrics import Comparison

pytestmark = pytest.mark.once("float32")

CONFIG = TrainConfig(forces_weight=2.0, stress_weight=5.0, huber=0.1, final_energy_weight=7.0)


def comparison(energy=0.0, forces=0.0, stress=0.0) -> Comparison:
    """Three structures with these errors in every component; two have a stress."""
    zeros, cells = np.zeros((6, 3)), np.zeros((2, 3, 3))
    return Comparison(
        n_atoms=np.array([1, 2, 3]),
        energy=np.zeros(3),
        predicted_energy=energy * np.array([1, 2, 3]),
        forces=zeros,
        predicted_forces=zeros + forces,
        stress=cells,
        predicted_stress=cells + stress,
        volumes_per_atom=np.array([4.0, 9.0]),
    )


def huber(x):
    return np.sqrt(x**2 + 0.1**2) - 0.1


def test_the_formula():
    scale = 0.5
    found = comparison(0.3, 0.2, 0.05).differences()
    expected = 7 * huber(0.3 / scale) + 2 * huber(np.sqrt(3) * 0.2 / scale)
    expected += 5 * np.mean([huber(3 * 0.05 * volume / scale) for volume in (4, 9)])
    score = weighted_error(found, Weighting.of(CONFIG), 7.0, scale)
    assert float(score) == pytest.approx(expected, rel=1e-5)


def test_what_does_not_count_changes_nothing():
    found = comparison(0.3, 0.2, 0.05).differences()
    more = Differences(*(np.concatenate([values, values[:1] + 9]) for values in found[:3]))
    masks = [np.arange(len(values)) < len(values) - 1 for values in more[:3]]
    more = more._replace(has_energy=masks[0], has_forces=masks[1], has_virial=masks[2])
    one, other = (weighted_error(d, Weighting.of(CONFIG), 7.0, 0.5) for d in (found, more))
    assert float(one) == pytest.approx(float(other), rel=1e-6)


def test_labels_that_are_not_there_count_as_nothing():
    nothing = np.zeros((0, 3)), np.zeros((0, 3, 3))
    found = Differences(np.full(3, 0.3), *nothing)
    score = weighted_error(found, Weighting.of(CONFIG), 7.0, 0.5)
    assert float(score) == pytest.approx(7 * huber(0.6), rel=1e-5)


def test_a_worse_stress_has_a_worse_score():
    scores = [
        float(weighted_error(comparison(0.1, 0.1, s).differences(), Weighting.of(CONFIG), 7.0, 1.0))
        for s in (0.0, 0.01, 0.1)
    ]
    assert scores[0] < scores[1] < scores[2]
