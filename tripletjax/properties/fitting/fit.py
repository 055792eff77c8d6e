"""From labelled molecules to a fitted model of dipoles or polarisabilities, and its folder."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tripletjax.io import provenance, save_json
from tripletjax.properties.fitting.config import TensorConfig, TensorOptions
from tripletjax.properties.fitting.labels import TensorData
from tripletjax.properties.fitting.metrics import tensor_metrics, tensor_parity
from tripletjax.properties.fitting.predictions import predict_tensors
from tripletjax.properties.fitting.task import TensorTask
from tripletjax.properties.tensor_model import UNITS, TensorModel, untrained_tensor
from tripletjax.structures import compositions
from tripletjax.training import fit_references
from tripletjax.training.config import TrainConfig, settings_text
from tripletjax.training.folder import METRICS, PARITY, begun, claimed, keeper, run_settings
from tripletjax.training.kept_settings import with_precision, write_settings
from tripletjax.training.loop import run_epochs
from tripletjax.training.parts import named_parts

log = logging.getLogger(__name__)


def fit_tensors(
    data: TensorData,
    target: str,
    folder: str | Path | None = None,
    config: TrainConfig | None = None,
    *,
    valid: TensorData | None = None,
    test: TensorData | None = None,
    charges: bool = True,
    resume: bool = False,
    force: bool = False,
    show: bool = True,
) -> tuple[TensorModel, dict[str, Any]]:
    """Fit a model of dipoles or polarisabilities, and save it with its errors.

    The loss is the mean pseudo-Huber norm of the error of a molecule divided by the model's scale;
    optimiser, schedule and averaging are those of potentials. The weights with the best validation
    score are kept.

    Args:
        data: training structures; without ``valid`` a tenth of them is set aside.
        target: "dipole" or "polarizability".
        folder: output folder for ``model/``, ``metrics.json``, ``history.csv``, ``parity.png`` and
            the checkpoint for ``resume``; must be unused, unless ``resume`` or ``force`` is set.
            None: nothing is written.
        config: settings; those of energy, forces and stress are ignored.
        valid, test: further structures.
        charges: whether a dipole has charges in addition to atomic dipoles.
        resume: resume from the checkpoint in the folder, if there is one.
        force: replace an earlier fit in the folder; all other files are kept.
        show: whether to show a progress bar.

    Returns:
        The model, and the record saved in ``metrics.json``.

    Raises:
        InputError: too few structures, unknown species, a folder in use, or a checkpoint with
            different settings.
    """
    options = data, target, config, valid, test, charges, resume, show
    with claimed(folder, force or resume) as place:
        return _train(place, *options)


def _train(
    folder: Path | None,
    data: TensorData,
    target: str,
    config: TrainConfig | None,
    valid: TensorData | None,
    test: TensorData | None,
    charges: bool,
    resume: bool,
    show: bool,
) -> tuple[TensorModel, dict[str, Any]]:
    """``fit_tensors`` in a locked folder."""
    parts, config = named_parts(data, valid, test, config or TrainConfig())
    data = parts["train"]
    start = _starting_point(data, target, config, charges)
    settings = run_settings(
        config,
        target=target,
        charges=start.charges,
        n_train=len(data.frames),
        label_sum=float(data.tensors.sum()),
    )
    progress = begun(folder, start.weights, settings, resume)
    log.info(
        "preparing neighbour lists of %d structures", sum(len(p.frames) for p in parts.values())
    )
    task = TensorTask(start, data, parts["valid"], config)
    keep = keeper(folder, start, settings, progress)
    chosen = with_precision(TensorOptions(target=target, charges=charges))
    command = "tripletjax train-tensor"
    write_settings(folder, settings_text(TensorConfig.of(config), chosen, command))
    progress = run_epochs(task, config, progress, keep, show)
    log.info("fitted for %.0f s, excluding compilation", progress.seconds)
    model = replace(start, weights=progress.best.averaged)
    log.info("evaluating the fit")
    compared = {
        name: (part.tensors, predict_tensors(model, part.frames)) for name, part in parts.items()
    }
    record: dict[str, Any] = {
        name: tensor_metrics(target, *pair) for name, pair in compared.items()
    }
    record |= {
        "target": target,
        "unit": UNITS[target],
        "seconds": progress.seconds,
        "epochs": progress.epoch,
        "structures": {name: len(part.frames) for name, part in parts.items()},
        "settings": settings,
    } | provenance()
    if folder is not None:
        save_json(folder / METRICS, record)
        tensor_parity(folder / PARITY, target, compared)
        log.info("the fit is in %s", folder)
    return model, record


def _starting_point(data: TensorData, target: str, config, charges: bool) -> TensorModel:
    """Random weights, least-squares references, and the scale of the residuals per √atom."""
    species = np.unique(np.concatenate([frame.numbers for frame in data.frames]))
    references, left = np.zeros(len(species)), data.tensors
    if target == "polarizability":
        mean = np.trace(data.tensors, axis1=1, axis2=2) / 3
        references = fit_references(data.frames, mean, species)
        explained = compositions(data.frames, species) @ references
        left = data.tensors - explained[:, None, None] * np.eye(3)
    atoms = np.mean([len(frame) for frame in data.frames])
    squared = np.mean(np.sum(left.reshape(len(left), -1) ** 2, -1))
    scale = float(np.sqrt(squared / atoms)) or 1.0
    architecture, seed = config.architecture, config.seed
    return untrained_tensor(target, species, architecture, references, scale, charges, seed)
