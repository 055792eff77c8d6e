"""The settings of a fit in its folder, with which the command that made it repeats it."""

from pathlib import Path
from typing import Any

import numpy as np

from tripletjax.io import atomic_open
from tripletjax.neighbors import float_type
from tripletjax.settings import Settings
from tripletjax.training.config import FitOptions, TrainConfig, settings_text

SETTINGS = "settings.yaml"


def save_settings(folder: Path | None, config: TrainConfig, **options: Any) -> None:
    """Write ``settings.yaml``, with which ``tripletjax train --config`` repeats the fit.

    Args:
        folder: of the fit; None: nothing is written.
        config: settings.
        **options: those of ``FitOptions``, but for the precision, which is JAX's at present.
    """
    if folder is not None:
        write_settings(folder, settings_text(config, with_precision(FitOptions(**options))))


def with_precision(options: Settings) -> Any:
    """The options of a run with JAX's precision at present."""
    return options.with_settings({"x64": float_type(None) == np.float64})


def write_settings(folder: Path | None, text: str) -> None:
    """Write ``settings.yaml``, atomically; None: nothing is written."""
    if folder is not None:
        with atomic_open(folder / SETTINGS) as file:
            file.write(text.encode())
