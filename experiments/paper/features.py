"""What the rows of the table are trained on: triplets, and correlations up to order 7, on atom 0.

All are made in float64 and turned into principal components of the training structures, without
those below ``LOSS`` of the mean square and with one scale for all, which leaves the components a
mean square of one on average. Both parities are raw columns, as in the paper: the
rows are invariant under rotations, not under reflections. Orders and parities keep their own sizes:
of pseudoscalars, which are small and tell a linear model of energies nothing but noise.
"""

import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from experiments.paper.labels import FIRST_TEST, N_STRUCTURES
from tripletjax import descriptor
from tripletjax.data.b8 import load_b8
from tripletjax.demo import PAPER
from tripletjax.invariants.coupled import coupled_invariants, pair_channels
from tripletjax.invariants.nice import (
    Contraction,
    correlations,
    fit_contraction,
    load_contraction,
    save_contraction,
)  # fmt: skip
from tripletjax.invariants.nice.fitting import PAPER_COMPONENTS
from tripletjax.invariants.nice.recursion import UNCONTRACTED_NU
from tripletjax.io import save_npz
from tripletjax.types import Array

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
    noise: float = 0.0  # Å, standard deviation, on all positions

    @property
    def n_fit(self) -> int:
        """Training structures, which come first."""
        return int(np.sum(self.structures < FIRST_TEST))

    @property
    def positions(self) -> np.ndarray:
        """[S, 8, 3] Å."""
        exact = load_b8().positions[self.structures]
        random = np.random.Generator(np.random.PCG64(0))
        return exact + self.noise * random.normal(size=exact.shape) if self.noise else exact


RESOLUTIONS = {
    "paper": Resolution("paper", PAPER, PAPER_COMPONENTS, np.arange(N_STRUCTURES), 12_000),
    "quick": Resolution(
        "quick", PAPER | {"n_max": 2, "l_max": 2}, 20,
        np.r_[0:400, FIRST_TEST : FIRST_TEST + 100], 1_000,
    ),
    # The basis of the paper; correlations that are fit for distorted structures, and less dear.
    "distorted": Resolution("distorted", PAPER, 50, np.arange(500), 1_000, noise=0.05),
}  # fmt: skip
Kinds = tuple[tuple[int, int], ...]  # orders and parities
ORDERS = {"nu3": 3, "nu7": 7}  # name of a set of correlations, and its highest order


def values(name: str, resolution: Resolution, cache: Path) -> np.ndarray:
    """Features of all structures of a resolution; made once and kept in the folder ``cache``.

    What they are made with is kept beside them, so that other structures can have the same.

    Args:
        name: "triplets", ``[S, 64, D]``, of all ordered pairs of atoms: both may be the same, and
            pairs with the centre are rows of zeros; "nu3" or "nu7", ``[S, D]``, correlations of all
            orders up to 3 or 7.
        resolution: one of ``RESOLUTIONS``.
        cache: for files NAME-RESOLUTION.npz.

    Returns:
        float32.
    """
    path = _file(cache, name, resolution, "npz")
    if path.is_file():
        with np.load(path) as file:
            return file["values"]
    if name == "triplets":
        found = triplets(resolution.positions, resolution, cache)
    else:
        found = _invariants(name, resolution, cache)
    save_npz(path, values=found)
    return found


def triplets(positions: np.ndarray, resolution: Resolution, cache: Path) -> np.ndarray:
    """ "triplets" of any positions ``[S, 8, 3]``, in the principal components of a resolution."""
    directions = _triplet_components(resolution, cache)

    @jax.jit
    @jax.vmap
    def of_structure(pairs):
        density = pairs.sum(0)
        rows = jax.vmap(lambda g: jax.vmap(lambda h: _both_parities(g, h, density))(pairs))(pairs)
        return (rows @ directions).astype(jnp.float32)

    with jax.enable_x64(True):
        pairs = pair_expansions(positions, resolution.hypers)
        found = np.zeros((len(pairs), N_ATOMS, N_ATOMS, directions.shape[1]), np.float32)
        found[:, 1:, 1:] = _in_parts(of_structure, pairs, size=10)
    return found.reshape(len(pairs), N_ATOMS**2, -1)


def without_centre(values: np.ndarray) -> np.ndarray:
    """Triplets ``[S, 49, D]`` of neighbours alone, from all, ``[S, 64, D]``."""
    square = values.reshape(len(values), N_ATOMS, N_ATOMS, -1)[:, 1:, 1:]
    return square.reshape(len(values), (N_ATOMS - 1) ** 2, -1)


