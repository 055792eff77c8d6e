"""This package's rows of the paper's table: closed forms, and potentials of all atoms.

Each predicts the energies of all structures. What a model leaves open is chosen on the validation
structures, or on the last tenth of those for training where there are none.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from ase import Atoms

from experiments.paper.closed_forms import closed_form
from experiments.paper.gradients import closed_form_with_gradients
from experiments.paper.linear import correlations_linear
from experiments.paper.problem import Found, Problem
from tripletjax.data.b8 import load_b8
from tripletjax.potentials.network import Architecture
from tripletjax.training import Dataset, TrainConfig, train
from tripletjax.training.data import make_buckets
from tripletjax.training.labels import Labels as FrameLabels
from tripletjax.training.metrics import compare
from tripletjax.types import InputError


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
    complete = Architecture(tags=4)  # invariants of low order do not tell the pairs apart
    config = TrainConfig(
        architecture=complete,
        max_minutes=problem.minutes,
        laplace_members=0,
        seed=problem.seed,
    )
    fitted, record = train(
        train_part, problem.folder, config, valid=valid_part, resume=problem.folder.is_dir()
    )
    predicted = compare(fitted, make_buckets(frames, labels, fitted)).predicted_energy
    told = {name: record[name] for name in ("epochs", "steps", "seconds")}
    return predicted + fitted.reference(Atoms("B8")), told


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
    "correlations_linear": Ours(correlations_linear),
    "closed_form": Ours(closed_form),
    "closed_form_gradients": Ours(closed_form_with_gradients, gradients=True),
    "potential": Ours(potential),
    "potential_gradients": Ours(potential_with_gradients, gradients=True),
}


def require_gradients(name: str, kind: str) -> None:
    """Refuse a row that learns from gradients where labels have none."""
    if OURS[name].gradients and kind != "xtb":
        raise InputError(f"row {name} needs gradients, which {kind} labels lack; give --labels xtb")
