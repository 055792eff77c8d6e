"""Gaussian processes on fingerprints in the paper's table: of atom 0, with forces, of all atoms.

What a model leaves open is chosen on the validation structures, by the product of both errors of
the table; the model is then fitted to these too.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from tqdm import tqdm

from experiments.paper.errors import errors
from experiments.paper.problem import Found, Problem
from tripletjax import descriptor
from tripletjax.demo import SHELLS
from tripletjax.kernels import EnvironmentKernel
from tripletjax.kernels.designs import Inducing
from tripletjax.kernels.environments import typical_distance
from tripletjax.kernels.inducing import farthest_rows
from tripletjax.kernels.least_squares import Accumulator
from tripletjax.kernels.observations import Noise
from tripletjax.kernels.regression import squared_distances
from tripletjax.kernels.sparse import fit_factors, kernel_root
from tripletjax.types import Array

BORON = 5
ATOM_0 = SHELLS | {"l_max": 8, "length_scale": 2.0, "n_features": 2048, "seed": 0}
EVERY_ATOM = ATOM_0 | {
    "cutoff": 4.0, "cutoff_width": 0.4, "radial_range": (1.3, 3.6), "n_max": 4, "l_max": 6,
    "n_features": 1024, "length_scale": 1.5,
}  # fmt: skip
LENGTH_SCALES, WEIGHTS = (1.0, 2.0, 4.0), (0.0, 1e-3, 1e-2)  # of kernels; of atom 0's
NOISES = (1e-12, 1e-11, 1e-10, 1e-9, 1e-8)
SMALLEST = 1e-10  # components with less of the mean square are left out of the distances of atoms
PART = 50  # structures whose atoms are compared with all others at once
INDUCING = 2000
JITTER = 1e-10
Kernel = tuple[dict[str, float], np.ndarray]  # settings, and values [S, N] with those known


def closed_form(problem: Problem) -> Found:
    """A Gaussian process on the fingerprint of atom 0."""
    kernels = _gaussians(_fingerprints(problem.vectors()[:, :1], ATOM_0), problem.known)
    return _regression(problem, (({"length_scale": l}, values) for l, values in kernels))


def closed_form_of_atoms(problem: Problem) -> Found:
    """The same with a kernel summed over pairs of atoms, and some of that of atom 0.

    K(S, S') = 1/64 Σ_{i, j} exp(-|p_i - p'_j|² / 2ℓ²) + w exp(-|p_0 - p'_0|² / 2ℓ0²), p_0 at the
    resolution of ``closed_form``, ℓ0 the largest ``LENGTH_SCALES``.
    """
    vectors, known = problem.vectors(), problem.known
    first = dict(_gaussians(_fingerprints(vectors[:, :1], ATOM_0), known))[LENGTH_SCALES[-1]]
    summed = _gaussians(_fingerprints(vectors, EVERY_ATOM), known)
    return _regression(
        problem,
        (
            ({"length_scale": l, "weight_of_atom_0": weight}, values + weight * first)
            for l, values in summed
            for weight in WEIGHTS
        ),
    )


def _regression(problem: Problem, kernels: Iterable[Kernel]) -> Found:
    """The posterior mean of the kernel and noise that are best on validation."""
    energies, known = problem.labels.energies, problem.known
    train, valid = problem.chosen_on()
    columns = np.argsort(known)[np.searchsorted(np.sort(known), train)]
    best: tuple[float, Any, Any] = np.inf, None, None
    for settings, values in kernels:
        shown, own = values[valid][:, columns], values[train][:, columns]
        for noise in NOISES:
            predicted = _posterior(shown, own, energies[train], noise)
            if not np.isfinite(predicted).all():
                continue
            found = errors(predicted, energies[valid])
            score = found["mean"] * found["delta"]
            if score < best[0]:
                best = score, settings | {"noise": noise, "validation": found}, values
    _, told, values = best
    return _posterior(values, values[known], energies[known], told["noise"]), told


def _posterior(values: np.ndarray, own: np.ndarray, targets: np.ndarray, noise: float):
    """K (K_own + noise)⁻¹ (y - ȳ) + ȳ; infinite where rounding leaves no positive matrix."""
    regular = own + noise * np.eye(len(own))
    try:
        factor = cho_factor(regular, lower=True, overwrite_a=True, check_finite=False)
    except np.linalg.LinAlgError:
        return np.full(len(values), np.inf)
    offset = targets.mean()
    return values @ cho_solve(factor, targets - offset) + offset


def _gaussians(prints: np.ndarray, known: np.ndarray) -> Iterator[tuple[float, np.ndarray]]:
    """Means over pairs of atoms of exp(-|p_i - p'_j|² / 2ℓ²), [S, N], for every length scale ℓ.

    Args:
        prints: ``[S, a, D]``; their root mean square distance is the unit of length.
        known: the N structures to compare with.
    """
    n_structures, n_atoms, _ = prints.shape
    rows = _principal(prints.reshape(n_structures * n_atoms, -1))
    of_known = rows.reshape(n_structures, n_atoms, -1)[known]
    found = {scale: np.empty((n_structures, len(known))) for scale in LENGTH_SCALES}
    for start in tqdm(range(0, len(known), PART), desc="kernel", leave=False):
        part = of_known[start : start + PART].reshape(-1, rows.shape[1])
        exponents = -0.5 * squared_distances(rows, part)
        for scale, values in found.items():
            pairs = np.exp(exponents / scale**2).reshape(n_structures, n_atoms, -1, n_atoms)
            values[:, start : start + PART] = pairs.mean((1, 3))
    yield from found.items()


def _principal(rows: np.ndarray) -> np.ndarray:
    """Principal components, in units of the root mean square distance of two rows."""
    centred = rows - rows.mean(0)
    variances, vectors = np.linalg.eigh(centred.T @ centred / len(rows))
    kept = variances > SMALLEST * variances.sum()
    return centred @ (vectors[:, kept] / np.sqrt(2 * variances.sum()))


def closed_form_with_gradients(problem: Problem) -> Found:
    """A Gaussian process on the fingerprint of atom 0, on energies and forces.

    E(x) = Σ_m k(p(x), z_m) α_m in inducing environments z_m, its derivatives with respect to the
    seven neighbours' places beside it (that of the centre is less their sum).
    """
    with jax.enable_x64(True):
        vectors, forces, known = problem.vectors()[:, 0], problem.forces(), problem.known
        prints = _fingerprints(vectors[:, None], ATOM_0)[:, 0]
        unit = typical_distance(prints[known], np.zeros(len(known), int))
        prints /= unit
        points = prints[known][farthest_rows(prints[known], INDUCING)]
        kernel = EnvironmentKernel(length_scale=LENGTH_SCALES[-1])
        kinds = np.zeros(len(points), np.int32)
        root = kernel_root(kernel, Inducing(points, kinds, np.asarray(unit)), JITTER)
        describe, inducing = _describe(ATOM_0), jnp.asarray(points)

        @jax.jit
        def rows(vectors: Array) -> tuple[Array, Array]:
            def values(v: Array) -> tuple[Array, Array]:
                found = kernel.matrix(describe(v)[None] / unit, inducing)[0]
                return found, found

            slopes, found = jax.jacfwd(values, has_aux=True)(vectors)
            return found, slopes.reshape(len(points), -1)

        energies = problem.labels.energies
        offset = energies[known].mean()
        sums = {"energy": Accumulator(len(points)), "forces": Accumulator(len(points))}
        for index in tqdm(known, desc="rows of energies and forces"):
            values, slopes = map(np.asarray, rows(vectors[index]))
            columns = solve_triangular(root, np.column_stack([values, -slopes]), lower=True)
            sums["energy"].add(columns[:, :1].T, energies[[index]] - offset)
            sums["forces"].add(columns[:, 1:].T, forces[index, 1:].ravel())
        factors = {name: rows.factor() for name, rows in sums.items()}
        found = fit_factors(factors, Noise())
        weights = solve_triangular(root, found.weights, lower=True, trans=1)
        predicted = np.asarray(kernel.matrix(prints, points)) @ weights + offset
    return predicted, {"inducing": len(points), "noise": found.noise}


def _describe(hypers: dict[str, Any]) -> Callable[[Array], Array]:
    fingerprint = descriptor("fingerprint", (BORON,), **hypers)
    species, mask = np.zeros(7, np.int32), np.ones(7, bool)
    return lambda vectors: fingerprint.environment(vectors, species, mask, 0)


def _fingerprints(vectors: np.ndarray, hypers: dict[str, Any]) -> np.ndarray:
    """Of environments [S, a, 7, 3], [S, a, D] in float64."""
    with jax.enable_x64(True):
        describe = jax.jit(jax.vmap(jax.vmap(_describe(hypers))))
        parts = np.array_split(vectors, max(1, len(vectors) * vectors.shape[1] // 200))
        return np.concatenate([np.asarray(describe(part)) for part in parts])
