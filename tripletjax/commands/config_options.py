"""Settings from a file and from options, in the commands that have ``--config``."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tripletjax.settings import Settings, divided, read_settings

Options = TypeVar("Options", bound=Settings)
Config = TypeVar("Config", bound=Settings)


def add_config(group: Any, template: Callable[[argparse.Namespace], str]) -> None:
    """``--config`` and ``--print-config``.

    Args:
        group: of a parser.
        template: makes the file of all settings with their defaults, from the options so far.
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

    def __init__(self, *, template: Callable[[argparse.Namespace], str], **options: Any):
        super().__init__(nargs=0, default=argparse.SUPPRESS, **options)
        self.template = template

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, *_: Any) -> None:
        sys.stdout.write(self.template(namespace))
        parser.exit()


def given_settings(arguments: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Those of the file by name, and where they come from, for messages."""
    source = "" if arguments.config is None else str(arguments.config)
    return read_settings(source) if source else {}, source


def settled(
    arguments: argparse.Namespace,
    options: Options,
    config: Config,
    read: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> tuple[Options, Config]:
    """Settings of the file, and of the options, which come first.

    Args:
        arguments: of a parser with ``add_config``.
        options, config: the defaults of settings, which have no names in common.
        read: turns what the file says into settings.
    """
    given, source = given_settings(arguments)
    given = read(given)
    names = {entry.name for kind in (options, config) for entry in kind.entries()}
    given |= {name: value for name, value in vars(arguments).items() if name in names}
    options, config = divided(given, options, config, source=source)
    return options, config
