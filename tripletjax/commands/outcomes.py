"""Run a command: its exit status, one line for an error, and no side effects in Python."""

import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tripletjax.checks import ConvergenceError, InputError, SimulationError

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
STATUS = (
    "Exit status: 0 after success; 1 if a simulation blew up, an iteration did not converge or "
    "memory ran out; 2 if an argument, a file or a folder is invalid; 130 if interrupted."
)


def status_of(run: Callable[[Any], None], arguments: Any) -> int:
    """Run a command and return its exit status, after one line on standard error if it failed.

    Example:
        >>> status_of(print, "done")
        done
        0
    """
    try:
        run(arguments)
    except InputError as error:
        return _failed(error, BAD_INPUT)
    except (SimulationError, ConvergenceError) as error:
        return _failed(error, FAILED)
    except OSError as error:  # for example a full disk
        where = "" if error.filename is None else f"{error.filename}: "
        return _failed(where + (error.strerror or str(error)), BAD_INPUT)
    except MemoryError as error:
        return _failed(f"out of memory: {error}".removesuffix(": "), FAILED)
    except RuntimeError as error:  # XLA's own type comes with JAX, which may not be imported
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return _failed(f"out of memory: {str(error).splitlines()[0]}", FAILED)
    except KeyboardInterrupt as error:
        return _failed(str(error) or "interrupted; no output was written", INTERRUPTED)
    return 0


def _failed(reason: object, status: int) -> int:
    """Print a message as one line on standard error."""
    print(f"tripletjax: {' '.join(str(reason).split())}", file=sys.stderr)
    return status


@contextmanager
def settings(x64: bool) -> Iterator[None]:
    """Context with warnings and log records as lines on standard error, and JAX's precision."""
    root, log = logging.getLogger(), logging.getLogger("tripletjax")
    form = "%(message)s" if sys.stderr.isatty() else "%(asctime)s %(message)s"
    handler, level = logging.StreamHandler(sys.stderr), log.level
    handler.setFormatter(logging.Formatter(form, "%H:%M:%S"))
    adds = not root.handlers  # otherwise the caller's handlers show log records
    if adds:
        root.addHandler(handler)
    log.setLevel(logging.INFO)
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            with precision(x64):
                yield
        finally:
            log.setLevel(level)
            if adds:
                root.removeHandler(handler)


@contextmanager
def precision(x64: bool) -> Iterator[None]:
    """Context with JAX's x64 enabled for all threads; unchanged if not ``x64``."""
    if not x64:
        yield
        return
    import jax

    before = jax.config.values["jax_enable_x64"]
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


def _show_warning(message, *_: Any, **__: Any) -> None:
    print(f"tripletjax: warning: {' '.join(str(message).split())}", file=sys.stderr)
