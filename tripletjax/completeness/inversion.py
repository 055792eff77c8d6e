"""Recover an environment from its descriptor: Levenberg-Marquardt from many random starts.

A neighbour at r = u / √(1 + u²/R²), with R the cutoff, cannot leave the cutoff sphere, outside of
which the descriptor is independent of it. The residual is (F(r) - F*) / |F*|. For the fingerprint,
levels 0 and 1, a small and cheap part of its columns, are fitted first from all starts; the best
results are then fitted to all columns, which are decisive.
"""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.descriptors.base import Descriptor, require_invariant_vector
from tripletjax.descriptors.protocol import EnvironmentDescriptor, as_argument, n_columns
from tripletjax.neighbors import bucket
from tripletjax.types import Array, InputError

SPACING = 0.8  # Å between two neighbours, and between a neighbour and the centre, of a start
MARGIN = 0.5  # Å between a neighbour of a start and the cutoff
BATCH = 32  # starts fitted together
REFINED = 4  # starts of each batch that are fitted to all columns
TOLERANCE = {"float32": 1e-4, "float64": 1e-8}  # |F - F*| / |F*| of a success


class Inversion(NamedTuple):
    """The environment whose descriptor is nearest to the one given."""

    vectors: np.ndarray  # [n, 3] Å, in an arbitrary orientation
    residual: float  # |F - F*| / |F*|
    success: bool  # the residual is at most the tolerance
    n_starts: int  # number of starts used


def levenberg_marquardt(
    residual: Callable[[Array], Array], start: Array, n_steps: int, damping: float = 1e-2
) -> tuple[Array, Array]:
    """Minimise |residual(x)|² by damped Gauss-Newton steps; pure, for jit and vmap.

    Each step solves (JᵀJ + λ diag JᵀJ) δ = -Jᵀ residual. A step that lowers the sum of squares is
    accepted and λ is divided by five; otherwise λ is multiplied by four.

    Args:
        residual: function from [P] to [M].
        start: ``[P]``.
        n_steps: evaluations of the residual: the start, then steps, accepted or not.
        damping: λ at the start.

    Returns:
        The last point ``[P]`` and |residual|² there.

    Source: Marquardt, J. Soc. Ind. Appl. Math. 11, 431 (1963).

    Example:
        >>> x, square = levenberg_marquardt(lambda x: x**2 - 4, jnp.array([1.0, -5.0]), 20)
        >>> x.round(3).tolist()
        [2.0, -2.0]
    """

    start = jnp.asarray(start)
    value, slopes = jax.eval_shape(lambda x: (residual(x), jax.jacfwd(residual)(x)), start)
    nothing = jnp.zeros(value.shape, value.dtype), jnp.zeros(slopes.shape, slopes.dtype)

    def step(_, state):
        trial, damping, best = state
        value = residual(trial)
        there = jnp.sum(value**2), trial, value, jax.jacfwd(residual)(trial)
        better = there[0] < best[0]
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), there, best)
        damping = jnp.clip(jnp.where(better, damping / 5, damping * 4), 1e-10, 1e10)
        _, x, value, slopes = best
        gram = jnp.matmul(slopes.T, slopes, precision="highest")
        gradient = jnp.matmul(slopes.T, value, precision="highest")
        diagonal = jnp.diagonal(gram)
        # A floor for coordinates without influence, and for rounding in the matrix.
        floor = 1e2 * jnp.finfo(x.dtype).eps * jnp.max(diagonal) + jnp.finfo(x.dtype).tiny
        factor = jax.scipy.linalg.cho_factor(gram + jnp.diag(damping * diagonal + floor))
        trial = x - jax.scipy.linalg.cho_solve(factor, gradient)
        return jnp.where(jnp.isfinite(trial), trial, x), damping, best

    # The start is the first trial: the program has one copy of the residual and its Jacobian.
    first = jnp.asarray(jnp.inf, start.dtype), start, *nothing
    state = start, jnp.asarray(damping, start.dtype), first
    _, _, (square, x, _, _) = jax.lax.fori_loop(0, n_steps, step, state)
    return x, square


