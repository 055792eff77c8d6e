"""Ctrl-C during a fit: the step is finished and a checkpoint saved before the fit stops."""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)


@contextmanager
def noted_interrupts() -> Iterator[Callable[[], bool]]:
    """A function that returns whether Ctrl-C was pressed; a second Ctrl-C interrupts immediately.

    If another handler is installed, or in a thread other than the main one, nothing changes.
    """
    pressed: list[bool] = []
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: False
        return

    def note(*_: object) -> None:
        pressed.append(True)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        log.info("interrupted: saving a checkpoint; press Ctrl-C again to stop immediately")

    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
