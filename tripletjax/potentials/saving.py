"""Writes a potential to a folder: its model as a record, its arrays beside it."""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from tripletjax.io import FolderFormat, atomic_folder
from tripletjax.potentials.records import UnknownModelError, of_record, to_record

FORMAT = FolderFormat(
    thing="model",
    source="the folder that training wrote",
    description="model.json",
    arrays="weights.safetensors",
    version=2,
)
log = logging.getLogger(__name__)


def save_potential(potential: Any, folder: str | Path, force: bool = False) -> None:
    """Write a potential to a folder, whole or not at all, for ``tripletjax.load``.

    Args:
        potential: a ``Potential`` of any model. A model that no record can hold, such as one made
            of a lambda, is to be given to ``load`` again; a warning says so.
        folder: new or empty, unless ``force`` is given.
        force: replace an earlier potential in the folder; other files stay.

    Raises:
        InputError: the folder holds files and ``force`` is not given, or cannot be written.
    """
    arrays: dict[str, np.ndarray] = {}
    references = potential.references
    record = {
        "model": to_record(potential.model, arrays, "model"),
        "weights": to_record(potential.weights, arrays, "weights"),
        "references_eV": None if references is None else list(references),
        "scale_eV": float(potential.scale),
    }
    try:
        of_record(record["model"], arrays)
    except UnknownModelError as error:
        log.warning("%s: give the model to load again, as load(folder, model=...)", error)
    with atomic_folder(folder, force, FORMAT.files) as new:
        FORMAT.write(new, record, arrays)