def inside(coordinates: Array, radius: float) -> Array:
    """r = u / √(1 + u²/R²): map all of space [..., 3] into the ball of a given radius."""
    return coordinates / jnp.sqrt(1 + jnp.sum(coordinates**2, -1, keepdims=True) / radius**2)


def outside(vectors: np.ndarray, radius: float) -> np.ndarray:
    """The inverse of ``inside``, host side: u = r / √(1 - r²/R²)."""
    return vectors / np.sqrt(1 - (vectors**2).sum(-1, keepdims=True) / radius**2)


def random_environment(
    n_neighbors: int,
    radius: float,
    random: np.random.Generator,
    spacing: float = SPACING,
    max_trials: int = 10_000,
) -> np.ndarray:
    """Neighbours placed one by one, uniformly in a ball and apart from each other and the centre.

    Args:
        n_neighbors: number of neighbours.
        radius: radius of the ball, Å.
        random: NumPy generator.
        spacing: Å, smallest distance between two atoms, including the centre.
        max_trials: number of positions to try before giving up.

    Returns:
        ``[n_neighbors, 3]`` Å.

    Raises:
        InputError: the neighbours do not fit.

    Example:
        >>> random_environment(5, 2.5, np.random.default_rng(0)).shape
        (5, 3)
    """
    atoms = np.zeros((1, 3))
    for _ in range(max_trials):
        if len(atoms) > n_neighbors:
            break
        place = random.uniform(-radius, radius, 3)
        apart = np.linalg.norm(atoms - place, axis=1).min()
        if np.linalg.norm(place) < radius and apart >= spacing:
            atoms = np.concatenate([atoms, place[None]])
    if len(atoms) <= n_neighbors:
        raise InputError(
            f"could not place {n_neighbors} neighbours {spacing} Å apart in a ball of radius "
            f"{radius:.3g} Å; give fewer, a smaller spacing or a larger cutoff"
        )
    return atoms[1:]


