"""The shared assertions fail where they should: each sees a function that breaks its promise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.systems import environment
from tripletjax.testing import (
    PADDING,
    assert_close,
    assert_finite_derivatives,
    assert_gradients,
    assert_invariant,
    assert_padding_changes_nothing,
    assert_permutation_invariant,
    random_rotation,
    relative_error,
    successive_derivatives,
    tolerance,
)


def weighted(vectors, species, mask):
    """An honest environment function: Σ over real neighbours of (1 + species) r²."""
    terms = (1 + species.astype(vectors.dtype)) * jnp.sum(vectors**2, -1)
    return jnp.sum(jnp.where(mask, terms, 0))[None]


def test_relative_error():
    assert relative_error([3.0, 4.0], [3.0, 4.0]) == 0
    assert relative_error([0.0, 0.0], [3.0, 4.0]) == pytest.approx(1)
    assert relative_error([[1.0], [0.0]], [[1.0], [1e-3]], axis=-1) == pytest.approx(1)
    assert relative_error([[1.0], [0.0]], [[1.0], [1e-3]]) == pytest.approx(1e-3, rel=1e-5)
    assert relative_error([1e-9], [0.0]) == np.inf == relative_error([np.nan], [1.0])
    with pytest.raises(AssertionError, match="shapes differ"):
        relative_error([1.0], [[1.0]])
    with pytest.raises(AssertionError, match="energies differ by 1"):
        assert_close([1.1], [1.0], 1e-2, "energies")


def test_tolerance_is_that_of_the_least_precise():
    assert tolerance(PADDING, np.zeros(1), np.zeros(1, np.float32)) == PADDING["float32"]


def test_rotations_are_proper_and_differ():
    one, other = random_rotation(0), random_rotation(1)
    np.testing.assert_allclose(one @ one.T, np.eye(3), atol=1e-14)
    assert np.linalg.det(one) == pytest.approx(1) and np.abs(one - other).max() > 0.1


def test_invariance(dtype):
    vectors, species, mask = environment(dtype)
    assert_invariant(lambda v: weighted(v, species, mask), vectors)
    with pytest.raises(AssertionError, match="after a rotation"):
        assert_invariant(lambda v: v[:, 0], vectors)

    def volume(v):
        return jnp.linalg.det(v[:3])

    assert_invariant(volume, vectors, inversion=False)
    with pytest.raises(AssertionError, match="improper rotation"):
        assert_invariant(volume, vectors)


def test_permutation(dtype):
    assert_permutation_invariant(weighted, *environment(dtype))
    with pytest.raises(AssertionError, match="after a permutation"):
        assert_permutation_invariant(lambda v, s, m: v[0], *environment(dtype))


def test_padding(dtype):
    assert_padding_changes_nothing(weighted, *environment(dtype))
    with pytest.raises(AssertionError, match="copies of a neighbour"):
        # Zero vectors hide that the mask is not looked at.
        assert_padding_changes_nothing(
            lambda v, s, m: weighted(v, s, jnp.ones_like(m)), *environment(dtype)
        )


def test_gradients(dtype):
    x = jnp.asarray([0.3, 0.7], dtype)
    assert_gradients(lambda x, y: x * jnp.sin(y), x, x)

    @jax.custom_jvp
    def wrong(x):
        return x**2

    @wrong.defjvp
    def _(primals, tangents):
        return primals[0] ** 2, 2.05 * primals[0] * tangents[0]

    with pytest.raises(AssertionError, match="forward derivative: relative error"):
        assert_gradients(wrong, x)

    @jax.custom_vjp
    def unpaired(x):
        return x**2

    unpaired.defvjp(lambda x: (x**2, x), lambda x, g: (2.001 * x * g,))
    with pytest.raises((AssertionError, TypeError)):  # no forward mode through it
        assert_gradients(unpaired, x)


def test_successive_derivatives(dtype):
    """Of a cubic in one variable, where all follow from the value."""
    x = jnp.asarray(2.0, dtype)
    value, first, second, third = successive_derivatives(lambda x: x**3, x)
    assert value == 8
    slope = first / 12  # the weight of the only value
    a, b = np.random.default_rng(0).normal(size=3)[1:]
    np.testing.assert_allclose([second, third], [slope * 12 * a, slope * 6 * a * b], rtol=1e-5)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_finite_derivatives(degree, dtype):
    """Of x^(degree - ½): the first derivative that is infinite at zero is named."""
    points = jnp.asarray([[1.0, 2.0], [1.0, 0.0]], dtype)

    def function(x):
        return x[1] ** (degree - 0.5)

    with pytest.raises(AssertionError, match=f"origin: derivative {degree} is not finite"):
        assert_finite_derivatives(function, points, names=["elsewhere", "origin"])
    assert_finite_derivatives(function, points[:1])
