"""Search for pairs of environments that a descriptor cannot distinguish.

Both members of a pair are moved: starting from two random environments, Levenberg-Marquardt steps
bring (F(x) - F(y)) / |F(x)| to zero, while penalties keep the members, and the atoms of each,
apart:

    max(0, 1 - d² / (n d0²)),    d² = min over permutations P and Q in O(3) of Σ_j |x_Pj - Q y_j|²,
    max(0, 1 - r_jk² / s²)       for all pairs of atoms, including the centre,

where d0 is the smallest allowed geometric distance and s the spacing. A pair that satisfies all
three shows that the descriptor is incomplete at its resolution; it is easy to check whether this
also holds at finer resolutions. Finding no pair proves nothing: it only shows how hard it is to
find one.
"""

from functools import partial
from itertools import permutations
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.completeness.inversion import (
    MARGIN,
    SPACING,
    inside,
    levenberg_marquardt,
    outside,
    random_environment,
)
from tripletjax.descriptors.base import require_invariant_vector
from tripletjax.descriptors.protocol import EnvironmentDescriptor, as_argument
from tripletjax.progress import progress_bar
from tripletjax.types import Array, InputError

APART = 0.2  # Å, root mean square over neighbours
TOLERANCE = 1e-9  # |F(x) - F(y)| / |F(x)| of a pair
SLACK = 0.8  # fraction of the geometric distance and of the spacing that penalties must reach
MOST_NEIGHBORS = 6  # all permutations are tried
BATCH = 16  # starts optimised together


class SearchResult(NamedTuple):
    """The pairs of one search, one for each start, the best first."""

    n_found: int  # pairs with equal descriptors and different geometries
    n_starts: int
    found: np.ndarray  # [S] bool
    pairs: np.ndarray  # [S, 2, n, 3] Å
    descriptor_distance: np.ndarray  # [S] |F(x) - F(y)| / |F(x)|
    geometric_distance: np.ndarray  # [S] Å, d / √n


def search_pairs(
    chosen: EnvironmentDescriptor,
    n_neighbors: int,
    *,
    n_starts: int = 32,
    n_steps: int = 200,
    apart: float = APART,
    spacing: float = SPACING,
    tolerance: float = TOLERANCE,
    seed: int = 0,
    progress: bool = False,
) -> SearchResult:
    """Search for pairs of environments with equal descriptors, from random starts; float64.

    All neighbours have the first species of the descriptor. Starts depend only on the seed, the
    number of neighbours, the cutoff and the spacing, so two descriptors can be compared on the
    same starts with the same number of steps. A pair counts as found if the relative distance of
    the descriptors is at most ``tolerance``, and the geometric distance and the distances between
    atoms are at least 0.8 of ``apart`` and ``spacing``. Atoms stay 0.5 Å inside the cutoff.

    Args:
        chosen: an invariant descriptor: any kind but "density" and "triplets", or your own.
        n_neighbors: 2 to 6.
        n_starts: pairs of random environments, rounded up to a multiple of 16.
        n_steps: Levenberg-Marquardt steps per start.
        apart: Å, root mean square over neighbours, target distance between the members.
        spacing: Å, target distance between any two atoms of a member.
        tolerance: relative distance of the descriptors up to which they are equal.
        seed: seed of the starts.
        progress: show a progress bar.

    Returns:
        A ``SearchResult``.

    Raises:
        InputError: too few or too many neighbours, or a kind that is not an invariant vector.

    Example:
        >>> from tripletjax.descriptors import descriptor
        >>> soap = descriptor("power_spectrum", (1,), cutoff=3.0, n_max=1, l_max=1)  # 2 numbers
        >>> search_pairs(soap, 3, n_starts=16, n_steps=60).n_found > 0
        True
    """
    require_invariant_vector(chosen)
    if not 2 <= n_neighbors <= MOST_NEIGHBORS:
        raise InputError(
            f"invalid n_neighbors={n_neighbors}: expected 2 to {MOST_NEIGHBORS}, because the "
            "geometric distance is minimised over all permutations"
        )
    radius = chosen.cutoff - MARGIN
    random = np.random.Generator(np.random.PCG64(seed))
    parts = []
    with jax.enable_x64(True):
        for _ in progress_bar(range(0, n_starts, BATCH), desc="pairs", disable=not progress):
            members = [
                random_environment(n_neighbors, radius, random, spacing)
                for _ in range(2 * BATCH)
            ]  # fmt: skip
            starts = outside(np.stack(members), radius).reshape(BATCH, 2, n_neighbors, 3)
            batch = _optimise(as_argument(chosen), starts, n_steps, apart, spacing)
            parts.append([np.asarray(part) for part in batch])
    pairs, descriptors, geometry, closest = (np.concatenate(p) for p in zip(*parts, strict=True))
    found = (descriptors <= tolerance) & (geometry >= SLACK * apart) & (closest >= SLACK * spacing)
    order = np.lexsort([descriptors, ~found])
    return SearchResult(
        n_found=int(found.sum()),
        n_starts=len(found),
        found=found[order],
        pairs=pairs[order],
        descriptor_distance=descriptors[order],
        geometric_distance=geometry[order],
    )


