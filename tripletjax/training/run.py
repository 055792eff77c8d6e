"""From labelled structures to a fitted potential, and the folder with its results."""

import logging
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from tripletjax.devices import device_mesh
from tripletjax.io import provenance, save_json
from tripletjax.potentials.base import EnergyModel, Potential
from tripletjax.potentials.storage import COMMITTEE
from tripletjax.training.calibration import uncertainty_metrics
from tripletjax.training.config import TrainConfig
from tripletjax.training.consistency import warn_of_units
from tripletjax.training.data import Bucket, split_buckets
from tripletjax.training.energies import EnergyTask
from tripletjax.training.figures import loss_figure, parity_figure
from tripletjax.training.folder import LOSS, METRICS, PARITY, begun, claimed, keeper, run_settings
from tripletjax.training.kept_settings import save_settings
from tripletjax.training.laplace import laplace_committee
from tripletjax.training.loop import run_epochs
from tripletjax.training.metrics import compare
from tripletjax.training.parts import Dataset, named_parts
from tripletjax.training.shortcomings import warn_of_shortcomings
from tripletjax.training.starts import Choices, force_scale, starting_point
from tripletjax.training.step import Loss

log = logging.getLogger(__name__)


def train(
    data: Dataset,
    folder: str | Path | None = None,
    config: TrainConfig | None = None,
    *,
    valid: Dataset | None = None,
    test: Dataset | None = None,
    model: EnergyModel | None = None,
    start: Potential | None = None,
    loss: Loss | None = None,
    optimizer: optax.GradientTransformation | None = None,
    start_from: str | None = None,
    resume: bool = False,
    force: bool = False,
    show: bool = True,
) -> tuple[Potential, dict[str, Any]]:
    """Fit a potential and save it to a folder with its errors, history and figures.

    The folder contains ``model/``, ``settings.yaml``, ``metrics.json``, ``history.csv``,
    ``parity.png``, ``loss.png``, ``committee/`` for uncertainties and the checkpoint for
    ``resume``.

    Args:
        data: training structures; without ``valid`` a tenth of them is set aside.
        folder: output folder; must be unused, unless ``resume`` or ``force`` is set. None: nothing
            is written.
        config: settings; None: the defaults.
        valid, test: further structures.
        model: a custom energy model; None: the network of ``config.architecture``.
        start: a potential to start from instead of random weights; see ``fine_tuning``.
        loss: ``loss(potential, batch, labels)``, a number; ``labels`` are ``step.BatchLabels``, and
            like the potential given to it without reference energies. None: ``weighted_loss``.
        optimizer: an Optax transformation with its own learning rate; None: the default, with those
            of ``config``.
        start_from: the folder of ``start``, for ``settings.yaml``.
        resume: resume from the checkpoint in the folder, if there is one.
        force: replace an earlier fit in the folder; all other files are kept.
        show: whether to show a progress bar.

    Returns:
        The potential, and the record saved in ``metrics.json``.

    Raises:
        InputError: too few structures, species in ``valid`` or ``test`` that ``data`` lacks, a
            folder in use, a checkpoint of other settings, or a model or loss that cannot be used.
    """
    choices = Choices(model, start, loss, optimizer, start_from)
    options = data, config, valid, test, choices, resume, show
    with claimed(folder, force or resume) as place:
        return _train(place, *options)


def _train(
    folder: Path | None,
    data: Dataset,
    config: TrainConfig | None,
    valid: Dataset | None,
    test: Dataset | None,
    choices: Choices,
    resume: bool,
    show: bool,
) -> tuple[Potential, dict[str, Any]]:
    """``train`` in a locked folder."""
    data_of, config = named_parts(data, valid, test, config or TrainConfig())
    device_mesh(config.devices)  # raises an error if there are fewer
    data = data_of["train"]
    warn_of_units(*data)
    warn_of_shortcomings(*data)
    start = starting_point(data, config, choices)
    energies = np.array([label.energy for label in data.labels])
    marks = {"n_train": len(energies), "energy_sum": float(energies.sum())}
    settings = run_settings(config, folder is not None, **marks, **choices.settings())
    progress = begun(folder, start.weights, settings, resume, choices.optimizer)
    counts = {name: len(part.frames) for name, part in data_of.items()}
    log.info("preparing neighbour lists of %d structures", sum(counts.values()))
    parts = split_buckets(data_of, start)
    keep = keeper(folder, start, settings, progress)
    save_settings(folder, config, **choices.options())

    began = time.monotonic()
    task = EnergyTask(
        start,
        parts["train"],
        parts["valid"],
        config,
        force_scale(data),
        choices.loss,
        choices.optimizer,
    )
    log.info(
        "structures for training: %d, for validation: %d, for testing: %d",
        *(counts.get(name, 0) for name in ("train", "valid", "test")),
    )
    progress = run_epochs(task, config, progress, keep, show)
    log.info("fitted for %.0f s, excluding compilation", progress.seconds)
    potential = start.with_weights(jax.tree.map(np.asarray, progress.best.averaged))
    log.info("evaluating the fit")
    compared = {name: compare(potential, part) for name, part in parts.items()}
    compared["train"].warn_of_units("the training data")
    record: dict[str, Any] = {name: found.metrics() for name, found in compared.items()}
    record |= {
        "seconds": progress.seconds,
        "wall_seconds": time.monotonic() - began,
        "epochs": progress.epoch,
        "steps": int(progress.state.steps),
        "structures": {name: len(found.energy) for name, found in compared.items()},
        "settings": settings,
    } | provenance()
    if folder is not None:
        record |= _uncertainty(potential, parts, config, folder)
        save_json(folder / METRICS, record)
        parity_figure(folder / PARITY, compared)
        loss_figure(folder / LOSS, progress.history)
        log.info("the fit is in %s", folder)
    return potential, record


def _uncertainty(
    potential: Potential, parts: dict[str, list[Bucket]], config: TrainConfig, folder: Path
) -> dict[str, Any]:
    """Save the posterior of the last layer, if the model has one; returns its quality."""
    if not config.laplace_members or not hasattr(potential.model, "linear"):
        return {}
    log.info("computing uncertainties")
    committee = laplace_committee(
        potential, parts["train"], parts["valid"], config.laplace_members, seed=config.seed
    )
    committee.save(folder / COMMITTEE, force=True)
    others = {name: part for name, part in parts.items() if name != "train"}
    return {"uncertainty": uncertainty_metrics(committee, others)}
