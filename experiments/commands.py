"""How the commands of experiments end when their input is not usable."""

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
