"""The command ``evaluate``."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from tripletjax.checks import InputError
from tripletjax.commands.fit_options import named, report
from tripletjax.commands.label_options import labelled
from tripletjax.commands.parsing import Command, Parser, add_settings, add_x64
from tripletjax.commands.tensors import evaluate_tensor
from tripletjax.properties.fitting.config import TensorConfig
from tripletjax.training.config import LABEL_KEYS, TrainConfig

log = logging.getLogger(__name__)


def _add_options(parser: Parser) -> None:
    data = parser.add_argument_group("model and data")
    data.add_argument("model", metavar="DIR", help="any fit's folder, or zoo:NAME")
    data.add_argument("data", type=Path, metavar="XYZ", help="structures with labels")
    add_settings(data, named(TrainConfig.entries(), LABEL_KEYS), **dict.fromkeys(LABEL_KEYS, "KEY"))
    add_settings(data, named(TensorConfig.entries(), ["key"]), key="KEY")
    output = parser.add_argument_group("output")
    output.add_argument("--out", type=Path, metavar="JSON", help="file to write")
    add_x64(parser.add_argument_group("settings"))


def _run(arguments: argparse.Namespace) -> None:
    from tripletjax import load
    from tripletjax.io import require_writable
    from tripletjax.training import evaluate

    if arguments.out:
        require_writable(arguments.out)
    model = load(arguments.model)
    is_tensor = hasattr(model, "target")
    _require_read(arguments, LABEL_KEYS if is_tensor else ["key"], arguments.model)
    if is_tensor:
        key = getattr(arguments, "key", None)
        return evaluate_tensor(model, arguments.data, key, arguments.out)
    data = labelled(arguments.data, vars(arguments))
    log.info("evaluating %d structures", len(data.frames))
    report(arguments.data, evaluate(model, data.frames, data.labels), arguments.out)


def _require_read(arguments: argparse.Namespace, others: Sequence[str], place: str) -> None:
    """Raise InputError at the name of a label that is not evaluated."""
    for name in others:
        if name in arguments:
            raise InputError(
                f"invalid --{name.replace('_', '-')}: the fit in {place} is not one of these "
                "labels; leave it out"
            )


COMMAND = Command(
    "evaluate",
    "errors of a fit on labelled structures",
    "tripletjax evaluate fit test.xyz",
    _add_options,
    _run,
)
