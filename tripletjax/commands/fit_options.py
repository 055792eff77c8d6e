"""What the commands ``train`` and ``train-tensor`` share: options, and the errors printed."""

import argparse
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ase import Atoms

from tripletjax.types import InputError

log = logging.getLogger(__name__)

LARGE_FILE = 2**20  # bytes
SETTINGS = ("cutoff", "max_minutes", "max_epochs", "seed", "reference_energies")


def add_fit_options(parser: argparse.ArgumentParser) -> None:
    """Data, folder and settings of a fit."""
    parser.add_argument("--train", type=Path, required=True, metavar="XYZ", help="to fit")
    parser.add_argument("--valid", type=Path, metavar="XYZ", help="default: a tenth of --train")
    parser.add_argument("--test", type=Path, metavar="XYZ", help="for the errors reported")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--config", type=Path, metavar="YAML", help="settings, as 'name: value'")
    parser.add_argument("--cutoff", type=float, help="Å")
    parser.add_argument(
        "--max-minutes", type=float, help="stop after this many minutes, compilation apart"
    )
    parser.add_argument("--max-epochs", type=int, help="stop after this many epochs")
    parser.add_argument("--seed", type=int, help="of weights, order and validation split")
    parser.add_argument("--resume", action="store_true", help="resume from DIR's checkpoint")
    parser.add_argument(
        "--force", action="store_true", help="replace an earlier fit in DIR; all other files stay"
    )


def fit_arguments(arguments: argparse.Namespace, read: Callable[[Path], Any]) -> dict[str, Any]:
    """The options as arguments of ``train`` and ``fit_tensors``; files are read last.

    Args:
        arguments: from a parser with ``add_fit_options``.
        read: makes labelled data of a file.
    """
    from tripletjax.io import require_unused

    require_unused(arguments.out, arguments.force or arguments.resume)
    config = chosen_config(arguments)
    files = {"data": arguments.train, "valid": arguments.valid, "test": arguments.test}
    data = {name: path if path is None else read(path) for name, path in files.items()}
    options = {"folder": arguments.out, "resume": arguments.resume, "force": arguments.force}
    return data | options | {"config": config}


def chosen_config(arguments: argparse.Namespace):
    """``TrainConfig`` of the file of settings and of the options, which come first."""
    from tripletjax.training import TrainConfig, read_config

    settings = read_config(arguments.config) if arguments.config else {}
    chosen = {name: getattr(arguments, name, None) for name in SETTINGS}
    settings |= {name: value for name, value in chosen.items() if value is not None}
    return TrainConfig().with_settings(settings, str(arguments.config or "settings"))


@contextmanager
def named_as_options(*arguments: str) -> Iterator[None]:
    """Errors name the options of a command in place of a function's arguments: --energy-key."""
    try:
        yield
    except InputError as error:
        pattern = rf"\b({'|'.join(arguments)})\b(?=[=;,. ]|$)"
        message = re.sub(pattern, lambda m: "--" + m[1].replace("_", "-"), str(error))
        raise InputError(message) from error


@contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """Ctrl-C says how to go on, if there is a checkpoint in the folder or in one of its members."""
    from tripletjax.training.folder import CHECKPOINT

    try:
        yield
    except KeyboardInterrupt:
        if folder.is_dir() and any(folder.rglob(CHECKPOINT)):
            raise KeyboardInterrupt(
                f"interrupted; the fit so far is in {folder}: give the same command with --resume "
                "to go on"
            ) from None
        raise


def read_structures(path: Path) -> list[Atoms]:
    """``read_frames``; large files are announced."""
    from tripletjax.io import read_frames

    if path.is_file() and path.stat().st_size > LARGE_FILE:
        log.info("reading %s", path)
    return read_frames(path)


def print_errors(record: dict[str, Any], unit: str = "") -> None:
    """A line of errors for each part of the data in a record; R² has no unit."""
    for name in ("train", "valid", "test"):
        if name in record:
            print_line(name, record[name], unit)


def print_line(name: str, errors: dict[str, float], unit: str = "") -> None:
    """The errors on some data, in one line."""
    texts = [
        f"{key} {value:.4g}" + (f" {unit}" if unit and not key.endswith("r2") else "")
        for key, value in errors.items()
    ]
    print(f"{name}: " + ", ".join(texts))
