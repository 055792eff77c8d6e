"""The command ``evaluate``."""

import argparse
import logging
from pathlib import Path

from tripletjax.commands.fit_options import named, print_line
from tripletjax.commands.label_options import KEYS, labelled
from tripletjax.commands.parsing import Command, Parser, add_settings, add_x64
from tripletjax.training.config import TrainConfig

log = logging.getLogger(__name__)


def _add_options(parser: Parser) -> None:
    data = parser.add_argument_group("model and data")
    data.add_argument("model", metavar="DIR", help="as tripletjax train wrote it, or zoo:NAME")
    data.add_argument("data", type=Path, metavar="XYZ", help="structures with labels")
    add_settings(data, named(TrainConfig.entries(), KEYS), **dict.fromkeys(KEYS, "KEY"))
    output = parser.add_argument_group("output")
    output.add_argument("--out", type=Path, metavar="JSON", help="file to write")
    add_x64(parser.add_argument_group("settings"))


def _run(arguments: argparse.Namespace) -> None:
    from tripletjax import load
    from tripletjax.io import require_writable, save_json
    from tripletjax.training import evaluate

    if arguments.out:
        require_writable(arguments.out)
    data = labelled(arguments.data, vars(arguments))
    log.info("evaluating %d structures", len(data.frames))
    found = evaluate(load(arguments.model), data.frames, data.labels)
    if arguments.out:
        save_json(arguments.out, found)
    print_line(arguments.data.name, found)


COMMAND = Command(
    "evaluate",
    "errors of a potential on labelled structures",
    "tripletjax evaluate fit test.xyz",
    _add_options,
    _run,
)
