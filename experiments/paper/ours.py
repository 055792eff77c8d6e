"""This package's models in the paper's table: closed forms on atom 0, potentials of all atoms.

Each predicts the energies of all structures. What a model leaves open is chosen on the validation
structures, or on the last tenth of those for training where there are none; closed forms then use
both parts.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms
from scipy.linalg import solve_triangular
from tqdm import tqdm

from experiments.paper.labels import VALIDATION, Labels, Split
from tripletjax import descriptor
from tripletjax.data.b8 import load_b8
from tripletjax.demo import SHELLS
from tripletjax.kernels import EnvironmentKernel, gaussian_process
from tripletjax.kernels.designs import Inducing
from tripletjax.kernels.environments import typical_distance
from tripletjax.kernels.inducing import farthest_rows
from tripletjax.kernels.least_squares import Accumulator
from tripletjax.kernels.observations import Noise
from tripletjax.kernels.sparse import fit_factors, kernel_root
from tripletjax.training import Dataset, TrainConfig, train
from tripletjax.training.data import make_buckets
from tripletjax.training.labels import Labels as FrameLabels
from tripletjax.training.metrics import compare
from tripletjax.types import Array, InputError

FINGERPRINT = SHELLS | {"length_scale": 1.5, "n_features": 2048, "seed": 0}
LENGTH_SCALES, NOISES = (1.0, 2.0, 4.0), (1e-8, 1e-6, 1e-4)
INDUCING = 2000
JITTER = 1e-10


@dataclass(frozen=True)
class Problem:
    """Structures with labels, and which of them are for what."""

    labels: Labels
    split: Split
    seed: int
    minutes: float  # of training, where it is iterative
    folder: Path  # from which training goes on

    @property
    def known(self) -> np.ndarray:
        """Structures to train and validate on."""
        return np.concatenate([self.split.train, self.split.valid])

    def chosen_on(self) -> tuple[np.ndarray, np.ndarray]:
        """Structures to fit to, and to choose a setting on."""
        train, valid = self.split.train, self.split.valid
        if not len(valid):
            train, valid = np.split(train, [-2 * max(1, round(VALIDATION * len(train) / 2))])
        return train, valid

    def vectors(self) -> np.ndarray:
        """From atom 0 to the others, [S, 7, 3] Å."""
        positions = load_b8().positions[self.labels.index]
        return positions[:, 1:] - positions[:, :1]

    def forces(self) -> np.ndarray:
        """[S, 8, 3] eV/Å."""
        return load_b8().forces[self.labels.index]


Found = tuple[np.ndarray, dict[str, Any]]  # predictions [S] eV, and what is told of the fit


def closed_form(problem: Problem) -> Found:
    """A Gaussian process on the fingerprint of atom 0."""
    energies, vectors = problem.labels.energies, _fingerprints(problem.vectors())
    train, valid = problem.chosen_on()
    best: tuple[float, float, float] = np.inf, LENGTH_SCALES[0], NOISES[0]
    for scale, noise in product(LENGTH_SCALES, NOISES):
        fit = gaussian_process(vectors[train], energies[train], scale, noise)
        error = float(np.sqrt(((fit.predict(vectors[valid]) - energies[valid]) ** 2).mean()))
        best = min(best, (error, scale, noise))
    error, scale, noise = best
    fit = gaussian_process(vectors[problem.known], energies[problem.known], scale, noise)
    told = {"length_scale": scale, "noise": noise, "validation_rmse_eV": error}
    return fit.predict(vectors), told


def closed_form_with_gradients(problem: Problem) -> Found:
    """A Gaussian process on the fingerprint of atom 0, on energies and forces.

    E(x) = Σ_m k(p(x), z_m) α_m in inducing environments z_m, its derivatives with respect to the
    seven neighbours' places beside it (that of the centre is less their sum).
    """
    with jax.enable_x64(True):
        vectors, forces, known = problem.vectors(), problem.forces(), problem.known
        prints = _fingerprints(vectors)
        unit = typical_distance(prints[known], np.zeros(len(known), int))
        prints /= unit
        points = prints[known][farthest_rows(prints[known], INDUCING)]
        kernel = EnvironmentKernel(length_scale=LENGTH_SCALES[1])
        kinds = np.zeros(len(points), np.int32)
        root = kernel_root(kernel, Inducing(points, kinds, np.asarray(unit)), JITTER)
        describe, inducing = _describe(), jnp.asarray(points)

        @jax.jit
        def rows(vectors: Array) -> tuple[Array, Array]:
            scaled = lambda v: describe(v) / unit  # noqa: E731
            value, slopes = scaled(vectors), jax.jacfwd(scaled)(vectors).reshape(len(points[0]), -1)
            values, pull = jax.vjp(lambda p: kernel.matrix(p[None], inducing)[0], value)
            return values, jax.vmap(pull)(jnp.eye(len(points)))[0] @ slopes

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


def potential(problem: Problem) -> Found:
    """The neural potential with its default settings, all atoms as centres, on energies."""
    return _potential(problem, gradients=False)


def potential_with_gradients(problem: Problem) -> Found:
    """The same on energies and forces."""
    return _potential(problem, gradients=True)


def _potential(problem: Problem, gradients: bool) -> Found:
    frames = load_b8().frames(problem.labels.index)
    forces = problem.forces() if gradients else [None] * len(frames)
    labels = [
        FrameLabels(float(energy), force, None)
        for energy, force in zip(problem.labels.energies, forces, strict=True)
    ]
    data = Dataset(frames, labels)
    train_part, valid_part = map(data.chosen, problem.chosen_on())
    config = TrainConfig(max_minutes=problem.minutes, laplace_members=0, seed=problem.seed)
    fitted, record = train(
        train_part, problem.folder, config, valid=valid_part, resume=problem.folder.is_dir()
    )
    predicted = compare(fitted, make_buckets(frames, labels, fitted)).predicted_energy
    told = {name: record[name] for name in ("epochs", "steps", "seconds")}
    return predicted + fitted.reference(Atoms("B8")), told


def _describe() -> Callable[[Array], Array]:
    fingerprint = descriptor("fingerprint", (5,), **FINGERPRINT)
    species, mask = np.zeros(7, np.int32), np.ones(7, bool)
    return lambda vectors: fingerprint.environment(vectors, species, mask, 0)


def _fingerprints(vectors: np.ndarray) -> np.ndarray:
    """[S, D] in float64."""
    with jax.enable_x64(True):
        describe = jax.jit(jax.vmap(_describe()))
        return np.concatenate([np.asarray(describe(v)) for v in np.array_split(vectors, 40)])


@dataclass(frozen=True)
class Ours:
    """One of our rows."""

    fit: Callable[[Problem], Found]
    gradients: bool = False  # of the labels, without which the row has nothing to learn from

    def predict(self, problem: Problem) -> Found:
        """Predictions [S] eV of all structures, and what is told of the fit, seconds among it.

        Raises:
            InputError: the labels have no gradients.
        """
        start = time.monotonic()
        predicted, told = self.fit(problem)
        return predicted, {"seconds": time.monotonic() - start} | told


OURS = {
    "closed_form": Ours(closed_form),
    "closed_form_gradients": Ours(closed_form_with_gradients, gradients=True),
    "potential": Ours(potential),
    "potential_gradients": Ours(potential_with_gradients, gradients=True),
}


def require_gradients(name: str, kind: str) -> None:
    """Refuse a row that learns from gradients where labels have none."""
    if OURS[name].gradients and kind != "xtb":
        raise InputError(f"row {name} needs gradients, which {kind} labels lack; give --labels xtb")
