"""What the commands of experiments have in common: how they tell progress, and end on bad input."""

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from tripletjax.types import InputError


def run_command(main: Callable[[], None]) -> None:
    """Run a command; bad input is told in one line, with exit status 2."""
    try:
        main()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def add_result_options(parser: argparse.ArgumentParser, default: Path) -> None:
    """Where results go, and whether those of other settings are replaced."""
    parser.add_argument("--out", type=Path, default=default, metavar="DIR")
    parser.add_argument("--force", action="store_true", help="replace a result of other settings")


def show_progress() -> None:
    """Print what experiments log, and of JAX only warnings."""
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    logging.getLogger("jax").setLevel(logging.WARNING)
