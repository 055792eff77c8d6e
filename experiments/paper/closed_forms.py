"""This package's closed forms in the paper's table: Gaussian processes on atom 0, and pairs.

    E = Σ_{i<j} φ(r_ij) + f(p),   φ(r) = Σ_k β_k r^-k,   f ~ GP(0, v exp(-|p - p'|² / 2ℓ²)),

p the fingerprint of atom 0. That the members of a pair differ is for f to tell. What the model
leaves open is chosen on the validation structures, by the product of both errors of the table; it
is then fitted to these too.
"""

import logging
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import cho_factor, cho_solve
from tqdm import tqdm

from experiments.paper.coordinates import principal, standard
from experiments.paper.errors import errors
from experiments.paper.pairs import power_sums
from experiments.paper.problem import Found, Problem
from tripletjax import descriptor
from tripletjax.demo import SHELLS
from tripletjax.kernels.regression import squared_distances
from tripletjax.types import Array

logger = logging.getLogger(__name__)
BORON = 5
ATOM_0 = SHELLS | {"l_max": 8, "length_scale": 2.0, "n_features": 4096, "seed": 0}
LENGTH_SCALES = (2.0, 4.0)  # in units of the root mean square distance of two fingerprints
NOISES = (1e-11, 1e-10, 1e-9, 1e-8, 1e-7)
PART = 10  # structures described at once


def closed_form(problem: Problem) -> Found:
    """The model on energies."""
    with jax.enable_x64(True):
        prints, sums = described(problem.vectors())
    energies, known = problem.labels.energies, problem.split.known
    points, powers = principal(prints[known])(prints), standard(sums[known])(sums)
    told = chosen(problem, points, powers)
    values = kernel(points, points[known], told["length_scale"]) + powers @ powers[known].T
    return posterior_mean(values, values[known], energies[known], told["noise"]), told


def chosen(problem: Problem, points: np.ndarray, powers: np.ndarray) -> dict[str, Any]:
    """The length scale and the noise that are best on validation, and the errors there.

    Args:
        problem: whose energies are learned.
        points: ``[S, D]`` fingerprints in units of their distance.
        powers: ``[S, P]`` of the potential of pairs.
    """
    energies = problem.labels.energies
    train, valid = problem.chosen_on()
    best: tuple[float, dict[str, Any]] = np.inf, {}
    for scale in LENGTH_SCALES:
        logger.info("length scale %g", scale)
        own, shown = (
            kernel(points[some], points[train], scale) + powers[some] @ powers[train].T
            for some in (train, valid)
        )
        for noise in NOISES:
            found = errors(posterior_mean(shown, own, energies[train], noise), energies[valid])
            score = found["mean"] * found["delta"]
            if score < best[0]:
                best = score, {"length_scale": scale, "noise": noise, "validation": found}
    return best[1]


def kernel(first: np.ndarray, second: np.ndarray, scale: float) -> np.ndarray:
    """exp(-|p - p'|² / 2ℓ²)"""
    return np.exp(-0.5 * squared_distances(first, second) / scale**2)


def posterior_mean(shown: np.ndarray, own: np.ndarray, targets: np.ndarray, noise: float):
    """K (K_own + noise)⁻¹ (y - ȳ) + ȳ; infinite where rounding leaves no positive matrix."""
    regular = own.copy()
    regular[np.diag_indices_from(regular)] += noise
    try:
        factor = cho_factor(regular, lower=True, overwrite_a=True, check_finite=False)
    except np.linalg.LinAlgError:
        return np.full(len(shown), np.inf)
    offset = targets.mean()
    return shown @ cho_solve(factor, targets - offset) + offset


def description() -> Callable[[Array], tuple[Array, Array]]:
    """Of the neighbours of atom 0, [7, 3] Å: its fingerprint, and ``power_sums`` of all atoms."""
    fingerprint = descriptor("fingerprint", (BORON,), **ATOM_0)
    species, mask = np.zeros(7, np.int32), np.ones(7, bool)

    def describe(vectors: Array) -> tuple[Array, Array]:
        places = jnp.concatenate([jnp.zeros_like(vectors[:1]), vectors])
        return fingerprint.environment(vectors, species, mask, 0), power_sums(places)

    return describe


def described(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``description`` of all structures [S, 7, 3]: [S, D] and [S, powers]."""
    describe = jax.jit(jax.vmap(description()))
    parts = in_parts(np.arange(len(vectors)))
    found = [describe(vectors[i]) for i in tqdm(parts, desc="fingerprints", leave=False)]
    prints, sums = (np.concatenate(some) for some in zip(*found, strict=True))
    return prints, sums


def in_parts(index: np.ndarray) -> list[np.ndarray]:
    return np.array_split(index, max(1, len(index) // PART))
