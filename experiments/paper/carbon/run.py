"""Energies of random carbon clusters: hidden units on ν = 3, or half of them on triplets?

    python -m experiments.paper.carbon.run [--tune] [--quick]

Features are made once and kept in the scratch folder. ``--tune`` compares hyperparameters on
validation structures first and writes results/tuning.json; without it the file decides. ``--quick``
takes 400 clusters, few features and two seeds, and writes into the scratch folder.
"""

import argparse
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from experiments.commands import add_result_options, run_command, show_progress
from experiments.paper.carbon import features
from experiments.paper.carbon.fitting import gain_intervals, ridge, rmse, split
from experiments.paper.carbon.make import LABELS, Structure, read
from experiments.paper.labels import Split
from experiments.paper.running import result_of
from tripletjax.io import provenance, save_json, save_npz
from tripletjax.plotting import drawing
from tripletjax.types import Basis, InputError

logger = logging.getLogger(__name__)
RESULTS = Path(__file__).parent / "results"
MODELS = ("nu3", "triplets")
NAMES = {"nu3": "ν = 3", "triplets": "triplets"}
PUBLISHED = {"nu3": 0.7536, "triplets": 0.7255}  # eV
# The same for all models.
BASIS = {
    "cutoff": 3.0, "cutoff_width": 1.2, "cutoff_function": "smooth", "radial": "gto",
    "n_max": 3, "l_max": 3,
}  # fmt: skip
SEEDS, N_FEATURES = 5, 1024
PART = 250  # structures described at once
UNIT_STRUCTURES = 100  # training structures that give the units of rows
SCALES = {"nu3": (4.0, 8.0, 16.0, 32.0), "triplets": (2.0, 4.0, 8.0, 16.0)}  # of length
# The length scale of each kind of hidden units that a model has.
CANDIDATES: dict[str, list[dict[str, float]]] = {
    "nu3": [{"nu3": scale} for scale in SCALES["nu3"]],
    "triplets": [
        {"nu3": scale, "triplets": other} for scale in SCALES["nu3"] for other in SCALES["triplets"]
    ],
}


