"""Progress of long tasks: a bar in a terminal, plain lines with the time in a log file."""

import sys
import time
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

SECONDS_A_LINE = 30.0
LINE = "{desc}{n_fmt} of {total_fmt} {unit}, {elapsed}{postfix}"


def progress_bar(iterable: Iterable[Any] | None = None, **options: Any) -> tqdm:
    """``tqdm.tqdm``, or ``Lines`` if stderr is not a terminal.

    A line is written at least every 30 seconds while the bar is updated, whenever
    ``set_postfix_str`` sets a new text, and at the end.

    Example:
        >>> [square**2 for square in progress_bar(range(3), disable=True)]
        [0, 1, 4]
    """
    kind = tqdm if sys.stderr.isatty() else Lines
    return kind(iterable, **options)


class Lines(tqdm):
    """A progress bar that appends lines with the time instead of redrawing itself."""

    def __init__(self, iterable: Iterable[Any] | None = None, **options: Any):
        options |= {"miniters": 0, "mininterval": SECONDS_A_LINE, "delay": 1e-9}
        if options.get("desc"):
            options["desc"] += ": "
        options["bar_format"] = options.get("bar_format", LINE).replace("|{bar:20}| ", "")
        self._shown: Any = None
        super().__init__(iterable, **options)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Append a line; called by tqdm when one is due, or with an empty line to clear the bar."""
        del pos
        if msg == "":
            return
        self._shown = self.n, self.postfix
        self.fp.write(f"{time.strftime('%H:%M:%S')} {msg or self}\n")
        self.fp.flush()

    def clear(self, nolock: bool = False) -> None:
        """Do nothing: lines are permanent."""

    def close(self) -> None:
        """Append the last line, unless it has been written."""
        if not self.disable and self._shown != (self.n, self.postfix):
            self.display()
        self.leave = False  # the last line has been written: tqdm has nothing to add
        super().close()
