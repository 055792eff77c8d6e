"""What the commands ``train`` and ``train-tensor`` share: options, and the errors printed."""

import argparse
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import Field
from pathlib import Path
from typing import Any

from ase import Atoms

from tripletjax.checks import InputError
from tripletjax.commands.config_options import add_config
from tripletjax.commands.parsing import Parser, add_settings
from tripletjax.settings import Settings
from tripletjax.training.config import TrainConfig, settings_text

log = logging.getLogger(__name__)

LARGE_FILE = 2**20  # bytes
SETTINGS = ("cutoff", "max_minutes", "max_epochs", "seed", "devices", "reference_energies")


def add_fit_options(
    parser: Parser,
    options: Settings,
    config: TrainConfig,
    keys: Sequence[str],
    template: Callable[[argparse.Namespace], str] | None = None,
) -> Any:
    """Data, folder and settings of a fit; returns the group of the settings.

    Args:
        parser: of the command.
        options, config: the defaults of its settings.
        keys: names of those settings that say where the labels are.
        template: as for ``add_config``; None: of these defaults.
    """
    entries = config.entries()
    data = parser.add_argument_group("data")
    data.add_argument("--train", type=Path, required=True, metavar="XYZ", help="structures to fit")
    data.add_argument(
        "--valid", type=Path, metavar="XYZ",
        help="structures for validation (default: a tenth of --train)",
    )  # fmt: skip
    data.add_argument("--test", type=Path, metavar="XYZ", help="for the errors reported")
    add_settings(data, named(entries, keys), **dict.fromkeys(keys, "KEY"))
    output = parser.add_argument_group("output")
    output.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    output.add_argument("--resume", action="store_true", help="resume from DIR's checkpoint")
    output.add_argument(
        "--force", action="store_true", help="replace an earlier fit in DIR; all other files stay"
    )
    settings = parser.add_argument_group(
        "settings", "These, and by --config many more, which --print-config explains."
    )
    add_config(settings, template or (lambda _: settings_text(config, options, parser.prog)))
    add_settings(settings, options.entries(), committee="M", start_from="DIR")
    add_settings(settings, named(entries, SETTINGS), reference_energies="H=E,O=E")
    return settings


def named(entries: Sequence[Field], names: Sequence[str]) -> list[Field]:
    """The settings of these names."""
    return [entry for entry in entries if entry.name in names]


def fit_arguments(
    arguments: argparse.Namespace, read: Callable[[Path], Any], data: str = "frames"
) -> dict[str, Any]:
    """The options as arguments of ``fit`` and ``fit_tensors``; the files are read.

    Args:
        arguments: from a parser with ``add_fit_options``.
        read: makes labelled data of a file.
        data: the argument for the data to fit.
    """
    files = {data: arguments.train, "valid": arguments.valid, "test": arguments.test}
    parts = {name: path if path is None else read(path) for name, path in files.items()}
    return parts | {
        "folder": arguments.out,
        "resume": arguments.resume,
        "force": arguments.force,
    }


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


def report(path: Path, errors: dict[str, float], out: Path | None, unit: str = "") -> None:
    """Print the errors on a file, and write them to another one; None: they are printed only."""
    from tripletjax.io import save_json

    if out:
        save_json(out, errors)
    print_line(path.name, errors, unit)


def print_line(name: str, errors: dict[str, float], unit: str = "") -> None:
    """The errors on some data, in one line."""
    texts = [
        f"{key} {value:.4g}" + (f" {unit}" if unit and not key.endswith("r2") else "")
        for key, value in errors.items()
    ]
    print(f"{name}: " + ", ".join(texts))
