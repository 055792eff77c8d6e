"""How environments move with the labels of a structure, and the covariances that follow.

With the operators D_a = (1, -d/dr, (1/V) d/dε) that make labels of energies,

    cov(D_a E(S), D_b E(S')) = v D_a D'_b K(S, S'),   K(S, S') = Σ_ij δ(species) k(p_i, p_j),

and D acts through the tangents dp_i of the environments, made by forward differentiation once for
each structure: the derivatives of each environment by its neighbours, times how these move.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.descriptors.jacobians import environment_jacobian
from tripletjax.descriptors.protocol import EnvironmentDescriptor
from tripletjax.kernels.designs import environments_within
from tripletjax.kernels.environments import EnvironmentKernel, same_species
from tripletjax.kernels.observations import UPPER, Labelled
from tripletjax.kernels.variances import SumsOf
from tripletjax.types import Array, Batch

_EXACT: Any = {"precision": "highest"}


class Tangents(NamedTuple):
    """The environments of one structure and how they move with its labels, J of these."""

    vectors: Array  # [C, D]
    kinds: Array  # [C], -1 on padding
    tangents: (
        Array  # [J, C, D]: -d/dr of all coordinates, then (1/V) d/dε of xx, yy, zz, yz, xz, xy
    )


def structure_tangents(
    describer: EnvironmentDescriptor, scale: Any, batch: Batch, axes: Any = None
) -> Tangents:
    """Environments of a Batch of one structure and their derivatives, one environment at a time.

    Args:
        describer: of environments.
        scale: by which the vectors are divided.
        batch: A atoms with padding, all of which are centres.
        axes: ``[3A, n]`` directions of the coordinates; None: all coordinates, and the strains.
    """
    found = environments_within(batch, describer)
    dtype, n_atoms = found.vectors.dtype, len(batch.positions)
    scale = jnp.asarray(scale, dtype)
    if axes is None:
        directions = np.zeros((n_atoms, 3, 3 * n_atoms + 6))
        directions.reshape(3 * n_atoms, -1)[:, : 3 * n_atoms] = -np.eye(3 * n_atoms)
    else:
        directions = -jnp.asarray(axes).reshape(n_atoms, 3, -1)
    directions = jnp.asarray(directions, dtype)  # [A, 3, J]
    strains = np.zeros((3, 3, 6))
    strains[(*UPPER, np.arange(6))] = 1
    volume = jnp.abs(jnp.linalg.det(jnp.asarray(batch.cells)[0]))

    def of_environment(row):
        environment, neighbors, atom = row
        values, slopes = environment_jacobian(describer, *environment)
        change = directions[neighbors] - directions[atom]  # [K, 3, J]
        if axes is None:
            strained = jnp.einsum("abj,kb->kaj", strains.astype(dtype), environment[0], **_EXACT)
            change = change.at[..., -6:].add(strained / volume)
        moved = jnp.einsum("kaj,kad->jd", change, slopes, **_EXACT)
        return values / scale, moved / scale

    rows = found[:4], jnp.asarray(batch.neighbors), jnp.asarray(batch.centers)
    vectors, tangents = jax.lax.map(of_environment, rows)
    kinds = jnp.where(batch.center_mask, found.center, -1)
    tangents = jnp.where((kinds >= 0)[:, None], jnp.swapaxes(tangents, 0, 1), 0)
    return Tangents(vectors, kinds, tangents)


def of_one_width(structures: Sequence[Tangents]) -> list[Tangents]:
    """Structures whose vectors have equal length; zeros are appended to shorter ones."""
    vectors = wide([structure.vectors for structure in structures])
    tangents = wide([structure.tangents for structure in structures])
    parts = zip(vectors, (structure.kinds for structure in structures), tangents, strict=True)
    return [Tangents(*part) for part in parts]


def wide(arrays: Sequence[Any]) -> list[Any]:
    """Arrays of equal length along their last axis, with zeros after the end of shorter ones."""
    width = max(array.shape[-1] for array in arrays)
    missing = [[(0, 0)] * (array.ndim - 1) + [(0, width - array.shape[-1])] for array in arrays]
    pairs = zip(arrays, missing, strict=True)
    return [np.pad(array, pad) if pad[-1][1] else array for array, pad in pairs]


class Group(NamedTuple):
    """F structures of one padded number of atoms C, as places in the lists of a training set."""

    structures: np.ndarray  # [F] which they are
    points: np.ndarray  # [F, C] their environments; 0 on padding
    mask: np.ndarray  # [F, C] False on padding
    stress: bool  # whether one of them has such labels


def groups_of(structures: Sequence[Labelled], sizes: Sequence[int]) -> list[Group]:
    """The structures of a training set by their padded numbers of atoms, ascending.

    Args:
        structures: all of them; their environments are listed one structure after the other.
        sizes: padded number of atoms of each.
    """
    counts = np.array([structure.n_atoms for structure in structures])
    first = np.cumsum(counts) - counts
    found = []
    for size in sorted(set(sizes)):
        members = np.flatnonzero(np.array(sizes) == size)
        mask = np.arange(size) < counts[members, None]
        points = np.where(mask, first[members, None] + np.arange(size), 0)
        stress = any(structures[int(member)].stress for member in members)
        found.append(Group(members, points, mask, stress))
    return found


def label_sums(
    kernel: EnvironmentKernel,
    points: Array,
    kinds: np.ndarray,
    groups: Sequence[Group],
    tangents: Sequence[Array],
    chosen: np.ndarray,
) -> SumsOf:
    """Σ_i φ_b(p_i), with φ_b(p) = D'_b Σ_j δ(species) k(p, q_j) for each label b.

    Args:
        kernel: between environments.
        points, kinds: ``[N, D]`` and ``[N]``, all environments q of the training set.
        groups: its structures.
        tangents: ``[F, J, C, D]`` of each group.
        chosen: ``[n]`` places of the labels among the rows [F, 1 + J] of all groups.
    """

    def of_group(vectors, species, group: Group, moves):
        related = same_species(species, jnp.asarray(kinds[group.points].ravel()))
        related &= group.mask.ravel()
        own = jnp.asarray(points, vectors.dtype)[group.points]  # [F, C, D]

        def total(q):
            values = kernel.matrix(vectors, q.reshape(-1, q.shape[-1]))
            values = jnp.sum(jnp.where(related, values, 0), 0)
            return jnp.sum(values), jnp.sum(values.reshape(group.mask.shape), 1)

        slopes, energies = jax.grad(total, has_aux=True)(own)
        moves = jnp.asarray(moves, vectors.dtype)
        derivatives = jnp.einsum("fcd,fjcd->fj", slopes, moves, precision="highest")
        return jnp.concatenate([energies[:, None], derivatives], 1).ravel()

    def sums_of(vectors: Array, species: Array) -> Array:
        parts = [of_group(vectors, species, *pair) for pair in zip(groups, tangents, strict=True)]
        return jnp.concatenate(parts)[chosen]

    return sums_of


def places_of_labels(structures: Sequence[Labelled], groups: Sequence[Group]) -> np.ndarray:
    """``chosen`` of ``label_sums``: labels structure by structure, in the order of ``Labelled``."""
    places: dict[int, np.ndarray] = {}
    start = 0
    for group in groups:
        size = group.points.shape[1]
        n_rows = 1 + 3 * size + (6 if group.stress else 0)
        for member in group.structures:
            places[int(member)] = start + structures[int(member)].rows(size)
            start += n_rows
    return np.concatenate([places[index] for index in range(len(structures))])
