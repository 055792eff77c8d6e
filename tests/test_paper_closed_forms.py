"""Closed forms of the paper's table: their kernels, what they choose, and their rows in small."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from experiments.paper import closed_forms
from experiments.paper.closed_forms import ATOM_0, closed_form
from experiments.paper.coordinates import principal
from experiments.paper.errors import errors
from experiments.paper.gradients import Slopes, closed_form_with_gradients, covariance
from experiments.paper.labels import FIRST_TEST, Labels, read_labels, split
from experiments.paper.linear import PENALTIES, correlations_linear
from experiments.paper.ours import OURS
from experiments.paper.pairs import POWERS, all_power_sums, pair_energies
from experiments.paper.problem import Problem
from tripletjax.data.b8 import load_b8

pytestmark = pytest.mark.once("float32")  # all in float64, whatever the default


def problem_of(labels: Labels, tmp_path) -> Problem:
    nothing = np.zeros((len(labels.index), 1))
    return Problem(labels, split(labels), 0, 0.01, tmp_path, lambda name: nothing)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """400 structures to fit to, 50 to test, at a low resolution."""
    monkeypatch.setattr(closed_forms, "ATOM_0", ATOM_0 | {"l_max": 3, "n_features": 64})
    chosen = np.r_[0:400, FIRST_TEST : FIRST_TEST + 50]
    return problem_of(read_labels("xtb").among(chosen), tmp_path)


def test_the_potential_of_pairs_is_the_same_for_both_members(small):
    """So that it cannot tell them apart, as two-body terms must not."""
    with jax.enable_x64(True):
        prints, sums = closed_forms.described(small.vectors())
    np.testing.assert_allclose(sums[1::2], sums[0::2], rtol=1e-9)
    assert sums.std(0).min() > 0
    assert np.linalg.norm(prints[1::2] - prints[0::2], axis=1).min() > 0
    places = np.concatenate([np.zeros((1, 3)), small.vectors()[0]])
    distances = [np.linalg.norm(a - b) for i, a in enumerate(places) for b in places[:i]]
    expected = [sum(d**-k for d in distances) for k in POWERS]
    np.testing.assert_allclose(sums[0], expected, rtol=1e-9)


def test_distances_are_in_units_of_those_between_rows():
    rows, others = np.random.default_rng(0).normal(size=(2, 5, 3))
    place = principal(rows)
    squares = [np.sum((p - q) ** 2) for p in place(rows) for q in place(rows)]
    assert np.mean(squares) == pytest.approx(1)
    ratio = np.linalg.norm(rows[1] - rows[2]) / np.linalg.norm(place(rows[1]) - place(rows[2]))
    apart = np.linalg.norm(place(others[0]) - place(others[1]))
    assert np.linalg.norm(others[0] - others[1]) == pytest.approx(ratio * apart)


def test_covariances_of_slopes_are_derivatives_of_the_kernel():
    random = np.random.default_rng(0)
    points, powers = random.normal(size=(4, 3)), random.normal(size=(4, 2))
    slopes = Slopes(random.normal(size=(8, 3)), random.normal(size=(8, 2)), np.zeros(8))
    scale, step = 1.7, 1e-4

    def values(moved, other):
        """Covariance of energies after steps along slope i and slope j, no step for None."""
        places = []
        for index, size in (moved, other):
            n, s = index % 4, 0 if index < 4 else size
            u = np.zeros(3) if index < 4 else slopes.points[index - 4]
            v = np.zeros(2) if index < 4 else slopes.powers[index - 4]
            places.append((points[n] + s * u, powers[n] + s * v))
        (p, a), (q, b) = places
        return np.exp(-np.sum((p - q) ** 2) / (2 * scale**2)) + a @ b

    found = covariance(points, powers, slopes, scale)
    for i in range(12):
        for j in range(12):
            ends = [(h, g) for h in ((-1, 1) if i >= 4 else (0,))
                    for g in ((-1, 1) if j >= 4 else (0,))]  # fmt: skip
            total = sum((h or 1) * (g or 1) * values((i, h * step), (j, g * step)) for h, g in ends)
            expected = total / (2 * step) ** ((i >= 4) + (j >= 4))
            assert found[i, j] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("hidden", [1e6, -1e6])
def test_nothing_is_chosen_on_the_test_set(small, hidden):
    energies = small.labels.energies.copy()
    energies[small.split.test] = hidden
    predicted, told = closed_form(small)
    again = closed_form(replace(small, labels=Labels(small.labels.index, energies)))
    np.testing.assert_array_equal(again[0], predicted)
    assert again[1] == told


@pytest.mark.parametrize("name", ["closed_form", "closed_form_gradients"])
def test_rows_in_small(small, name):
    predicted, told = OURS[name].predict(small)
    test = small.split.test
    found = errors(predicted[test], small.labels.energies[test])
    assert found["mean"] < 0.25
    assert found["delta"] < 0.7
    assert told["seconds"] > 0
    if name == "closed_form":
        assert told["length_scale"] in closed_forms.LENGTH_SCALES
        assert set(told["validation"]) == {"mean", "delta"}


def test_slopes_are_learned(small, monkeypatch):
    """They say more of the energies of other structures."""
    monkeypatch.setattr(closed_forms, "ATOM_0", ATOM_0 | {"l_max": 6, "n_features": 512})
    test, energies = small.split.test, small.labels.energies
    without, found = (
        errors(fit(small)[0][test], energies[test])
        for fit in (closed_form, closed_form_with_gradients)
    )
    assert found["mean"] < 0.8 * without["mean"]


def test_the_linear_model_has_correlations_and_a_potential_of_pairs(small):
    """What is a sum of both it predicts, and one alone it does not."""
    positions = load_b8().positions[small.labels.index]
    random = np.random.default_rng(0)
    columns = random.normal(size=(len(positions), 5))
    sums = all_power_sums(positions)
    of_pairs = (sums - sums.mean(0)) / sums.std(0) @ [3.0, -2.0, 1.0, 0.5, -1.0, 1.0]
    energies = 7 + of_pairs + columns @ [1, -2, 0.5, 3, 1]
    problem = replace(
        small, labels=Labels(small.labels.index, energies), features=lambda name: columns
    )
    predicted, told = correlations_linear(problem)
    np.testing.assert_allclose(predicted, energies, atol=1e-6)
    assert told["penalty"] == PENALTIES[0]
    without = replace(problem, features=lambda name: np.zeros_like(columns))
    assert np.std(correlations_linear(without)[0] - energies) > 1


def test_the_potential_of_pairs_is_fitted_to_the_known():
    positions = load_b8().positions[:40]
    energies = all_power_sums(positions) @ [1.0, 2.0, -3.0, 1.0, 0.0, 0.5] + 4
    known = np.arange(30)
    np.testing.assert_allclose(pair_energies(positions, energies, known), energies, rtol=1e-6)
    hidden = np.where(np.arange(40) < 30, energies, 1e6)
    np.testing.assert_allclose(pair_energies(positions, hidden, known), energies, rtol=1e-6)
