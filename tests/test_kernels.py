"""Regression in closed form, and what its hyperparameters are chosen by, against formulas."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from tripletjax import InputError
from tripletjax.kernels import (
    calibration,
    choose_hyperparameters,
    gaussian_process,
    leave_one_out,
    log_marginal_likelihood,
    recalibration_factor,
    ridge,
)
from tripletjax.kernels.inducing import farthest_rows, leverage_rows
from tripletjax.kernels.least_squares import (
    Accumulator,
    evidence_gradient,
    maximize_evidence,
    posterior,
)

pytestmark = pytest.mark.once("float64")


def data(n=40, d=5, seed=0):
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(n, d))
    return inputs, inputs @ random.normal(size=d) + 3.0


def test_ridge_equals_the_normal_equations():
    inputs, targets = data()
    targets = targets + np.random.default_rng(1).normal(size=len(targets))
    noise = 0.3
    center = inputs.mean(0)
    scaled = (inputs - center) / np.sqrt(((inputs - center) ** 2).sum(1).mean())
    gram = scaled.T @ scaled + noise * np.eye(scaled.shape[1])
    expected = targets.mean() + scaled @ np.linalg.solve(
        gram, scaled.T @ (targets - targets.mean())
    )
    np.testing.assert_allclose(ridge(inputs, targets, noise).predict(inputs), expected, rtol=1e-10)


def test_gaussian_process_equals_the_formula():
    inputs, targets = data(30)
    new = data(7, seed=2)[0]

    def squared(a, b):
        return ((a[:, None] - b[None]) ** 2).sum(-1)

    median = np.median(np.sqrt(squared(inputs, inputs))[np.triu_indices(30, 1)])
    kernel = lambda a, b: np.exp(-squared(a, b) / (2 * (2.0 * median) ** 2))  # noqa: E731
    weights = np.linalg.solve(kernel(inputs, inputs) + 1e-4 * np.eye(30), targets - targets.mean())
    expected = targets.mean() + kernel(new, inputs) @ weights
    fit = gaussian_process(inputs, targets, length_scale=2.0, noise=1e-4)
    np.testing.assert_allclose(fit.predict(new), expected, rtol=1e-9)


def test_units_do_not_matter():
    inputs, targets = data()
    for fit in (ridge, gaussian_process):
        one = fit(inputs, targets, noise=1e-6).predict(inputs)
        other = fit(1000 * inputs + 5, targets, noise=1e-6).predict(1000 * inputs + 5)
        np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.parametrize("shapes", [((1, 3), (1,)), ((4, 3), (5,)), ((4,), (4,))])
def test_wrong_shapes_are_refused(shapes):
    with pytest.raises(InputError, match="do not match"):
        ridge(np.zeros(shapes[0]), np.zeros(shapes[1]))


@pytest.mark.parametrize("length_scale", [None, 1.5])
def test_leave_one_out_is_leaving_one_out(length_scale):
    """Literally: each target from a fit to the others, with the constants of the whole set."""
    inputs, targets = data(25)
    targets = targets + np.random.default_rng(1).normal(size=25)
    noise, kernel = 0.03, full_kernel(inputs, length_scale)
    centred, expected = targets - targets.mean(), []
    for i in range(25):
        others = np.delete(np.arange(25), i)
        total = kernel[np.ix_(others, others)] + noise * np.eye(24)
        expected.append(
            targets.mean() + kernel[i, others] @ np.linalg.solve(total, centred[others])
        )
    found = leave_one_out(inputs, targets, length_scale, noise)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def full_kernel(inputs, length_scale):
    """That of ``ridge`` or ``gaussian_process``, written out."""
    scaled = inputs - inputs.mean(0)
    scaled = scaled / np.sqrt((scaled**2).sum(1).mean())
    if length_scale is None:
        return scaled @ scaled.T
    squared = ((scaled[:, None] - scaled[None]) ** 2).sum(-1)
    median = np.median(np.sqrt(squared)[np.triu_indices(len(scaled), 1)])
    return np.exp(-squared / (2 * (length_scale * median) ** 2))


@pytest.mark.parametrize("length_scale", [None, 1.5])
def test_marginal_likelihood_is_the_density_of_the_targets(length_scale):
    inputs, targets = data(25)
    total = full_kernel(inputs, length_scale) + 0.03 * np.eye(25)
    centred = targets - targets.mean()
    variance = centred @ np.linalg.solve(total, centred) / 25
    density = multivariate_normal(np.full(25, targets.mean()), variance * total)
    found = log_marginal_likelihood(inputs, targets, length_scale, 0.03)
    assert abs(found - density.logpdf(targets)) < 1e-8 * abs(found)


def test_chosen_hyperparameters_are_the_most_likely():
    random = np.random.default_rng(3)
    inputs = random.normal(size=(60, 2))
    targets = np.sin(2 * inputs[:, 0]) + 0.1 * random.normal(size=60)
    choice = choose_hyperparameters(inputs, targets)
    assert 0.05 < np.sqrt(choice.noise * choice.variance) < 0.2
    at = lambda scale, noise: log_marginal_likelihood(inputs, targets, scale, noise)  # noqa: E731
    best = at(choice.length_scale, choice.noise)
    assert abs(best - choice.log_evidence) < 1e-9 * abs(best)
    for factor in (0.7, 1.4):
        assert at(choice.length_scale * factor, choice.noise) < best
        assert at(choice.length_scale, choice.noise * factor) < best
    linear = choose_hyperparameters(inputs, targets, "linear")
    assert linear.length_scale is None and linear.log_evidence < choice.log_evidence
    assert linear.leave_one_out > choice.leave_one_out


def factors(n_columns=4, seed=0):
    """Rows of two kinds of labels, and their factors, streamed in uneven blocks."""
    random = np.random.default_rng(seed)
    kinds, rows = [], []
    for count in (3, 40):  # fewer rows than columns, and more
        matrix, targets = random.normal(size=(count, n_columns)), random.normal(size=count)
        stream = Accumulator(n_columns)
        for start in range(0, count, 7):
            stream.add(matrix[start : start + 7], targets[start : start + 7])
        kinds.append(stream.factor())
        rows.append((matrix, targets))
    return kinds, rows


def test_streamed_posterior_equals_the_dense_formula():
    kinds, rows = factors()
    found = posterior(kinds, 0.7, (0.2, 0.5))
    matrix, targets = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    noise = np.repeat((0.2, 0.5), (3, 40))
    total = 0.7 * matrix @ matrix.T + np.diag(noise**2)
    weights = 0.7 * matrix.T @ np.linalg.solve(total, targets)
    np.testing.assert_allclose(found.weights, weights, rtol=1e-9)
    precision = np.eye(4) / 0.7 + (matrix / noise[:, None] ** 2).T @ matrix
    np.testing.assert_allclose(found.root.T @ found.root, precision, rtol=1e-9, atol=1e-9)
    density = multivariate_normal(np.zeros(43), total)
    assert abs(found.log_evidence - density.logpdf(targets)) < 1e-9 * abs(found.log_evidence)


def test_evidence_is_differentiated_and_maximised():
    kinds, _ = factors(seed=1)
    logs, step = np.log([0.7, 0.2, 0.5]), 1e-5
    value, slopes = evidence_gradient(kinds, 0.7, (0.2, 0.5))
    assert value == posterior(kinds, 0.7, (0.2, 0.5)).log_evidence
    for axis in range(3):
        ends = []
        for sign in (1, -1):
            moved = np.exp(logs + sign * step * np.eye(3)[axis])
            ends.append(posterior(kinds, moved[0], moved[1:]).log_evidence)
        assert abs((ends[0] - ends[1]) / (2 * step) - slopes[axis]) < 1e-6 * abs(slopes).max()
    best = maximize_evidence(kinds, 0.7, (0.2, 0.5), fixed=(True, False))
    assert best.noise[0] == pytest.approx(0.2) and best.log_evidence > value
    slopes = evidence_gradient(kinds, best.variance, best.noise)[1]
    assert abs(slopes[[0, 2]]).max() < 1e-2
    with pytest.raises(InputError, match="positive"):
        maximize_evidence(kinds, 0.7, (0.0, 0.5))


def test_farthest_rows_cover_the_rest():
    rows = np.random.default_rng(0).normal(size=(200, 2))
    chosen = farthest_rows(rows, 20)
    gaps = np.linalg.norm(rows[:, None] - rows[chosen], axis=-1).min(1)
    random = np.linalg.norm(rows[:, None] - rows[:20], axis=-1).min(1)
    assert len(set(chosen.tolist())) == 20 and gaps.max() < 0.7 * random.max()
    assert len(farthest_rows(np.repeat(rows[:3], 5, axis=0), 10)) == 3  # copies are left out


def test_leverage_prefers_what_is_rare():
    random = np.random.default_rng(0)
    rows = np.concatenate([0.01 * random.normal(size=(300, 2)), [[3.0, 0.0], [0.0, 4.0]]])
    gaussian = lambda a, b: np.exp(-0.5 * ((a[:, None] - b) ** 2).sum(-1))  # noqa: E731
    found = [leverage_rows(gaussian, rows, 8, seed=seed) for seed in range(20)]
    assert all(len(set(chosen.tolist())) == 8 for chosen in found)
    assert np.mean([{300, 301} <= set(chosen.tolist()) for chosen in found]) > 0.6  # not 0.0007


def test_calibration_of_known_errors():
    random = np.random.default_rng(0)
    sigma = random.uniform(0.5, 2.0, size=20_000)
    errors = 1.5 * sigma * random.normal(size=20_000)
    found = calibration(errors, sigma)
    assert found.factor == pytest.approx(1.5, rel=0.02)
    assert found.factor == recalibration_factor(errors, sigma)
    np.testing.assert_allclose(found.actual / found.predicted, 1.5, rtol=0.06)
    right = calibration(errors, 1.5 * sigma)
    expected = (0.6827, 0.9545, 0.9973)
    assert list(right.coverage.values()) == pytest.approx(expected, abs=0.01)
    assert right.log_likelihood > found.log_likelihood
    with pytest.raises(InputError, match="positive deviations"):
        calibration(errors, np.zeros_like(errors))
