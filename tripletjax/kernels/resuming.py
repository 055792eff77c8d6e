"""The state of conjugate gradients in one file, for resuming an interrupted fit.

The file is written atomically every few minutes and at Ctrl-C, and contains a digest. Its marks say
what was being solved: the same fit is resumed bit by bit, and rounding errors that differ, as with
another number of threads, only cost some iterations.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from logging import getLogger
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tripletjax.io import atomic_open
from tripletjax.kernels.iterative import State
from tripletjax.sealing import DamagedError, sealed, unsealed
from tripletjax.types import InputError

logger = getLogger(__name__)
FORMAT_VERSION = "1"
MINUTES = 3.0  # between files


def digest_of(*parts: Any) -> str:
    """SHA-256 of arrays and texts.

    Example:
        >>> digest_of(np.ones(2), "a") == digest_of(np.ones(2), "b")
        False
    """
    found = sha256()
    for part in parts:
        array = part if isinstance(part, str) else np.ascontiguousarray(part).tobytes()
        found.update(array.encode() if isinstance(array, str) else array)
    return found.hexdigest()


class Begun(NamedTuple):
    """A fit that may be resumed."""

    path: Path | None  # of its file; None: nothing is saved
    fit: str  # digest of data and settings
    state: State | None  # None: at the start
    system: str  # digest of what was solved


@contextmanager
def keeping(begun: Begun, system: str) -> Iterator[Callable[[State], None]]:
    """A function that saves the state it is given if some minutes have passed.

    Args:
        begun: the fit.
        system: digest of what is solved.
    """
    path, fit = begun.path, begun.fit
    last: list[State] = []
    saved = time.monotonic()

    def keep(state: State) -> None:
        nonlocal saved
        last[:] = [state]
        if time.monotonic() - saved >= 60 * MINUTES:
            save_state(path, state, fit, system)
            saved = time.monotonic()

    try:
        yield keep
    except KeyboardInterrupt:
        for state in last:
            save_state(path, state, fit, system)
        raise


def save_state(path: Path | None, state: State, fit: str, system: str) -> None:
    """Write the state, atomically; None: nothing is written."""
    if path is not None:
        arrays = {name: np.asarray(part) for name, part in state._asdict().items()}
        marks = {"format": FORMAT_VERSION, "fit": fit, "system": system}
        with atomic_open(path) as file:
            file.write(sealed(arrays, marks))


def begun_at(path: Path | None, fit: str, n_labels: int) -> Begun:
    """The fit in a file, or at its start if there is none.

    Raises:
        InputError: the file is damaged, or of a fit with other data or settings.
    """
    if path is None or not path.is_file():
        return Begun(path, fit, None, "")
    try:
        marks, arrays = unsealed(path.read_bytes(), ("format", "fit", "system"))
        state = State(**arrays)
    except (OSError, DamagedError, TypeError) as error:
        raise InputError(
            f"incomplete or corrupted checkpoint {path} ({error}); start again with force"
        ) from error
    if marks.get("format") != FORMAT_VERSION or marks.get("fit") != fit:
        raise InputError(
            f"{path.parent} was started with different settings or structures; use the same ones, "
            "or start again with force"
        )
    if state.weights.shape != (n_labels,):
        raise InputError(f"{path} belongs to another model; start again with force")
    logger.info("resuming after %d iterations", int(state.iteration))
    return Begun(path, fit, state, marks["system"])
