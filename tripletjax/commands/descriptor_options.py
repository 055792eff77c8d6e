"""Options shared by ``describe`` and ``audit``: the descriptor and its hyperparameters."""

import argparse
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from tripletjax.commands.parsing import Parser, add_settings, add_x64


def add_descriptor_options(parser: Parser) -> None:
    """Add options for the descriptor, its atoms and its hyperparameters."""
    from tripletjax.descriptors.kinds import KINDS
    from tripletjax.types import Hypers

    group = parser.add_argument_group("descriptor")
    group.add_argument(
        "--kind", default="fingerprint", choices=tuple(KINDS), metavar="KIND",
        help=f"{', '.join(KINDS)} (default: fingerprint)",
    )  # fmt: skip
    group.add_argument(
        "--centers", type=int, nargs="+", metavar="ATOM", help="atoms to describe, in every frame"
    )
    group.add_argument(
        "--species", nargs="+", metavar="SYMBOL", help="species channels, if not those that occur"
    )
    group.add_argument(
        "--contraction", type=Path, metavar="FILE", help="of kind correlations, as saved by Python"
    )
    add_x64(group)
    add_settings(parser.add_argument_group("hyperparameters"), fields(Hypers))


def chosen_hypers(arguments: argparse.Namespace, others: Sequence[str] = ()) -> dict[str, Any]:
    """The hyperparameters given, validated before any file is read, except for ``others``."""
    from tripletjax.descriptors.kinds import checked_hypers
    from tripletjax.types import Hypers

    known = {field.name for field in fields(Hypers)}
    given = {name: value for name, value in vars(arguments).items() if name in known}
    checked_hypers(arguments.kind, {k: v for k, v in given.items() if k not in others})
    return given


def chosen_contraction(arguments: argparse.Namespace):
    """The contraction from the file, if one is given."""
    from tripletjax.invariants.nice import load_contraction

    return arguments.contraction and load_contraction(arguments.contraction)
