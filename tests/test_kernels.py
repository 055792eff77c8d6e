"""Regression in closed form against its formulas."""

import numpy as np
import pytest

from tripletjax import InputError
from tripletjax.kernels import gaussian_process, ridge


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
    with pytest.raises(InputError, match="do not fit"):
        ridge(np.zeros(shapes[0]), np.zeros(shapes[1]))
