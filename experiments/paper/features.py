"""What the rows of the table are trained on: triplets, and correlations up to order 7, on atom 0.

All are made in float64 and turned into principal components of the training structures, without
those below ``LOSS`` of the mean square and with one scale for all, which leaves the components a
mean square of one on average. Both parities are raw columns, as in the paper: the
rows are invariant under rotations, not under reflections.
"""

import logging
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from experiments.paper.labels import FIRST_TEST, N_STRUCTURES
from tripletjax import descriptor
from tripletjax.coupled import coupled_invariants, pair_channels
from tripletjax.data.b8 import load_b8
from tripletjax.demo import PAPER
from tripletjax.io import save_npz
from tripletjax.nice import correlations, fit_contraction
from tripletjax.nice.correlations import UNCONTRACTED_NU
from tripletjax.nice.fitting import PAPER_COMPONENTS

logger = logging.getLogger(__name__)
N_ATOMS, BORON = 8, 5
LOSS = 1e-12
DENSITIES_TO_FIT = 1000  # the contraction of correlations


class Resolution(NamedTuple):
    """How finely environments are expanded, and for which structures."""

    name: str
    hypers: dict[str, Any]
    components: Any  # of the contraction
    structures: np.ndarray  # indices, ascending, whole pairs
    triplets_to_fit: int  # whose covariance gives the principal components of all


RESOLUTIONS = {
    "paper": Resolution("paper", PAPER, PAPER_COMPONENTS, np.arange(N_STRUCTURES), 12_000),
    "quick": Resolution(
        "quick", PAPER | {"n_max": 2, "l_max": 2}, 20,
        np.r_[0:400, FIRST_TEST : FIRST_TEST + 100], 1_000,
    ),
}  # fmt: skip
ORDERS = {"nu3": 3, "nu7": 7}  # name of a set of correlations, and its highest order


def values(name: str, resolution: Resolution, cache: Path) -> np.ndarray:
    """Features of all structures of a resolution; made once and kept in the folder ``cache``.

    Args:
        name: "triplets", ``[S, 64, D]``, of all ordered pairs of atoms: both may be the same, and
            pairs with the centre are rows of zeros; "nu3" or "nu7", ``[S, D]``, correlations of all
            orders up to 3 or 7.
        resolution: one of ``RESOLUTIONS``.
        cache: for files NAME-RESOLUTION.npz.

    Returns:
        float32.
    """
    path = cache / f"{name}-{resolution.name}.npz"
    if path.is_file():
        with np.load(path) as file:
            return file["values"]
    with jax.enable_x64(True):
        pairs = pair_expansions(load_b8().positions[resolution.structures], resolution.hypers)
        n_fit = int(np.sum(resolution.structures < FIRST_TEST))
        if name == "triplets":
            found = _triplets(pairs, n_fit, resolution.triplets_to_fit)
        else:
            found = _invariants(pairs.sum(1), n_fit, ORDERS[name], resolution.components)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_npz(path, values=found)
    return found


def _triplets(pairs: np.ndarray, n_fit: int, n_triplets: int) -> np.ndarray:
    n = pairs.shape[1]
    random = np.random.Generator(np.random.PCG64(0))
    structures = random.integers(n_fit, size=n_triplets)
    first, second = random.integers(n, size=(2, n_triplets))
    both = jax.jit(jax.vmap(_both_parities))
    sample = _in_parts(
        lambda s, i, j: both(pairs[s, i], pairs[s, j], pairs[s].sum(1)), structures, first, second
    )
    covariance = sample.T @ sample / len(sample)
    variances, vectors = np.linalg.eigh(covariance)
    kept = variances > LOSS * variances.sum()
    directions = np.flip(vectors[:, kept], 1) * np.sqrt(kept.sum() / variances.sum())
    logger.info("triplets: %d components of %d columns", kept.sum(), len(directions))

    @jax.jit
    @jax.vmap
    def of_structure(pairs):
        density = pairs.sum(0)
        rows = jax.vmap(lambda g: jax.vmap(lambda h: _both_parities(g, h, density))(pairs))(pairs)
        return (rows @ directions).astype(jnp.float32)

    values = np.zeros((len(pairs), N_ATOMS, N_ATOMS, directions.shape[1]), np.float32)
    values[:, 1:, 1:] = _in_parts(of_structure, pairs, size=10)
    return values.reshape(len(pairs), N_ATOMS**2, -1)


def _both_parities(first, second, density):
    return jnp.concatenate([coupled_invariants(first, second, density, p) for p in (1, -1)])


def _invariants(coefficients: np.ndarray, n_fit: int, nu: int, components) -> np.ndarray:
    contraction = None
    if nu > UNCONTRACTED_NU:
        n_densities = min(n_fit, DENSITIES_TO_FIT)
        contraction = fit_contraction(coefficients[:n_fit], nu, components, n_fit=n_densities)
    kinds = [(k, parity) for k in range(1, nu + 1) for parity in ((1, -1) if k >= 3 else (1,))]

    @jax.jit
    @jax.vmap
    def all_of(density):  # in one program: what they have in common is made once
        rows = [correlations(density, contraction, *kind) for kind in kinds]
        return [row.astype(jnp.float32) for row in rows]  # 5 GB otherwise

    products = np.zeros((len(coefficients), n_fit))  # of rows with those of training
    for kind, rows in zip(kinds, _in_parts(all_of, coefficients, size=50), strict=True):
        rows = rows.astype(float)
        rows /= np.sqrt((rows[:n_fit] ** 2).sum(1).mean())  # orders and parities count alike
        products += rows @ rows[:n_fit].T
        logger.info("order %d, parity %+d: %d columns", *kind, rows.shape[1])
    variances, vectors = np.linalg.eigh(products[:n_fit])
    kept = variances > LOSS * variances.sum()
    directions = np.flip(vectors[:, kept] / np.sqrt(variances[kept]), 1)
    scale = np.sqrt(kept.sum() * n_fit / variances.sum())
    return (products @ directions * scale).astype(np.float32)


def pair_expansions(positions: np.ndarray, hypers: dict[str, Any]) -> np.ndarray:
    """Every other atom's term of the density about atom 0, ``[S, 7, 1, n, lm]``."""
    basis = descriptor("density", (BORON,), **hypers).hypers.basis
    species, mask = np.zeros(N_ATOMS - 1, np.int32), np.ones(N_ATOMS - 1, bool)
    vectors = positions[:, 1:] - positions[:, :1]
    expand = jax.jit(jax.vmap(lambda v: pair_channels(v, species, mask, basis, 1)))
    return np.asarray(expand(vectors))


def _in_parts(function, *arrays: np.ndarray, size: int = 250):
    """A function of many rows, a part of them at a time; the last part is filled up."""
    found = []
    for start in tqdm(range(0, len(arrays[0]), size), desc="features", leave=False):
        part = [array[start : start + size] for array in arrays]
        short = size - len(part[0])
        padded = [np.concatenate([p, np.repeat(p[-1:], short, 0)]) for p in part]
        rows = function(*padded)
        found.append(jax.tree.map(lambda row: np.asarray(row)[: size - short], rows))  # noqa: B023
    return jax.tree.map(lambda *parts: np.concatenate(parts), *found)
