"""The commands ``train-tensor`` and ``evaluate-tensor``."""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from tripletjax.checks import InputError
from tripletjax.commands.config_options import settled
from tripletjax.commands.fit_options import (
    add_fit_options,
    fit_arguments,
    named,
    named_as_options,
    print_errors,
    read_structures,
    report,
    resumable,
)
from tripletjax.commands.outcomes import precision
from tripletjax.commands.parsing import Command, Parser, add_settings, add_x64
from tripletjax.properties.fitting.config import TARGETS, TensorConfig, TensorOptions


def _add_fit(parser: Parser) -> None:
    add_fit_options(parser, TensorOptions(), TensorConfig(), ["key"])


def _fit(arguments: argparse.Namespace) -> None:
    from tripletjax.io import require_unused
    from tripletjax.properties.fitting import fit_tensors

    require_unused(arguments.out, arguments.force or arguments.resume)
    options, config = settled(arguments, TensorOptions(), TensorConfig())
    if options.target is None:
        raise InputError(f"the target is missing: give --target {' or '.join(TARGETS)}")
    chosen = {"target": options.target, "charges": options.charges}
    read = partial(_labelled, target=options.target, key=config.key)
    with precision(options.x64), resumable(arguments.out):
        files = fit_arguments(arguments, read, "data")
        _, record = fit_tensors(**files, **chosen, config=config)
    print_errors(record, record["unit"])


def _add_evaluation(parser: Parser) -> None:
    data = parser.add_argument_group("model and data")
    data.add_argument("model", type=Path, metavar="DIR", help="as train-tensor wrote it")
    data.add_argument("data", type=Path, metavar="XYZ", help="structures with labels")
    add_settings(data, named(TensorConfig.entries(), ["key"]), key="KEY")
    output = parser.add_argument_group("output")
    output.add_argument("--out", type=Path, metavar="JSON", help="file to write")
    add_x64(parser.add_argument_group("settings"))


def _evaluate(arguments: argparse.Namespace) -> None:
    from tripletjax.io import require_writable
    from tripletjax.properties.tensor_model import load_tensor

    if arguments.out:
        require_writable(arguments.out)
    key = getattr(arguments, "key", None)
    evaluate_tensor(load_tensor(arguments.model), arguments.data, key, arguments.out)


def evaluate_tensor(model: Any, path: Path, key: str | None, out: Path | None) -> None:
    """Print the errors of a model of tensors on a file, and write them."""
    from tripletjax.properties.fitting import evaluate_tensors
    from tripletjax.properties.tensor_model import UNITS

    found = evaluate_tensors(model, _labelled(path, model.target, key))
    report(path, found, out, UNITS[model.target])


def _labelled(path: Path, target: str, key: str | None):
    from tripletjax.properties.fitting import read_tensors

    frames = read_structures(path)
    with named_as_options("key"):
        return read_tensors(frames, target, key, str(path))


TRAIN = Command(
    "train-tensor",
    "fit a model of dipoles or polarisabilities of molecules",
    "tripletjax train-tensor --target dipole --train train.xyz --test test.xyz --out fit",
    _add_fit,
    _fit,
)
EVALUATE = Command(
    "evaluate-tensor",
    "errors of a model of dipoles or polarisabilities on labelled molecules",
    "tripletjax evaluate-tensor fit test.xyz",
    _add_evaluation,
    _evaluate,
)
