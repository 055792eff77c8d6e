"""What the commands of experiments have in common: how they tell progress, and end on bad input."""

import logging
import sys
from collections.abc import Callable

from tripletjax.types import InputError


def run_command(main: Callable[[], None]) -> None:
    """Run a command; bad input is told in one line, with exit status 2."""
    try:
        main()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def show_progress() -> None:
    """Print what experiments log, and of JAX only warnings."""
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    logging.getLogger("jax").setLevel(logging.WARNING)
