"""Dipoles and polarisabilities of small molecules, on frames and on molecules never seen.

    python -m experiments.tensors.run [--epochs N] [--models M ...] [--out FOLDER]

Every model is written as its fit ends; a second run fits those that are missing.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from ase import Atoms

from tripletjax.data.sets import load_frames
from tripletjax.io import provenance, save_json, save_npz
from tripletjax.plotting import drawing
from tripletjax.potentials.network import Architecture
from tripletjax.properties.fitting import (
    TensorData,
    fit_tensors,
    predict_tensors,
    read_tensors,
    tensor_metrics,
)
from tripletjax.properties.tensor_model import UNITS, TensorModel
from tripletjax.training import TrainConfig

RESULTS = Path(__file__).parent / "results"
MODELS = {
    "dipole": ("dipole", True),
    "dipole, no charges": ("dipole", False),
    "polarizability": ("polarizability", False),
}
ARCHITECTURE = Architecture(cutoff=4.0)
EPOCHS = 120
EVERY, OFFSET = 5, 3  # of the molecules, in the order of the file, one in five is held out
COLORS = {"frames": "#2f5d8a", "molecules": "#dd8452"}


def split(frames: list[Atoms], seed: int = 0) -> dict[str, np.ndarray]:
    """Indices of the parts: held-out molecules, then 70, 10 and 20 % of the other frames."""
    names = [frame.info["name"] for frame in frames]
    held_out = list(dict.fromkeys(names))[OFFSET::EVERY]
    apart = np.isin(names, held_out)
    order = np.random.Generator(np.random.PCG64(seed)).permutation(np.flatnonzero(~apart))
    first, second = int(0.7 * len(order)), int(0.8 * len(order))
    parts = {"train": order[:first], "valid": order[first:second], "frames": order[second:]}
    return {k: np.sort(v) for k, v in parts.items()} | {"molecules": np.flatnonzero(apart)}


def fit(name: str, frames: list[Atoms], epochs: int, architecture: Architecture):
    """Fit one of MODELS; its record and the labels and predictions of the held-out parts."""
    target, charges = MODELS[name]
    data = read_tensors(frames, target)
    parts = {part: data.chosen(index) for part, index in split(frames).items()}
    config = TrainConfig(architecture=architecture, max_epochs=epochs)
    model, record = fit_tensors(
        parts["train"], target, config=config, valid=parts["valid"], charges=charges
    )
    pairs = {
        part: (parts[part].tensors, predict_tensors(model, parts[part].frames)) for part in COLORS
    }
    by_molecule = per_molecule(target, parts["molecules"], pairs["molecules"][1])
    result = {
        "structures": {part: len(chosen.frames) for part, chosen in parts.items()},
        "seconds": record["seconds"],
        "epochs": epochs,
        "unit": UNITS[target],
        "parameters": n_parameters(model),
        "train": record["train"],
        "valid": record["valid"],
        **{part: tensor_metrics(target, *pair) for part, pair in pairs.items()},
        "by_molecule": by_molecule,
        "settings": record["settings"],
    }
    return result, pairs


def per_molecule(target: str, data: TensorData, predicted: np.ndarray) -> dict[str, dict]:
    """Errors on each held-out molecule, beside the root mean square of its labels."""
    names = np.array([frame.info["name"] for frame in data.frames])
    found = {}
    for name in dict.fromkeys(names.tolist()):
        mine = names == name
        label = float(np.sqrt(np.mean(data.tensors[mine] ** 2)))
        found[name] = {"rms_label": label} | tensor_metrics(
            target, data.tensors[mine], predicted[mine]
        )
    return found


def n_parameters(model: TensorModel) -> int:
    """Number of fitted weights."""
    return int(sum(np.size(array) for array in model.weights.values()))


def figure(path: Path, points: dict[str, np.ndarray]) -> None:
    """One panel a model: predicted against labelled components of the held-out parts.

    Args:
        path: of the figure.
        points: labels and predictions [2, N, ...] by "model/part".
    """
    names = list(dict.fromkeys(key.split("/")[0] for key in points))
    note = "Points on the line are predicted exactly."
    with drawing(path, (4.2 * len(names), 4.6), note, dpi=110) as panels:
        axes = np.ravel(panels.subplots(1, len(names)))
        for axis, name in zip(axes, names, strict=True):
            for part, color in COLORS.items():
                label, predicted = points[f"{name}/{part}"].reshape(2, -1)
                axis.plot(label, predicted, ".", ms=3, color=color, label=f"unseen {part}")
            axis.axline((0, 0), slope=1, color="0.3", lw=0.8)
            quantity = f"component / {UNITS[MODELS[name][0]]}"
            axis.set(title=name, xlabel=f"GFN2-xTB {quantity}", ylabel=f"predicted {quantity}")
            axis.legend(loc="upper left", frameon=False)


def run(
    out: Path,
    models: list[str],
    epochs: int = EPOCHS,
    architecture: Architecture = ARCHITECTURE,
    frames: list[Atoms] | None = None,
) -> dict:
    """Fit the models that are missing in ``out``, and write the results and the figure."""
    frames = load_frames("molecules") if frames is None else frames
    out.mkdir(parents=True, exist_ok=True)
    path, points_path = out / "results.json", out / "points.npz"
    settings = {"epochs": epochs, "architecture": asdict(architecture), "frames": len(frames)}
    record = json.loads(path.read_text()) if path.exists() else {}
    points = dict(np.load(points_path)) if points_path.exists() else {}
    if record.get("settings") != json.loads(json.dumps(settings)):
        record, points = {"settings": settings, "models": {}}, {}
    for name in models:
        if name not in record["models"]:
            record["models"][name], pairs = fit(name, frames, epochs, architecture)
            for part, pair in pairs.items():
                points[f"{name}/{part}"] = np.stack(pair).astype(np.float32)
            save_npz(points_path, **points)
            save_json(path, record | provenance())
    figure(out / "parity.png", points)
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    record = run(arguments.out, arguments.models, arguments.epochs)
    for name, found in record["models"].items():
        for part in COLORS:
            errors = ", ".join(f"{k} {v:.4g}" for k, v in found[part].items())
            print(f"{name}, {part}: {errors}")


if __name__ == "__main__":
    main()
