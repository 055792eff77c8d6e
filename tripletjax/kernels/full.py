"""Full Gaussian processes on energies, forces and stress.

Labels are D_a E(S) + noise, with the operators D_a and the covariances of ``tangents``. All pairs
of labels are in memory, 8 bytes for each and 7 GB for 30 000 labels (``memory``); more labels are
solved for by conjugate gradients (``iterative``).
"""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from functools import partial
from logging import getLogger
from typing import Any, NamedTuple

import jax
import numpy as np
from ase import Atoms
from scipy.linalg import solve_triangular

from tripletjax.descriptors.protocol import EnvironmentDescriptor
from tripletjax.kernels.conditioning import Iteration, weights_of
from tripletjax.kernels.covariances import covariance_matrix
from tripletjax.kernels.dense import Levels, Targets, conditioned, highest_evidence
from tripletjax.kernels.environments import (
    Kernel,
    as_kernels,
    typical_distance,
)
from tripletjax.kernels.memory import derivative_bytes, fits_in_memory, n_labels_of, require_memory
from tripletjax.kernels.model import FullGaussianProcess, KernelModel
from tripletjax.kernels.observations import (
    Labelled,
    Noise,
    Observations,
    check_observations,
    single_batches,
)
from tripletjax.kernels.products import mean_of
from tripletjax.kernels.projection import on_principal_axes
from tripletjax.kernels.resuming import begun_at, digest_of
from tripletjax.kernels.tangents import (
    Group,
    Tangents,
    structure_tangents,
)
from tripletjax.neighbors import float_type
from tripletjax.potentials.base import Potential
from tripletjax.progress import progress_bar
from tripletjax.types import Batch, InputError, as_choice

logger = getLogger(__name__)
WITH_DEVIATIONS = 5000  # labels
LEAST = 1e-10  # of the largest prior variance of a kind of label
SOLVERS = ("dense", "iterative")
SEARCHED = 3000  # labels by which kernel, variance and noise are chosen


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
    truncation: float = 1e-3,
    deviations: bool | None = None,
    solver: str | None = None,
    iteration: Iteration | None = None,
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
        truncation: the vectors are projected on their principal axes in the training set, except
            for those that are smaller than this part of the largest; zero: they are not projected.
        deviations: whether the potential has standard deviations, for which it keeps the covariance
            of all labels; None: up to 5000 labels, if the solver is "dense".
        solver: "dense", with the covariance of all labels in memory, or "iterative": conjugate
            gradients. None: dense if it fits in memory.
        iteration: options of the iterative solver; None: the defaults.
        show: whether to show a progress bar.

    Returns:
        A ``Potential``. ``potential.model.record`` has the variance, the noises,
        the evidence, and in "search" a line for each of these that ended at a bound, which is also
        logged as a warning.

    Raises:
        InputError: as for ``fit_sparse_potential``; more labels than fit in memory.

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
    if solver is not None:
        as_choice("solver", solver, SOLVERS)
    candidates = as_kernels(kernel)
    observations = check_observations(frames, energies, forces, stress, describer, references)
    precision = float_type(dtype)
    axes = observations.internal_axes
    labelled = observations.labelled(axes)
    iteration = iteration or Iteration()
    fit = digest_of(iteration.settings, *observations.arrays)
    begun = begun_at(iteration.checkpoint, fit, n_labels_of(labelled))
    with _precision(precision):
        batches = single_batches(observations.frames, describer, precision)
        describer = on_principal_axes(describer, batches, truncation)
        is_dense = _is_dense(solver, labelled, describer, batches[0])
        structures = _tangents(describer, batches, labelled, axes, show)
        scale = _unit(structures)
        structures = [_divided(structure, scale) for structure in structures]
    targets = targets_of(observations, axes)
    way = "in memory" if is_dense else "by conjugate gradients"
    logger.info("a full Gaussian process of %d labels, %s", len(targets.values), way)
    with _precision(precision):
        found = _chosen(candidates, structures, targets, noise or Noise(), variance, is_dense, show)
        problem = found.kernel, found.matrix, structures, targets, found.levels
        solved = weights_of(*problem, iteration, begun, show)
    alpha, moved = mean_of(structures, found.levels.variance * solved.weights)
    arrays: dict[str, Any] = {
        "points": np.concatenate([s.vectors for s in structures]),
        "scale": np.asarray(scale),
        "alpha": alpha,
        "tangents": moved,
    }
    record = {
        "variance": found.levels.variance,
        "noise": found.levels.noise,
        "labels": dict(zip(targets.names, np.bincount(targets.kinds).tolist(), strict=True)),
        "kernel": found.kernel.label(),
    }
    points = np.concatenate([s.kinds for s in structures]).tolist()
    common = {"describer": describer, "kernel": found.kernel, "kinds": tuple(points)}
    common["record"] = record | solved.record
    references = tuple(map(float, observations.references))
    if not _has_deviations(deviations, solved.root):
        logger.info("the potential has no standard deviations: the covariance is not kept")
        return Potential(KernelModel(**common), arrays, references)
    process = FullGaussianProcess(**common, structures=labelled)
    arrays |= {
        "variance": np.asarray(found.levels.variance),
        "prior": _prior(solved.root, found.levels.variance),
        "moves": tuple(_moves(structures, labelled, group) for group in process.groups),
    }
    return Potential(process, arrays, references)


