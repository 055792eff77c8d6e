"""Environments recovered from descriptors that carry a little noise, and how far off they are.

With noise of a given relative size in every descriptor, the error of what is recovered tells how
firmly the descriptor holds the structure: without noise, anything that is determined at all comes
back to all digits.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax import Descriptor
from tripletjax.basis.densities import density_coefficients
from tripletjax.completeness.alignment import environment_distance
from tripletjax.completeness.inversion import (
    inside,
    invert,
    levenberg_marquardt,
    outside,
    random_environment,
)
from tripletjax.invariants.triplets import triplet_invariants
from tripletjax.types import Array, Basis

SPACING, STARTS, STEPS = 1.0, 64, 60
RADIUS = 1.9  # Å, of random starts
COARSE = 0.15  # how fast the weights of degrees fall in the first stage of a search
FAR = 1e3  # Å: what an unmatched atom would cost


def noisy(values: np.ndarray, noise: float, index: int) -> np.ndarray:
    """Values with Gaussian noise, whose norm is expected to be ``noise`` times theirs."""
    random = np.random.default_rng([index, 0])
    size = noise * np.linalg.norm(values) / np.sqrt(len(values))
    return values + size * random.normal(size=len(values))


def fingerprint_errors(positions: np.ndarray, chosen: Descriptor, noise: float) -> list[float]:
    """Å a neighbour, of environments [S, K, 3] recovered from noisy fingerprints.

    From random starts, by ``invert``: nothing is known but the number of neighbours.
    """
    n = positions.shape[1]
    species, mask = np.zeros(n, np.int32), np.ones(n, bool)
    evaluate = jax.jit(chosen.environment)
    found = []
    for index, vectors in enumerate(positions):
        values = noisy(np.asarray(evaluate(vectors, species, mask)), noise, index)
        inverted = invert(
            values, chosen, species, max_starts=STARTS, n_steps=STEPS, tolerance=2 * noise
        )
        found.append(apart(vectors, inverted.vectors))
    return found


def triplet_errors(positions: np.ndarray, basis: Basis, noise: float) -> list[float]:
    """Å a neighbour, of environments [S, K, 3] recovered from one noisy triplet.

    The triplet of the first neighbour and the one most nearly at a right angle to it. Its two
    distances, its angle and its invariants (e, o) are all that is known: the other neighbours come
    from the density that those invariants hold. The best of some random starts, by the residual
    alone.
    """
    fit = jax.jit(jax.vmap(partial(_fitted, basis=basis), (0, None)))
    found = []
    for index, vectors in enumerate(positions):
        directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        second = 1 + np.argmin(abs(directions[1:] @ directions[0]))
        others = np.delete(vectors, [0, second], 0)
        placed = np.concatenate([vectors[[0, second]], others])
        values = noisy(np.asarray(triplet_values(placed, basis)), noise, index)
        random = np.random.default_rng([index, 1])
        starts = [random_environment(len(vectors), RADIUS, random, 0.8) for _ in range(STARTS)]
        points, squares = fit(outside(np.array(starts), basis.cutoff), values)
        best = np.nanargmin(np.asarray(squares))
        found.append(apart(vectors, np.asarray(inside(points[best], basis.cutoff))))
    return found


def triplet_values(vectors: Array, basis: Basis) -> Array:
    """r1, r2, cos θ and the invariants of the triplet of the first two neighbours of [K, 3]."""
    vectors = jnp.asarray(vectors)
    species, mask = np.zeros(len(vectors), np.int32), np.ones(len(vectors), bool)
    density = density_coefficients(vectors, species, mask, basis, 1)
    lengths = jnp.linalg.norm(vectors[:2], axis=1)
    first, second = vectors[:2] / lengths[:, None]
    even, odd = triplet_invariants(density, first, second)
    return jnp.concatenate([lengths, jnp.dot(first, second)[None], even.ravel(), odd.ravel()])


def _fitted(start: Array, values: Array, basis: Basis) -> tuple[Array, Array]:
    """From one start [K, 3] to the values; coordinates for ``inside`` and the squared residual.

    First with high degrees damped: they vary fast, and a search through them ends in the next
    hollow. Then with all as they are.
    """
    size = jnp.linalg.norm(values)

    def residual(flat, weights=1.0):
        vectors = inside(flat.reshape(start.shape), basis.cutoff)
        return weights * (triplet_values(vectors, basis) - values) / size

    coarse = partial(residual, weights=jnp.asarray(coarse_weights(basis), start.dtype))
    point, _ = levenberg_marquardt(coarse, start.ravel(), STEPS // 2)
    point, square = levenberg_marquardt(residual, point, STEPS)
    return point.reshape(start.shape), square


def coarse_weights(basis: Basis) -> np.ndarray:
    """exp(-COARSE l (l + 1)) for each of ``triplet_values``, one for distances and angle."""
    l = np.arange(basis.l_max + 1)
    decay = np.exp(-COARSE * l * (l + 1))
    even, odd = (np.tile(np.repeat(decay, count), basis.n_max) for count in (l + 1, l))
    return np.concatenate([np.ones(3), even, odd])


def apart(first: np.ndarray, second: np.ndarray) -> float:
    """Å: root mean square displacement of a neighbour, best over O(3) and permutations."""
    n = len(first)
    one = np.ones(n, int)
    found = environment_distance(
        first, one, second, one, cutoff=10 * FAR, unmatched_cost=FAR, max_cells=1
    )
    return found.upper / np.sqrt(n)
