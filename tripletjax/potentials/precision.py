"""The precision in which a potential is evaluated, and JAX's switch for it."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
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
