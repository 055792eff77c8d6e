"""The descriptors of the table, each a function of one environment: (vectors [K, 3], species [K],
mask [K], center) -> [D].
"""

from collections.abc import Callable
from itertools import combinations_with_replacement
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.basis.densities import density_coefficients
from tripletjax.completeness.families import DegeneratePair
from tripletjax.completeness.messages import distance_messages, message_weights
from tripletjax.completeness.separations import environments
from tripletjax.descriptors.base import descriptor
from tripletjax.invariants.nice import Contraction, fit_contraction
from tripletjax.numerics import safe_norm
from tripletjax.types import Array, Basis

CUTOFF = 5.0  # Å
N_SPECIES = 4  # channels, some of them unused by most: one size to compile
EXTENT = 4.0  # Å: finite structures are scaled so that this is the largest distance to a centre
PERIODIC_SCALE = 1.07  # of periodic structures: no more than 40 neighbours, no fewer layers
N_MAX = 2
L_MAX = 6  # of the power spectrum, the bispectrum and the sum over triplets
NICE = {"n_max": N_MAX, "l_max": 4}  # of the orders 4 and 7
COMPONENTS = {4: 60, 7: 30}  # kept in each block, by order
FINGERPRINT_DEGREES = (1, 3, 6, 8, 12)
N_FEATURES = 512
N_RANDOM = 200  # environments to which a contraction is fitted, beside the pairs'
# Where orders up to 3 fail: order 7 takes minutes to compile, so nothing else is computed with it.
HIGH_ORDER = ("b8", "ch6o", "double_ring", "polyhedron_subsets", "coprime_rings")

Function = Callable[[Array, Array, Array, Array], Array]


class Reference(NamedTuple):
    """A column of the table."""

    name: str
    make: Callable[[Contraction | None], Function]
    nu: int = 0  # order, if a contraction is needed
    families: tuple[str, ...] | None = None  # None: all


def width_of(n_neighbors: int) -> int:
    """Padded number of neighbours, of few sizes to compile."""
    return next(width for width in (8, 16, 40, n_neighbors) if width >= n_neighbors)


def scaled(pair: DegeneratePair) -> DegeneratePair:
    """A finite pair brought to the size of the cutoff sphere; a periodic one widened a little."""
    members = np.stack([pair.first, pair.second])
    if pair.cell is not None:
        first, second = PERIODIC_SCALE * members
        return pair._replace(first=first, second=second, cell=PERIODIC_SCALE * pair.cell)
    centers = members[:, :, None] if pair.center is None else members[:, pair.center, None, None]
    extent = np.linalg.norm(members[:, None] - centers.reshape(2, -1, 1, 3), axis=-1).max()
    first, second = EXTENT / extent * members
    return pair._replace(first=first, second=second)


def sorted_distances(vectors: Array, species: Array, mask: Array, center: Array) -> Array:
    """All distances between the atoms of the environment, sorted, for each pair of species."""
    positions = jnp.concatenate([jnp.zeros((1, 3), vectors.dtype), vectors])
    kinds = jnp.concatenate([jnp.asarray(center)[None], species])
    present = jnp.concatenate([jnp.ones(1, bool), mask])
    i, j = np.triu_indices(len(kinds), 1)
    distances = safe_norm(positions[i] - positions[j])
    first, second = jnp.minimum(kinds[i], kinds[j]), jnp.maximum(kinds[i], kinds[j])
    parts = []
    for a, b in combinations_with_replacement(range(N_SPECIES), 2):
        chosen = present[i] & present[j] & (first == a) & (second == b)
        parts.append(jnp.sort(jnp.where(chosen, distances, 0)))
    return jnp.concatenate(parts)


def _of_kind(kind: str, **hypers: Any):
    def make(contraction: Contraction | None) -> Function:
        elements = tuple(range(1, N_SPECIES + 1))  # only their number counts
        chosen = descriptor(
            kind, elements, contraction=contraction, cutoff=CUTOFF, **({"n_max": N_MAX} | hypers)
        )
        return chosen.environment

    return make


def _messages(_) -> Function:
    weights = message_weights(N_SPECIES)
    return lambda v, s, m, c: distance_messages(v, s, m, Basis(cutoff=CUTOFF), weights, c)


def references(n_features: int = N_FEATURES) -> list[Reference]:
    """The columns of the table, from the least to the most."""
    fingerprints = [
        Reference(f"fingerprint l={l}", _of_kind("fingerprint", l_max=l, n_features=n_features))
        for l in FINGERPRINT_DEGREES
    ]
    return [
        Reference("sorted distances", lambda _: sorted_distances),
        Reference("distance messages", _messages),
        Reference("power spectrum", _of_kind("power_spectrum", l_max=L_MAX)),
        Reference("bispectrum", _of_kind("bispectrum", l_max=L_MAX)),
        Reference("triplet sum", _of_kind("triplet_sum", l_max=L_MAX)),
        Reference("order 4", _of_kind("correlations", nu=4, **NICE), 4),
        Reference("order 7", _of_kind("correlations", nu=7, **NICE), 7, HIGH_ORDER),
        *fingerprints,
    ]


def contraction_of(nu: int, pairs: list[DegeneratePair]) -> Contraction:
    """Fitted to random environments of up to 16 neighbours and to those of all pairs.

    Densities are divided by their norms, which changes no direction that an environment spans: so
    the largest environments do not decide alone.
    """
    basis = Basis(cutoff=CUTOFF, **NICE)
    of_one = jax.jit(lambda v, s, m: density_coefficients(v, s, m, basis, N_SPECIES))
    densities = []
    for pair in pairs:
        for side in (0, 1):
            found = environments(pair, side, CUTOFF, width_of)
            # A few environments of each are enough, and blocks of one size.
            for row in range(min(2, len(found.mask))):
                densities.append(of_one(found.vectors[row], found.species[row], found.mask[row]))
    random = np.random.default_rng(0)
    counts = random.integers(2, 17, N_RANDOM)
    vectors = random.normal(size=(N_RANDOM, 16, 3))
    lengths = EXTENT * random.uniform(0.2, 1, size=(N_RANDOM, 16)) ** (1 / 3)
    vectors *= (lengths / np.linalg.norm(vectors, axis=-1))[..., None]
    species = random.integers(0, N_SPECIES, size=(N_RANDOM, 16))
    for of_random in zip(vectors, species, np.arange(16) < counts[:, None], strict=True):
        densities.append(of_one(*of_random))
    every = np.stack(densities)
    every /= np.linalg.norm(every.reshape(len(every), -1), axis=1)[:, None, None, None]
    return fit_contraction(every, nu, COMPONENTS[nu], max_products=20 * COMPONENTS[nu])
