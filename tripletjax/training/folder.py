"""The folder of a fit: resuming a run, and the files saved during a run."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import optax

from tripletjax.io import remove_own, require_unused, save_csv, to_json
from tripletjax.locks import hold, is_unfinished, remove_unfinished
from tripletjax.potentials.saving import FORMAT as POTENTIAL
from tripletjax.potentials.storage import FILES as OTHER_FILES
from tripletjax.potentials.storage import FIRST_COMMITTEE
from tripletjax.training.checkpoints import load_checkpoint, save_checkpoint
from tripletjax.training.config import TrainConfig
from tripletjax.training.kept_settings import SETTINGS
from tripletjax.training.loop import Progress, at_start

CHECKPOINT = "checkpoint.safetensors"
HISTORY, METRICS, PARITY, LOSS = "history.csv", "metrics.json", "parity.png", "loss.png"
CALIBRATION = "calibration.png"
OF_FIT = (
    *(SETTINGS, CHECKPOINT, HISTORY, METRICS, PARITY, LOSS, CALIBRATION),
    *(f"model/{name}" for name in (*POTENTIAL.files, *OTHER_FILES)),
    *(f"committee/{name}" for name in (*POTENTIAL.files, *FIRST_COMMITTEE.files)),
    *(f"committee/model/{name}" for name in POTENTIAL.files),  # of release 0.1
)
OWN = (*OF_FIT, *(f"member-[0-9]*/{name}" for name in OF_FIT))  # all files that a fit may write
# Settings that may differ when a run is resumed.
FREE = {"max_minutes", "checkpoint_minutes", "devices"}


@contextmanager
def claimed(folder: str | Path | None, may_hold_files: bool = False) -> Iterator[Path | None]:
    """The folder of a fit, for this run alone; None: nothing is written.

    Raises:
        InputError: the folder contains files and may not, or another run has locked it.
    """
    if folder is None:
        yield None
        return
    require_unused(folder, may_hold_files)
    with hold(folder):
        require_unused(folder, may_hold_files)  # another fit may have finished in the meantime
        yield Path(folder)


def run_settings(config: TrainConfig, saved: bool = True, **others: Any) -> dict[str, Any]:
    """The settings that must not change within a run, in the form in which JSON restores them.

    Raises:
        InputError: they are to be saved, and contain a Python function.
    """
    settings = asdict(config) | others
    return json.loads(to_json(settings)) if saved else settings


def begun(
    folder: Path | None,
    weights: Any,
    settings: dict[str, Any],
    resume: bool,
    optimizer: optax.GradientTransformation | None = None,
) -> Progress:
    """Initial progress with these weights, or with ``resume`` that of an existing folder.

    Raises:
        InputError: the checkpoint is missing, damaged, or has different settings.
    """
    start = at_start(weights, optimizer)
    if folder is None or not (resume and folder.is_dir()):
        return start
    whole = {path.name for path in folder.iterdir() if not is_unfinished(path)}
    if whole <= {SETTINGS}:  # killed before its first checkpoint
        return start
    like = start.state, start.best
    return Progress.resumed(load_checkpoint(folder / CHECKPOINT, like, settings, FREE))


def keeper(
    folder: Path | None, model: Any, settings: dict[str, Any], progress: Progress
) -> Callable[[Progress], None]:
    """A function that saves a checkpoint, the best ``model/`` and ``history.csv`` to the folder.

    Args:
        folder: an earlier fit is removed first, unless the run is resumed; None: nothing is saved.
        model: a dataclass with ``weights`` and ``save``.
        settings: from ``run_settings``.
        progress: from ``begun``.
    """
    if folder is None:
        return lambda progress: None
    if not int(progress.state.steps) and folder.is_dir():
        remove_own(folder, OWN)
    folder.mkdir(parents=True, exist_ok=True)
    remove_unfinished(folder)

    def keep(progress: Progress) -> None:
        save_checkpoint(folder / CHECKPOINT, progress.checkpoint(settings))
        if progress.history:  # there is no best model before the first validation
            replace(model, weights=progress.best.averaged).save(folder / "model", force=True)
            save_csv(folder / HISTORY, progress.history)

    return keep
