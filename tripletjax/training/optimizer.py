"""The optimiser: Adam in the eigenbasis of the gradients, robust against single bad ones.

The energy is a polynomial in many weights: outside the region explored by a fit it grows without
bounds, and a step that leaves this region is rarely recovered.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from tripletjax.training.eigenbasis import scale_by_eigenbasis
from tripletjax.types import Array

DECAY = 0.99  # of the running norm
LONGEST = 2.0  # gradient, in units of its running norm
FIRST = 10.0  # largest norm of any gradient; the only bound for the first one
LARGEST = 0.3  # root mean square update of an array, in units of the learning rate


class RunningNorm(NamedTuple):
    """Sum of decaying weights times norms, and the sum of these weights."""

    total: Array
    weight: Array


def clip_by_running_norm(limit: float, decay: float = DECAY) -> optax.GradientTransformation:
    """Clip gradients to ``limit`` times the running mean of the previous norms.

    n_t = min(‖g_t‖, limit · n̄), with n̄ the mean of n_1 ... n_{t-1}, whose weights decay by
    ``decay`` per step; the first gradient is not clipped.

    Example:
        >>> clip = clip_by_running_norm(2.0)
        >>> state = clip.init(jnp.zeros(1))
        >>> for gradient in (1.0, 1.0, 100.0):
        ...     clipped, state = clip.update(jnp.array([gradient]), state)
        >>> round(float(clipped[0]), 3)
        2.0
    """

    def init(params) -> RunningNorm:
        del params
        return RunningNorm(jnp.zeros((), jnp.float32), jnp.zeros((), jnp.float32))

    def update(updates, state, params=None):
        del params
        norm = optax.tree.norm(updates).astype(jnp.float32)
        mean = state.total / jnp.where(state.weight > 0, state.weight, 1)
        most = jnp.where(state.weight > 0, limit * mean, norm)
        factor = jnp.where(norm > most, most / norm, 1)
        clipped = jax.tree.map(lambda g: g * factor.astype(g.dtype), updates)
        total = decay * state.total + (1 - decay) * factor * norm
        return clipped, RunningNorm(total, decay * state.weight + (1 - decay))

    return optax.GradientTransformation(init, update)


def bounded(scaling: optax.GradientTransformation) -> optax.GradientTransformation:
    """A scaling of gradients, within bounds for single gradients and steps; without a rate."""
    return optax.chain(
        optax.clip_by_global_norm(FIRST),
        clip_by_running_norm(LONGEST),
        scaling,
        optax.clip_by_block_rms(LARGEST),
    )


OPTIMIZER = bounded(scale_by_eigenbasis())
