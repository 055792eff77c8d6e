"""The commands ``train`` and ``evaluate``; what is heavy is imported when they run."""

import argparse
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tripletjax.commands.fit_options import (
    add_fit_options,
    fit_arguments,
    named_as_options,
    print_errors,
    print_line,
    read_structures,
    resumable,
)

log = logging.getLogger(__name__)

KEYS = ("energy", "forces", "stress", "virial")


def add_train(commands, add_command: Callable) -> None:
    """``tripletjax train``."""
    parser = add_command(
        commands,
        "train",
        _train,
        "fit a potential to energies, forces and stress",
        "tripletjax train --train train.xyz --test test.xyz --out fit --max-minutes 20",
    )
    add_fit_options(parser)
    parser.add_argument(
        "--committee",
        type=int,
        metavar="M",
        help="fit M potentials, for uncertainties; they share --max-minutes equally",
    )
    parser.add_argument(
        "--reference-energies",
        metavar="H=E,O=E",
        help="energies of single atoms, eV, or 'isolated': those of structures of one atom; "
        "default: by least squares",
    )
    _add_keys(parser)


def _train(arguments: argparse.Namespace) -> None:
    from tripletjax.training import train, train_committee

    fit = train
    if arguments.committee is not None:
        fit = partial(train_committee, size=arguments.committee)
    read = partial(_labelled, arguments=arguments)
    with resumable(arguments.out):
        _, record = fit(**fit_arguments(arguments, read))
    print_errors(record)


def add_evaluate(commands, add_command: Callable) -> None:
    """``tripletjax evaluate``."""
    parser = add_command(
        commands, "evaluate", _evaluate,
        "errors of a potential on labelled structures", "tripletjax evaluate fit test.xyz",
    )  # fmt: skip
    parser.add_argument("model", type=Path, metavar="DIR", help="as tripletjax train wrote it")
    parser.add_argument("data", type=Path, metavar="XYZ", help="structures with labels")
    parser.add_argument("--out", type=Path, metavar="JSON", help="file to write")
    _add_keys(parser)


def _evaluate(arguments: argparse.Namespace) -> None:
    from tripletjax.io import require_writable, save_json
    from tripletjax.potentials.storage import load
    from tripletjax.training import evaluate

    if arguments.out:
        require_writable(arguments.out)
    data = _labelled(arguments.data, arguments)
    log.info("evaluating %d structures", len(data.frames))
    found = evaluate(load(arguments.model), data.frames, data.labels)
    if arguments.out:
        save_json(arguments.out, found)
    print_line(arguments.data.name, found)


def _add_keys(parser: argparse.ArgumentParser) -> None:
    for name in KEYS:
        unit = " (eV; stress = -virial/volume)" if name == "virial" else ""
        parser.add_argument(
            f"--{name}-key", metavar="KEY", help=f"of the {name}{unit}, if not ASE's"
        )


def _labelled(path: Path, arguments: argparse.Namespace):
    from tripletjax.training import Dataset, read_labels

    frames = read_structures(path)
    keys = {f"{name}_key": getattr(arguments, f"{name}_key") for name in KEYS}
    with named_as_options(*keys):
        return Dataset(frames, read_labels(frames, **keys, source=str(path)))
