"""One row after another, from labels to a result file."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.paper import features
from experiments.paper.errors import errors, intervals
from experiments.paper.fitting import Best, Fit, run
from experiments.paper.labels import Split, read_labels, split
from experiments.paper.rows import ROWS
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
        if path.is_file() and not force:
            return _unchanged(path, told)
        fit = self.fit(name)
        best, record = self.trained(name, fit)
        found: dict[str, Any] = {"settings": told, "epochs": record["epochs"]}
        found |= {"seconds": record["seconds"], "device": jax.devices()[0].device_kind}
        found |= {"structures": {part: len(getattr(self.split, part)) for part in Split._fields}}
        for choice in Best._fields:
            if record[f"best_{choice}"] is None:
                continue
            weights = getattr(best, choice)
            entry: dict[str, Any] = {"epoch": record[f"best_{choice}"]["epoch"]}
            for part in ("train", "test"):
                index = getattr(self.split, part)
                predicted = fit.predict(weights, index)
                entry[part] = errors(predicted, fit.targets[index])
                entry[f"{part}_interval"] = intervals(predicted, fit.targets[index])
            found[f"best_on_{choice}"] = entry
        save_json(path, found | provenance())
        return found

    def trained(self, name: str, fit: Fit) -> tuple[Best, dict[str, Any]]:
        """Weights of a row; from its scratch folder where it was left."""
        folder = self.scratch / self.settings.name(name)
        return run(fit, self.minutes, folder, vars(self.settings) | {"row": name}, name)

    def fit(self, name: str) -> Fit:
        """The network of a row with its inputs and targets."""
        row = ROWS[name]
        if row.targets == "energies":
            targets = self.labels.energies[:, None]
        else:
            targets = self.features(row.targets)
        known = np.concatenate([self.split.train, self.split.valid])
        centred = targets - targets[known].mean(0)
        scaled = (centred / np.sqrt((centred[known] ** 2).mean())).astype(np.float32)
        return Fit(
            row.network(scaled.shape[1]), self.inputs(row.inputs), scaled, self.split,
            self.settings.seed,
        )  # fmt: skip

    def inputs(self, name: str) -> np.ndarray:
        """Features of the labelled structures, or the codes that a row makes of them."""
        if name not in ROWS:
            return self.features(name)
        fit = self.fit(name)
        best, _ = self.trained(name, fit)
        weights = best.valid if self.settings.clean else best.test
        codes = fit.predict(weights, np.arange(len(self.labels.index)), method="encode")
        return (codes / np.sqrt((codes[self.split.train] ** 2).mean())).astype(np.float32)

    def features(self, name: str) -> np.ndarray:
        """Triplets or correlations of the labelled structures."""
        values = features.values(name, self.size, self.scratch / "features")
        return values[np.searchsorted(self.size.structures, self.labels.index)]


def _unchanged(path: Path, told: dict[str, Any]) -> dict[str, Any]:
    """A result that is there, if its settings are these."""
    found = json.loads(path.read_text())
    changed = [name for name, value in told.items() if found["settings"].get(name) != value]
    if changed:
        raise InputError(
            f"{path} is of other settings ({', '.join(changed)}); give the same ones, another "
            "--out, or --force to replace it"
        )
    return found
