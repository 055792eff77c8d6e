"""Known faults of JAX releases that would make results silently wrong."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

# As JAX compiles for users, not with the faster compilation of this suite.
OPTIONS = {"xla_backend_optimization_level": 3, "xla_llvm_disable_expensive_passes": False}
if jax.__version_info__ < (0, 11):
    OPTIONS["xla_cpu_use_fusion_emitters"] = True
# The fault shows from 16385 rows on in float64, from 32769 in float32; sizes around both.
ROWS = [16384, 16385, 20000, 32768, 32769]


def whole_numbers(n_rows: int, dtype):
    """Vectors [n, 3] that are told apart by their length; squares are exact in float32 too."""
    number = np.arange(n_rows)
    return jnp.asarray(np.stack([number % 128, number // 128, 0 * number], axis=1), dtype)


@pytest.mark.parametrize("n_rows", ROWS)
@pytest.mark.parametrize("shared", [True, False], ids=["one matrix", "a matrix for each row"])
def test_products_of_3x3_matrices_with_many_vectors(n_rows, shared, dtype):
    """jax#39103: 0.10.2 on CPU takes wrong rows when a reduction follows the vmapped product."""
    vectors = whole_numbers(n_rows, dtype)
    matrix = jnp.eye(3, dtype=dtype)
    matrices = matrix if shared else jnp.tile(matrix, (n_rows, 1, 1))

    @partial(jax.jit, compiler_options=OPTIONS)
    def squared_lengths(vectors):
        def of_row(matrix, row):
            return jnp.sum((matrix @ row) ** 2)

        return jax.vmap(of_row, in_axes=(None if shared else 0, 0))(matrices, vectors)

    @partial(jax.jit, compiler_options=OPTIONS)
    def total(vectors):
        return jnp.sum(jax.vmap(lambda row: matrix @ row)(vectors), axis=0)

    expected = np.sum(np.asarray(vectors, int) ** 2, axis=1)
    wrong = np.nonzero(np.asarray(squared_lengths(vectors)) != expected)[0]
    message = (
        f"JAX {jax.__version__} computes {len(wrong)} of {n_rows} products wrongly on "
        f"{jax.default_backend()}: install another version, see the constraints file"
    )
    assert len(wrong) == 0, message
    np.testing.assert_array_equal(total(vectors), np.asarray(vectors, int).sum(0), message)
