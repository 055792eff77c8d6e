"""Assertions for tests of descriptors and potentials: symmetry, padding and derivatives.

An *environment function* is any ``function(vectors, species, mask)`` of one environment, such as
``Descriptor.environment``. Errors are 2-norms relative to the expected value.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.types import Array

INVARIANCE = {"float32": 1e-5, "float64": 1e-12}  # allowed relative error of symmetries
PADDING = {"float32": 1e-6, "float64": 1e-14}  # allowed relative change due to padding
GRADIENTS = {"float32": 3e-3, "float64": 1e-8}  # allowed relative error of a finite difference

# Derivatives are long programs that run once: this saves most of their compilation time.
FAST_COMPILATION = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
if jax.__version_info__ < (0, 11):  # later releases drop the code generator without fusions
    FAST_COMPILATION |= {
        "xla_cpu_use_fusion_emitters": False,
        "xla_cpu_parallel_codegen_split_count": 1,
    }


def tolerance(kind: dict[str, float], *arrays: Array) -> float:
    """The entry of ``INVARIANCE``, ``PADDING`` or ``GRADIENTS`` for the least precise array.

    Example:
        >>> tolerance(INVARIANCE, np.zeros(3), np.zeros(3, np.float32))
        1e-05
    """
    names = {jnp.asarray(array).dtype.name for array in arrays}
    return kind["float32" if "float32" in names else "float64"]


def random_rotation(seed: int = 0) -> np.ndarray:
    """A proper rotation matrix [3, 3], float64, uniformly distributed.

    Example:
        >>> turn = random_rotation()
        >>> bool(np.allclose(turn @ turn.T, np.eye(3))), round(np.linalg.det(turn))
        (True, 1)
    """
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.linalg.det(q)


def relative_error(actual: Array, expected: Array, axis: int | None = None) -> float:
    """Largest |actual - expected| / |expected|, with 2-norms along ``axis`` (None: of all values).

    Zero if both are equal; infinite if only the expected norm is zero, or for a NaN.

    Example:
        >>> relative_error(np.array([3.0, 4.0]), np.array([3.0, 5.0])) < 0.2
        True
    """
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape, f"shapes differ: {actual.shape} and {expected.shape}"
    difference = np.linalg.norm(_flat(actual - expected, axis), axis=-1)
    size = np.linalg.norm(_flat(expected, axis), axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.where(difference == 0, 0, difference / size)
    return float(np.where(np.isnan(error), np.inf, error).max(initial=0))


def _flat(array: np.ndarray, axis: int | None) -> np.ndarray:
    return array.reshape(1, -1) if axis is None else np.moveaxis(array, axis, -1)


def assert_close(
    actual: Array, expected: Array, rtol: float, what: str = "", axis: int | None = None
) -> None:
    """Fail unless ``relative_error`` is at most ``rtol``.

    Example:
        >>> assert_close(np.array([1.0, 1e-9]), np.array([1.0, 0.0]), rtol=1e-8)
    """
    error = relative_error(actual, expected, axis)
    assert error <= rtol, f"{what or 'values'} differ by {error:.1e} (relative), allowed: {rtol}"


def assert_invariant(
    function: Callable[[Array], Array],
    vectors: Array,
    *,
    inversion: bool = True,
    rtol: float | None = None,
    seed: int = 0,
) -> None:
    """Fail unless a function of vectors [..., 3] is unchanged by a rotation, and by inversion.

    Args:
        function: for example ``lambda v: descriptor.environment(v, species, mask)``.
        vectors: the point at which it is tested.
        inversion: whether to test an improper rotation too.
        rtol: relative tolerance; None: ``INVARIANCE`` for the dtype of the values.
        seed: of the rotation.

    Example:
        >>> assert_invariant(lambda v: jnp.sum(v**2, -1), jnp.ones((2, 3)))
    """
    vectors = jnp.asarray(vectors)
    expected = function(vectors)
    rtol = tolerance(INVARIANCE, expected) if rtol is None else rtol
    turn = random_rotation(seed)
    for sign in (1, -1) if inversion else (1,):
        turned = np.asarray(vectors, np.float64) @ (sign * turn).T
        what = "values after a rotation" if sign == 1 else "values after an improper rotation"
        assert_close(function(jnp.asarray(turned, vectors.dtype)), expected, rtol, what)


def assert_permutation_invariant(
    function: Callable[[Array, Array, Array], Array],
    vectors: Array,
    species: Array,
    mask: Array,
    *,
    rtol: float | None = None,
    seed: int = 0,
) -> None:
    """Fail unless an environment function is unchanged when its neighbours, including padding,
    are reordered.

    Example:
        >>> species, mask = jnp.zeros(2, int), jnp.ones(2, bool)
        >>> assert_permutation_invariant(lambda v, s, m: v.sum(), jnp.eye(3)[:2], species, mask)
    """
    expected = function(vectors, species, mask)
    rtol = tolerance(INVARIANCE, expected) if rtol is None else rtol
    order = np.random.default_rng(seed).permutation(len(mask))
    permuted = (jnp.asarray(array)[order] for array in (vectors, species, mask))
    assert_close(function(*permuted), expected, rtol, "values after a permutation")


def assert_padding_changes_nothing(
    function: Callable[[Array, Array, Array], Array],
    vectors: Array,
    species: Array,
    mask: Array,
    *,
    extra: int = 3,
    rtol: float | None = None,
) -> None:
    """Fail unless an environment function is independent of the content of masked columns.

    Tests zero vectors, copies of the first neighbour and very large numbers.

    Example:
        >>> def count(vectors, species, mask):
        ...     return mask.sum().astype(vectors.dtype)
        >>> species, mask = jnp.zeros(3, int), jnp.ones(3, bool)
        >>> assert_padding_changes_nothing(count, jnp.eye(3), species, mask)
    """
    expected = function(vectors, species, mask)
    rtol = tolerance(PADDING, expected) if rtol is None else rtol
    for filling, species_of in paddings(vectors, species).items():
        padded = pad_environment(vectors, species, mask, extra, *species_of)
        assert_close(function(*padded), expected, rtol, f"values with {filling} as padding")


def paddings(vectors: Array, species: Array) -> dict[str, tuple[Array, Array]]:
    """Possible content of masked columns, by name: a vector [3] and a species."""
    vectors, species = jnp.asarray(vectors), jnp.asarray(species)
    return {
        "zero vectors": (jnp.zeros(3, vectors.dtype), jnp.zeros((), species.dtype)),
        "copies of a neighbour": (vectors[0], species[0]),
        "huge vectors": (jnp.full(3, 1e6, vectors.dtype), jnp.zeros((), species.dtype)),
    }


def pad_environment(
    vectors: Array, species: Array, mask: Array, extra: int, vector: Array, kind: Array
) -> tuple[Array, Array, Array]:
    """Append ``extra`` masked columns with the given vector [3] and species.

    Example:
        >>> environment = jnp.eye(3), jnp.zeros(3, int), jnp.ones(3, bool)
        >>> pad_environment(*environment, 2, jnp.zeros(3), 0)[2].tolist()
        [True, True, True, False, False]
    """
    vectors, species = jnp.asarray(vectors), jnp.asarray(species)
    return (
        jnp.concatenate([vectors, jnp.tile(jnp.asarray(vector, vectors.dtype), (extra, 1))]),
        jnp.concatenate([species, jnp.full(extra, kind, species.dtype)]),
        jnp.concatenate([jnp.asarray(mask), jnp.zeros(extra, bool)]),
    )


def assert_gradients(
    function: Callable[..., Array], *arguments: Array, rtol: float | None = None, seed: int = 0
) -> None:
    """Fail unless forward, reverse and finite-difference derivatives agree.

    Along one random direction of all arguments, the forward derivative is compared with a
    fourth-order central difference, to ``rtol`` of the values and their derivative; for a random
    combination of the values, the reverse derivative is compared with the forward one, to
    ``INVARIANCE``.

    Example:
        >>> assert_gradients(jnp.sin, jnp.array(0.3))
    """
    arguments = tuple(map(jnp.asarray, arguments))
    random = np.random.default_rng(seed)

    def like(array):
        return jnp.asarray(random.normal(size=array.shape), array.dtype)

    directions, weights = tuple(map(like, arguments)), like(jax.eval_shape(function, *arguments))

    @partial(jax.jit, compiler_options=FAST_COMPILATION)
    def derivatives(*point):
        values, forward = jax.jvp(function, point, directions)
        gradients = jax.vjp(function, *point)[1](weights)
        reverse = sum(jnp.vdot(g, d) for g, d in zip(gradients, directions, strict=True))
        return values, forward, reverse

    values, forward, reverse = map(np.asarray, derivatives(*arguments))
    rtol = tolerance(GRADIENTS, values) if rtol is None else rtol
    step = 1e-4 if values.dtype == np.float64 else 1e-2
    difference = np.zeros(values.shape)
    for steps, coefficient in ((-2, 1), (-1, -8), (1, 8), (2, -1)):
        moved = (x + (steps * step) * d for x, d in zip(arguments, directions, strict=True))
        difference += coefficient * np.asarray(derivatives(*moved)[0], float) / (12 * step)
    error = np.linalg.norm(forward - difference)
    size = np.linalg.norm(values) + np.linalg.norm(forward)
    assert error <= rtol * size, f"forward derivative: relative error {error / size:.1e}"
    error = abs(np.sum(np.asarray(weights, float) * forward) - reverse)
    size = np.linalg.norm(weights) * np.linalg.norm(forward)
    allowed = tolerance(INVARIANCE, values) * size
    assert error <= allowed, f"reverse and forward derivatives differ by {error:.1e} of {size:.1e}"


def successive_derivatives(
    function: Callable[[Array], Array], x: Array, order: int = 3, seed: int = 0
) -> list[Any]:
    """Value, gradient, and second and third derivatives of a function along random directions.

    The gradient is that of a random combination E of all values, by reverse differentiation; the
    higher derivatives, forward over reverse, are H·a and T·a·b, which reveal a NaN anywhere.

    Args:
        function: function of one array.
        x: the point.
        order: order of the highest derivative, 1 to 3.
        seed: seed of the directions.

    Returns:
        ``order + 1`` arrays: the values, then arrays like x.

    Example:
        >>> value, first, second = successive_derivatives(lambda x: x**2, jnp.ones(()), order=2)
        >>> bool(value == 1), bool(first != 0), bool(second != 0)
        (True, True, True)
    """
    random = np.random.default_rng(seed)
    shape, dtype = jax.eval_shape(function, x).shape, x.dtype
    weights = jnp.asarray(random.normal(size=shape), dtype)
    directions = [jnp.asarray(random.normal(size=x.shape), dtype) for _ in range(2)]

    def combination(x):
        values = function(x)
        return jnp.sum(weights * values), values

    def first(x):
        gradient, values = jax.grad(combination, has_aux=True)(x)
        return gradient, (gradient, values)

    derivative = first
    for direction in directions[: order - 1]:
        derivative = partial(_along, derivative, direction)
    _, found = derivative(x)
    return list(reversed(found))


def _along(function: Callable, direction: Array, x: Array):
    """From x -> (f, lower) to x -> (f', (f', *lower)), f' the derivative of f along a direction."""
    _, slope, lower = jax.jvp(function, (x,), (direction,), has_aux=True)
    return slope, (slope, *lower)


def assert_finite_derivatives(
    function: Callable[..., Array],
    points: Array,
    *others: Array,
    names: list[str] | None = None,
    order: int = 3,
) -> None:
    """Fail if values or derivatives up to third order are NaN or infinite at any of the points.

    Args:
        function: ``function(x, *others)``, differentiated with respect to its first argument.
        points: ``[P, ...]``, tested one by one with one compiled program.
        *others: ``[P, ...]`` further arguments of each point.
        names: names of the points, for the message.
        order: order of the highest derivative, 1 to 3.

    Example:
        >>> assert_finite_derivatives(lambda x: jnp.sum(x**3), jnp.zeros((2, 3)))
    """

    @partial(jax.jit, compiler_options=FAST_COMPILATION)
    def derivatives(x, *others):
        return successive_derivatives(lambda x: function(x, *others), x, order)

    for index, point in enumerate(zip(points, *others, strict=True)):
        name = names[index] if names else f"point {index}"
        for degree, values in enumerate(derivatives(*point)):
            finite = bool(jnp.isfinite(values).all())
            assert finite, f"{name}: derivative {degree} is not finite (0 is the value itself)"
