"""Weights of all labels by conjugate gradients, with what decides how they are found."""

from collections.abc import Sequence
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tripletjax.checks import as_integer, as_positive, settle
from tripletjax.kernels.dense import Levels, Targets, conditioned, deviations_of
from tripletjax.kernels.iterative import (
    MOST_ITERATIONS,
    TOLERANCE,
    Solution,
    covariance_of,
    restarted,
    solve,
)
from tripletjax.kernels.memory import available_bytes
from tripletjax.kernels.preconditioner import nystrom_preconditioner
from tripletjax.kernels.products import Products
from tripletjax.kernels.resuming import Begun, digest_of, keeping
from tripletjax.kernels.tangents import Tangents

logger = getLogger(__name__)
PRECONDITIONED = 4000  # labels
SHARE = 0.4  # of the available memory for the preconditioner, which exists twice for a moment


@dataclass(frozen=True, kw_only=True)
class Iteration:
    """How conjugate gradients solve for the weights of the labels.

    Example:
        >>> Iteration(tolerance=1e-3).most
        2000
    """

    tolerance: float = TOLERANCE  # residual at which they end, in units of the noise
    most: int = MOST_ITERATIONS
    n_preconditioner: int | None = None  # labels; None: 4000, or fewer if memory is scarce
    checkpoint: Path | None = None  # file from which an interrupted fit is resumed
    settings: str = ""  # of the fit, which must be the same when it is resumed

    def __post_init__(self):
        settle(self, tolerance=as_positive("tolerance", self.tolerance, "units of the noise"))
        settle(self, most=as_integer("most", self.most, 1))
        if self.n_preconditioner is not None:
            count = as_integer("n_preconditioner", self.n_preconditioner, 1)
            settle(self, n_preconditioner=count)


class System(NamedTuple):
    """What the weights w of all labels solve, (v K + Σ) w = y."""

    kernel: Any  # between environments
    structures: Sequence[Tangents]  # real atoms and the derivatives that are labels
    targets: Targets
    levels: Levels


class Weights(NamedTuple):
    """C⁻¹ y, and what is known of it."""

    weights: np.ndarray  # [n]
    root: np.ndarray | None  # Cholesky factor of C, in the lower triangle; None if iterated
    record: dict[str, Any]


def weights_of(
    system: System,
    matrix: np.ndarray | None,
    iteration: Iteration,
    begun: Begun,
    show: bool = False,
) -> Weights:
    """The weights of all labels.

    Args:
        system: to solve.
        matrix: K, which is overwritten; None: solve by iteration, without it.
        iteration: the options of the iteration.
        begun: the fit, which may be resumed.
        show: progress bars.

    Raises:
        InputError: the matrix has no factor, or the residual is not finite.
    """
    reached = system.levels.reached
    if matrix is not None:
        root, weights, log_evidence = conditioned(matrix, system.targets, system.levels)
        return Weights(weights, root, {"log_evidence": log_evidence, "search": reached})
    found = _iterated(system, iteration, begun, show)
    for line in found.reached:
        logger.warning(line)
    record = {
        "log_evidence": None,
        "search": [*reached, *found.reached],
        "iterations": found.iterations,
        "residual": found.residual,
    }
    return Weights(found.weights, None, record)


def _iterated(system: System, iteration: Iteration, begun: Begun, show: bool) -> Solution:
    kernel, structures, targets, levels = system
    deviations = deviations_of(targets, levels)
    products = Products(kernel, structures)
    count = iteration.n_preconditioner or _count(len(deviations))
    precondition = nystrom_preconditioner(products, levels.variance, deviations, count, show)
    multiply = covariance_of(products, levels.variance, deviations)
    what = kernel.label(), repr(levels), targets.values, products.points
    mark = digest_of(*what, precondition.basis[:: max(1, len(deviations) // 100)])
    state = begun.state
    if state is not None and begun.system != mark:
        logger.info("rounding errors differ from those of the interrupted fit")
        state = restarted(state, multiply, precondition, targets.values)
    with keeping(begun, mark) as keep:
        return solve(
            multiply,
            precondition,
            targets.values,
            deviations,
            tolerance=iteration.tolerance,
            most=iteration.most,
            start=state,
            keep=keep,
            show=show,
        )


def _count(n_labels: int) -> int:
    """Labels of the preconditioner."""
    by_memory = int(SHARE * available_bytes() / (16 * n_labels))
    return max(1, min(PRECONDITIONED, n_labels, by_memory))
