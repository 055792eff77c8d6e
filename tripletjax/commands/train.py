"""The command ``train``."""

import argparse
from functools import partial

from tripletjax.commands.config_options import settled
from tripletjax.commands.fit_options import (
    add_fit_options,
    fit_arguments,
    print_errors,
    resumable,
)
from tripletjax.commands.label_options import KEYS, labelled
from tripletjax.commands.outcomes import precision
from tripletjax.commands.parsing import Command, Parser
from tripletjax.training.config import FitOptions, TrainConfig


def _add_options(parser: Parser) -> None:
    add_fit_options(parser, FitOptions(), TrainConfig(), KEYS)


def _run(arguments: argparse.Namespace) -> None:
    from tripletjax.io import require_unused
    from tripletjax.training import train, train_committee

    require_unused(arguments.out, arguments.force or arguments.resume)
    options, config = settled(arguments, FitOptions(), TrainConfig())
    fit = train
    if options.committee is not None:
        fit = partial(train_committee, size=options.committee)
    read = partial(labelled, names=config.flat())
    with precision(options.x64), resumable(arguments.out):
        _, record = fit(**fit_arguments(arguments, config, read))
    print_errors(record)


COMMAND = Command(
    "train",
    "fit a potential to energies, forces and stress",
    "tripletjax train --train train.xyz --test test.xyz --out fit --max-minutes 20",
    _add_options,
    _run,
)
