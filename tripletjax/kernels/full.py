"""Full Gaussian processes on energies, forces and stress.

Labels are D_a E(S) + noise, with the operators D_a and the covariances of ``tangents``. All pairs
of labels are in memory, 8 bytes for each and 7 GB for 30 000 labels (``memory``); more labels are
solved for by conjugate gradients (``iterative``).
"""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from logging import getLogger
from typing import Any, NamedTuple

import jax
import numpy as np
from ase import Atoms
from scipy.linalg import solve_triangular

from tripletjax.descriptors.protocol import EnvironmentDescriptor
from tripletjax.kernels.conditioning import Iteration, System, Weights, weights_of
from tripletjax.kernels.covariances import covariance_matrix
from tripletjax.kernels.dense import Levels, Targets, at_highest_evidence
from tripletjax.kernels.derivatives import Described, described, width_of
from tripletjax.kernels.environments import Kernel
from tripletjax.kernels.joined import of_columns, on_axes, setups
from tripletjax.kernels.memory import fits_in_memory, n_labels_of, require_memory
from tripletjax.kernels.model import FullGaussianProcess, KernelModel, noise_weights
from tripletjax.kernels.observations import (
    Labelled,
    Noise,
    Observations,
    check_observations,
    single_batches,
)
from tripletjax.kernels.positivity import require_positive
from tripletjax.kernels.products import mean_of
from tripletjax.kernels.resuming import begun_at, digest_of
from tripletjax.kernels.sampling import sampled
from tripletjax.kernels.tangents import Group, Tangents
from tripletjax.neighbors import float_type
from tripletjax.potentials.base import Potential
from tripletjax.potentials.precision import on_device
from tripletjax.types import InputError, as_choice

logger = getLogger(__name__)
WITH_DEVIATIONS = 5000  # labels
SOLVERS = ("dense", "iterative")