def aligned_distance(first: Array, second: Array, orders: np.ndarray) -> Array:
    """d / √n with d² = min over permutations P and Q in O(3) of Σ_j |x_Pj - Q y_j|².

    The best Q for each permutation gives |x|² + |y|² - 2 Σ (singular values of Σ_j x_Pj y_jᵀ).

    Args:
        first, second: ``[n, 3]`` Å, all of one species.
        orders: ``[n!, n]`` all permutations.

    Example:
        >>> points = jnp.array([[1.0, 0, 0], [0, 2.0, 0]])
        >>> orders = np.array([[0, 1], [1, 0]])
        >>> bool(aligned_distance(points, points[::-1, ::-1], orders) < 1e-3)
        True
    """
    moments = jnp.einsum("pjx,jy->pxy", first[orders], second, precision="highest")
    overlap = jnp.max(jnp.sum(jnp.linalg.svd(moments, compute_uv=False), -1))
    squared = jnp.maximum(jnp.sum(first**2) + jnp.sum(second**2) - 2 * overlap, 0) / len(first)
    is_zero = squared == 0
    return jnp.where(is_zero, 0, jnp.sqrt(jnp.where(is_zero, 1, squared)))


@partial(jax.jit, static_argnames="n_steps")
def _optimise(chosen: EnvironmentDescriptor, starts, n_steps, apart, spacing):
    """Pairs [B, 2, n, 3], descriptor and geometric distances [B], and smallest spacings [B]."""
    n = starts.shape[2]
    species, mask = jnp.zeros(n, jnp.int32), jnp.ones(n, bool)
    orders = np.array(list(permutations(range(n))))
    one, other = np.triu_indices(n + 1, 1)

    def place(flat):
        return inside(flat.reshape(2, n, 3), chosen.cutoff - MARGIN)

    def difference(pair):
        first, second = (chosen.environment(x, species, mask, 0) for x in pair)
        return (first - second) / jax.lax.stop_gradient(jnp.linalg.norm(first))

    def squared_spacings(pair):
        atoms = jnp.concatenate([jnp.zeros((2, 1, 3), pair.dtype), pair], 1)
        return jnp.sum((atoms[:, one] - atoms[:, other]) ** 2, -1).ravel()

    def residual(flat):
        pair = place(flat)
        distance = aligned_distance(pair[0], pair[1], orders)
        crowded = jax.nn.relu(1 - squared_spacings(pair) / spacing**2)
        alike = jax.nn.relu(1 - distance**2 / apart**2)
        return jnp.concatenate([difference(pair), crowded, alike[None]])

    def optimise(start):
        flat, _ = levenberg_marquardt(residual, start.ravel(), n_steps)
        pair = place(flat)
        return (
            pair,
            jnp.linalg.norm(difference(pair)),
            aligned_distance(pair[0], pair[1], orders),
            jnp.sqrt(jnp.min(squared_spacings(pair))),
        )

    return jax.vmap(optimise)(starts)
