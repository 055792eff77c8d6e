"""A potential of pairs for clusters of boron, φ(r) = Σ_k β_k r^-k: what close atoms cost.

It varies more from structure to structure than all else in the energy, and it is the same for both
members of a pair of the table: four-body correlations determine it.
"""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.paper.coordinates import standard
from tripletjax.types import Array

POWERS = (1.0, 2.0, 4.0, 6.0, 9.0, 12.0)  # k


def power_sums(positions: Array) -> Array:
    """Σ_{i<j} r_ij^-k of one structure [N, 3] Å, ``[P]``."""
    first, second = np.triu_indices(len(positions), 1)
    distances = jnp.linalg.norm(positions[first] - positions[second], axis=1)
    return jnp.sum(distances[:, None] ** -jnp.array(POWERS, positions.dtype), 0)


_sums = jax.jit(jax.vmap(power_sums))


def all_power_sums(positions: np.ndarray) -> np.ndarray:
    """Of structures [S, N, 3] Å, ``[S, P]``, in float64."""
    with jax.enable_x64(True):
        return np.asarray(_sums(jnp.asarray(positions)))


def pair_energies(positions: np.ndarray, energies: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The potential of all structures, ``[S]`` eV, by least squares on the known ones."""
    sums = all_power_sums(positions)
    columns = np.concatenate([np.ones((len(sums), 1)), standard(sums[known])(sums)], 1)
    return columns @ np.linalg.lstsq(columns[known], energies[known])[0]
