"""From frames to a folder with a fitted potential and everything that is known of it."""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from ase import Atoms

from tripletjax.io import provenance, require_unused, save_json
from tripletjax.locks import hold
from tripletjax.potentials.base import Potential, untrained
from tripletjax.potentials.network import LAST_LAYER
from tripletjax.training.config import TrainConfig
from tripletjax.training.consistency import warn_of_units
from tripletjax.training.data import make_buckets
from tripletjax.training.energies import EnergyTask
from tripletjax.training.figures import loss_figure, parity_figure
from tripletjax.training.folder import LOSS, METRICS, PARITY, begun, keeper, run_settings
from tripletjax.training.labels import Labels
from tripletjax.training.laplace import laplace_committee, uncertainty_metrics
from tripletjax.training.loop import run_epochs
from tripletjax.training.metrics import compare
from tripletjax.training.parts import named_parts
from tripletjax.training.references import reference_energies

log = logging.getLogger(__name__)


class Dataset(NamedTuple):
    """Structures with their labels."""

    frames: Sequence[Atoms]
    labels: Sequence[Labels]

    def chosen(self, index: np.ndarray) -> "Dataset":
        """Some of the structures."""
        return Dataset([self.frames[i] for i in index], [self.labels[i] for i in index])


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
        force: replace an earlier fit in the folder; all other files stay.
        show: a progress bar.

    Returns:
        The potential, and the record that ``metrics.json`` holds.

    Raises:
        InputError: too few structures, species in ``valid`` or ``test`` that ``data`` lacks, a
            folder in use, or a checkpoint of other settings.
    """
    require_unused(folder, force or resume)
    with hold(folder):
        require_unused(folder, force or resume)  # another fit may have ended meanwhile
        return _train(data, Path(folder), config, valid, test, resume, show)


def _train(
    data: Dataset,
    folder: Path,
    config: TrainConfig | None,
    valid: Dataset | None,
    test: Dataset | None,
    resume: bool,
    show: bool,
) -> tuple[Potential, dict[str, Any]]:
    """``train`` in a folder that no other run writes to."""
    data_of, config = named_parts(data, valid, test, config or TrainConfig())
    data = data_of["train"]
    warn_of_units(*data)
    start = starting_point(data, config)
    energies = np.array([label.energy for label in data.labels])
    settings = run_settings(config, n_train=len(energies), energy_sum=float(energies.sum()))
    progress = begun(folder, start.weights, settings, resume)
    counts = {name: len(part.frames) for name, part in data_of.items()}
    log.info("preparing neighbour lists of %d structures", sum(counts.values()))
    parts = {name: make_buckets(*part, start) for name, part in data_of.items()}
    keep = keeper(folder, start, settings, progress)

    began = time.monotonic()
    task = EnergyTask(start, parts["train"], parts["valid"], config)
    log.info(
        "to fit: %d structures; to validate: %d, to test: %d",
        *(counts.get(name, 0) for name in ("train", "valid", "test")),
    )
    progress = run_epochs(task, config, progress, keep, show)
    log.info("fitted for %.0f s, compilation apart", progress.seconds)
    potential = replace(start, weights=progress.best.averaged)
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
    if config.laplace_members:
        log.info("computing uncertainties")
        committee = laplace_committee(
            potential, parts["train"], parts["valid"], config.laplace_members, seed=config.seed
        )
        committee.save(folder / "committee", force=True)
        record["uncertainty"] = uncertainty_metrics(
            committee, {name: part for name, part in parts.items() if name != "train"}
        )
    save_json(folder / METRICS, record)
    parity_figure(folder / PARITY, compared)
    loss_figure(folder / LOSS, progress.history)
    log.info("the fit is in %s", folder)
    return potential, record


def starting_point(data: Dataset, config: TrainConfig) -> Potential:
    """Reference energies, the scale of the forces, and random weights.

    The last layer is zero: random energies at the start would stay where few data correct them.
    """
    species = np.unique(np.concatenate([frame.numbers for frame in data.frames]))
    energies = np.array([label.energy for label in data.labels])
    references = reference_energies(data.frames, energies, species, config.reference_energies)
    forces = [label.forces for label in data.labels if label.forces is not None]
    if forces:
        scale = float(np.sqrt(np.mean(np.concatenate(forces) ** 2)))
    else:
        counts = np.stack([(f.numbers[:, None] == species).sum(0) for f in data.frames])
        scale = float(np.std((energies - counts @ references) / counts.sum(1)))
    start = untrained(species, config.architecture, references, scale or 1.0, config.seed)
    nothing = {name: jnp.zeros_like(start.weights[name]) for name in LAST_LAYER}
    return replace(start, weights=start.weights | nothing)