def invert(
    values: np.ndarray,
    chosen: EnvironmentDescriptor,
    species: np.ndarray,
    center: int = 0,
    *,
    max_starts: int = 128,
    n_steps: int = 60,
    spacing: float = SPACING,
    tolerance: float | None = None,
    seed: int = 0,
) -> Inversion:
    """Find an environment with a given descriptor, knowing the species of its neighbours.

    Starts are random environments at least 0.5 Å inside the cutoff, fitted 32 at a time with
    ``levenberg_marquardt``; the search ends with the first batch that contains a success. A success
    fits all columns; whether it is *the* environment, up to O(3) and permutations, depends on
    the completeness of the descriptor. Computed in float64, unless the values are float32.

    Args:
        values: ``[D]``, from ``chosen.environment`` or a row of ``describe``.
        chosen: an invariant descriptor: any kind but "density" and "triplets", or your own.
        species: ``[n]`` species index of each neighbour to place.
        center: species index of the central atom.
        max_starts: random starts before giving up, rounded up to complete batches.
        n_steps: Levenberg-Marquardt steps of each stage.
        spacing: Å, smallest distance between two atoms of a start.
        tolerance: |F - F*| / |F*| of a success; None: 1e-8 in float64, 1e-4 in float32.
        seed: seed of the starts.

    Returns:
        An ``Inversion``: the first success, or else the best result.

    Raises:
        InputError: values that do not match the descriptor, or no neighbours to place.

    Example:
        >>> from tripletjax.descriptors import descriptor
        >>> soap = descriptor("power_spectrum", (1,), cutoff=3.0, n_max=2, l_max=1)
        >>> vectors, species = np.array([[1.0, 0, 0], [0, 1.3, 0.1]]), np.zeros(2, int)
        >>> with jax.enable_x64(True):
        ...     values = jax.jit(soap.environment)(vectors, species, np.ones(2, bool))
        >>> found = invert(values, soap, species)
        >>> lengths = np.linalg.norm(found.vectors, axis=1)
        >>> found.success, np.sort(lengths).round(3).tolist()
        (True, [1.0, 1.304])
    """
    values, species = np.asarray(values), np.asarray(species, np.int32)
    dtype = np.dtype(np.float32) if values.dtype == np.float32 else np.dtype(np.float64)
    _check(values, chosen, species)
    tolerance = TOLERANCE[dtype.name] if tolerance is None else tolerance
    cutoff = chosen.cutoff
    random = np.random.Generator(np.random.PCG64(seed))
    n_first = _first_columns(chosen)
    width = bucket(len(species))
    mask = np.arange(width) < len(species)
    padded = np.resize(species, width)  # few sizes, hence few compilations
    best: tuple[float, np.ndarray] = np.inf, np.zeros((len(species), 3))
    used = 0
    with jax.enable_x64(True) if dtype == np.float64 else nullcontext():
        fit = partial(
            fit_environments, as_argument(chosen), values.astype(dtype), padded, mask,
            np.int32(center),
        )  # fmt: skip
        while used < max_starts and best[0] > tolerance:
            starts = np.zeros((BATCH, width, 3), dtype)
            for start in starts:
                placed = random_environment(len(species), cutoff - MARGIN, random, spacing)
                start[: len(species)] = outside(placed, cutoff)
            points, squares = fit(starts, n_steps, n_first)
            if n_first is not None:
                order = np.argsort(np.nan_to_num(np.asarray(squares), nan=np.inf))[:REFINED]
                points, squares = fit(np.asarray(points)[order], n_steps, None)
            residuals = np.sqrt(np.nan_to_num(np.asarray(squares, float), nan=np.inf))
            used += BATCH
            winner = int(np.argmin(residuals))
            if residuals[winner] < best[0]:
                found = inside(np.asarray(points)[winner], cutoff)
                best = float(residuals[winner]), np.asarray(found)[: len(species)]
    return Inversion(best[1], best[0], best[0] <= tolerance, used)


@partial(jax.jit, static_argnames=("n_steps", "n_columns"))
def fit_environments(
    chosen: EnvironmentDescriptor, values, species, mask, center, starts, n_steps: int,
    n_columns: int | None,
) -> tuple[Array, Array]:  # fmt: skip
    """Fit the first ``n_columns`` (None: all) of a descriptor from many starts [B, K, 3].

    Neighbours with mask False stay fixed and do not contribute.

    Returns:
        Coordinates ``[B, K, 3]``, the argument of ``inside``, and (|F - F*| / |F*|)² ``[B]``.
    """
    target = values[:n_columns]
    size = jnp.linalg.norm(target)

    def residual(flat):
        vectors = inside(flat.reshape(-1, 3), chosen.cutoff)
        found = chosen.environment(vectors, species, mask, center)[:n_columns]
        return (found - target) / size

    def fit(start):
        point, square = levenberg_marquardt(residual, start.ravel(), n_steps)
        return point.reshape(start.shape), square

    return jax.vmap(fit)(starts)


def _first_columns(chosen: EnvironmentDescriptor) -> int | None:
    """Number of columns of levels 0 and 1 of the fingerprint; None if there are no levels."""
    if not (isinstance(chosen, Descriptor) and "level" in chosen.columns):
        return None
    return int((chosen.columns["level"] < 2).sum())


def _check(values: np.ndarray, chosen: EnvironmentDescriptor, species: np.ndarray) -> None:
    require_invariant_vector(chosen)
    expected = n_columns(chosen)
    if values.shape != (expected,):
        raise InputError(f"invalid values of shape {values.shape}: expected one row, [{expected}]")
    if species.ndim != 1 or len(species) == 0:
        raise InputError(
            f"species of shape {species.shape} has no neighbours to place: expected the index of "
            "each neighbour's species"
        )
