"""Full Gaussian processes on more labels than pairs of them fit in memory: conjugate gradients.

C w = y is solved by products of C = v K + Σ with vectors (``products``) and a Nyström
preconditioner. The residual r = y - C w of a solution is Σ w* for the misfit Σ w* of the exact one:
both are compared in units of the noise,

    residual = √(Σ_a (r_a / σ_a)² / n).

As K C⁻¹ has eigenvalues below one, predictions of the labels differ from the exact ones by at most
this residual, in the same norm and unit.

Source: Wang et al., NeurIPS 2019, "Exact Gaussian processes on a million data points"; Chmiela et
al., Sci. Adv. 9, eadf0873 (2023), for force fields.
"""

from collections.abc import Callable
from logging import getLogger
from typing import Any, NamedTuple

import numpy as np

from tripletjax.kernels.products import Products
from tripletjax.progress import progress_bar
from tripletjax.types import InputError

logger = getLogger(__name__)
TOLERANCE = 0.01  # of the noise
MOST_ITERATIONS = 2000
RESTARTS = 3  # if the residual that is updated and the one that is computed differ


class State(NamedTuple):
    """Where conjugate gradients are."""

    iteration: np.ndarray  # scalar
    weights: np.ndarray  # [n] w
    residual: np.ndarray  # [n] r
    direction: np.ndarray  # [n]
    product: np.ndarray  # scalar, rᵀ P⁻¹ r


class Solution(NamedTuple):
    """Weights w of all labels, and how they were found."""

    weights: np.ndarray  # [n]
    iterations: int
    residual: float  # in units of the noise
    reached: list[str]  # warnings


def solve(
    multiply: Callable[[np.ndarray], np.ndarray],
    precondition: Callable[[np.ndarray], np.ndarray],
    targets: np.ndarray,
    deviations: np.ndarray,
    *,
    tolerance: float = TOLERANCE,
    most: int = MOST_ITERATIONS,
    start: State | None = None,
    keep: Callable[[State], None] = lambda state: None,
    show: bool = False,
) -> Solution:
    """Solve C w = y by preconditioned conjugate gradients.

    Args:
        multiply: C w of w.
        precondition: P⁻¹ r of r; symmetric and positive definite.
        targets: ``[n]`` y.
        deviations: ``[n]`` noises σ of the labels.
        tolerance: residual in units of the noise at which the iteration ends.
        most: number of iterations.
        start: of an interrupted solution; its iterations are repeated bit by bit.
        keep: called with the state after each iteration.
        show: a progress bar.

    Raises:
        InputError: the residual is not finite.

    Example:
        >>> matrix = np.array([[2.0, 1.0], [1.0, 3.0]])
        >>> found = solve(lambda w: matrix @ w, lambda r: r, np.ones(2), np.ones(2), tolerance=1e-9)
        >>> found.weights.round(6).tolist(), found.iterations
        ([0.4, 0.2], 2)
    """
    size = lambda r: float(np.sqrt(np.mean((r / deviations) ** 2)))  # noqa: E731
    state = _begun(np.zeros_like(targets), targets, precondition) if start is None else start
    bar = progress_bar(
        initial=int(state.iteration),
        desc="conjugate gradients",
        unit="iterations",
        disable=not show,
        bar_format="{desc}: {n_fmt} {unit}, {elapsed}{postfix}",
    )
    restarts = 0
    while True:
        current = size(state.residual)
        if not np.isfinite(current):
            raise InputError(
                "the iteration for the weights of the labels is not finite: expected a positive "
                "semidefinite kernel; check the descriptor and the kernel"
            )
        bar.set_postfix_str(f"residual {current:.3g} of the noise", refresh=False)
        if current <= tolerance:
            residual = targets - multiply(state.weights)
            current = size(residual)
            if current <= 2 * tolerance or restarts == RESTARTS:
                break
            restarts += 1
            state = restarted(state, multiply, precondition, targets)
        if int(state.iteration) >= most:
            break
        state = _next(state, multiply, precondition)
        bar.update()
        keep(state)
    bar.close()
    return Solution(state.weights, int(state.iteration), current, _warnings(current, tolerance))


def _warnings(residual: float, tolerance: float) -> list[str]:
    if residual <= 2 * tolerance:
        return []
    return [
        f"conjugate gradients did not converge: they ended at a residual of {residual:.2g} of the "
        f"noise, expected {tolerance:.2g}; predictions are wrong by as much"
    ]


def restarted(state: State, multiply: Any, precondition: Any, targets: np.ndarray) -> State:
    """The weights of a state, whose residual and directions are found anew."""
    residual = targets - multiply(state.weights)
    begun = _begun(state.weights, residual, precondition)
    return begun._replace(iteration=state.iteration)


def _begun(weights: np.ndarray, residual: np.ndarray, precondition: Any) -> State:
    direction = precondition(residual)
    product = np.asarray(residual @ direction)
    return State(np.zeros((), int), weights, residual, direction, product)


def _next(state: State, multiply: Any, precondition: Any) -> State:
    """One iteration."""
    moved = multiply(state.direction)
    step = state.product / (state.direction @ moved)
    weights = state.weights + step * state.direction
    residual = state.residual - step * moved
    better = precondition(residual)
    product = residual @ better
    direction = better + (product / state.product) * state.direction
    return State(state.iteration + 1, weights, residual, direction, np.asarray(product))


def covariance_of(
    products: Products, variance: float, deviations: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """C w = v K w + Σ w."""
    return lambda weights: variance * products(weights) + deviations**2 * weights
