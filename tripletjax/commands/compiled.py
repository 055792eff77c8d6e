"""Compiled programs, kept for later commands on the same machine."""

import hashlib
import os
import platform
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path

FOLDER = "JAX_COMPILATION_CACHE_DIR"
EVERYTHING = {  # small programs too: there are hundreds
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
DAYS = 30  # after which a program is compiled again, so that the folders do not grow forever
UNREADABLE = ".*persistent compilation cache entry"  # damaged, or the disk is full: JAX compiles


@contextmanager
def kept_programs() -> Iterator[None]:
    """Context in which JAX, if it is imported within, reads and writes compiled programs.

    ``JAX_COMPILATION_CACHE_DIR`` names another folder; empty, nothing is kept.
    """
    before = {name: os.environ.get(name) for name in (FOLDER, *EVERYTHING)}
    if before[FOLDER] is None:
        with suppress(OSError, RuntimeError):  # no home, or not to be written: compile every time
            os.environ.update(EVERYTHING | {FOLDER: str(_prepared(programs_folder()))})
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", UNREADABLE)
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def programs_folder() -> Path:
    """The user's folder of programs for this kind of processor, which others may not run.

    Example:
        >>> programs_folder().parent.name
        'tripletjax'
    """
    kind = hashlib.sha256(_processor().encode()).hexdigest()[:12]
    return _caches() / "tripletjax" / f"programs-{kind}"


def _caches() -> Path:
    """The folder for caches of this user."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _processor() -> str:
    """What the processor can do: that of the first core, as there may be hundreds."""
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:
        first = takewhile(str.strip, lines)
        return "".join(
            line for line in first if line.startswith(("flags", "Features", "model name"))
        )
    return f"{platform.machine()} {platform.processor()}"


def _prepared(folder: Path) -> Path:
    """The folder, created for this user alone; old and empty programs are removed from all."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    oldest = time.time() - DAYS * 24 * 3600
    for path in folder.parent.glob("programs-*/*"):
        with suppress(OSError):  # another command may have removed it
            found = path.stat()
            if found.st_mtime < oldest or not found.st_size:
                path.unlink()
    if not os.access(folder, os.W_OK):
        raise PermissionError(folder)
    return folder
