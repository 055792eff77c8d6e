"""Several fits with different seeds, and their committee."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optax

from tripletjax.io import remove_own, save_json
from tripletjax.potentials.base import EnergyModel, Potential
from tripletjax.potentials.committee import committee_of
from tripletjax.training.calibration import calibrate, uncertainty_metrics
from tripletjax.training.config import TrainConfig
from tripletjax.training.data import split_buckets
from tripletjax.training.folder import METRICS, OWN, claimed
from tripletjax.training.kept_settings import save_settings
from tripletjax.training.parts import Dataset, named_parts
from tripletjax.training.run import train
from tripletjax.training.starts import Choices, starting_point
from tripletjax.training.step import Loss
from tripletjax.types import as_integer

log = logging.getLogger(__name__)


def train_committee(
    data: Dataset,
    folder: str | Path,
    size: int,
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
    announce: Callable[[str], Any] = log.info,
) -> tuple[Potential, dict[str, Any]]:
    """Fit ``size`` potentials to the same data, one by one, with consecutive seeds.

    The folder contains ``member-0``, ``member-1``, ..., each as written by ``train``, ``model``
    (the first member), ``committee`` (all, calibrated on validation data) and ``metrics.json``.

    Args:
        data, config, valid, test, model, start, loss, optimizer, start_from: as for ``train``;
            the members share ``max_minutes`` equally.
        folder: output folder; must be unused, unless ``resume`` or ``force`` is set.
        size: number of members, at least two.
        resume: keep finished members, and resume the others from their checkpoints.
        force: replace an earlier fit in the folder; all other files are kept.
        show: whether to show a progress bar.
        announce: called with a line before each member.

    Raises:
        InputError: as for ``train``, or fewer than two members.
    """
    size = as_integer("committee", size, 2)
    choices = Choices(model, start, loss, optimizer, start_from)
    chosen = config or TrainConfig()
    config = replace(chosen, laplace_members=0)
    if config.max_minutes is not None:
        config = replace(config, max_minutes=config.max_minutes / size)
    with claimed(folder, force or resume):
        parts, _ = named_parts(data, valid, test, config)
        if force and not resume:
            # Keeps the earlier fit if this fails.
            starting_point(parts["train"], config, choices)
            remove_own(folder, OWN)
        options = {"resume": resume, "force": force, "show": show} | choices._asdict()
        found = _train_committee(parts, Path(folder), size, config, announce, options)
        save_settings(Path(folder), chosen, committee=size, **choices.options())
        return found


def _train_committee(
    data_of: dict[str, Dataset],
    folder: Path,
    size: int,
    config: TrainConfig,
    announce: Callable[[str], Any],
    options: dict[str, Any],
) -> tuple[Potential, dict[str, Any]]:
    """``train_committee`` in a locked folder."""
    potentials, records = [], []
    minutes = "" if config.max_minutes is None else f", for {config.max_minutes:.3g} minutes"
    for member in range(size):
        announce(f"member {member + 1} of {size}{minutes}")
        settings, place = replace(config, seed=config.seed + member), folder / f"member-{member}"
        others = {name: data_of.get(name) for name in ("valid", "test")}
        potential, record = train(data_of["train"], place, settings, **others, **options)
        potentials.append(potential)
        records.append(record)
    potentials[0].save(folder / "model", force=True)
    log.info("calibrating the uncertainties of the committee")
    apart = {name: part for name, part in data_of.items() if name != "train"}
    parts = split_buckets(apart, potentials[0])
    committee = calibrate(committee_of(potentials), parts["valid"])
    committee.save(folder / "committee", force=True)
    summary = {
        "members": [{name: r[name] for name in ("valid", "test") if name in r} for r in records],
        "uncertainty": uncertainty_metrics(committee, parts),
        "seconds": sum(record["seconds"] for record in records),
    }
    save_json(folder / METRICS, records[0] | summary)
    log.info("the committee is in %s", folder)
    return committee, records[0] | summary
