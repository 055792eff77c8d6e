"""Masked, NaN-safe numerical functions, independent of atoms."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.types import Array


def array_module(array: Array):
    """Return NumPy for NumPy arrays (host tables, in float64) and jax.numpy otherwise."""
    return np if isinstance(array, np.ndarray) else jnp


def safe_norm(vectors: Array) -> Array:
    """Euclidean norm over the last axis, with zero derivatives (not NaN) at the zero vector.

    Example:
        >>> bool((jax.grad(safe_norm)(jnp.zeros(3)) == 0).all())
        True
    """
    squared = jnp.sum(vectors**2, axis=-1)
    is_zero = squared == 0
    return jnp.where(is_zero, 0, jnp.sqrt(jnp.where(is_zero, 1, squared)))


def fill_padding(vectors: Array, mask: Array, length: float = 1.0) -> Array:
    """Replace masked vectors [..., 3] by a vector of the given length along x.

    Formulas then need no special case for the zero vector; their results are weighted by zero.
    """
    vectors = jnp.asarray(vectors)
    placeholder = jnp.array([length, 0, 0], dtype=vectors.dtype)
    return jnp.where(mask[..., None], vectors, placeholder)


def smooth_step(x: Array) -> Array:
    """From 1 at x <= 0 to 0 at x >= 1, three times differentiable: 1 - x⁴ (35 - 84x + 70x² - 20x³).

    Computed as (1 - x)⁴ (1 + 4x + 10x² + 20x³), which keeps full relative accuracy near x = 1:
    weights at the cutoff are multiplied by functions that are steep there.

    Example:
        >>> smooth_step(jnp.array([-1.0, 0.5, 2.0])).round(6).tolist()
        [1.0, 0.5, 0.0]
    """
    x = array_module(x).clip(x, 0, 1)
    return (1 - x) ** 4 * (1 + 4 * x + 10 * x**2 + 20 * x**3)


def bump_step(x: Array) -> Array:
    """From 1 at x <= 0 to 0 at x >= 1, infinitely differentiable: 1 / (1 + exp(1/(1-x) - 1/x)).

    Within 0.01 of the ends it is 1 or 0 to 1e-43, and is evaluated at that distance.

    Example:
        >>> bump_step(jnp.array([-1.0, 0.5, 2.0])).round(6).tolist()
        [1.0, 0.5, 0.0]
    """
    xp = array_module(x)
    x = xp.clip(x, 0.01, 0.99)
    return 0.5 * (1 + xp.tanh(0.5 * (1 / x - 1 / (1 - x))))


def scan_sum(function, *arrays) -> Array:
    """Σ_i function(a[i], b[i], ...), evaluated one i at a time and recomputed in the reverse pass.

    Only one term is in memory at a time, also when differentiated. Arrays may be pytrees.

    Example:
        >>> scan_sum(lambda a, b: a * b, jnp.arange(3.0), jnp.ones(3)).item()
        3.0
    """
    first = jax.eval_shape(function, *jax.tree.map(lambda a: a[0], arrays))
    start = jnp.zeros(first.shape, first.dtype)

    @jax.checkpoint
    def add(total, slices):
        return total + function(*slices), None

    return jax.lax.scan(add, start, arrays)[0]


def computed_once(array: Array) -> Array:
    """The same array [..., n], as a product with the identity, which XLA does not take apart.

    On CPU it computes cheap functions again, with all that they are made of, for every array made
    of them: the direction to a neighbour for each of its harmonics, and again for their slopes.

    Example:
        >>> computed_once(jnp.arange(3.0)).tolist()
        [0.0, 1.0, 2.0]
    """
    return jnp.matmul(array, np.eye(array.shape[-1], dtype=array.dtype), precision="highest")


def map_blocks(function, arrays, size: int):
    """``vmap(function)(*arrays)``, in blocks of ``size`` rows that are recomputed when transposed.

    The arrays of a block stay in cache, and memory does not grow with the number of rows. Up to
    ``size`` rows this is just ``vmap``.

    Example:
        >>> map_blocks(lambda a, b: a * b, (jnp.arange(5.0), jnp.ones(5)), 2).tolist()
        [0.0, 1.0, 2.0, 3.0, 4.0]
    """
    return apply_in_blocks(jax.vmap(function), arrays, size)


def apply_in_blocks(function, arrays, size: int):
    """``function(*arrays)`` of independent rows, as ``map_blocks`` of a function of single rows.

    Example:
        >>> apply_in_blocks(lambda a: 2 * a, (jnp.arange(5.0),), 2).tolist()
        [0.0, 2.0, 4.0, 6.0, 8.0]
    """
    count = len(jax.tree.leaves(arrays)[0])
    if count <= size:
        return function(*arrays)
    # Each block has rows of every device, if the rows are divided among several.
    groups = jax.device_count() if count % jax.device_count() == 0 else 1
    share = count // groups
    n_blocks = min(-(-count // size), share)
    rows = -(-share // n_blocks)  # of a group in a block

    def blocked(array):
        row = array.shape[1:]
        grouped = array.reshape(groups, share, *row)
        padded = jnp.concatenate([grouped, grouped[:, : n_blocks * rows - share]], 1)
        blocks = jnp.swapaxes(padded.reshape(groups, n_blocks, rows, *row), 0, 1)
        return blocks.reshape(n_blocks, groups * rows, *row)

    def joined(blocks):
        row = blocks.shape[2:]
        grouped = jnp.swapaxes(blocks.reshape(n_blocks, groups, rows, *row), 0, 1)
        return grouped.reshape(groups, -1, *row)[:, :share].reshape(count, *row)

    of_block = jax.checkpoint(lambda block: function(*block))
    return jax.tree.map(joined, jax.lax.map(of_block, jax.tree.map(blocked, tuple(arrays))))


def powers(x: Array, y: Array, degree: int) -> tuple[Array, Array]:
    """Real and imaginary parts of (x + iy)^m for m = 0 ... degree, along a new last axis."""
    real, imaginary = separate_powers(x, y, degree)
    xp = array_module(x)
    return xp.stack(real, axis=-1), xp.stack(imaginary, axis=-1)


def separate_powers(x: Array, y: Array, degree: int) -> tuple[list[Array], list[Array]]:
    """``powers`` as lists of arrays."""
    xp = array_module(x)
    real, imaginary = [xp.ones_like(x)], [xp.zeros_like(x)]
    for _ in range(degree):
        real.append(x * real[-1] - y * imaginary[-1])
        imaginary.append(x * imaginary[-1] + y * real[-2])
    return real, imaginary


def cosine(x: Array) -> Array:
    """cos x to 4e-16 for |x| < 1e4, ten times faster on CPU than the general function.

    x is reduced to [-π/2, π/2] by an integer multiple of π, in two parts, and the Taylor series is
    summed: plain arithmetic, which the compiler vectorises.

    Example:
        >>> bool(abs(cosine(jnp.array(2.0)) - jnp.cos(2.0)) < 1e-6)
        True
    """
    turns = jnp.round(x * (1 / np.pi))
    high = 3.140625  # 8 bits, so that integer multiples are exact in float32 too
    low = np.pi - high
    beyond_float64 = 1.2246467991473532e-16
    reduced = ((x - turns * high) - turns * low) - turns * beyond_float64
    squared = reduced**2
    n_terms = 7 if x.dtype == jnp.float32 else 11
    series = jnp.zeros_like(x)
    for k in reversed(range(n_terms)):
        series = series * squared + (-1) ** k / math.factorial(2 * k)
    is_odd = turns - 2 * jnp.floor(turns / 2)
    return series * (1 - 2 * is_odd)


def least_stretch(deformation: Array) -> Array:
    """The smallest factor by which a matrix [3, 3] changes a length.

    Example:
        >>> round(least_stretch(jnp.diag(jnp.array([1.0, 0.5, 2.0]))).item(), 6)
        0.5
    """
    return jnp.sqrt(jnp.maximum(jnp.linalg.eigvalsh(deformation @ deformation.T)[0], 0))
