"""The commands ``train-tensor`` and ``evaluate-tensor``; what is heavy is imported as they run."""

import argparse
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

TARGETS = ("dipole", "polarizability")


def add_train_tensor(commands, add_command: Callable) -> None:
    """``tripletjax train-tensor``."""
    parser = add_command(
        commands,
        "train-tensor",
        _train,
        "fit a model of dipoles or polarisabilities of molecules",
        "tripletjax train-tensor --target dipole --train train.xyz --test test.xyz --out fit",
    )
    parser.add_argument("--target", choices=TARGETS, required=True, help="e·Å, or Å³")
    parser.add_argument("--key", help="of the labels in info, if not the target's name")
    parser.add_argument("--no-charges", action="store_true", help="dipoles of atoms alone")
    add_fit_options(parser)


def _train(arguments: argparse.Namespace) -> None:
    from tripletjax.properties.fitting import fit_tensors

    target, charges = arguments.target, not arguments.no_charges
    read = partial(_labelled, target=target, key=arguments.key)
    with resumable(arguments.out):
        _, record = fit_tensors(target=target, charges=charges, **fit_arguments(arguments, read))
    print_errors(record, record["unit"])


def add_evaluate_tensor(commands, add_command: Callable) -> None:
    """``tripletjax evaluate-tensor``."""
    parser = add_command(
        commands,
        "evaluate-tensor",
        _evaluate,
        "errors of a model of dipoles or polarisabilities on labelled molecules",
        "tripletjax evaluate-tensor fit test.xyz",
    )
    parser.add_argument("model", type=Path, metavar="DIR", help="as train-tensor wrote it")
    parser.add_argument("data", type=Path, metavar="XYZ", help="structures with labels")
    parser.add_argument("--key", help="of the labels in info, if not the target's name")
    parser.add_argument("--out", type=Path, metavar="JSON", help="file to write")


def _evaluate(arguments: argparse.Namespace) -> None:
    from tripletjax.io import require_writable, save_json
    from tripletjax.properties.fitting import evaluate_tensors
    from tripletjax.properties.tensor_model import UNITS, load_tensor

    if arguments.out:
        require_writable(arguments.out)
    model = load_tensor(arguments.model)
    found = evaluate_tensors(model, _labelled(arguments.data, model.target, arguments.key))
    if arguments.out:
        save_json(arguments.out, found)
    print_line(arguments.data.name, found, UNITS[model.target])


def _labelled(path: Path, target: str, key: str | None):
    from tripletjax.properties.fitting import read_tensors

    frames = read_structures(path)
    with named_as_options("key"):
        return read_tensors(frames, target, key, str(path))