def _has_deviations(given: bool | None, root: np.ndarray | None) -> bool:
    if given and root is None:
        raise InputError("deviations need the covariance of all labels: expected solver='dense'")
    return root is not None and (len(root) <= WITH_DEVIATIONS if given is None else given)


def _prior(root: Any, variance: float) -> np.ndarray:
    """√v L⁻¹ of ``FullGaussianProcess``."""
    return np.sqrt(variance) * solve_triangular(root, np.eye(len(root)), lower=True)


def _is_dense(solver: str | None, labelled: Sequence[Labelled], describer: Any, batch: Batch):
    """Whether all pairs of labels are in memory.

    Raises:
        InputError: they are to be, and do not fit.
    """
    width = _width(describer, batch)
    if solver == "dense":
        require_memory(labelled, width)
    return solver == "dense" or (solver is None and fits_in_memory(labelled, width))


def _width(describer: Any, batch: Batch) -> int:
    described = partial(structure_tangents, describer, 1.0)
    return jax.eval_shape(described, batch).vectors.shape[1]


def _tangents(
    describer: Any,
    batches: Sequence[Batch],
    labelled: Sequence[Labelled],
    axes: Sequence[np.ndarray],
    show: bool,
) -> list[Tangents]:
    """Real atoms, and the derivatives that are labels, of each structure."""
    tangents_of = jax.jit(partial(structure_tangents, describer))
    width = _width(describer, batches[0])
    dtype = derivative_bytes(labelled, width)[1]
    bar = progress_bar(batches, desc="derivatives", unit="structures", disable=not show)
    return [
        _internal(jax.device_get(tangents_of(1.0, batch)), labels, along, dtype)
        for batch, labels, along in zip(bar, labelled, axes, strict=True)
    ]


def _internal(structure: Tangents, labels: Labelled, axes: np.ndarray, dtype: Any) -> Tangents:
    """Without padding; derivatives along the axes [3N, n], and with the strain if labelled."""
    real = np.asarray(structure.kinds) >= 0
    tangents = np.asarray(structure.tangents, float)[:, real]
    moves = np.einsum("jn,jcd->ncd", axes, tangents[: len(axes)], optimize=True)
    if labels.stress:
        moves = np.concatenate([moves, tangents[-6:]])
    vectors = np.asarray(structure.vectors, float)[real]
    return Tangents(vectors, np.asarray(structure.kinds)[real], moves.astype(dtype))


