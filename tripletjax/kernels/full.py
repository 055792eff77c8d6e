"""Full Gaussian processes on energies, forces and stress, for small sets of structures.

Labels are D_a E(S) + noise, with the operators D_a and the covariances of ``tangents``. All pairs
of labels are in memory: some thousands.
"""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from functools import partial
from logging import getLogger
from typing import Any

import jax
import numpy as np
from ase import Atoms
from scipy.linalg import solve_triangular

from tripletjax.descriptors.protocol import EnvironmentDescriptor
from tripletjax.kernels.dense import DenseEvidence
from tripletjax.kernels.environments import (
    Kernel,
    as_kernels,
    typical_distance,
)
from tripletjax.kernels.model import FullGaussianProcess
from tripletjax.kernels.observations import (
    Noise,
    Observations,
    check_observations,
    single_batches,
)
from tripletjax.kernels.tangents import (
    Group,
    Tangents,
    covariance_block,
    structure_tangents,
)
from tripletjax.neighbors import float_type
from tripletjax.potentials.base import Potential
from tripletjax.progress import progress_bar

logger = getLogger(__name__)


_block = jax.jit(covariance_block)  # one program for each pair of sizes, for any length scale


def fit_full_potential(
    frames: Atoms | Sequence[Atoms],
    energies: Any,
    forces: Sequence[Any] | None = None,
    stress: Sequence[Any] | None = None,
    *,
    describer: EnvironmentDescriptor,
    kernel: Kernel | Iterable[Kernel] | None = None,
    noise: Noise | None = None,
    variance: float | None = None,
    references: Any = None,
    dtype: str = "float64",
    show: bool = False,
) -> Potential:
    """A Gaussian process of atomic energies, conditioned on all labels without approximation.

    Args:
        frames, energies, forces, stress, describer, references, dtype: as for
            ``fit_sparse_potential``.
        kernel: kernel between environments, with a length scale in units of the median distance, or
            a function as for ``fit_sparse_potential``. Several: the one of highest evidence. None:
            Gaussian of length scale 2.
        noise: noise of the labels; values of None are chosen by maximising the evidence. None: all.
        variance: v, eV²; None: chosen by the evidence too.
        show: whether to show a progress bar.

    Returns:
        A ``Potential`` with deviations. ``potential.model.record`` has the variance, the noises,
        the evidence, and in "search" a line for each of these that ended at a bound, which is also
        logged as a warning.

    Raises:
        InputError: as for ``fit_sparse_potential``.

    Source: Solak et al., NIPS 2002, for derivative observations; Rasmussen and Williams, Gaussian
    Processes for Machine Learning, chapters 2 and 5.

    Example:
        >>> from ase.build import molecule
        >>> from tripletjax import descriptor
        >>> soap = descriptor("power_spectrum", (1, 8), cutoff=3.0, n_max=2, l_max=1)
        >>> water = molecule("H2O")
        >>> potential = fit_full_potential(water, [1.5], [np.zeros((3, 3))], describer=soap)
        >>> round(potential.energy(potential.prepare(water)).item(), 3)
        1.5
    """
    candidates = as_kernels(kernel)
    observations = check_observations(frames, energies, forces, stress, describer, references)
    precision = float_type(dtype)
    labelled = observations.labelled
    with _precision(precision):
        batches = single_batches(observations.frames, describer, precision)
        tangents_of = jax.jit(partial(structure_tangents, describer))
        structures = [jax.device_get(tangents_of(1.0, batch)) for batch in batches]
        scale = _unit(structures)
        structures = [Tangents(s.vectors / scale, s.kinds, s.tangents / scale) for s in structures]
        chosen = [one.rows(len(s.kinds)) for one, s in zip(labelled, structures, strict=True)]
    targets, kinds = _targets(observations)
    best: Any = None
    for candidate in candidates:
        with _precision(precision):
            matrix = _covariance(candidate, structures, chosen, show)
        found = DenseEvidence(matrix, targets, kinds, observations, noise or Noise(), variance)
        logger.info("%s: log evidence %.6g", candidate.label(), found.log_evidence)
        if best is None or found.log_evidence > best[1].log_evidence:
            best = candidate, found
    chosen_kernel, found = best
    for line in found.reached:
        logger.warning(line)
    root, weights = found.solution()
    points, mean = _compact(structures, chosen, found.variance * weights)
    model = FullGaussianProcess(
        describer=describer,
        kernel=chosen_kernel,
        kinds=points,
        structures=labelled,
        record={
            "variance": found.variance,
            "noise": found.noise,
            "log_evidence": found.log_evidence,
            "labels": {kind: int((kinds == kind).sum()) for kind in observations.kinds},
            "kernel": chosen_kernel.label(),
            "search": found.reached,
        },
    )
    inverse = solve_triangular(root, np.eye(len(root)), lower=True)
    covariance = {
        "variance": np.asarray(found.variance),
        "prior": np.sqrt(found.variance) * inverse,
        "moves": tuple(_moves(structures, group) for group in model.groups),
    }
    weights = mean | covariance | {"scale": np.asarray(scale)}
    return Potential(model, weights, tuple(map(float, observations.references)))


def _moves(structures: Sequence[Tangents], group: Group) -> np.ndarray:
    """Tangents [F, J, C, D] of a group; those of the stress only if a structure has this label."""
    stop = None if group.stress else -6
    return np.stack([structures[member].tangents[:stop] for member in group.structures])


def _precision(dtype):
    return jax.enable_x64(True) if dtype == np.float64 else nullcontext()


def _unit(structures: Sequence[Tangents]) -> float:
    real = [np.asarray(s.kinds) >= 0 for s in structures]
    vectors = [np.asarray(s.vectors, float)[r] for s, r in zip(structures, real, strict=True)]
    kinds = [np.asarray(s.kinds)[r] for s, r in zip(structures, real, strict=True)]
    return typical_distance(np.concatenate(vectors), np.concatenate(kinds))


def _covariance(kernel, structures, chosen, show: bool) -> np.ndarray:
    """K without variance and noise, [n, n]; blocks of the upper triangle, then mirrored."""
    stops = np.cumsum([0] + [len(rows) for rows in chosen])
    matrix = np.zeros((stops[-1], stops[-1]))
    bar = progress_bar(structures, desc=kernel.label(), unit="structures", disable=not show)
    for i, first in enumerate(bar):
        for j, second in enumerate(structures[: i + 1]):
            values = np.asarray(_block(kernel, first, second), float)[np.ix_(chosen[i], chosen[j])]
            matrix[stops[i] : stops[i + 1], stops[j] : stops[j + 1]] = values
            matrix[stops[j] : stops[j + 1], stops[i] : stops[i + 1]] = values.T
    return matrix


def _targets(observations: Observations) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and the kind of each; energies of structures, not per atom."""
    targets, kinds = [], []
    for index, frame in enumerate(observations.frames):
        for kind, values in observations.targets(index).items():
            targets.append(values * (np.sqrt(len(frame)) if kind == "energy" else 1))
            kinds += [kind] * len(values)
    return np.concatenate(targets), np.array(kinds)


def _compact(structures, chosen, weights) -> tuple[tuple[int, ...], dict[str, np.ndarray]]:
    """The mean as one weight and one tangent per training environment, and their species."""
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
    parts = {"points": points, "alpha": alphas, "tangents": tangents}
    return (
        tuple(np.concatenate(kinds).tolist()),
        {name: np.concatenate(part) for name, part in parts.items()},
    )
