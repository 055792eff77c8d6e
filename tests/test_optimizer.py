"""Gradients and steps that are far too large do little harm."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tripletjax.training.optimizer import LARGEST, OPTIMIZER, clip_by_running_norm

pytestmark = pytest.mark.once("float32")


def clipped_norms(norms, limit=2.0, decay=0.9):
    clip = clip_by_running_norm(limit, decay)
    update, state = jax.jit(clip.update), clip.init(None)
    found = []
    for norm in norms:
        gradients = {"a": jnp.array([0.6, 0.0]) * norm, "b": jnp.array([[0.8]]) * norm}
        clipped, state = update(gradients, state)
        found.append(float(jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(clipped)))))
    return np.array(found)


def test_the_running_norm_is_the_plain_formula(float32):
    norms = np.random.default_rng(0).lognormal(sigma=1.0, size=50)
    expected = norms[:1]
    for norm in norms[1:]:
        weights = 0.9 ** np.arange(len(expected))[::-1]
        mean = np.average(expected, weights=weights)
        expected = np.append(expected, min(norm, 2.0 * mean))
    assert (expected < norms).any()
    np.testing.assert_allclose(clipped_norms(norms), expected, rtol=1e-5)


def test_a_lasting_change_of_scale_is_followed(float32):
    """Gradients that stay fifty times longer pass whole in the end; zeros do no harm."""
    assert clipped_norms([1.0] * 20 + [50.0] * 200)[-1] == pytest.approx(50.0)
    np.testing.assert_array_equal(clipped_norms([0.0] * 5), 0)


def test_no_array_moves_by_more_than_the_limit(float32):
    weights = {"a": jnp.ones(10), "b": jnp.ones((3, 3))}
    state = OPTIMIZER.init(weights)
    random = np.random.default_rng(1)
    with jax.numpy_dtype_promotion("standard"):
        for step in range(30):
            size = 1e4 if step == 20 else 1.0
            gradients = jax.tree.map(
                lambda w, size=size: jnp.asarray(size * random.normal(size=w.shape), w.dtype),
                weights,
            )
            updates, state = OPTIMIZER.update(gradients, state)
            for array in jax.tree.leaves(updates):
                assert float(jnp.sqrt(jnp.mean(array**2))) <= LARGEST * (1 + 1e-6)
