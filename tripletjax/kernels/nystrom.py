"""The triplet kernel as an inner product of short vectors: its Nyström form.

With inducing triplets z_1 ... z_M the vector of an environment is

    p = K_MM^{-1/2} Σ_t w_t κ(t, z),   p·p' = Σ_t Σ_t' w_t w_t' κ(t, Z) K_MM⁻¹ κ(Z, t'),

the projection of the kernel onto the span of the inducing triplets: exact if all triplets are
among them, and never larger than the exact kernel at A = B. Random features need D of the order of
one over the squared error; the number of inducing triplets depends on how much the triplets of the
data differ.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.basis.densities import Mixing
from tripletjax.descriptors.kinds import checked_hypers
from tripletjax.kernels.inducing import farthest_points
from tripletjax.kernels.triplets import TripletFeatures, pair_kernel, triplet_features
from tripletjax.neighbors import displacements
from tripletjax.numerics import scan_sum
from tripletjax.types import Array, Batch, Hypers, InputError, require_prepared

SAMPLE = 20_000  # triplets from which the inducing ones are chosen


class InducingTriplets(NamedTuple):
    """M inducing triplets; a pytree of float64 NumPy arrays."""

    even: np.ndarray  # [M, P]
    odd: np.ndarray  # [M, Q]
    whitening: np.ndarray  # [M, R], K_MM^{-1/2} without directions of zero variance; R <= M


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["inducing", "mixing"],
    meta_fields=["hypers", "elements"],
)
@dataclass(frozen=True, eq=False)
class NystromDescriptor:
    """Environment vectors from inducing triplets; an ``EnvironmentDescriptor``, and a pytree."""

    hypers: Hypers
    elements: tuple[int, ...]  # atomic numbers of the species, ascending
    inducing: InducingTriplets
    mixing: Mixing | None = None

    @property
    def cutoff(self) -> float:
        """Å; atoms strictly inside are neighbours."""
        return self.hypers.cutoff

    def environment(self, vectors: Array, species: Array, mask: Array, center: Any = 0) -> Array:
        """Describe one environment, [R]; compose with jit, vmap and grad."""
        features = environment_features(
            self.hypers, len(self.elements), vectors, species, mask, center, self.mixing
        )
        return nystrom_vector(features, self.inducing)

    def batch(self, batch: Batch) -> Array:
        """Describe all environments of a Batch, [C, R].

        Raises:
            InputError: the batch was prepared with a smaller cutoff or other elements.
        """
        require_prepared(batch, self.cutoff, self.elements, "the descriptor", exact=True)
        vectors, species, mask = displacements(batch)
        centers = jnp.asarray(batch.species)[batch.centers]
        return jax.vmap(self.environment)(vectors, species, mask, centers)


def environment_features(
    hypers: Hypers, n_species: int, vectors, species, mask, center, mixing: Mixing | None = None
) -> TripletFeatures:
    """``triplet_features`` with the hyperparameters of a fingerprint."""
    return triplet_features(
        vectors, species, mask, hypers.basis, n_species, hypers.length_scale, center, hypers.tags,
        mixing,
    )  # fmt: skip


def nystrom_vector(features: TripletFeatures, inducing: InducingTriplets) -> Array:
    """K_MM^{-1/2} Σ_t w_t κ(t, z), [R], in the dtype of the features.

    Args:
        features: the triplets of one environment.
        inducing: from ``choose_triplets``.
    """
    dtype = jnp.asarray(features.weights).dtype
    even, odd, whitening = (jnp.asarray(array, dtype) for array in inducing)
    if features.weights.size == 0:
        return jnp.zeros(whitening.shape[1], dtype)

    def of_first_tag(even1, odd1, weights):
        return jnp.matmul(weights, pair_kernel(even1, odd1, even, odd), precision="highest")

    return jnp.matmul(scan_sum(of_first_tag, *features), whitening, precision="highest")


def choose_triplets(even: np.ndarray, odd: np.ndarray, count: int) -> InducingTriplets:
    """Choose inducing triplets by farthest points, with the distance defined by the kernel κ.

        d² = κ(t, t) + κ(t', t') - 2 κ(t, t')

    Args:
        even, odd: ``[N, P]`` and ``[N, Q]``, a sample of triplets.
        count: M.

    Returns:
        At most M triplets. Directions of K_MM with less variance than the rounding errors of the
        features' dtype are dropped.

    Raises:
        InputError: no triplets, or a count below one.

    Example:
        >>> random = np.random.default_rng(0)
        >>> e, o = random.normal(size=(50, 3)), random.normal(size=(50, 2))
        >>> choose_triplets(e, o, 10).whitening.shape
        (10, 10)
    """
    if len(even) == 0 or len(even) != len(odd):
        raise InputError(
            f"{len(even)} even and {len(odd)} odd parts of triplets: expected equal numbers, from "
            "environments with at least two neighbours"
        )
    rounding = float(np.finfo(np.asarray(even).dtype).eps)
    even, odd = np.asarray(even, dtype=float), np.asarray(odd, dtype=float)
    own = 0.5 * (1 + np.exp(-2 * (odd**2).sum(1)))  # κ(t, t)

    def squared_distances(index):
        to_one = pair_kernel(even, odd, even[index : index + 1], odd[index : index + 1])
        squared = own + own[index] - 2 * np.asarray(to_one)[:, 0]
        return np.where(squared < 4 * rounding, 0, squared)  # copies

    chosen = farthest_points(len(even), count, squared_distances)
    even, odd = even[chosen], odd[chosen]
    eigenvalues, vectors = np.linalg.eigh(np.asarray(pair_kernel(even, odd, even, odd)))
    kept = eigenvalues > len(chosen) * rounding * eigenvalues[-1]
    return InducingTriplets(even, odd, vectors[:, kept] / np.sqrt(eigenvalues[kept]))


def sample_triplets(
    batch: Batch,
    hypers: Hypers,
    n_species: int,
    most: int = SAMPLE,
    seed: int = 0,
    mixing: Mixing | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Even and odd parts [N, P], [N, Q] of a random sample of triplets of a batch.

    Args:
        batch: prepared with at least the cutoff of ``hypers``, and with all species.
        hypers: hyperparameters of the fingerprint.
        n_species: number of species.
        most: maximum of N.
        seed: seed of the sample.
        mixing: linear maps of the density's channels.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    elements = tuple(np.asarray(batch.elements).tolist())
    require_prepared(batch, hypers.cutoff, elements, "the descriptor", exact=True)
    vectors, species, mask = displacements(batch)
    centers = jnp.asarray(batch.species)[batch.centers]
    one = jax.jit(partial(environment_features, hypers, n_species, mixing=mixing))
    rows = random.permutation(np.flatnonzero(np.asarray(batch.center_mask)))
    parts, left = [], most
    for row in rows:
        if left <= 0:
            break
        features = one(vectors[row], species[row], mask[row], centers[row])
        is_triplet = np.asarray(features.weights) > 0
        found = [np.asarray(part)[is_triplet] for part in (features.even, features.odd)]
        share = max(1, -(-most // len(rows)))
        some = random.permutation(len(found[0]))[: min(left, share)]
        parts.append([part[some] for part in found])
        left -= len(some)
    even, odd = (np.concatenate(part) for part in zip(*parts, strict=True))
    return even, odd


def nystrom_descriptor(
    batch: Batch,
    count: int = 500,
    seed: int = 0,
    mixing: Mixing | None = None,
    **hypers,
) -> NystromDescriptor:
    """A descriptor whose inner products approximate the triplet kernel, from a batch of structures.

    Args:
        batch: structures that provide the inducing triplets.
        count: number of inducing triplets.
        seed: seed of the sample from which they are chosen.
        mixing: linear maps of the density's channels.
        **hypers: as for kind "fingerprint": cutoff, n_max, l_max, length_scale, tags ...

    Raises:
        InputError: no environment has two neighbours, or a hyperparameter is invalid.

    Example:
        >>> from ase.build import molecule
        >>> from tripletjax import prepare
        >>> batch = prepare(molecule("CH3OH"), cutoff=3.0)
        >>> describer = nystrom_descriptor(batch, 20, cutoff=3.0, n_max=2, l_max=2)
        >>> jax.jit(describer.batch)(batch).shape[0]
        6
    """
    checked = checked_hypers("fingerprint", hypers)
    unread = [name for name in ("n_features", "chiral") if hypers.get(name)]
    if unread:
        raise InputError(
            f"invalid {unread[0]}={hypers[unread[0]]!r}: inducing triplets do not read it; use "
            "kind 'fingerprint'"
        )
    elements = tuple(int(number) for number in np.asarray(batch.elements))
    even, odd = sample_triplets(batch, checked, len(elements), SAMPLE, seed, mixing)
    return NystromDescriptor(checked, elements, choose_triplets(even, odd, count), mixing)
