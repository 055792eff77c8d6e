"""The closed form of the paper's table that learns from gradients too.

Each training structure gives its energy, and how it changes along a few random directions of the
seven neighbours' places. With k = exp(-|Δ|² / 2ℓ²), Δ = p - q, and t, u the changes of p and q
along such directions,

    cov(f(p), f(q)) = k,    cov(f(p), ∂f(q)) = k (Δ·u) / ℓ²,
    cov(∂f(p), ∂f(q)) = k [t·u / ℓ² - (Δ·t) (Δ·u) / ℓ⁴],

and the potential of pairs adds the products of its columns and of their changes.
"""

import logging
from typing import NamedTuple

import jax
import numpy as np
from scipy.linalg import cho_factor, cho_solve
from tqdm import tqdm

from experiments.paper.closed_forms import (
    chosen,
    described,
    description,
    in_parts,
    kernel,
)
from experiments.paper.coordinates import principal, standard
from experiments.paper.problem import Found, Problem

logger = logging.getLogger(__name__)
DIRECTIONS = 2  # of every structure, of 21
SLOPE_NOISE = 1e-5  # 1/Å²; best of 1e-10 to 1e-5 on the validation structures of 1500
LEAST_NOISE = 1e-10  # of energies: with less, rounding leaves no positive matrix
PART = 500  # rows of the covariance of slopes made at once


class Slopes(NamedTuple):
    """How the N training structures change along R directions each; row N r + n is structure n."""

    points: np.ndarray  # [R N, D] of fingerprints
    powers: np.ndarray  # [R N, P] of the potential of pairs
    energies: np.ndarray  # [R N] eV/Å


def closed_form_with_gradients(problem: Problem) -> Found:
    """A Gaussian process on energies and some of their slopes; settings as chosen on energies."""
    energies, known, vectors = problem.labels.energies, problem.split.known, problem.vectors()
    with jax.enable_x64(True):
        prints, sums = described(vectors)
        of_prints, of_sums = principal(prints[known]), standard(sums[known])
        points, powers = of_prints(prints), of_sums(sums)
        told = chosen(problem, points, powers)
        slopes = slopes_of(vectors[known], problem.forces()[known, 1:], problem.seed)
    slopes = slopes._replace(
        points=slopes.points @ of_prints.axes, powers=slopes.powers @ of_sums.axes
    )
    offset, scale = energies[known].mean(), told["length_scale"]
    matrix = covariance(points[known], powers[known], slopes, scale)
    logger.info("%d energies and slopes", len(matrix))
    told["noise"] = max(told["noise"], LEAST_NOISE)
    noise = np.repeat([told["noise"], SLOPE_NOISE], [len(known), len(slopes.energies)])
    matrix[np.diag_indices_from(matrix)] += noise
    factor = cho_factor(matrix.T, lower=True, overwrite_a=True, check_finite=False)
    weights = cho_solve(factor, np.concatenate([energies[known] - offset, slopes.energies]))
    predicted = [
        with_values(points[rows], powers[rows], points[known], powers[known], slopes, scale)
        @ weights
        for rows in np.array_split(np.arange(len(points)), max(1, len(points) // PART))
    ]
    told |= {"directions": DIRECTIONS, "slope_noise": SLOPE_NOISE}
    return np.concatenate(predicted) + offset, told


def slopes_of(vectors: np.ndarray, forces: np.ndarray, seed: int) -> Slopes:
    """Of fingerprints and sums as ``description`` has them, along random unit directions.

    Args:
        vectors: ``[N, 7, 3]`` Å, from atom 0 to the others.
        forces: ``[N, 7, 3]`` eV/Å, on the others.
        seed: of the directions.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    directions = random.normal(size=(DIRECTIONS, *vectors.shape))
    directions /= np.linalg.norm(directions, axis=(2, 3), keepdims=True)
    describe = description()
    change = jax.jit(jax.vmap(lambda place, along: jax.jvp(describe, (place,), (along,))[1]))
    found = [
        change(vectors[index], along[index])
        for along in directions
        for index in tqdm(in_parts(np.arange(len(vectors))), desc="slopes", leave=False)
    ]
    points, powers = (np.concatenate(some) for some in zip(*found, strict=True))
    return Slopes(points, powers, -(directions * forces).sum((2, 3)).ravel())


def with_values(
    points: np.ndarray, powers: np.ndarray, of_known: np.ndarray, powers_of_known: np.ndarray,
    slopes: Slopes, scale: float,
) -> np.ndarray:  # fmt: skip
    """Covariance of energies [S] with energies and slopes of the known, ``[S, N + R N]``."""
    near = kernel(points, of_known, scale)
    ratio = len(slopes.points) // len(of_known)
    along = points @ slopes.points.T - own_products(of_known, slopes)  # Δ·u
    of_slopes = np.tile(near, ratio) * along / scale**2
    sums = np.concatenate([powers_of_known, slopes.powers])
    return np.concatenate([near, of_slopes], 1) + powers @ sums.T


def covariance(points: np.ndarray, powers: np.ndarray, slopes: Slopes, scale: float) -> np.ndarray:
    """Of energies and slopes of the known structures, ``[N + R N, N + R N]``."""
    n, total = len(points), len(points) + len(slopes.points)
    found = np.empty((total, total))
    found[:n] = with_values(points, powers, points, powers, slopes, scale)
    found[n:, :n] = found[:n, n:].T
    own = own_products(points, slopes)
    place = np.tile(np.arange(n), len(slopes.points) // n)  # of the structure of every slope
    for start in range(0, len(place), PART):
        rows = slice(start, start + PART)
        t, of_rows = slopes.points[rows], points[place[rows]]
        near = kernel(of_rows, points, scale)[:, place]
        along_t = own[rows, None] - (t @ points.T)[:, place]
        along_u = of_rows @ slopes.points.T - own
        part = near * (t @ slopes.points.T / scale**2 - along_t * along_u / scale**4)
        found[n:][rows, n:] = part + slopes.powers[rows] @ slopes.powers.T
    return found


def own_products(points: np.ndarray, slopes: Slopes) -> np.ndarray:
    """p·u of every slope u at its own structure p, [R N]."""
    return np.einsum("rnd,nd->rn", slopes.points.reshape(-1, *points.shape), points).ravel()
