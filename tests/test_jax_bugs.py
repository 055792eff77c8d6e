"""Known faults of JAX releases that would make results silently wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest


@pytest.mark.parametrize("rows", [16384, 16385, 20000, 65537])
def test_vmapped_products_sum_right(rows, dtype):
    """jax#39103: in 0.10.2 jit of a vmapped 3×3 product and a sum went wrong on CPU."""
    matrices = jnp.ones((rows, 3, 3), dtype)
    vectors = jnp.ones((rows, 3), dtype) * 2

    def total(matrices, vectors):
        return jnp.sum(jax.vmap(lambda m, v: m @ v)(matrices, vectors) ** 2, axis=0)

    expected = np.full(3, rows * 36.0)  # whole numbers, exact in either dtype
    message = f"JAX {jax.__version__} miscompiles this on {jax.default_backend()}: use another one"
    np.testing.assert_array_equal(jax.jit(total)(matrices, vectors), expected, message)


@pytest.mark.parametrize("rows", [16385, 40000])
def test_vmapped_rotations_keep_their_parts(rows, dtype):
    """The same fault with different rows, so that a misplaced one shows."""
    order = jnp.arange(rows, dtype=dtype) % 7
    matrices = order[:, None, None] * jnp.eye(3, dtype=dtype)
    vectors = jnp.ones((rows, 3), dtype)

    def total(matrices, vectors):
        turned = jax.vmap(lambda m, v: m @ v)(matrices, vectors)
        return jnp.sum(turned, axis=-1).sum()

    expected = 3 * (np.arange(rows) % 7).sum()
    assert float(jax.jit(total)(matrices, vectors)) == expected
