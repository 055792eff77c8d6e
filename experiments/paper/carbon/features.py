"""Vectors of carbon clusters, sums over all their atoms: what the three models are linear in.

- baseline: the power spectrum of every atom, and the number of atoms.
- nu3: random Fourier features of the correlations of every atom to order 3,
  Σ_i √(2/D) cos(W·e_i + b) cos(V·o_i), e and o the even and odd ones.
- triplets: the same head on every triplet, Σ_i Σ_{j1 ≠ j2}: the package's fingerprint.

Both heads are one hidden layer with random Gaussian weights of standard deviation 1 / length_scale
and a linear output, which is fitted in closed form; the sum over the sign of o makes both invariant
under inversion.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import ase
import numpy as np

from experiments.paper.carbon.make import Structure
from tripletjax import describe
from tripletjax.fingerprints import LEVEL_1_SHARE

PART = 250  # structures whose hidden units are in memory at once
TAIL = 1e-6  # of the variance: components of the correlations below it are left out


def baseline(structures: Sequence[Structure], hypers: dict[str, Any]) -> np.ndarray:
    """Power spectra summed over atoms, then the number of atoms, ``[S, D + 1]``."""
    sums = _summed(structures, "power_spectrum", hypers)
    sizes = np.array([len(s.positions) for s in structures], np.float32)
    return np.concatenate([sums, sizes[:, None]], 1)


def triplets(
    structures: Sequence[Structure], hypers: dict[str, Any], n_features: int, seed: int
) -> np.ndarray:
    """Fingerprints summed over atoms, ``[S, about 9/8 n_features]``.

    Args:
        structures: the clusters.
        hypers: those of ``describe``, with the fingerprint's ``length_scale``.
        n_features: hidden units of every triplet; an eighth as many see one tagged neighbour.
        seed: of the random weights.
    """
    return _summed(structures, "fingerprint", hypers | {"n_features": n_features, "seed": seed})


class Atoms(NamedTuple):
    """Correlations of every atom, in the units of the basis."""

    first: np.ndarray  # [R, n] isotropic density
    second: np.ndarray  # [R, D] power spectrum
    third: np.ndarray  # [R, D'] even bispectrum
    odd: np.ndarray  # [R, D"] odd bispectrum
    structure: np.ndarray  # [R], ascending


class Correlations(NamedTuple):
    """Correlations of orders 1 to 3 of every atom, in principal components."""

    even: np.ndarray  # [R, D]
    odd: np.ndarray  # [R, D']
    structure: np.ndarray  # [R], ascending


def atoms(structures: Sequence[Structure], hypers: dict[str, Any]) -> Atoms:
    """Correlations of all atoms of some clusters, with the hyperparameters of ``describe``."""
    frames = _frames(structures)
    density = describe(frames, "density", **hypers)
    isotropic = density.values[:, density.columns["l"] == 0]
    powers = describe(frames, "power_spectrum", **hypers).values
    third = describe(frames, "bispectrum", chiral=True, **hypers)
    is_even = third.columns["parity"] == 1
    orders = isotropic, powers, third.values[:, is_even], third.values[:, ~is_even]
    return Atoms(*orders, density.structure)


def correlations(rows: Atoms, n_fit: int, whitening: float) -> Correlations:
    """Principal components, scaled so that their mean square is one in all.

    Args:
        rows: from ``atoms``.
        n_fit: the first so many structures give components and scales.
        whitening: p: components are divided by their mean square to the power p / 2, from 0, the
            metric of the correlations, to 1, all components alike.
    """
    n_rows = int(np.searchsorted(rows.structure, n_fit))
    first, second, third, odd = rows[:4]
    # Orders count alike; the odd ones exist from order 3 on, in the units of the even ones.
    spreads = [np.sqrt(block[:n_rows].var(0).sum()) for block in (first, second, third)]
    even = np.concatenate([first / spreads[0], second / spreads[1], third / spreads[2]], 1)
    even -= even[:n_rows].mean(0)
    # The odd ones keep their zero, about which mirror images are opposite.
    found = [_components(x, n_rows, whitening) for x in (even, odd / spreads[2])]
    unit = np.sqrt(sum((x[:n_rows] ** 2).sum(1).mean() for x in found))
    even, odd = ((x / unit).astype(np.float32) for x in found)
    return Correlations(even, odd, rows.structure)


def random_features(
    inputs: Correlations, n_structures: int, n_features: int, length_scale: float, seed: int
) -> np.ndarray:
    """The head of nu3 summed over atoms, ``[S, D]``, with the D of ``triplets``."""
    random = np.random.Generator(np.random.PCG64(seed))
    n_columns = n_features + n_features // LEVEL_1_SHARE
    to_even, to_odd = (
        (random.normal(size=(x.shape[1], n_columns)) / length_scale).astype(np.float32)
        for x in inputs[:2]
    )
    phase = random.uniform(0, 2 * np.pi, n_columns).astype(np.float32)
    sums = np.zeros((n_structures, n_columns), np.float32)
    starts = _starts(inputs.structure, n_structures)
    for first in range(0, n_structures, PART):
        last = min(first + PART, n_structures)
        rows = slice(starts[first], starts[last])
        waves = np.cos(inputs.even[rows] @ to_even + phase) * np.cos(inputs.odd[rows] @ to_odd)
        sums[first:last] = np.add.reduceat(waves, starts[first:last] - starts[first])
    return sums * np.float32(np.sqrt(2 / n_columns))


def _frames(structures: Sequence[Structure]) -> list[ase.Atoms]:
    return [ase.Atoms(f"C{len(s.positions)}", positions=s.positions) for s in structures]


def _summed(structures: Sequence[Structure], kind: str, hypers: dict[str, Any]) -> np.ndarray:
    found = describe(_frames(structures), kind, **hypers)
    return np.add.reduceat(found.values, _starts(found.structure, len(structures))[:-1])


def _starts(structure: np.ndarray, n_structures: int) -> np.ndarray:
    """Where the rows of each structure start, and the end of all, ``[S + 1]``."""
    return np.searchsorted(structure, np.arange(n_structures + 1))


def _components(values: np.ndarray, n_fit: int, whitening: float) -> np.ndarray:
    """Principal components about zero, divided by their mean square to the power whitening / 2."""
    fit = values[:n_fit].astype(float)
    variances, vectors = np.linalg.eigh(fit.T @ fit / n_fit)
    kept = variances > TAIL * variances.sum()
    return values @ (vectors[:, kept] * variances[kept] ** (-whitening / 2)).astype(np.float32)
