"""One row after another, from labels to a result file."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.paper import features
from experiments.paper.errors import errors, intervals
from experiments.paper.fitting import CHECKPOINT, Best, Fit, load, run
from experiments.paper.labels import Split, read_labels, split
from experiments.paper.ours import OURS, require_gradients
from experiments.paper.pairs import pair_energies
from experiments.paper.problem import Problem
from experiments.paper.rows import ROWS, SCALINGS, SMALLEST
from experiments.rows import require_same
from tripletjax.data.b8 import load_b8
from tripletjax.io import provenance, save_json
from tripletjax.types import InputError

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Settings:
    """What decides a result, besides the minutes."""

    labels: str = "xtb"
    n_train: int | None = None  # structures to train and validate; None: all with labels
    clean: bool = True  # a tenth of the training pairs choose the epoch; else the test set alone
    seed: int = 0
    resolution: str = "paper"  # of the features

    def name(self, row: str) -> str:
        """Of the result file."""
        size = "" if self.n_train is None else f"-{self.n_train}"
        kind = "" if self.clean else "-all"
        seed = "" if self.seed == 0 else f"-seed{self.seed}"
        return f"{row}-{self.labels}{size}{kind}{seed}"


class Runner:
    """Rows that share labels, split and features."""

    def __init__(self, settings: Settings, minutes: float, scratch: Path, out: Path):
        if not minutes > 0:
            raise InputError(f"budget={minutes} is not usable; give minutes for each row")
        self.settings, self.minutes, self.scratch, self.out = settings, minutes, scratch, out
        self.size = features.RESOLUTIONS[settings.resolution]
        self.labels = read_labels(settings.labels).among(self.size.structures)
        self.split = split(self.labels, settings.n_train, settings.clean, settings.seed)

    def row(self, name: str, force: bool = False) -> dict[str, Any]:
        """The result of a row, from its file or from a fit."""
        path = self.out / f"{self.settings.name(name)}.json"
        told = vars(self.settings) | {"row": name, "minutes": self.minutes}
        if kept := result_of(path, told, force):
            return kept
        found: dict[str, Any] = {"settings": told, "device": jax.devices()[0].device_kind}
        found |= {"structures": {part: len(getattr(self.split, part)) for part in Split._fields}}
        found |= self.ours(name) if name in OURS else self.network(name)
        save_json(path, found | provenance())
        return found

    def network(self, name: str) -> dict[str, Any]:
        """Errors of a row of the paper, at both epochs."""
        fit = self.fit(name)
        best, record = self.trained(name, fit)
        found: dict[str, Any] = {"epochs": record["epochs"], "seconds": record["seconds"]}
        everything = np.arange(len(fit.targets))
        is_energy = ROWS[name].targets != "nu7"
        targets = self.labels.energies if is_energy else fit.targets
        for choice in Best._fields:
            if record[f"best_{choice}"] is not None:
                predicted = fit.predict(getattr(best, choice), everything)
                if is_energy:
                    predicted = self.in_energies(name, predicted, everything)
                entry = {"epoch": record[f"best_{choice}"]["epoch"]}
                found[f"best_on_{choice}"] = entry | self.errors(predicted, targets)
        return found

    def ours(self, name: str) -> dict[str, Any]:
        """Errors of a row of ours."""
        require_gradients(name, self.settings.labels)
        folder = self.scratch / self.settings.name(name)
        problem = Problem(
            self.labels, self.split, self.settings.seed, self.minutes, folder, self.features
        )
        predicted, told = OURS[name].predict(problem)
        return told | {"best_on_valid": self.errors(predicted, self.labels.energies)}

    def errors(self, predicted: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
        """On training and test structures."""
        found: dict[str, Any] = {}
        for part in ("train", "test"):
            index = getattr(self.split, part)
            found[part] = errors(predicted[index], targets[index])
            found[f"{part}_interval"] = intervals(predicted[index], targets[index])
        return found

    def trained(self, name: str, fit: Fit) -> tuple[Best, dict[str, Any]]:
        """Weights of a row; from its scratch folder where it was left."""
        settings = vars(self.settings) | {"row": name}
        return run(fit, self.minutes, self.folder(name), settings, name)

    def kept(self, name: str, fit: Fit) -> tuple[Any, dict[str, Any]]:
        """Weights of a row at its best epoch as its scratch folder has them, and the record."""
        self.require(name)
        best, record = load(fit, self.folder(name), vars(self.settings) | {"row": name})
        return self.chosen(best), record

    def require(self, name: str) -> None:
        """Raise InputError unless a row has been trained, or is being trained."""
        if not (self.folder(name) / CHECKPOINT).is_file():
            quick = " --quick" if self.settings.resolution == "quick" else ""
            raise InputError(
                f"{self.folder(name)} holds no trained row {name}; train it by python -m "
                f"experiments.paper{quick} --rows {name} --labels {self.settings.labels} with the "
                "same --scratch"
            )

    def folder(self, name: str) -> Path:
        """Where a row is trained."""
        return self.scratch / self.settings.name(name)

    def chosen(self, best: Best) -> Any:
        """The weights that the validation structures chose, or without them the test set."""
        return best.valid if self.settings.clean else best.test

    def fit(self, name: str) -> Fit:
        """The network of a row with its inputs and targets."""
        row = ROWS[name]
        targets = self.targets(name)
        known = self.split.known
        centred = targets - targets[known].mean(0)
        scaled = (centred / np.sqrt((centred[known] ** 2).mean())).astype(np.float32)
        return Fit(
            row.network(scaled.shape[1]), self.inputs(row.inputs), scaled, self.split,
            self.settings.seed,
        )  # fmt: skip

    def energies(self, name: str, index: np.ndarray) -> np.ndarray:
        """Energies in eV, [len(index)], that a row trained before predicts."""
        fit = self.fit(name)
        weights, _ = self.kept(name, fit)
        return self.in_energies(name, fit.predict(weights, index), index)

    def targets(self, name: str) -> np.ndarray:
        """What a row learns, [S, D]."""
        row = ROWS[name]
        if row.targets == "nu7":
            return self.features(row.targets)
        return (self.labels.energies - self.baseline(name))[:, None]

    def baseline(self, name: str) -> np.ndarray:
        """What a row of energies need not learn, [S] eV."""
        if ROWS[name].targets == "energies":
            return np.zeros(len(self.labels.energies))
        positions = load_b8().positions[self.labels.index]
        return pair_energies(positions, self.labels.energies, self.split.known)

    def in_energies(self, name: str, predicted: np.ndarray, index: np.ndarray) -> np.ndarray:
        """eV, [len(index)], from predictions [len(index), 1] in units of the targets."""
        baseline = self.baseline(name)
        learned = (self.labels.energies - baseline)[self.split.known]
        return learned.mean() + learned.std() * predicted[:, 0].astype(float) + baseline[index]

    def inputs(self, name: str) -> np.ndarray:
        """Scaled features of the labelled structures, or the codes that a row makes of them."""
        if name not in ROWS:
            rows = self.features(name)
            return self.scaled(name, rows, rows)
        fit = self.fit(name)
        best, _ = self.trained(name, fit)
        codes = fit.predict(self.chosen(best), np.arange(len(self.labels.index)), method="encode")
        return (codes / np.sqrt((codes[self.split.train] ** 2).mean())).astype(np.float32)

    def scaled(self, name: str, rows: np.ndarray, labelled: np.ndarray) -> np.ndarray:
        """Features ``[..., D]`` of any structures as a network sees them, small ones left out.

        Args:
            name: of the features.
            rows: to scale.
            labelled: ``features`` of this name, whose training structures give the sizes.
        """
        scaling, known = SCALINGS[name], labelled[self.split.known]
        sizes = np.sqrt(np.mean(known**2, axis=tuple(range(known.ndim - 1)), dtype=float))
        scaled = sizes ** (1 + scaling.power)
        total = np.sqrt((scaled**2).sum())
        kept = scaled > SMALLEST * total
        factors = scaling.size / total * sizes[kept] ** scaling.power
        return rows[..., kept] * factors.astype(np.float32)

    def features(self, name: str) -> np.ndarray:
        """Triplets, but for those that are zeros, or correlations, of the labelled structures."""
        values = features.values(name, self.size, self.scratch / "features")
        if name == "triplets":
            values = features.without_centre(values)
        return values[np.searchsorted(self.size.structures, self.labels.index)]


def result_of(path: Path, settings: dict[str, Any], force: bool = False) -> dict[str, Any] | None:
    """What a result file holds, or None where there is none or it is to be replaced.

    Raises:
        InputError: it is of other settings.
    """
    if force or not path.is_file():
        return None
    found = json.loads(path.read_text())
    of_file, wanted = (json.loads(json.dumps(told)) for told in (found["settings"], settings))
    require_same(str(path), of_file, wanted)
    return found
