"""Variance and noise of a full Gaussian process by its evidence, and its solution. NumPy, float64.

Labels y of several kinds with kernel matrix K [n, n] have the covariance

    C = v K + diag(σ²),   log p(y) = -½ yᵀ C⁻¹ y - ½ log det C - ½ n log 2π,

where σ is the noise of the label's kind; that of an energy is √N times the noise of one atom.
"""

from dataclasses import asdict
from typing import NamedTuple

import numpy as np
from scipy.linalg import block_diag

from tripletjax.kernels.evidence import maximum_of_labels, of_matrix, what_was_reached
from tripletjax.kernels.factors import factor_in_place, solved, stable_root
from tripletjax.kernels.least_squares import (
    LOG_RANGE,
    NOISE_CEILING,
    NOISE_FLOOR,
    NOISE_START,
    unit_of,
)
from tripletjax.kernels.observations import Noise

LEAST = 1e-6  # of the largest prior variance of a kind of label


class Targets(NamedTuple):
    """Labels of a full Gaussian process."""

    values: np.ndarray  # [n]
    kinds: np.ndarray  # [n] index into ``names``
    scales: np.ndarray  # [n] by which the noise is multiplied: √N for energies, one for others
    names: tuple[str, ...]

    def of(self, chosen: np.ndarray) -> "Targets":
        """Some of the labels."""
        return Targets(self.values[chosen], self.kinds[chosen], self.scales[chosen], self.names)


class Levels(NamedTuple):
    """Variance and noises that maximise the evidence."""

    variance: float  # eV²
    noise: dict[str, float]  # by kind
    reached: list[str]  # warnings about the search


class Highest(NamedTuple):
    """A process at its highest evidence, as ``conditioned`` on m combinations of labels."""

    levels: Levels
    directions: np.ndarray  # [n, m] the combinations that decide
    targets: Targets  # these as labels
    root: np.ndarray  # [m, m]
    weights: np.ndarray  # [m]
    log_evidence: float


def at_highest_evidence(
    matrix: np.ndarray,
    targets: Targets,
    noise: Noise,
    variance: float | None = None,
) -> Highest:
    """``highest_evidence`` of the labels that depend on the weights, and the process there.

    The forces on perfect crystals vanish by symmetry, and so do some combinations of those on
    structures with fewer symmetries. Like net forces, such labels without noise would make the
    evidence unbounded; what they say of the noise is wrong.

    Args:
        matrix, targets, noise, variance: as for ``highest_evidence``.
    """
    directions, some = deciding(matrix, targets)
    is_reduced = len(some.values) < len(matrix)
    part = directions.T @ matrix @ directions if is_reduced else matrix.copy()
    levels = highest_evidence(part, some, noise, variance)
    return Highest(levels, directions, some, *conditioned(part, some, levels))


def deciding(matrix: np.ndarray, targets: Targets) -> tuple[np.ndarray, Targets]:
    """Combinations of labels that depend on the weights, and these as labels.

    Args:
        matrix: ``[n, n]`` K.
        targets: labels structure by structure, of which the first is the energy.

    Returns:
        Orthonormal combinations ``[n, m]``, each of labels of one structure and one kind.

    Example:
        >>> targets = Targets(np.arange(3.0), np.array([0, 1, 1]), np.ones(3), ("energy", "forces"))
        >>> matrix = np.array([[2.0, 0.0, 0.0], [0.0, 1.0, -1.0], [0.0, -1.0, 1.0]])
        >>> directions, some = deciding(matrix, targets)
        >>> directions.shape, abs(some.values).round(3).tolist()
        ((3, 2), [0.0, 0.707])
    """
    kinds, squares = targets.kinds, targets.scales**2
    diagonal = np.diag(matrix) / squares
    owner = np.cumsum(kinds == 0)
    edges = np.flatnonzero(np.diff(owner) | np.diff(kinds)) + 1
    blocks, chosen = [], []
    for places in np.split(np.arange(len(kinds)), edges):
        least = LEAST * np.max(diagonal, where=kinds == kinds[places[0]], initial=0.0)
        values, vectors = np.linalg.eigh(matrix[np.ix_(places, places)] / squares[places[0]])
        vectors = np.eye(len(places)) if values[0] > least else vectors[:, values > least]
        blocks.append(vectors)
        chosen.append(np.repeat(places[:1], vectors.shape[1]))
    first = np.concatenate(chosen)  # label of the kind and scale
    directions = np.asarray(block_diag(*blocks))
    values = directions.T @ targets.values
    return directions, Targets(values, kinds[first], targets.scales[first], targets.names)


