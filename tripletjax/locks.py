"""Folder locks: one run per folder, and removal of temporary files left by a killed run."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tripletjax.types import InputError


@contextmanager
def hold(folder: str | Path) -> Iterator[None]:
    """Lock a folder against other runs, if the system supports it; the lock ends with the process.

    The folder is created if it does not exist, and then removed if it is still empty at the end.

    Raises:
        InputError: another run has locked the folder, or it cannot be created.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as name, hold(name):
        ...     with hold(name):
        ...         pass
        Traceback (most recent call last):
        tripletjax.checks.InputError: another run writes to ...; wait for it, or give another folder
    """
    folder = Path(folder)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}") from error
    descriptor = _opened(folder)
    try:
        if descriptor is not None:
            _lock(descriptor, folder)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)
        for path in made:
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()


def _opened(folder: Path) -> int | None:
    try:
        return os.open(folder, os.O_RDONLY)
    except OSError:  # folders cannot be opened on Windows
        return None


def _lock(descriptor: int, folder: Path) -> None:
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(
            f"another run writes to {folder}; wait for it, or give another folder"
        ) from None
    except (ImportError, OSError):  # Windows; file systems without locks
        pass


def is_unfinished(path: Path) -> bool:
    """Whether a path is that of a temporary file or folder of an atomic write.

    Example:
        >>> is_unfinished(Path(".model.k3_x9q2a")), is_unfinished(Path(".hidden"))
        (True, False)
    """
    return re.fullmatch(r"\..+\.[a-z0-9_]{8}", path.name) is not None


def remove_unfinished(folder: str | Path) -> None:
    """Remove the temporary files and folders that a killed run left in its folder."""
    for path in filter(is_unfinished, list(Path(folder).iterdir())):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