def correlation_blocks(
    name: str, positions: np.ndarray, resolution: Resolution, cache: Path
) -> Iterator[np.ndarray]:
    """Correlations of any positions ``[S, 8, 3]``, ``[S, columns]`` of each order and parity.

    Side by side they are "nu3" or "nu7" before the rotation to principal components, which keeps
    distances up to one factor for all.
    """
    contraction = _contraction(name, resolution, cache)
    yield from _blocks(_densities(positions, resolution), contraction, ORDERS[name])


def _triplet_components(resolution: Resolution, cache: Path) -> np.ndarray:
    """Principal directions of triplets of training structures, [columns, D]."""
    path = _file(cache, "triplets", resolution, "components.npz")
    if path.is_file():
        with np.load(path) as file:
            return file["directions"]
    with jax.enable_x64(True):
        pairs = pair_expansions(resolution.positions, resolution.hypers)
        n, n_triplets = pairs.shape[1], resolution.triplets_to_fit
        random = np.random.Generator(np.random.PCG64(0))
        structures = random.integers(resolution.n_fit, size=n_triplets)
        first, second = random.integers(n, size=(2, n_triplets))
        both = jax.jit(jax.vmap(_both_parities))
        sample = _in_parts(
            lambda s, i, j: both(pairs[s, i], pairs[s, j], pairs[s].sum(1)),
            structures, first, second,
        )  # fmt: skip
    covariance = sample.T @ sample / len(sample)
    variances, vectors = np.linalg.eigh(covariance)
    kept = variances > LOSS * variances.sum()
    directions = np.flip(vectors[:, kept], 1) * np.sqrt(kept.sum() / variances.sum())
    logger.info("triplets: %d components of %d columns", kept.sum(), len(directions))
    save_npz(path, directions=directions)
    return directions


def _both_parities(first, second, density):
    return jnp.concatenate([coupled_invariants(first, second, density, p) for p in (1, -1)])


def _invariants(name: str, resolution: Resolution, cache: Path) -> np.ndarray:
    contraction, n_fit = _contraction(name, resolution, cache), resolution.n_fit
    coefficients = _densities(resolution.positions, resolution)
    dtype = np.float64 if contraction is None else np.float32  # of many columns, or they are 10 GB
    products = np.zeros((len(coefficients), n_fit))  # of rows with those of training
    for rows in _blocks(coefficients, contraction, ORDERS[name], dtype):
        rows = rows.astype(float)
        products += rows @ rows[:n_fit].T
    variances, vectors = np.linalg.eigh(products[:n_fit])
    kept = variances > LOSS * variances.sum()
    directions = np.flip(vectors[:, kept] / np.sqrt(variances[kept]), 1)
    scale = np.sqrt(kept.sum() * n_fit / variances.sum())
    return (products @ directions * scale).astype(np.float32)


def _contraction(name: str, resolution: Resolution, cache: Path) -> Contraction | None:
    """Fitted to the training structures; kept in a file."""
    if ORDERS[name] <= UNCONTRACTED_NU:
        return None
    path = _file(cache, name, resolution, "contraction.safetensors")
    if not path.is_file():
        coefficients = _densities(resolution.positions[: resolution.n_fit], resolution)
        n_densities = min(len(coefficients), DENSITIES_TO_FIT)
        with jax.enable_x64(True):
            contraction = fit_contraction(
                coefficients, ORDERS[name], resolution.components, n_fit=n_densities
            )
        save_contraction(path, contraction)
    return load_contraction(path)


def _blocks(
    coefficients: np.ndarray, contraction: Contraction | None, nu: int, dtype: Any = np.float64
) -> Iterator[np.ndarray]:
    kinds = tuple((k, parity) for k in range(1, nu + 1) for parity in ((1, -1) if k >= 3 else (1,)))
    with jax.enable_x64(True):
        contraction = jax.tree.map(lambda x: jnp.asarray(x, dtype), contraction)
        found = _in_parts(
            lambda density: _all_orders(density, contraction, kinds),
            coefficients.astype(dtype), size=50,
        )  # fmt: skip
    for kind, rows in zip(kinds, found, strict=True):
        logger.info("order %d, parity %+d: %d columns", *kind, rows.shape[1])
        yield rows


@partial(jax.jit, static_argnums=2)
@partial(jax.vmap, in_axes=(0, None, None))
def _all_orders(density: Array, contraction: Contraction | None, kinds: Kinds) -> list[Array]:
    """In one program: what they have in common is made once."""
    return [correlations(density, contraction, *kind) for kind in kinds]


def _densities(positions: np.ndarray, resolution: Resolution) -> np.ndarray:
    """Of atom 0 in any positions [S, 8, 3], [S, 1, n, lm]."""
    with jax.enable_x64(True):
        return pair_expansions(positions, resolution.hypers).sum(1)


def _file(cache: Path, name: str, resolution: Resolution, kind: str) -> Path:
    return cache / f"{name}-{resolution.name}.{kind}"


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
