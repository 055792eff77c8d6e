"""Settings from a file and from options, in the commands that have ``--config``."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tripletjax.settings import Settings, divided, read_settings

Options = TypeVar("Options", bound=Settings)
Config = TypeVar("Config", bound=Settings)


def add_config(group: Any, template: Callable[[], str]) -> None:
    """``--config`` and ``--print-config``.

    Args:
        group: of a parser.
        template: makes the file of all settings with their defaults.
    """
    group.add_argument(
        "--config", type=Path, metavar="YAML",
        help="file of settings, such as settings.yaml of an earlier run; options come first",
    )  # fmt: skip
    group.add_argument(
        "--print-config", action=_Print, template=template,
        help="print such a file with all settings, their defaults and meanings, and exit",
    )  # fmt: skip


class _Print(argparse.Action):
    """As ``--help``: prints, and exits before anything else is required."""

    def __init__(self, *, template: Callable[[], str], **options: Any):
        super().__init__(nargs=0, default=argparse.SUPPRESS, **options)
        self.template = template

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        sys.stdout.write(self.template())
        parser.exit()


def settled(
    arguments: argparse.Namespace, options: Options, config: Config
) -> tuple[Options, Config]:
    """Settings of the file, and of the options, which come first.

    Args:
        arguments: of a parser with ``add_config``.
        options, config: the defaults of settings, which have no names in common.
    """
    source = "" if arguments.config is None else str(arguments.config)
    given = read_settings(source) if source else {}
    names = {entry.name for kind in (options, config) for entry in kind.entries()}
    given |= {name: value for name, value in vars(arguments).items() if name in names}
    options, config = divided(given, options, config, source=source)
    return options, config
