"""Adam in the eigenbasis of the gradients' second moments."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tripletjax.training.eigenbasis import FLOOR, LONGEST_SIDE, THINNEST, scale_by_eigenbasis

pytestmark = pytest.mark.once("float64")

B1, B2, MEMORY = 0.9, 0.99, 0.8


def run(rule, gradients):
    """Updates for a sequence of gradients; the last state."""
    state, found = rule.init(gradients[0]), []
    update = jax.jit(rule.update)
    with jax.numpy_dtype_promotion("standard"):
        for gradient in gradients:
            step, state = update(gradient, state)
            found.append(step)
    return found, state


def test_updates_are_those_of_the_formula():
    """m, v and the moments as written in the docstring, with the bases of the state."""
    random = np.random.default_rng(0)
    gradients = [random.normal(size=(5, 3)) for _ in range(7)]
    rule = scale_by_eigenbasis(B1, B2, MEMORY, interval=2)
    mean, square, rows, columns = np.zeros((5, 3)), np.zeros((5, 3)), None, None
    for count in range(1, len(gradients) + 1):
        found, state = run(rule, [jnp.asarray(g) for g in gradients[:count]])
        g = gradients[count - 1]
        rows = g @ g.T if rows is None else MEMORY * rows + (1 - MEMORY) * g @ g.T
        columns = g.T @ g if columns is None else MEMORY * columns + (1 - MEMORY) * g.T @ g
        np.testing.assert_allclose(state.moments[0][0], rows, atol=1e-12)
        np.testing.assert_allclose(state.moments[0][1], columns, atol=1e-12)
        u, v = map(np.asarray, state.bases[0])
        np.testing.assert_allclose(u.T @ u, np.eye(5), atol=1e-12)
        mean, square = B1 * mean + (1 - B1) * g, B2 * square + (1 - B2) * (u.T @ g @ v) ** 2
        root = np.sqrt((square + FLOOR**2 * square.mean()) / (1 - B2**count))
        inner = (u.T @ mean @ v) / (1 - B1**count) / root
        np.testing.assert_allclose(found[-1], u @ inner @ v.T, atol=1e-9)


def test_bases_become_the_eigenvectors():
    random = np.random.default_rng(1)
    mixing = random.normal(size=(4, 4))
    gradients = [jnp.asarray(mixing @ random.normal(size=(4, 2))) for _ in range(3000)]
    _, state = run(scale_by_eigenbasis(memory=0.999, interval=1), gradients)
    (basis, _), (moment, _) = state.bases[0], state.moments[0]
    diagonal = np.asarray(basis.T @ moment @ basis)
    outside = diagonal - np.diag(np.diag(diagonal))
    assert np.abs(outside).max() < 0.02 * np.diag(diagonal).max()


def test_the_precision_is_that_of_the_gradients():
    gradients = [{"w": jnp.ones((3, 2), jnp.float32), "b": jnp.ones(2)}] * 2
    found, state = run(scale_by_eigenbasis(), gradients)
    for step in found:
        assert (step["b"].dtype, step["w"].dtype) == ("float64", "float32")
    assert [array.dtype for array in state.square] == ["float64", "float32"]


@pytest.mark.parametrize("shape", [(), (4,), (2, 3, 4), (LONGEST_SIDE + 1, 2), (3, 1)])
def test_arrays_of_any_shape_keep_it(shape):
    gradient = jnp.asarray(np.random.default_rng(2).normal(size=shape))
    (step,), _ = run(scale_by_eigenbasis(), [{"w": gradient}])
    assert step["w"].shape == shape
    assert np.isfinite(step["w"]).all()


def test_the_long_side_of_a_thin_matrix_is_not_turned():
    for rows, turned in ((2 * THINNEST, True), (2 * THINNEST + 1, False)):
        (sides,) = scale_by_eigenbasis().init({"w": jnp.ones((rows, 2))}).bases
        assert [side is not None for side in sides] == [turned, True]


def test_without_sides_it_is_adam():
    """Nothing is turned where both sides are too long or single."""
    random = np.random.default_rng(3)
    gradients = [jnp.asarray(1 + random.uniform(size=(LONGEST_SIDE + 1,))) for _ in range(5)]
    found, _ = run(scale_by_eigenbasis(), gradients)
    expected, _ = run(optax.scale_by_adam(eps=0), gradients)
    np.testing.assert_allclose(found, expected, atol=1e-10)


def least_squares(rule, rate, steps):
    """Error of a linear fit to correlated features, relative to that at the start."""
    random = np.random.default_rng(4)
    spectrum = 10.0 ** -np.linspace(0, 2, 12)
    features = (
        random.normal(size=(400, 12)) * spectrum @ np.linalg.qr(random.normal(size=(12,) * 2))[0]
    )
    labels = features @ (random.normal(size=(12, 4)) / spectrum.mean())

    def loss(weights):
        return jnp.mean((features @ weights - labels) ** 2)

    weights = jnp.zeros((12, 4))
    state, start = rule.init(weights), loss(weights)

    @jax.jit
    def step(weights, state, rate):
        with jax.numpy_dtype_promotion("standard"):
            update, state = rule.update(jax.grad(loss)(weights), state)
        return weights - rate * update, state

    for number in range(steps):
        weights, state = step(weights, state, rate * 0.5 * (1 + np.cos(np.pi * number / steps)))
    return float(loss(weights) / start)


def test_correlated_features_are_fitted_where_adam_is_not():
    ours = least_squares(scale_by_eigenbasis(), 1.0, 300)
    adam = min(least_squares(optax.scale_by_amsgrad(), rate, 300) for rate in (0.3, 1.0, 3.0))
    assert ours < 0.1 * adam
