"""Cutoff functions f_c(r)."""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.numerics import array_module, bump_step, smooth_step
from tripletjax.types import Array, Basis, CutoffFunction, InputError

NEAR = 1e-6  # of the cutoff: at this distance below it a user's function must be zero to 1e-3


def cutoff_function(distances: Array, basis: Basis) -> Array:
    """f_c(r) of a basis; see ``cutoff_weights``.

    Args:
        distances: ``[...]`` Å.
        basis: its ``cutoff``, ``cutoff_width`` and ``cutoff_function`` are used.

    Returns:
        ``[...]``, zero at and beyond the cutoff.

    Example:
        >>> cutoff_function(jnp.array([1.0, 4.75, 5.0]), Basis(cutoff=5.0)).round(6).tolist()
        [1.0, 0.5, 0.0]
    """
    return cutoff_weights(distances, basis.cutoff, basis.cutoff_width, basis.cutoff_function)


def cutoff_weights(
    distances: Array, cutoff: float, width: float, function: str | CutoffFunction
) -> Array:
    """f_c(r): 1 up to cutoff - width, then decreasing to 0 at the cutoff.

    With x = (r - cutoff + width) / width in [0, 1]: "shifted_cosine" is ½ (1 + cos πx), once
    differentiable at the ends; "smooth" is 1 - x⁴ (35 - 84 x + 70 x² - 20 x³), three times
    differentiable; "bump" is 1 / (1 + exp(1/(1-x) - 1/x)), infinitely differentiable.

    A function of your own is called as ``function(r, cutoff, width)`` with a JAX array of distances
    inside the cutoff, and returns an array of the same shape. It must be pure and smooth and
    decrease to 0 at the cutoff; by convention it is 1 up to cutoff - width. Programs are compiled
    once for each function object: define it once, not as a new lambda in every call.

    Args:
        distances: ``[...]`` Å.
        cutoff, width: Å.
        function: a name, or a function of your own.

    Returns:
        ``[...]``, zero at and beyond the cutoff.

    Raises:
        InputError: your function does not accept JAX arrays, is not finite, or does not decrease
            to 0.

    Example:
        >>> line = lambda r, cutoff, width: (cutoff - r) / width
        >>> cutoff_weights(jnp.array([4.5, 4.75, 6.0]), 5.0, 0.5, line).tolist()
        [1.0, 0.5, 0.0]
    """
    if callable(function):
        _check_own(function, cutoff, width)
        if not isinstance(distances, np.ndarray):
            return _own(distances, cutoff, width, function)
        with jax.enable_x64(True), jax.ensure_compile_time_eval():  # on the host, as the tables
            return np.asarray(_own(jnp.asarray(distances), cutoff, width, function))
    x = (distances - (cutoff - width)) / width
    if function == "shifted_cosine":
        xp = array_module(distances)
        return 0.5 * (1 + xp.cos(np.pi * xp.clip(x, 0, 1)))
    return bump_step(x) if function == "bump" else smooth_step(x)


def _own(distances: Array, cutoff: float, width: float, function: CutoffFunction) -> Array:
    """A user's function, which is not called with distances at or beyond the cutoff."""
    inside = distances < cutoff
    values = function(jnp.where(inside, distances, 0.5 * cutoff), cutoff, width)
    return jnp.where(inside, jnp.asarray(values, distances.dtype), 0)


@lru_cache(maxsize=64)
def _check_own(function: CutoffFunction, cutoff: float, width: float) -> None:
    name = f"cutoff_function={getattr(function, '__name__', type(function).__name__)}"
    shape = jax.ShapeDtypeStruct((4,), jnp.zeros(()).dtype)
    try:
        found = jax.eval_shape(lambda r: function(r, cutoff, width), shape)
        found = getattr(found, "shape", None)
    except (TypeError, ValueError) as error:
        reason = (str(error).splitlines() or [""])[0].rstrip(".")
        raise InputError(
            f"invalid {name}: {reason}; expected a function (r, cutoff, width) of a JAX array"
        ) from error
    if found != shape.shape:
        raise InputError(
            f"invalid {name}: it returns shape {found} for distances of shape {shape.shape}"
        )
    r = cutoff * np.append(np.linspace(0.02, 0.98, 49), 1 - NEAR)
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        values = np.asarray(_own(jnp.asarray(r), cutoff, width, function))
    if not np.isfinite(values).all():
        place = r[np.argmin(np.isfinite(values))]
        raise InputError(f"invalid {name}: it is not finite at r={place:g} Å")
    if abs(values[-1]) > NEAR**0.5:
        raise InputError(
            f"invalid {name}: it is {values[-1]:.3g} at the cutoff of {cutoff:g} Å; expected a "
            "function that falls to 0 there"
        )
