"""What the rows of the table are trained on: triplets, and correlations up to order 7, on atom 0.

All are made in float64 and turned into principal components of the training structures, without
those below ``LOSS`` of the mean square and with one scale for all, which leaves the components a
mean square of one on average. Both parities are raw columns, as in the paper: the
rows are invariant under rotations, not under reflections.
"""

import logging
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments.paper.labels import FIRST_TEST
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
TRIPLETS_TO_FIT = 12_000  # whose covariance gives the principal components of all
ORDERS = {"nu3": 3, "nu7": 7}  # name of a set of correlations, and its highest order


def triplets(cache: Path, n_structures: int | None = None) -> np.ndarray:
    """Coupled features of all ordered pairs of atoms, ``[S, 64, components]`` float32.

    Both members of a pair may be the same neighbour; pairs with the centre itself are zero rows.
    """
    return _cached(cache / "triplets.npz", n_structures, _triplets)


def invariants(name: str, cache: Path, n_structures: int | None = None) -> np.ndarray:
    """Correlations of all orders up to 3 ("nu3") or 7 ("nu7"), ``[S, components]`` float32."""
    make = partial(_invariants, ORDERS[name])
    return _cached(cache / f"{name}.npz", n_structures, make)


def _cached(path: Path, n_structures: int | None, make) -> np.ndarray:
    """From the file if it is there; of the first structures alone, nothing is kept."""
    if n_structures is None and path.is_file():
        with np.load(path) as file:
            return file["values"]
    with jax.enable_x64(True):
        values = make(load_b8().positions[:n_structures])
    if n_structures is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_npz(path, values=values)
    return values


def _triplets(positions: np.ndarray) -> np.ndarray:
    pairs = pair_expansions(positions)  # [S, 7, 1, n, lm]
    n = pairs.shape[1]
    random = np.random.Generator(np.random.PCG64(0))
    structures = random.integers(min(len(pairs), FIRST_TEST), size=TRIPLETS_TO_FIT)
    first, second = random.integers(n, size=(2, TRIPLETS_TO_FIT))
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


def _invariants(nu: int, positions: np.ndarray) -> np.ndarray:
    coefficients = pair_expansions(positions).sum(1)  # [S, 1, n, lm]
    n_fit = min(len(coefficients), FIRST_TEST)
    contraction = None
    if nu > UNCONTRACTED_NU:
        contraction = fit_contraction(coefficients[:n_fit], nu, PAPER_COMPONENTS[: nu - 2])
    products = np.zeros((len(coefficients), n_fit))  # of rows with those of training
    for order in range(1, nu + 1):
        for parity in (1, -1) if order >= 3 else (1,):
            of_one = partial(correlations, contraction=contraction, nu=order, parity=parity)
            rows = _in_parts(jax.jit(jax.vmap(of_one)), coefficients)
            rows /= np.sqrt((rows[:n_fit] ** 2).sum(1).mean())  # orders and parities count alike
            products += rows @ rows[:n_fit].T
            logger.info("order %d, parity %+d: %d columns", order, parity, rows.shape[1])
    variances, vectors = np.linalg.eigh(products[:n_fit])
    kept = variances > LOSS * variances.sum()
    directions = np.flip(vectors[:, kept] / np.sqrt(variances[kept]), 1)
    scale = np.sqrt(kept.sum() * n_fit / variances.sum())
    return (products @ directions * scale).astype(np.float32)


def pair_expansions(positions: np.ndarray) -> np.ndarray:
    """Every other atom's term of the density about atom 0, ``[S, 7, 1, n, lm]``."""
    basis = descriptor("density", (BORON,), **PAPER).hypers.basis
    species, mask = np.zeros(N_ATOMS - 1, np.int32), np.ones(N_ATOMS - 1, bool)
    vectors = positions[:, 1:] - positions[:, :1]
    expand = jax.jit(jax.vmap(lambda v: pair_channels(v, species, mask, basis, 1)))
    return np.asarray(expand(vectors))


def _in_parts(function, *arrays: np.ndarray, size: int = 250) -> np.ndarray:
    """A function of many rows, a part of them at a time; the last part is filled up."""
    found = []
    for start in range(0, len(arrays[0]), size):
        part = [array[start : start + size] for array in arrays]
        short = size - len(part[0])
        padded = [np.concatenate([p, np.repeat(p[-1:], short, 0)]) for p in part]
        found.append(np.asarray(function(*padded))[: len(part[0])])
    return np.concatenate(found)