def _divided(structure: Tangents, scale: float) -> Tangents:
    """In other units, in place."""
    vectors, kinds, tangents = structure
    vectors /= scale
    tangents /= scale
    return Tangents(vectors, kinds, tangents)


def _moves(
    structures: Sequence[Tangents], labelled: Sequence[Labelled], group: Group
) -> np.ndarray:
    """Tangents [F, J, C, D] of a group; those of the stress only if a structure has this label."""
    n_structures, size = group.mask.shape
    n_moves = 3 * size + (6 if group.stress else 0)
    found = np.zeros((n_structures, n_moves, size, structures[0].vectors.shape[1]))
    for place, member in enumerate(group.structures):
        tangents = structures[member].tangents
        rows = labelled[member].rows(size)[1:] - 1
        found[place, rows, : tangents.shape[1]] = tangents
    return found


def _precision(dtype):
    return jax.enable_x64(True) if dtype == np.float64 else nullcontext()


def _unit(structures: Sequence[Tangents]) -> float:
    vectors, kinds = ([s[part] for s in structures] for part in (0, 1))
    return typical_distance(np.concatenate(vectors), np.concatenate(kinds))


class Choice(NamedTuple):
    """A kernel, its matrix for all labels, and what maximises its evidence."""

    kernel: Any
    matrix: np.ndarray | None  # None: it is not in memory
    levels: Levels


def _chosen(
    candidates: Sequence[Any],
    structures: Sequence[Tangents],
    targets: Targets,
    noise: Noise,
    variance: float | None,
    whole: bool,
    show: bool,
) -> Choice:
    """The kernel of highest evidence, by the labels of some of the structures if there are many.

    The matrix is that of all labels if it is wanted as a ``whole``.
    """
    counts = np.array([1 + len(structure.tangents) for structure in structures])
    step = -(-int(counts.sum()) // SEARCHED)
    some = structures[::step]
    owner = np.repeat(np.arange(len(structures)), counts)
    of_some = targets.of(owner % step == 0)
    best: Any = None
    for kernel in candidates:
        matrix = covariance_matrix(kernel, some, show)
        known = _depends(matrix, of_some)
        part, of_part = matrix[np.ix_(known, known)], of_some.of(known)
        levels = highest_evidence(part, of_part, noise, variance)
        evidence = conditioned(part, of_part, levels)[2]
        logger.info("%s: log evidence %.6g", kernel.label(), evidence)
        if best is None or evidence > best[0]:
            best = evidence, Choice(kernel, matrix, levels)
    choice = best[1]
    for line in choice.levels.reached:
        logger.warning(line)
    if not whole:
        return choice._replace(matrix=None)
    if step == 1:
        return choice
    return choice._replace(matrix=covariance_matrix(choice.kernel, structures, show))


def _depends(matrix: np.ndarray, targets: Targets) -> np.ndarray:
    """Labels [n] that depend on the weights: the forces on perfect crystals vanish by symmetry.

    As labels without noise the others would make the evidence unbounded, like net forces; what they
    say of the noise is wrong.
    """
    diagonal = np.diag(matrix)
    largest = [diagonal[targets.kinds == kind].max() for kind in range(len(targets.names))]
    return diagonal > LEAST * np.array(largest)[targets.kinds]


def targets_of(observations: Observations, axes: Sequence[np.ndarray]) -> Targets:
    """Labels; energies of structures, not per atom, and forces along the axes of each structure."""
    values, kinds, scales = [], [], []
    for index, frame in enumerate(observations.frames):
        for kind, labels in observations.targets(index).items():
            scale = np.sqrt(len(frame)) if kind == "energy" else 1.0
            if kind == "forces":
                labels = labels @ axes[index]
            values.append(scale * labels)
            kinds += [observations.kinds.index(kind)] * len(labels)
            scales += [scale] * len(labels)
    arrays = np.concatenate(values), np.array(kinds), np.array(scales)
    return Targets(*arrays, observations.kinds)