def fit_full_potential(
    frames: Atoms | Sequence[Atoms],
    energies: Any,
    forces: Sequence[Any] | None = None,
    stress: Sequence[Any] | None = None,
    *,
    describer: EnvironmentDescriptor | None = None,
    kernel: Kernel | Iterable[Kernel] | None = None,
    noise: Noise | None = None,
    variance: float | None = None,
    references: Any = None,
    truncation: float = 5e-4,
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
        kernel: kernel between environments, as for ``fit_sparse_potential``. Several: the one of
            highest evidence. None: Gaussian of length scale 2.
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
    candidates = setups(kernel, describer)
    known = candidates[0][0]
    observations = check_observations(frames, energies, forces, stress, known, references)
    iteration = iteration or Iteration()
    labels = Labels.of(observations)
    fit = digest_of(iteration.settings, *observations.arrays)
    begun = begun_at(iteration.checkpoint, fit, n_labels_of(labels.structures))
    precision = float_type(dtype)
    best: Any = None
    with _precision(precision):
        for of_vectors, kernels in candidates:
            batches = single_batches(observations.frames, of_vectors, precision)
            of_vectors = on_axes(of_vectors, batches, truncation)
            width = width_of(of_vectors, batches)
            is_dense = _is_dense(solver, labels.structures, width)
            own = described(of_vectors, batches, labels.structures, labels.axes, width, show)
            kernels = [of_columns(one, own.describer) for one in kernels]
            found = _chosen(kernels, own, labels.targets, noise or Noise(), variance, show)
            if best is None or found.evidence > best[0].evidence:
                best = found, own, is_dense
        choice, own, is_dense = best
        for line in choice.levels.reached:
            logger.warning(line)
        way = "in memory" if is_dense else "by conjugate gradients"
        logger.info("a full Gaussian process of %d labels, %s", len(labels.targets.values), way)
        matrix = choice.matrix if is_dense else None
        if is_dense and matrix is None:
            matrix = covariance_matrix(choice.kernel, own.structures, show)
        system = System(choice.kernel, own.structures, labels.targets, choice.levels)
        solved = weights_of(system, matrix, iteration, begun, show)
    references = tuple(map(float, observations.references))
    return _potential(choice, own, labels, solved, references, deviations)


class Labels(NamedTuple):
    """What is known of the structures of a training set."""

    structures: tuple[Labelled, ...]
    axes: list[np.ndarray]  # [3N, n] internal directions of each
    targets: Targets

    @classmethod
    def of(cls, observations: Observations) -> "Labels":
        """The labels of some observations."""
        axes = observations.internal_axes
        return cls(observations.labelled(axes), axes, targets_of(observations, axes))


def _potential(
    choice: "Choice",
    own: Described,
    labels: Labels,
    solved: Weights,
    references: tuple[float, ...],
    deviations: bool | None,
) -> Potential:
    targets, levels = labels.targets, choice.levels
    alpha, moved = mean_of(own.structures, levels.variance * solved.weights)
    kinds = np.concatenate([s.kinds for s in own.structures])
    order = np.argsort(kinds, kind="stable")  # by species
    arrays: dict[str, Any] = {
        "points": np.concatenate([s.vectors for s in own.structures])[order],
        "scale": own.scale,
        "alpha": alpha[order],
        "tangents": moved[order],
    }
    record = {
        "variance": levels.variance,
        "noise": levels.noise,
        "labels": dict(zip(targets.names, np.bincount(targets.kinds).tolist(), strict=True)),
        "kernel": choice.kernel.label(),
    }
    common = {"describer": own.describer, "kernel": choice.kernel}
    common["kinds"] = tuple(kinds[order].tolist())
    common["record"] = record | solved.record
    if not _has_deviations(deviations, solved.root):
        logger.info("the potential has no standard deviations: the covariance is not kept")
        return Potential(KernelModel(**common), on_device(arrays), references)
    places = tuple(np.argsort(order).tolist())
    process = FullGaussianProcess(**common, structures=labels.structures, places=places)
    moves = (_moves(own.structures, labels.structures, group) for group in process.groups)
    arrays |= {
        "variance": np.asarray(levels.variance),
        "prior": _prior(solved.root, levels.variance),
        "noise": noise_weights(levels.noise),
        "moves": tuple(moves),
    }
    return Potential(process, on_device(arrays), references)


def _has_deviations(given: bool | None, root: np.ndarray | None) -> bool:
    if given and root is None:
        raise InputError("deviations need the covariance of all labels: expected solver='dense'")
    return root is not None and (len(root) <= WITH_DEVIATIONS if given is None else given)


def _prior(root: Any, variance: float) -> np.ndarray:
    """√v L⁻¹ of ``FullGaussianProcess``."""
    return np.sqrt(variance) * solve_triangular(root, np.eye(len(root)), lower=True)


def _is_dense(solver: str | None, labelled: Sequence[Labelled], width: int) -> bool:
    """Whether all pairs of labels are in memory.

    Raises:
        InputError: they are to be, and do not fit.
    """
    if solver == "dense":
        require_memory(labelled, width)
    return solver == "dense" or (solver is None and fits_in_memory(labelled, width))


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


class Choice(NamedTuple):
    """A kernel, and the variance and noises that maximise its evidence."""

    kernel: Any
    matrix: np.ndarray | None  # of all labels; None: some have decided
    levels: Levels
    evidence: float


def _chosen(
    candidates: Sequence[Any],
    own: Described,
    targets: Targets,
    noise: Noise,
    variance: float | None,
    show: bool,
) -> Choice:
    """The kernel of highest evidence, by some of the labels if there are many."""
    some, which = sampled(own.structures, targets.kinds)
    of_some = targets.of(which)
    best: Any = None
    for kernel in candidates:
        require_positive(kernel, np.concatenate([structure.vectors for structure in some]))
        matrix = covariance_matrix(kernel, some, show)
        found = at_highest_evidence(matrix, of_some, noise, variance)
        logger.info("%s: log evidence %.6g", kernel.label(), found.log_evidence)
        if best is None or found.log_evidence > best.evidence:
            matrix = matrix if which.all() else None
            best = Choice(kernel, matrix, found.levels, found.log_evidence)
    return best


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