def highest_evidence(
    matrix: np.ndarray, targets: Targets, noise: Noise, variance: float | None = None
) -> Levels:
    """Maximise the evidence with respect to the variance and the noises that are not given.

    If rounding errors make K indefinite, a jitter of their size is added to its diagonal.
    """
    scaled = targets.values / targets.scales
    names, kinds = targets.names, targets.kinds
    given = (variance, *(asdict(noise)[name] for name in names))
    start, low, high = _range(matrix, targets, given)
    found, reached = start, []
    if (low < high).any():
        matrix = matrix / targets.scales / targets.scales[:, None]
        order = np.argsort(kinds != np.argmax(np.bincount(kinds)), kind="stable")
        matrix = matrix[np.ix_(order, order)]
        root, jitter = stable_root(matrix)
        matrix[np.diag_indices_from(matrix)] += jitter
        evidence = of_matrix(matrix, root, scaled[order], kinds[order], len(names))
        best = maximum_of_labels(evidence, start, low, high, names)
        units = ["eV²", *map(unit_of, names)]
        labels = "variance", *(f"noise of the {name}" for name in names)
        found, reached = best.logs, what_was_reached(best, labels, units, len(scaled))
    values = np.exp(found).tolist()
    return Levels(values[0], dict(zip(names, values[1:], strict=True)), reached)


def _range(matrix: np.ndarray, targets: Targets, given) -> tuple[np.ndarray, ...]:
    """Logs of variance and noises at which the search begins, and between which it stays."""
    scaled, sizes = targets.values / targets.scales, []
    for kind in range(len(targets.names)):
        own = scaled[targets.kinds == kind]  # none: all vanish by symmetry
        size = float(np.sqrt(np.mean(own**2))) if len(own) else 0.0
        sizes.append(size if size > 0 else 1.0)
    size = float(targets.values @ targets.values / (np.trace(matrix) or 1.0)) or 1.0
    start = np.log([size, *(NOISE_START * np.array(sizes))])
    low, high = start - LOG_RANGE, start + LOG_RANGE
    low[1:], high[1:] = (np.log(s * np.array(sizes)) for s in (NOISE_FLOOR, NOISE_CEILING))
    for index, value in enumerate(given):
        if value is not None:
            start[index] = low[index] = high[index] = np.log(value)
    return start, low, high


def deviations_of(targets: Targets, levels: Levels) -> np.ndarray:
    """Noises [n] of all labels."""
    noises = np.array([levels.noise[name] for name in targets.names])[targets.kinds]
    return noises * targets.scales


def conditioned(
    matrix: np.ndarray, targets: Targets, levels: Levels
) -> tuple[np.ndarray, np.ndarray, float]:
    """Condition on the labels; ``matrix`` is overwritten, for n may be tens of thousands.

    If rounding errors make C indefinite, a jitter of their size is added to its diagonal.

    Returns:
        The lower Cholesky factor of C, in the lower triangle of a matrix; C⁻¹ y; the log evidence.

    Raises:
        InputError: the matrix is not finite, or has no factor.
    """
    matrix *= levels.variance
    matrix[np.diag_indices_from(matrix)] += deviations_of(targets, levels) ** 2
    factor_in_place(matrix)
    weights = solved(matrix, targets.values)
    value = 0.5 * targets.values @ weights + np.log(np.diag(matrix)).sum()
    return matrix, weights, -float(value + 0.5 * len(weights) * np.log(2 * np.pi))
