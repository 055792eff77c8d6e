"""From frames to a folder with a fitted potential and everything that is known of it."""

import json
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms

from tripletjax.io import provenance, require_unused, require_writable, save_csv, save_json
from tripletjax.neighbors import check_frames
from tripletjax.potential import Potential, untrained
from tripletjax.training.checkpoints import load_checkpoint, save_checkpoint
from tripletjax.training.config import TrainConfig
from tripletjax.training.consistency import warn_of_units
from tripletjax.training.data import make_buckets
from tripletjax.training.figures import loss_figure, parity_figure
from tripletjax.training.labels import Labels, fit_references
from tripletjax.training.laplace import laplace_committee, uncertainty_metrics
from tripletjax.training.loop import Progress, at_start, run_epochs
from tripletjax.training.metrics import compare
from tripletjax.types import InputError

CHECKPOINT = "checkpoint.safetensors"
log = logging.getLogger(__name__)


class Dataset(NamedTuple):
    """Structures with their labels."""

    frames: Sequence[Atoms]
    labels: Sequence[Labels]


def train(
    data: Dataset,
    folder: str | Path,
    config: TrainConfig | None = None,
    *,
    valid: Dataset | None = None,
    test: Dataset | None = None,
    resume: bool = False,
    force: bool = False,
    show: bool = True,
) -> tuple[Potential, dict[str, Any]]:
    """Fit a potential and write it to a folder with its errors, history and figures.

    The folder gets ``model/``, ``metrics.json``, ``history.csv``, ``parity.png``,
    ``loss.png``, ``committee/`` for uncertainties and the checkpoint from which ``resume`` goes on.

    Args:
        data: training structures; without ``valid`` a tenth of them is set aside.
        folder: to write; must be unused, unless ``resume`` or ``force`` is given.
        config: settings; None: the defaults.
        valid, test: further structures.
        resume: go on from the checkpoint in the folder, if there is one.
        force: replace what the folder holds.
        show: a progress bar.

    Returns:
        The potential, and the record that ``metrics.json`` holds.

    Raises:
        InputError: too few structures, species in ``valid`` or ``test`` that ``data`` lacks, a
            folder in use, or a checkpoint of other settings.
    """
    folder, config = Path(folder), config or TrainConfig()
    if resume:
        require_writable(folder, folder=True)
    else:
        require_unused(folder, force)
    for part in (data, valid, test):
        if part is not None:
            check_frames(part.frames)
    fitted_on, valid = split_dataset(data, valid, config.seed)
    warn_of_units(*fitted_on)
    config = config.settled(len(fitted_on.frames), sum(map(len, fitted_on.frames)))
    start = _starting_point(fitted_on, config)
    for part in (valid, test):
        if part is not None:
            start.require_known(part.frames)
    settings = _settings(config, fitted_on)
    progress = at_start(start)
    resumes = resume and folder.is_dir() and any(folder.iterdir())
    if resumes:
        progress = _resumed(folder, progress, settings)
    buckets = make_buckets(*fitted_on, start)
    valid_buckets = make_buckets(*valid, start)
    if not resumes and folder.is_dir():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)

    def keep(progress: Progress) -> None:
        save_checkpoint(folder / CHECKPOINT, progress.checkpoint(settings))
        if progress.history:  # until the first validation there is no best model
            replace(start, weights=progress.best).save(folder / "model", force=True)
            save_csv(folder / "history.csv", progress.history)

    began = time.monotonic()
    progress = run_epochs(start, buckets, valid_buckets, config, progress, keep, show)
    log.info("fitted for %.0f s, compilation apart", progress.seconds)
    potential = replace(start, weights=progress.best)
    parts = {"train": buckets, "valid": valid_buckets}
    if test is not None:
        parts["test"] = make_buckets(*test, start)
    compared = {name: compare(potential, part) for name, part in parts.items()}
    record = {name: found.metrics() for name, found in compared.items()}
    record |= {
        "seconds": progress.seconds,
        "wall_seconds": time.monotonic() - began,
        "epochs": progress.epoch,
        "steps": int(progress.state.steps),
        "structures": {name: len(found.energy) for name, found in compared.items()},
        "settings": settings,
    } | provenance()
    if config.laplace_members:
        committee = laplace_committee(
            potential, buckets, valid_buckets, config.laplace_members, seed=config.seed
        )
        committee.save(folder / "committee", force=True)
        record["uncertainty"] = uncertainty_metrics(
            committee, {name: part for name, part in parts.items() if name != "train"}
        )
    save_json(folder / "metrics.json", record)
    parity_figure(folder / "parity.png", compared)
    loss_figure(folder / "loss.png", progress.history)
    return potential, record


def split_dataset(data: Dataset, valid: Dataset | None, seed: int) -> tuple[Dataset, Dataset]:
    """Training and validation data: a tenth is set aside, at least one, unless ``valid`` is given.

    Raises:
        InputError: one structure alone.
    """
    count = len(data.frames)
    if valid is not None:
        return data, valid
    if count < 2:
        raise InputError(
            "one structure is too few: give at least two, or validation data with --valid"
        )
    order = np.random.Generator(np.random.PCG64(seed)).permutation(count)
    aside = max(1, count // 10)

    def chosen(index):
        return Dataset([data.frames[i] for i in index], [data.labels[i] for i in index])

    return chosen(np.sort(order[aside:])), chosen(np.sort(order[:aside]))


def _starting_point(data: Dataset, config: TrainConfig) -> Potential:
    """Random weights, reference energies by least squares and the scale of the forces."""
    species = np.unique(np.concatenate([frame.numbers for frame in data.frames]))
    energies = np.array([label.energy for label in data.labels])
    references = fit_references(data.frames, energies, species)
    forces = [label.forces for label in data.labels if label.forces is not None]
    if forces:
        scale = float(np.sqrt(np.mean(np.concatenate(forces) ** 2)))
    else:
        counts = np.stack([(f.numbers[:, None] == species).sum(0) for f in data.frames])
        scale = float(np.std((energies - counts @ references) / counts.sum(1)))
    return untrained(species, config.architecture, references, scale or 1.0, config.seed)


def _settings(config: TrainConfig, data: Dataset) -> dict[str, Any]:
    """What must be equal for a run to be the same, as JSON gives it back."""
    energies = np.array([label.energy for label in data.labels])
    settings = asdict(config) | {"n_train": len(energies), "energy_sum": float(energies.sum())}
    return json.loads(json.dumps(settings))


def _resumed(folder: Path, start: Progress, settings: dict[str, Any]) -> Progress:
    checkpoint = load_checkpoint(folder / CHECKPOINT, (start.state, start.best))
    before = checkpoint.record["settings"]
    free = {"max_minutes", "checkpoint_minutes"}
    changed = [k for k in settings if k not in free and settings[k] != before.get(k)]
    if changed:
        raise InputError(
            f"{folder} was begun with other settings ({', '.join(changed)}); give the same ones, "
            "or start again with --force"
        )
    return Progress.resumed(checkpoint)
