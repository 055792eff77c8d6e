"""Closed forms of the paper's table: their kernels, what they choose, and their rows in small."""

import numpy as np
import pytest

from experiments.paper import closed_forms
from experiments.paper.closed_forms import LENGTH_SCALES, WEIGHTS
from experiments.paper.errors import errors
from experiments.paper.labels import FIRST_TEST, Labels, read_labels, split
from experiments.paper.linear import path_of
from experiments.paper.ours import OURS
from experiments.paper.problem import Problem

pytestmark = pytest.mark.usefixtures("float32")  # all in float64, once


def problem_of(labels: Labels, tmp_path) -> Problem:
    nothing = np.zeros((len(labels.index), 1))
    return Problem(labels, split(labels), 0, 0.01, tmp_path, lambda name: nothing)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """400 structures to fit to, 50 to test, at a low resolution."""
    for name, changed in (("ATOM_0", {"l_max": 3}), ("EVERY_ATOM", {"l_max": 2, "n_max": 2})):
        hypers = getattr(closed_forms, name) | changed | {"n_features": 64}
        monkeypatch.setattr(closed_forms, name, hypers)
    monkeypatch.setattr(closed_forms, "INDUCING", 100)
    chosen = np.r_[0:400, FIRST_TEST : FIRST_TEST + 50]
    return problem_of(read_labels("xtb").among(chosen), tmp_path)


def test_kernels_are_means_over_pairs_of_atoms():
    random = np.random.default_rng(0)
    prints, known = random.normal(size=(5, 3, 4)), np.array([4, 0, 3])
    flat = prints.reshape(15, 4)
    unit = np.mean([np.sum((p - q) ** 2) for p in flat for q in flat])
    for scale, found in closed_forms._gaussians(prints, known):
        expected = [
            [np.mean([np.exp(-np.sum((p - q) ** 2) / (2 * scale**2 * unit))
                      for p in prints[s] for q in prints[t]]) for t in known]
            for s in range(5)
        ]  # fmt: skip
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_the_best_kernel_is_chosen_without_the_test_set(tmp_path):
    """Of a kernel that holds the energies and one that does not; noise as small as the labels'."""
    random = np.random.default_rng(1)
    places = random.uniform(size=(200, 1))
    labels = Labels(np.r_[0:150, FIRST_TEST : FIRST_TEST + 50], np.sin(5 * places[:, 0]))
    problem = problem_of(labels, tmp_path)
    right = np.exp(-((places - places[problem.known].T) ** 2) / 0.2)
    wrong = right[random.permutation(200)][:, random.permutation(150)]
    wrong = wrong @ wrong.T[:, problem.known]
    kernels = [({"kernel": "wrong"}, wrong), ({"kernel": "right"}, right)]
    predicted, told = closed_forms._regression(problem, kernels)
    assert told["kernel"] == "right"
    np.testing.assert_allclose(predicted, labels.energies, atol=1e-3)
    hidden = labels.energies.copy()
    hidden[problem.split.test] = 1e6
    again = closed_forms._regression(problem_of(Labels(labels.index, hidden), tmp_path), kernels)
    np.testing.assert_array_equal(again[0], predicted)


@pytest.mark.parametrize("name", ["closed_form", "closed_form_atoms", "closed_form_gradients"])
def test_rows_in_small(small, name):
    predicted, told = OURS[name].predict(small)
    test = small.split.test
    error = (predicted - small.labels.energies)[test]
    assert np.sqrt((error**2).mean()) < 0.5 * small.labels.energies[test].std()
    assert told["seconds"] > 0
    if name != "closed_form_gradients":
        assert told["length_scale"] in LENGTH_SCALES
        assert set(told["validation"]) == {"mean", "delta"}
    if name == "closed_form_atoms":
        assert told["weight_of_atom_0"] in WEIGHTS


def test_the_linear_model_weighs_means_and_differences_alike():
    """The two errors are what it minimises, and with large means plain regression is not better."""
    random = np.random.default_rng(0)
    shared, own = random.normal(size=(60, 3)), 0.1 * random.normal(size=(120, 2))
    inputs = np.concatenate([np.repeat(shared, 2, 0), own], 1)
    left_out = np.repeat(random.normal(size=60), 2)
    targets = inputs @ [3, -2, 1, 1, -1] + left_out + 0.02 * random.normal(size=120) + 7
    predicted = path_of(inputs, targets).predict(inputs, 0.0)

    def loss(slopes):
        found = errors((inputs - inputs.mean(0)) @ slopes + targets.mean(), targets)
        y = (targets[0::2] + targets[1::2]) / 2
        return found["mean"] ** 2 * targets.var() / y.var() + found["delta"] ** 2

    slopes = np.linalg.lstsq(inputs - inputs.mean(0), predicted - targets.mean())[0]
    for _ in range(20):
        assert loss(slopes) < loss(slopes + 1e-3 * random.normal(size=5))
    plain = np.linalg.lstsq(inputs - inputs.mean(0), targets - targets.mean())[0]
    assert loss(slopes) < loss(plain)
    assert errors(predicted, targets)["delta"] < 0.2
