"""Products of the covariance of labels with vectors, without the matrix.

With weights w of the labels, the mean of the process is a function of one environment,

    e(p) = Σ_j (α_j + q_j·∂/∂z_j) k(p, z_j),   α_j = w_E,  q_j = Σ_b w_b dz_j/db,

over all environments z_j of the training set, and K w has its energies Σ_i e(p_i) and derivatives
Σ_i dp_i/da · ∂e/∂p_i: a forward derivative of the kernel and a reverse one for all pairs of
environments of equal species, and products with the derivatives of the environments.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.kernels.means import mean_and_slopes
from tripletjax.kernels.tangents import Tangents
from tripletjax.types import Array

OWN, OTHERS = 256, 1024  # environments in one block of pairs


def mean_of(structures: Sequence[Tangents], weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """α [N] and q [N, D] of all environments, from the weights of all labels [n].

    Example:
        >>> one = Tangents(np.ones((2, 3)), np.array([0, 1]), np.ones((4, 2, 3)))
        >>> alpha, moved = mean_of([one], np.arange(5.0))
        >>> alpha.tolist(), moved[0].tolist()
        ([0.0, 0.0], [10.0, 10.0, 10.0])
    """
    alphas, tangents = [], []
    start = 0
    for structure in structures:
        n_moves, n_atoms, width = structure.tangents.shape
        own = weights[start : start + 1 + n_moves]
        start += 1 + n_moves
        alphas.append(np.full(n_atoms, own[0]))
        moved = own[1:] @ structure.tangents.reshape(n_moves, n_atoms * width)
        tangents.append(moved.reshape(n_atoms, width))
    return np.concatenate(alphas), np.concatenate(tangents)


def labels_of(structures: Sequence[Tangents], values: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Energies and derivatives [n, ...] of functions e of environments.

    Args:
        structures: of the training set.
        values: ``[N, ...]`` e of all environments.
        slopes: ``[N, D, ...]`` their derivatives ∂e/∂p.

    Example:
        >>> one = Tangents(np.ones((2, 3)), np.array([0, 1]), np.ones((4, 2, 3)))
        >>> labels_of([one], np.ones(2), np.ones((2, 3))).tolist()
        [2.0, 6.0, 6.0, 6.0, 6.0]
    """
    found = []
    start = 0
    for structure in structures:
        n_moves, n_atoms, width = structure.tangents.shape
        own = slice(start, start + n_atoms)
        start += n_atoms
        found.append(values[own].sum(0)[None])
        along = structure.tangents.reshape(n_moves, n_atoms * width)
        found.append(along @ slopes[own].reshape(n_atoms * width, *slopes.shape[2:]))
    return np.concatenate(found)


class Products:
    """K w for weights w of all labels; called with w [n], returns [n].

    Args:
        kernel: between environments.
        structures: real atoms and the derivatives that are labels, without padding.

    Example:
        >>> from tripletjax.kernels import EnvironmentKernel
        >>> one = Tangents(np.ones((2, 3)), np.array([0, 1]), np.ones((4, 2, 3)))
        >>> Products(EnvironmentKernel(), [one])(np.eye(5)[0]).tolist()
        [2.0, 0.0, 0.0, 0.0, 0.0]
    """

    def __init__(self, kernel: Any, structures: Sequence[Tangents]):
        self.kernel, self.structures = kernel, structures
        self.points = np.concatenate([structure.vectors for structure in structures])
        kinds = np.concatenate([structure.kinds for structure in structures])
        self.members = {kind: np.flatnonzero(kinds == kind) for kind in np.unique(kinds)}

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        alpha, moved = mean_of(self.structures, weights)
        values, slopes = np.zeros_like(alpha), np.zeros_like(moved)
        for own in self.members.values():  # of one species
            sources = self.points[own], alpha[own], moved[own]
            values[own], slopes[own] = _of_all(self.kernel, self.points[own], *sources)
        return labels_of(self.structures, values, slopes)

    def columns(self, index: int, rows: np.ndarray) -> np.ndarray:
        """The covariances of some labels of one structure with all labels, [n, R].

        Args:
            index: of the structure.
            rows: ``[R]`` its labels: zero is the energy, then all derivatives.
        """
        structure = self.structures[index]
        n_atoms, width = structure.vectors.shape
        alpha = np.repeat((rows == 0)[:, None], n_atoms, 1).astype(float)
        moved = np.zeros((len(rows), n_atoms, width))
        moved[rows > 0] = structure.tangents[rows[rows > 0] - 1]
        values = np.zeros((len(self.points), len(rows)))
        slopes = np.zeros((len(self.points), width, len(rows)))
        for kind, own in self.members.items():
            near = np.flatnonzero(structure.kinds == kind)
            if len(near):
                sources = np.asarray(structure.vectors)[near], alpha[:, near], moved[:, near]
                values[own], slopes[own] = _of_several(self.kernel, self.points[own], *sources)
        return labels_of(self.structures, values, slopes)


@jax.jit
def _in_blocks(kernel: Any, own: Array, points: Array, alpha: Array, moved: Array) -> Any:
    """``mean_and_slopes`` of blocks of environments [K, B, D] by blocks of others [L, B', D]."""

    def of_block(vectors):
        def add(sums, sources):
            return jax.tree.map(jnp.add, sums, mean_and_slopes(kernel, vectors, *sources)), None

        start = jnp.zeros(vectors.shape[:1], vectors.dtype), jnp.zeros_like(vectors)
        return jax.lax.scan(add, start, (points, alpha, moved))[0]

    return jax.lax.map(of_block, own)


def _of_all(kernel: Any, own: np.ndarray, points: np.ndarray, alpha, moved) -> Any:
    """``mean_and_slopes`` of any number of environments; zeros that have no weight are appended."""
    size = min(OWN, len(own)), min(OTHERS, len(points))
    found = _in_blocks(
        kernel,
        _blocks(own, size[0]),
        *(_blocks(array, size[1]) for array in (points, alpha, moved)),
    )
    values, slopes = map(np.asarray, found)
    return values.ravel()[: len(own)], slopes.reshape(-1, own.shape[1])[: len(own)]


def _blocks(array: np.ndarray, size: int) -> np.ndarray:
    missing = -len(array) % size
    padded = np.pad(array, [(0, missing)] + [(0, 0)] * (array.ndim - 1))
    return padded.reshape(-1, size, *array.shape[1:])


@jax.jit
def _several_in_blocks(kernel: Any, own: Array, points: Array, alpha: Array, moved: Array) -> Any:
    def of_block(vectors):
        one = partial(mean_and_slopes, kernel, vectors, points)
        return jax.vmap(one, out_axes=-1)(alpha, moved)

    return jax.lax.map(of_block, own)


def _of_several(kernel: Any, own: np.ndarray, points: np.ndarray, alpha, moved) -> Any:
    """``_of_all`` of environments [N, D] for R weights [R, M], [R, M, D]: [N, R], [N, D, R]."""
    found = _several_in_blocks(kernel, _blocks(own, min(OWN, len(own))), points, alpha, moved)
    values, slopes = (np.asarray(part) for part in found)
    return (
        values.reshape(-1, values.shape[-1])[: len(own)],
        slopes.reshape(-1, *slopes.shape[-2:])[: len(own)],
    )