@dataclass(frozen=True)
class Data:
    """Clusters, their energies, and a folder for what is made of them, a part at a time."""

    structures: Sequence[Structure]
    scratch: Path

    @property
    def energies(self) -> np.ndarray:
        """[S] eV."""
        return np.array([s.energy for s in self.structures])

    @property
    def n_known(self) -> int:
        """Structures that do not test."""
        return len(self.structures) - len(self.structures) // 5

    def kept(self, make: Callable[[Sequence[Structure]], np.ndarray], **settings: Any):
        """Vectors of all structures, part by part from the scratch folder, or made and left there.

        Args:
            make: those of some structures.
            **settings: all that they depend on besides.
        """
        self.scratch.mkdir(parents=True, exist_ok=True)
        parts = []
        for first in range(0, len(self.structures), PART):
            part = self.structures[first : first + PART]
            told = settings | {"first": first, "energies": [s.energy for s in part]}
            text = json.dumps(told, sort_keys=True)
            path = self.scratch / f"{sha256(text.encode()).hexdigest()[:16]}.npz"
            if not path.is_file():
                save_npz(path, values=make(part))
            with np.load(path) as file:
                parts.append(file["values"])
        return np.concatenate(parts)

    def baseline(self) -> np.ndarray:
        """Features of the baseline, at the starting basis."""
        basis = Basis(**BASIS)
        return self.kept(lambda part: features.baseline(part, basis), of="baseline", **BASIS)

    def inputs(self, scales: dict[str, float], n_features: int, seed: int) -> np.ndarray:
        """Hidden units, [S, n_features], as many of every kind, of one mean square."""
        blocks = [
            self.hidden(kind, scale, n_features // len(scales), seed)
            for kind, scale in scales.items()
        ]
        return np.concatenate([b / b[: self.n_known].std(0).mean() for b in blocks], 1)

    def hidden(self, kind: str, scale: float, n_features: int, seed: int) -> np.ndarray:
        """Hidden units of atoms or of triplets, [S, n_features]."""
        basis, rows_of = Basis(**BASIS), features.KINDS[kind]
        units: list[features.Units] = []  # made when the first part is

        def make(part: Sequence[Structure]) -> np.ndarray:
            if not units:
                units.append(features.fit_units(rows_of(self.structures[:UNIT_STRUCTURES], basis)))
            rows = rows_of(part, basis)
            return features.hidden_sums(rows, units[0], len(part), n_features, scale, seed)

        told = BASIS | {"length_scale": scale, "n_features": n_features, "seed": seed}
        return self.kept(make, of=kind, **told)


def residuals(data: Data, parts: Split) -> tuple[np.ndarray, dict[str, float]]:
    """Energies less the linear baseline, [S] eV, and what the baseline is like."""
    fit = ridge(data.baseline(), data.energies, parts)
    left = data.energies - fit.predicted
    return left, {"penalty": fit.penalty, "test_rmse": rmse(left[parts.test], 0.0)}


def tune(data: Data, n_features: int) -> dict[str, Any]:
    """RMSE (eV) of all candidates on the last fifth, for which a set without tests is given."""
    valid = np.arange(data.n_known, len(data.structures))
    parts = Split(np.arange(data.n_known), valid, valid)
    targets, _ = residuals(data, parts)
    found: dict[str, Any] = {"structures": len(parts.train), "features": n_features, "basis": BASIS}
    for model, candidates in CANDIDATES.items():
        trials = []
        for chosen in candidates:
            fit = ridge(data.inputs(chosen, n_features, 0), targets, parts)
            trials.append({"length_scales": chosen, "valid_rmse": fit.valid_score})
            logger.info("%s %s: %.4f eV", model, chosen, fit.valid_score)
        best = int(np.argmin([trial["valid_rmse"] for trial in trials]))
        found[model] = {"chosen": candidates[best], "trials": trials}
    return found


def compare(data: Data, tuning: dict[str, Any], n_features: int, n_seeds: int) -> dict[str, Any]:
    """Errors of both models for every seed, and the interval of the gain."""
    errors: dict[str, list] = {model: [] for model in MODELS}
    runs = []
    for seed in range(n_seeds):
        parts = split(len(data.structures), seed)
        targets, run = residuals(data, parts)
        record: dict[str, Any] = {"seed": seed, "baseline": run}
        for model in MODELS:
            inputs = data.inputs(tuning[model]["chosen"], n_features, seed)
            fit = ridge(inputs, targets, parts)
            error = (fit.predicted - targets)[parts.test]
            errors[model].append(error)
            record[model] = {
                "columns": inputs.shape[1],
                "penalty": fit.penalty,
                "valid_rmse": fit.valid_score,
                "test_rmse": rmse(error, 0.0),
            }
            logger.info("seed %d, %s: %.4f eV", seed, model, record[model]["test_rmse"])
        runs.append(record)
    first, second = (np.array(errors[model]) for model in MODELS)
    sizes = {part: len(rows) for part, rows in split(len(data.structures), 0)._asdict().items()}
    mean = {model: float(np.mean([run[model]["test_rmse"] for run in runs])) for model in MODELS}
    return {
        "structures": sizes,
        "failures": sum(s.failures for s in data.structures),
        "runs": runs,
        "mean_rmse_eV": mean,
        "gain_eV": gain_intervals(first, second),
        "published_rmse_eV": PUBLISHED,
        "errors_eV": {
            m: np.round(e, 4).tolist() for m, e in zip(MODELS, (first, second), strict=True)
        },
    }


def draw(path: Path, found: dict[str, Any], sizes: np.ndarray) -> None:
    """Errors by seed, by size, and the bootstrap of the gain."""
    gain, mean = found["gain_eV"], found["mean_rmse_eV"]
    low, high = gain["structures_and_seeds"]
    note = (
        f"Every line on the left should fall from ν = 3 to triplets; the gain of "
        f"{gain['gain']:.4f} eV has an interval of {low:.4f} to {high:.4f} eV at 95 %."
    )
    with drawing(path, (13, 4), note) as figure:
        seeds, by_size, bootstrap = figure.subplots(1, 3)
        for run in found["runs"]:
            seeds.plot([NAMES[m] for m in MODELS], [run[m]["test_rmse"] for m in MODELS],
                       "o-", label=f"seed {run['seed']}")  # fmt: skip
        seeds.set(ylabel="RMSE on the test structures / eV", xlim=(-0.3, 1.3))
        seeds.legend(frameon=False)
        for model, color in zip(MODELS, ("0.5", "#2f5d8a"), strict=True):
            squares = np.square(found["errors_eV"][model]).mean(0)
            present = np.unique(sizes)
            roots = [np.sqrt(squares[sizes == n].mean()) for n in present]
            by_size.plot(present, roots, color=color, label=f"{NAMES[model]}: {mean[model]:.4f} eV")
        by_size.set(xlabel="atoms", ylabel="RMSE, mean over seeds / eV")
        by_size.legend(frameon=False)
        bootstrap.hist(gain["draws"], 60, color="#2f5d8a")
        bootstrap.axvline(0, color="0.5")
        bootstrap.set(xlabel="RMSE of ν = 3 less RMSE of triplets / eV", ylabel="bootstrap draws")


def run(
    structures: Sequence[Structure], scratch: Path, out: Path, tuning: dict[str, Any],
    n_features: int, n_seeds: int, force: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """The comparison; writes results.json and carbon.png."""
    settings = {"clusters": len(structures), "features": n_features, "seeds": n_seeds}
    settings |= {"basis": BASIS, "scales": {m: tuning[m]["chosen"] for m in MODELS}}
    result_of(out / "results.json", settings, force)
    data = Data(structures, scratch)
    found = {"settings": settings} | compare(data, tuning, n_features, n_seeds)
    tests = split(len(structures), 0).test
    draw(out / "carbon.png", found, features.sizes_of(structures)[tests])
    found["gain_eV"] = {k: v for k, v in found["gain_eV"].items() if k != "draws"}
    del found["errors_eV"]
    save_json(out / "results.json", found | provenance())
    return found


def main() -> None:
    """Tune if asked for, then compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--structures", type=int, help="the first so many; default: all")
    parser.add_argument("--features", type=int, default=N_FEATURES)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--scratch", type=Path, default=Path("paper-scratch/carbon"), metavar="DIR")
    add_result_options(parser, RESULTS)
    given = parser.parse_args()
    show_progress()
    structures, tuned = read()[: given.structures], RESULTS / "tuning.json"
    if not structures:
        raise InputError(f"{LABELS} does not exist; python -m experiments.paper.carbon.make")
    if given.tune:
        known = structures[: Data(structures, given.scratch).n_known]
        save_json(tuned, tune(Data(known, given.scratch), given.features) | provenance())
    if not tuned.is_file():
        raise InputError(f"{tuned} does not exist; give --tune")
    tuning = json.loads(tuned.read_text())
    if given.quick:
        out = given.scratch / "quick"
        found = run(structures[:400], given.scratch, out, tuning, 128, 2, given.force)
    else:
        found = run(
            structures, given.scratch, given.out, tuning, given.features, given.seeds, given.force
        )
    low, high = found["gain_eV"]["structures_and_seeds"]
    for model in MODELS:
        print(f"{NAMES[model]:10}{found['mean_rmse_eV'][model]:8.4f} eV")
    print(f"gain      {found['gain_eV']['gain']:8.4f} eV, 95 %: {low:.4f} to {high:.4f}")


if __name__ == "__main__":
    run_command(main)
