"""The precision in which a potential is evaluated, and JAX's switch for it."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.neighbors import float_type


def precision_of(potential: Any, dtype: Any = None) -> np.dtype:
    """The dtype as given; None: that of the model's ``dtype``, if it has one, or JAX's default.

    Example:
        >>> from tripletjax.potentials.network import Architecture
        >>> from tripletjax.potentials.triplet import untrained
        >>> precision_of(untrained([1], Architecture(units=4, width=4)), "float64")
        dtype('float64')
    """
    return float_type(getattr(potential.model, "dtype", None) if dtype is None else dtype)


def computing_in(dtype: Any) -> AbstractContextManager:
    """Where arrays can be of this dtype, whatever JAX's x64 is."""
    return jax.enable_x64(True) if np.dtype(dtype) == np.float64 else nullcontext()


def in_precision(potential: Any, dtype: Any) -> Any:
    """The potential with weights of this dtype on JAX's device, as it is evaluated many times.

    Weights in NumPy, or of another dtype, are otherwise copied at every call.

    Example:
        >>> from tripletjax.potentials.network import Architecture
        >>> from tripletjax.potentials.triplet import untrained
        >>> potential = in_precision(untrained([1], Architecture(units=4, width=4)), "float32")
        >>> {leaf.dtype.name for leaf in jax.tree.leaves(potential.weights)}
        {'float32'}
    """
    return potential.with_weights(of_type(potential.weights, dtype))


def of_type(weights: Any, dtype: Any) -> Any:
    """Weights with floating-point arrays of this dtype."""

    def cast(leaf):
        leaf = jnp.asarray(leaf)
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(cast, weights)


def on_device(weights: Any) -> Any:
    """Weights as JAX arrays, unless that would lose digits: without x64, float64 stays in NumPy."""

    def placed(leaf):
        is_kept = jax.dtypes.canonicalize_dtype(leaf.dtype) == leaf.dtype
        return jnp.asarray(leaf) if is_kept else leaf

    return jax.tree.map(placed, weights)
