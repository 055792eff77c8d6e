"""Message passing on distances (1-WL): a reference descriptor for networks of any size.

Every atom of an environment, including the centre, has a state that is initialised with its
species. In every round the state is replaced by a function of itself and of a sum over all other
atoms of a function of their state and distance. With generic analytic functions and enough features
this distinguishes as much as any network of this kind, that is, colour refinement (1-WL); rounds
beyond the number of atoms add nothing.
"""

from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.basis.cutoffs import cutoff_function
from tripletjax.numerics import cosine, safe_norm
from tripletjax.types import Array, Basis

LENGTH = 0.5  # Å, the scale on which distances are distinguished


class MessageWeights(NamedTuple):
    """The random numbers of all rounds; a pytree of float64 NumPy arrays."""

    species: np.ndarray  # [a, D]
    distances: np.ndarray  # [T, D] 1/Å
    senders: np.ndarray  # [T, D, D]
    messages: np.ndarray  # [T, D, D]
    states: np.ndarray  # [T, D, D]
    phases: np.ndarray  # [T, 2, D]


@lru_cache(maxsize=16)
def message_weights(
    n_species: int, n_features: int = 64, n_rounds: int = 4, seed: int = 0
) -> MessageWeights:
    """Draw Gaussian matrices of order one with NumPy's PCG64.

    Example:
        >>> message_weights(2, n_features=8).species.shape
        (2, 8)
    """
    random = np.random.Generator(np.random.PCG64(seed))
    square = lambda: random.normal(size=(n_rounds, n_features, n_features)) / np.sqrt(n_features)  # noqa: E731
    return MessageWeights(
        random.normal(size=(n_species, n_features)),
        random.normal(size=(n_rounds, n_features)) / LENGTH,
        square(),
        square(),
        square(),
        random.uniform(0, 2 * np.pi, size=(n_rounds, 2, n_features)),
    )


def distance_messages(
    vectors: Array,
    species: Array,
    mask: Array,
    basis: Basis,
    weights: MessageWeights,
    center: Array | int = 0,
) -> Array:
    """The state of the centre after some rounds of messages between all atoms of its environment.

    h_i ← cos(V h_i + U Σ_{j ≠ i} f_j cos(k r_ij + W h_j + b) / √n + b'), with f_j the cutoff
    function of atom j's distance to the centre and n the number of atoms. A function of distances
    only, and therefore invariant under reflections.

    Args:
        vectors, species, mask: one environment, [K, 3] Å, [K] and [K].
        basis: its cutoff and cutoff function.
        weights: from ``message_weights``.
        center: species index of the central atom.

    Returns:
        ``[D]``.

    Source: for the limits of such networks, Pozdnyakov and Ceriotti, Mach. Learn.: Sci. Technol.
    3, 045020 (2022), arXiv 2201.07136.

    Example:
        >>> weights = message_weights(1, n_features=8)
        >>> vectors, species, mask = jnp.eye(3), jnp.zeros(3, int), jnp.ones(3, bool)
        >>> distance_messages(vectors, species, mask, Basis(), weights).shape
        (8,)
    """
    vectors = jnp.asarray(vectors)
    dtype = vectors.dtype
    weights = jax.tree.map(lambda w: jnp.asarray(w, dtype), weights)
    radii = safe_norm(vectors)
    present = jnp.where(mask & (radii < basis.cutoff), cutoff_function(radii, basis), 0)
    present = jnp.concatenate([jnp.ones(1, dtype), present])  # the centre comes first
    positions = jnp.concatenate([jnp.zeros((1, 3), dtype), vectors])
    kinds = jnp.concatenate([jnp.asarray(center)[None], jnp.asarray(species)])
    distances = safe_norm(positions[:, None] - positions)
    senders = present * (1 - jnp.eye(len(kinds), dtype=dtype))  # [receiver, sender]
    per_atom = 1 / jnp.sqrt(present.sum())

    state = weights.species[kinds]
    rounds = zip(*weights[1:], strict=True)
    for frequencies, of_sender, of_message, of_state, phases in rounds:
        sent = distances[..., None] * frequencies + _product(state, of_sender) + phases[0]
        received = jnp.einsum("ij,ijd->id", senders, cosine(sent), precision="highest") * per_atom
        state = cosine(_product(state, of_state) + _product(received, of_message) + phases[1])
    return state[0]


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision="highest")
