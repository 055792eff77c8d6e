"""Files: frames, arrays with a JSON record; all writes are atomic."""

import csv
import io
import json
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import numpy as np

from tripletjax.checks import unsavable
from tripletjax.reading import iter_frames as iter_frames
from tripletjax.reading import read_frames as read_frames
from tripletjax.sealing import DamagedError, sealed, unsealed
from tripletjax.types import InputError


@contextmanager
def atomic_open(path: str | Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary file next to ``path``, renamed to it on success and removed on failure.

    Example:
        >>> import pathlib, tempfile
        >>> target = pathlib.Path(tempfile.mkdtemp()) / "a.txt"
        >>> with atomic_open(target, "w") as file:
        ...     _ = file.write("text")
        >>> target.read_text()
        'text'
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
    try:
        with naming(path):
            with os.fdopen(descriptor, mode) as file:
                yield file
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Add the name of the file to system errors without one, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def atomic_folder(
    path: str | Path, force: bool = False, own: Sequence[str] = ("*",)
) -> Iterator[Path]:
    """Fill a temporary folder next to ``path``, renamed to it on success and removed on failure.

    Args:
        path: the folder to create; may exist if it is empty, or with ``force``, which replaces the
            files that an earlier call wrote there.
        force: replace the files that match ``own`` and keep all others.
        own: patterns of the files that are written, relative to the folder, such as "*.json".

    Raises:
        InputError: the folder contains files, or cannot be written.

    Example:
        >>> import pathlib, tempfile
        >>> target = pathlib.Path(tempfile.mkdtemp()) / "out"
        >>> with atomic_folder(target) as folder:
        ...     _ = (folder / "a.txt").write_text("text")
        >>> sorted(p.name for p in target.iterdir())
        ['a.txt']
    """
    path = Path(path)
    require_unused(path, force)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
    filled, replaced = temporary / "new", temporary / "old"
    try:
        filled.mkdir()
        with naming(path):
            yield filled
        if path.exists():
            _keep_foreign(path, filled, own)
            os.replace(path, replaced)
        os.replace(filled, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _keep_foreign(old: Path, new: Path, own: Sequence[str]) -> None:
    """Copy the files that do not match ``own`` from the old folder to the new one."""
    for path in foreign_files(old, own):
        target = new / path.relative_to(old)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target, follow_symlinks=False)


def foreign_files(folder: str | Path, own: Sequence[str]) -> list[Path]:
    """Files in a folder, at any depth, whose path relative to it matches no pattern of ``own``.

    The * of a pattern matches any characters, including "/"; a temporary file of ``atomic_open`` is
    treated like the file that it would have become.

    Example:
        >>> import pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> for name in ("metrics.json", ".metrics.json.x1", "notes.txt"):
        ...     _ = (folder / name).write_text("")
        >>> [path.name for path in foreign_files(folder, ("metrics.json",))]
        ['notes.txt']
    """
    folder = Path(folder)
    files = (path for path in sorted(folder.rglob("*")) if path.is_symlink() or not path.is_dir())
    return [path for path in files if not _is_own(path.relative_to(folder), own)]


def remove_own(folder: str | Path, own: Sequence[str]) -> None:
    """Remove the files in a folder that match ``own``, and subfolders that are empty afterwards."""
    folder = Path(folder)
    foreign = set(foreign_files(folder, own))
    for path in list(folder.rglob("*")):
        if path not in foreign and (path.is_symlink() or path.is_file()):
            path.unlink()
            for parent in path.relative_to(folder).parents[:-1]:
                if not any((folder / parent).iterdir()):
                    (folder / parent).rmdir()


def _is_own(path: Path, own: Sequence[str]) -> bool:
    name = path.as_posix()
    unfinished = re.sub(r"(^|/)\.([^/]+)\.[^./]+$", r"\1\2", name)
    return any(fnmatchcase(n, pattern) for n in (name, unfinished) for pattern in own)


def require_unused(path: str | Path, force: bool = False) -> None:
    """Raise InputError if a folder cannot be written, or contains files and ``force`` is False."""
    require_writable(path, folder=True)
    if not force and Path(path).is_dir() and any(Path(path).iterdir()):
        raise InputError(
            f"{path} already holds files; give another folder, or replace them with force"
        )


def require_writable(path: str | Path, folder: bool = False) -> None:
    """Raise InputError, before any work, if a file (or folder) cannot be written to ``path``."""
    path = Path(path)
    wrong_kind = path.exists() and path.is_dir() != folder
    ancestor = next(p for p in (path, *path.absolute().parents) if p.exists())
    if not folder and ancestor == path:
        ancestor = path.absolute().parent
    if wrong_kind or not ancestor.is_dir() or not os.access(ancestor, os.W_OK | os.X_OK):
        kind = "folder" if folder else "file"
        raise InputError(f"{path} cannot be written as a {kind}; choose another path")


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def save_npz(path: str | Path, **arrays: Any) -> None:
    """Write arrays to a compressed .npz, atomically."""
    _write(path, lambda file: np.savez_compressed(file, **arrays))


def save_csv(path: str | Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows that have the same columns, atomically."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with atomic_open(path, "w") as file:
        file.write(text.getvalue())


def save_json(path: str | Path, record: dict[str, Any]) -> None:
    """Write a record as indented JSON, atomically."""
    _write(path, lambda file: file.write((to_json(record, indent=1) + "\n").encode()))


def to_json(record: Any, **options: Any) -> str:
    """``json.dumps`` that also accepts NumPy and JAX arrays and numbers, and paths.

    Example:
        >>> to_json({"n": np.int64(3), "x": np.float32(0.5), "v": np.ones(2)})
        '{"n": 3, "x": 0.5, "v": [1.0, 1.0]}'
    """
    return json.dumps(record, default=_plain, **options)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "__array__"):
        return np.asarray(value).tolist()
    if callable(value):
        raise unsavable(value)
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")


@dataclass(frozen=True, kw_only=True)
class FolderFormat:
    """The format of an object saved in a folder: a JSON record with a format version, and arrays.

    Example:
        >>> import pathlib, tempfile
        >>> form = FolderFormat(
        ...     thing="model", source="the folder of its fit",
        ...     description="model.json", arrays="weights.safetensors", version=1,
        ... )
        >>> with tempfile.TemporaryDirectory() as name:
        ...     form.write(pathlib.Path(name), {"scale": 2.0}, {"weights": np.ones(3)})
        ...     record, arrays = form.read(pathlib.Path(name))
        >>> record["scale"], arrays["weights"].shape
        (2.0, (3,))
    """

    thing: str  # name of the object in errors
    source: str  # the folder expected, as named in errors
    description: str  # name of the JSON file
    arrays: str  # name of the safetensors file
    version: int
    type: str | None = None  # entry of the record, if the file names are ambiguous

    @property
    def files(self) -> tuple[str, str]:
        """Names of the files that ``write`` writes and a later ``atomic_folder`` may replace."""
        return self.description, self.arrays

    def write(self, folder: Path, record: dict[str, Any], arrays: Mapping[str, Any]) -> None:
        """Write both files to an existing folder, such as that of ``atomic_folder``."""
        head = {"format": self.version} | ({} if self.type is None else {"type": self.type})
        text = (to_json(head | record, indent=1, ensure_ascii=False) + "\n").encode()
        (folder / self.description).write_bytes(text)
        (folder / self.arrays).write_bytes(sealed(arrays, beside=text))

    def inside(self, folder: Path) -> Path:
        """The folder, or ``model`` inside it if the files are there."""
        inner = folder / "model"
        is_inside = (inner / self.description).is_file()
        return inner if is_inside and not (folder / self.description).is_file() else folder

    def read(self, folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Read the record, without the entries added by ``write``, and the arrays by name.

        Raises:
            InputError: a file is missing, damaged, or has another version or type.
        """
        path = folder / self.description
        if not path.is_file():
            raise InputError(f"{folder} contains no {self.thing}: expected {self.source}")
        try:
            text = path.read_bytes()
            record = json.loads(text.decode())
            version, kind = record.pop("format"), record.pop("type", None)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path} is damaged ({_reason(error)}); copy the folder again"
            ) from error
        if kind != self.type:
            raise InputError(
                f"{path} is that of {kind or 'another kind of model'}, not of a {self.thing}; "
                f"give {self.source}"
            )
        if version != self.version:
            raise InputError(
                f"{path} has format {version}, this version of tripletjax reads {self.version}; "
                "use the version that wrote it, or make it again"
            )
        try:
            _, arrays = unsealed((folder / self.arrays).read_bytes(), beside=text)
        except (OSError, DamagedError) as error:
            raise InputError(
                f"{folder / self.arrays} is missing, damaged, or not that of {path.name} beside it "
                f"({_reason(error)}); make it again, or copy the whole folder again"
            ) from error
        return record, arrays

    @contextmanager
    def rebuilding(self, folder: Path) -> Iterator[None]:
        """Convert errors in building the object from its record and arrays to InputError."""
        try:
            yield
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise InputError(
                f"{folder / self.description} is damaged, or does not fit {self.arrays} beside it "
                f"({_reason(error)}); copy the complete folder again"
            ) from error


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"no entry {text}" if isinstance(error, KeyError) else text


def provenance() -> dict[str, Any]:
    """Versions and device, recorded with every result."""
    import jax

    packages = ("tripletjax", "jax", "jaxlib", "numpy", "scipy", "ase", "vesin")
    return {
        "versions": {"python": platform.python_version()} | {p: version(p) for p in packages},
        "device": jax.devices()[0].device_kind,
        "cores": os.cpu_count(),
    }


def checksum(tree: Any) -> str:
    """Checksum of the numbers in a pytree, independent of its containers and dtypes.

    Example:
        >>> checksum([1, 2.0]) == checksum((np.float32(1), 2))
        True
    """
    import jax

    leaves = (np.ascontiguousarray(leaf, dtype=np.float64) for leaf in jax.tree.leaves(tree))
    return sha256(b"".join(leaf.tobytes() for leaf in leaves)).hexdigest()[:16]


def _write(path: str | Path, write: Callable[[IO[bytes]], Any]) -> None:
    with atomic_open(path) as file:
        write(file)
