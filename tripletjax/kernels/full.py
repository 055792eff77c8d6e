"""Full Gaussian processes on energies, forces and stress, for small sets of structures.

With the operators D_a = (1, -d/dr, (1/V) d/dε) that make labels of energies,

    cov(D_a E(S), D_b E(S')) = v D_a D'_b K(S, S') + noise,

    K(S, S') = Σ_i Σ_j δ(species) k(p_i, p_j),

and D acts through the tangents dp_i of the environments, made by forward differentiation once for
each structure. All pairs of labels are in memory: some thousands.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from logging import getLogger
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms
from scipy.linalg import solve_triangular

from tripletjax.descriptors.protocol import EnvironmentDescriptor
from tripletjax.kernels.dense import DenseEvidence
from tripletjax.kernels.designs import Inducing
from tripletjax.kernels.environments import (
    EnvironmentKernel,
    structure_kernel,
    typical_distance,
)
from tripletjax.kernels.observations import (
    UPPER,
    Noise,
    Observations,
    check_observations,
    single_batches,
)
from tripletjax.kernels.potential import Deviations, KernelPotential
from tripletjax.neighbors import environments_of, float_type
from tripletjax.types import Array, Batch

logger = getLogger(__name__)


class Tangents(NamedTuple):
    """The environments of one structure and how they move with its labels, J of these."""

    vectors: Array  # [C, D]
    kinds: Array  # [C], -1 on padding
    tangents: (
        Array  # [J, C, D]: -d/dr of all coordinates, then (1/V) d/dε of xx, yy, zz, yz, xz, xy
    )


def structure_tangents(describer: EnvironmentDescriptor, scale: Any, batch: Batch) -> Tangents:
    """Environments of a Batch of one structure and their derivatives, one direction at a time."""
    found = environments_of(batch, describer.elements)
    dtype, n_atoms = found.vectors.dtype, len(batch.positions)
    describe = jax.vmap(describer.environment)
    volume = jnp.abs(jnp.linalg.det(jnp.asarray(batch.cells)[0]))

    def along(direction):
        moves, strain = direction[:-9].reshape(n_atoms, 3), direction[-9:].reshape(3, 3)
        change = moves[batch.neighbors] - moves[batch.centers][:, None]
        change = change + jnp.einsum("ab,ckb->cka", strain, found.vectors, precision="highest")
        of_vectors = lambda v: describe(v, *found[1:4]) / jnp.asarray(scale, dtype)  # noqa: E731
        return jax.jvp(of_vectors, (found.vectors,), (change,))[1]

    directions = np.zeros((3 * n_atoms + 6, 3 * n_atoms + 9))
    directions[: 3 * n_atoms, : 3 * n_atoms] = -np.eye(3 * n_atoms)
    strains = 3 * np.array(UPPER[0]) + np.array(UPPER[1])
    directions[3 * n_atoms + np.arange(6), 3 * n_atoms + strains] = 1
    tangents = jax.lax.map(along, jnp.asarray(directions, dtype))
    tangents = tangents.at[3 * n_atoms :].divide(volume)
    kinds = jnp.where(batch.center_mask, found.center, -1)
    tangents = jnp.where((kinds >= 0)[:, None], tangents, 0)
    return Tangents(describe(*found[:4]) / jnp.asarray(scale, dtype), kinds, tangents)


def covariance_block(kernel: EnvironmentKernel, first: Tangents, second: Tangents) -> Array:
    """D_a D'_b K(S, S') of energy and all derivatives of two structures, [1 + J, 1 + J']."""

    def rows(vectors):
        def total(own):
            return structure_kernel(kernel, own, first.kinds, vectors, second.kinds)

        value, slope = jax.value_and_grad(total)(first.vectors)
        slopes = jnp.einsum("jcd,cd->j", first.tangents, slope, precision="highest")
        return jnp.concatenate([value[None], slopes])

    along = lambda tangent: jax.jvp(rows, (second.vectors,), (tangent,))[1]  # noqa: E731
    columns = jax.vmap(along, out_axes=1)(second.tangents)
    return jnp.concatenate([rows(second.vectors)[:, None], columns], 1)


_block = jax.jit(covariance_block)  # one program for each pair of sizes, whatever the length scale


@dataclass(frozen=True, kw_only=True)
class FullGaussianProcess:
    """A Gaussian process conditioned on labels; its mean is ``potential``, for any batch."""

    potential: KernelPotential
    structures: list[Tangents]
    chosen: list[np.ndarray]  # which rows [1 + J] of every structure have a label
    root: np.ndarray  # [n, n] lower Cholesky factor of the covariance of the labels
    variance: float  # v, eV²
    noise: dict[str, float]
    log_evidence: float
    dtype: np.dtype
    tangents_of: Callable[[float, Batch], Tangents]  # compiled ``structure_tangents``

    def deviations(self, frame: Atoms) -> Deviations:
        """Standard deviations of energy [1] and forces [N, 3] of a structure, without the noise.

        variance = k** - k*ᵀ (K + Σ)⁻¹ k*.
        """
        kernel = self.potential.kernel
        with _precision(self.dtype):
            batch = self.potential.prepare(frame, self.dtype)
            scale = float(self.potential.inducing.scale)
            own = self.tangents_of(scale, batch)
            n_rows = 1 + 3 * len(frame)
            prior = np.diag(np.asarray(_block(kernel, own, own), float))[:n_rows]
            across = [
                np.asarray(_block(kernel, own, other), float)[:n_rows, chosen]
                for other, chosen in zip(self.structures, self.chosen, strict=True)
            ]
        across = self.variance * np.concatenate(across, 1)
        explained = solve_triangular(self.root, across.T, lower=True)
        variances = np.maximum(self.variance * prior - (explained**2).sum(0), 0)
        deviations = np.sqrt(variances)
        return Deviations(deviations[:1], deviations[1:].reshape(-1, 3))


def fit_full_potential(
    frames: Atoms | Sequence[Atoms],
    energies: Any,
    forces: Sequence[Any] | None = None,
    stress: Sequence[Any] | None = None,
    *,
    describer: EnvironmentDescriptor,
    kernel: EnvironmentKernel | None = None,
    noise: Noise | None = None,
    variance: float | None = None,
    references: Any = None,
    dtype: str = "float64",
) -> FullGaussianProcess:
    """A Gaussian process of atomic energies, conditioned on all labels without approximation.

    Args:
        frames, energies, forces, stress, describer, references, dtype: as for
            ``fit_sparse_potential``.
        kernel: between environments, its length scale in units of the median distance; None:
            Gaussian of length scale 2.
        noise: of the labels; what is None is found by maximising the evidence. None: all.
        variance: v, eV²; None: found too.

    Returns:
        A ``FullGaussianProcess``; the ``record`` of its potential has the noises, the evidence, and
        in "search" a line for each of these that ended at a bound, which is also logged as a
        warning.

    Raises:
        InputError: as for ``fit_sparse_potential``.

    Source: Solak et al., NIPS 2002, for derivative observations; Rasmussen and Williams, Gaussian
    Processes for Machine Learning, chapters 2 and 5.

    Example:
        >>> from ase.build import molecule
        >>> from tripletjax import descriptor
        >>> soap = descriptor("power_spectrum", (1, 8), cutoff=3.0, n_max=2, l_max=1)
        >>> water = molecule("H2O")
        >>> process = fit_full_potential(water, [1.5], [np.zeros((3, 3))], describer=soap)
        >>> round(process.potential.energy(process.potential.prepare(water)).item(), 3)
        1.5
    """
    kernel = kernel or EnvironmentKernel(length_scale=2.0)
    observations = check_observations(frames, energies, forces, stress, describer, references)
    precision = float_type(dtype)
    with _precision(precision):
        batches = single_batches(observations.frames, describer, precision)
        tangents_of = jax.jit(partial(structure_tangents, describer))
        structures = [jax.device_get(tangents_of(1.0, batch)) for batch in batches]
        scale = _unit(structures)
        structures = [Tangents(s.vectors / scale, s.kinds, s.tangents / scale) for s in structures]
        chosen = [_labelled(observations, i, s) for i, s in enumerate(structures)]
        matrix = _covariance(kernel, structures, chosen)
    targets, kinds = _targets(observations)
    found = DenseEvidence(matrix, targets, kinds, observations, noise or Noise(), variance)
    for line in found.reached:
        logger.warning(line)
    root, weights = found.solution()
    potential = KernelPotential(
        describer=describer,
        kernel=kernel,
        **_compact(structures, chosen, found.variance * weights, scale),
        references=tuple(map(float, observations.references)),
        record={
            "noise": found.noise,
            "log_evidence": found.log_evidence,
            "labels": {kind: int((kinds == kind).sum()) for kind in observations.kinds},
            "kernel": kernel.label(),
            "search": found.reached,
        },
    )
    return FullGaussianProcess(
        potential=potential,
        structures=structures,
        chosen=chosen,
        root=root,
        variance=found.variance,
        noise=found.noise,
        log_evidence=found.log_evidence,
        dtype=precision,
        tangents_of=tangents_of,
    )


def _precision(dtype):
    return jax.enable_x64(True) if dtype == np.float64 else nullcontext()


def _unit(structures: Sequence[Tangents]) -> float:
    real = [np.asarray(s.kinds) >= 0 for s in structures]
    vectors = [np.asarray(s.vectors, float)[r] for s, r in zip(structures, real, strict=True)]
    kinds = [np.asarray(s.kinds)[r] for s, r in zip(structures, real, strict=True)]
    return typical_distance(np.concatenate(vectors), np.concatenate(kinds))


def _labelled(observations: Observations, index: int, structure: Tangents) -> np.ndarray:
    """Rows of [1 + J] that have a label, in the order of ``Observations.targets``."""
    n_padded, n_atoms = len(structure.tangents) - 6, len(observations.frames[index])
    rows = [np.zeros(1, int)]
    if observations.forces[index] is not None:
        rows.append(1 + np.arange(3 * n_atoms))
    if observations.stress[index] is not None:
        rows.append(1 + n_padded + np.arange(6))
    return np.concatenate(rows)


def _covariance(kernel, structures, chosen) -> np.ndarray:
    """K without variance and noise, [n, n]; blocks of the upper triangle, then their mirror."""
    stops = np.cumsum([0] + [len(rows) for rows in chosen])
    matrix = np.zeros((stops[-1], stops[-1]))
    for i, first in enumerate(structures):
        for j, second in enumerate(structures[: i + 1]):
            values = np.asarray(_block(kernel, first, second), float)[np.ix_(chosen[i], chosen[j])]
            matrix[stops[i] : stops[i + 1], stops[j] : stops[j + 1]] = values
            matrix[stops[j] : stops[j + 1], stops[i] : stops[i + 1]] = values.T
    return matrix


def _targets(observations: Observations) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and the kind of each; energies whole."""
    targets, kinds = [], []
    for index, frame in enumerate(observations.frames):
        for kind, values in observations.targets(index).items():
            targets.append(values * (np.sqrt(len(frame)) if kind == "energy" else 1))
            kinds += [kind] * len(values)
    return np.concatenate(targets), np.array(kinds)


def _compact(structures, chosen, weights, scale) -> dict[str, Any]:
    """The mean in one weight and one tangent for each training environment."""
    points, kinds, alphas, tangents = [], [], [], []
    start = 0
    for structure, rows in zip(structures, chosen, strict=True):
        full = np.zeros(1 + len(structure.tangents))
        full[rows] = weights[start : start + len(rows)]
        start += len(rows)
        real = structure.kinds >= 0
        points.append(np.asarray(structure.vectors, float)[real])
        kinds.append(np.asarray(structure.kinds)[real])
        alphas.append(np.full(int(real.sum()), full[0]))
        moved = np.einsum("j,jcd->cd", full[1:], np.asarray(structure.tangents, float))
        tangents.append(moved[real])
    inducing = Inducing(
        np.concatenate(points), np.concatenate(kinds).astype(np.int32), np.asarray(scale)
    )
    return {
        "inducing": inducing,
        "weights": np.concatenate(alphas),
        "tangents": np.concatenate(tangents),
    }
