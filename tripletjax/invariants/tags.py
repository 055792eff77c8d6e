"""Which neighbours are tagged if their number is limited: complete shells, with smooth weights.

No continuous rule can choose 4 of the 12 equidistant neighbours of a close-packed crystal: either
all or none of them are tagged. Neighbour j therefore has the weight

    w_j = f_c(r_j) · h(m_j) · g(n_j),
    m_j = Σ_k a(k nearer than j),   n_j = Σ_k b(k not farther than j),

where a increases from 0 at equal distance to 1 if k is nearer by a fifth, and b decreases from 1 at
equal distance to 0 if k is farther by a fifth: m_j counts the neighbours that are clearly nearer,
n_j those that are not clearly farther, including j. h decreases to zero when T neighbours are
clearly nearer: well-separated neighbours are tagged up to the T-th, and the shell of the T-th is
tagged completely. g decreases to zero at n_j = S + 1, S = max(16, 2 T): only the nearest S
neighbours can have a weight, and a larger shell has none.
Distances are compared by (1 - (r/cutoff)^12) / r, for which the cutoff is infinitely far, so that
a neighbour entering at the cutoff does not change the weights of the others. All steps have three
continuous derivatives.
"""

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.numerics import array_module, smooth_step
from tripletjax.types import Array

APART = 0.2  # relative difference beyond which a neighbour is clearly nearer or farther
LEAST_SLOTS = 16  # a close-packed shell has 12, a body-centred crystal 8 + 6
STRETCH = 12  # power of r / cutoff
OFFSET = 1e-4  # added to the inverse distance, keeps ratios finite at the cutoff
BLOCK = 4096  # environments processed at a time on the host


def tag_slots(tags: int | None, width: int) -> int:
    """The maximum number of neighbours with a weight, out of ``width`` sorted by distance.

    Example:
        >>> tag_slots(None, 40), tag_slots(4, 40), tag_slots(12, 40), tag_slots(12, 6)
        (40, 16, 24, 6)
    """
    return width if tags is None else min(_most(tags), width)


def by_distance(
    vectors: Array, species: Array, mask: Array, tags: int | None, slots: int | None = None
) -> tuple[Array, Array, Array]:
    """Sort the neighbours of one environment by distance, if tags need it: atoms may have moved.

    Args:
        vectors, species, mask: the environment, [K, 3] Å, [K] and [K], in any order.
        tags: T; None: all, in any order.
        slots: given if the neighbours are known to be sorted.

    Example:
        >>> vectors = np.arange(20.0, 0, -1)[:, None] * np.eye(3)[0]
        >>> ordered, *_ = by_distance(vectors, np.zeros(20, int), np.ones(20, bool), 2)
        >>> ordered[:3, 0].tolist()
        [1.0, 2.0, 3.0]
    """
    if slots is not None or tag_slots(tags, len(mask)) == len(mask):
        return vectors, species, mask
    squares = jax.lax.stop_gradient(jnp.sum(jnp.asarray(vectors) ** 2, -1))
    order = jnp.argsort(jnp.where(mask, squares, jnp.inf))
    return jnp.asarray(vectors)[order], jnp.asarray(species)[order], jnp.asarray(mask)[order]


def shell_weights(distances: Array, cutoff: float, tags: int, slots: int) -> Array:
    """h(m_j) g(n_j) of the nearest neighbours, for NumPy or JAX arrays.

    Args:
        distances: ``[..., K]`` Å, ascending; the cutoff on padding.
        cutoff: Å.
        tags: T, at least 1.
        slots: number of weights; ``tag_slots`` or, if the others are known to be zero, fewer.

    Returns:
        ``[..., slots]``, between 0 and 1.

    Example:
        >>> shell_weights(np.array([1.0, 2.0, 2.0, 4.0]), 5.0, 2, 4).tolist()
        [1.0, 1.0, 1.0, 0.0]
    """
    scaled = distances * (1 / cutoff)
    closeness = (1 - scaled**STRETCH) / scaled + OFFSET
    ratio = closeness[..., None, :] / closeness[..., :slots, None]  # [slots, K], of k to j
    xp, most = array_module(distances), _most(tags)
    nearer = xp.sum(1 - smooth_step((ratio - 1) * (1 / APART - 1)), -1)
    within = xp.sum(smooth_step((1 - ratio) * (1 / APART)), -1)
    return smooth_step(nearer * (2 / tags) - 1) * smooth_step((within - most / 2) / (most / 2 + 1))


def ragged_weights(distances: np.ndarray, count: np.ndarray, cutoff: float, tags: int):
    """``shell_weights`` of concatenated environments, on the host.

    Args:
        distances: ``[P]`` Å, ascending in each environment.
        count: ``[R]`` number of neighbours of each environment.
        cutoff: Å.
        tags: T.

    Returns:
        ``[P]``.

    Example:
        >>> ragged_weights(np.array([1.0, 2.0, 1.0]), np.array([2, 1]), 3.0, 1).tolist()
        [1.0, 0.0, 1.0]
    """
    weights = np.zeros(len(distances))
    start = np.cumsum(count) - count
    for first in range(0, len(count), BLOCK):
        counts = count[first : first + BLOCK]
        slot = np.arange(counts.max(initial=0))
        is_real = slot < counts[:, None]
        place = np.minimum(start[first : first + BLOCK, None] + slot, len(distances) - 1)
        padded = np.where(is_real, distances[place] if len(distances) else 0, cutoff)
        slots = tag_slots(tags, padded.shape[1])
        found = shell_weights(padded, cutoff, tags, slots)
        weights[place[:, :slots][is_real[:, :slots]]] = found[is_real[:, :slots]]
    return weights


def _most(tags: int) -> int:
    return max(LEAST_SLOTS, 2 * tags)
