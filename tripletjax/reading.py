"""Read structures from a file, one at a time; errors name the file and the frame."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import numpy as np
from ase import Atoms
from ase.io import iread
from ase.io.formats import UnknownFileTypeError, filetype, get_ioformat, open_with_compression

from tripletjax.extended_xyz import read_extended_xyz, reason
from tripletjax.pairs import check_spots
from tripletjax.structures import check_frame
from tripletjax.types import InputError

XYZ = re.compile(r"\.(ext)?xyz(\.(gz|bz2|xz))?$", re.IGNORECASE)
HEAVIEST = 118


def read_frames(path: str | Path) -> list[Atoms]:
    """Read all structures from a file in any format that ASE reads; see ``iter_frames``.

    Raises:
        InputError: the file is missing or empty, or a frame cannot be read or used.
    """
    return list(iter_frames(path))


def iter_frames(path: str | Path) -> Iterator[Atoms]:
    """Read the structures of a file one at a time, so that long files need little memory.

    The name is taken literally: @ and * have no special meaning. In extended xyz, D and T are read
    as H with the masses of deuterium and tritium.

    Args:
        path: a file in any format that ASE reads, such as extended xyz.

    Raises:
        InputError: the file is missing or empty, or a frame cannot be read (in extended xyz the
            line is named too) or is invalid: no atoms, unknown elements, positions that are not
            finite, two atoms that coincide, a singular cell.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "water@300K.xyz"
        >>> _ = path.write_text("2\\n\\nD 0 0 0\\nH 0 0 1\\n1\\n\\nO 0 0 0\\n")
        >>> [(str(f.symbols), f.get_masses().round(3).tolist()) for f in iter_frames(path)]
        [('H2', [2.014, 1.008]), ('O', [15.999])]
    """
    path = Path(path)
    name = printable(path)
    if not path.is_file():
        raise InputError(f"{name} is not a file: expected structures, for example in extended xyz")
    if path.stat().st_size == 0:
        raise InputError(f"{name} is empty: expected at least one structure")
    index = -1
    for index, frame in enumerate(_read(path, name)):
        where = f"{name}, frame {index}"
        check_frame(frame, where)
        check_elements(frame, where)
        check_labels(frame, where)
        check_spots(frame, where)
        yield frame
    if index < 0:
        raise InputError(f"{name} contains no structures: expected at least one")


def _read(path: Path, name: str) -> Iterator[Atoms]:
    """Read frames in the format of the file; a damaged file raises InputError."""
    index = 0
    place = str(path.absolute())  # names such as - or postgres.xyz have a meaning in ASE
    try:
        if _is_extended_xyz(place):
            with cast(IO[bytes], open_with_compression(place, "rb")) as file:
                yield from read_extended_xyz(file, name)
            return
        for frame in iread(place, ":", do_not_split_by_at_sign=True):
            yield frame
            index += 1
    except InputError:
        raise
    except UnknownFileTypeError:
        raise InputError(f"unknown format of {name}: expected extended xyz") from None
    except KeyError as error:  # usually an unknown symbol
        raise InputError(
            f"{name}, frame {index} cannot be read: unknown symbol or entry {error}: expected "
            "chemical elements"
        ) from error
    except Exception as error:  # ASE's parsers raise whatever a broken file leads to
        raise InputError(f"{name}, frame {index} cannot be read: {reason(error)}") from error


def _is_extended_xyz(place: str) -> bool:
    """Decide by ASE's rules for names, or, if these find no format (.txt), by the first line."""
    if XYZ.search(place):
        return True
    try:
        form = filetype(place)
        get_ioformat(form)
        return form == "extxyz"
    except UnknownFileTypeError:
        with cast(IO[bytes], open_with_compression(place, "rb")) as file:
            return re.fullmatch(rb"\s*[0-9]+\s*", file.readline(100)) is not None


def check_elements(frame: Atoms, where: str) -> None:
    """Raise InputError for an atom that is not an element, such as the placeholder X."""
    unknown = (frame.numbers < 1) | (frame.numbers > HEAVIEST)
    if unknown.any():
        atom = int(unknown.argmax())
        number = int(frame.numbers[atom])
        raise InputError(
            f"atom {atom} of {where} has atomic number {number}"
            f"{' (X, a placeholder)' if number == 0 else ''}: expected 1 to {HEAVIEST}"
        )


def check_labels(frame: Atoms, where: str) -> None:
    """Raise InputError for energies that are not numbers and forces of the wrong shape."""
    labels = {} if frame.calc is None else frame.calc.results
    for name in ("energy", "free_energy"):
        value = labels.get(name, 0.0)
        if np.ndim(value) or np.asarray(value).dtype.kind not in "iuf":
            raise InputError(f"invalid {name}={value} of {where}: expected a number (eV)")
    forces = np.shape(labels.get("forces", frame.positions))
    if forces != frame.positions.shape:
        raise InputError(f"forces of {where} have shape {forces}: expected ({len(frame)}, 3)")


def printable(path: Path) -> str:
    """The name of a file on one line."""
    return str(path) if str(path).isprintable() else repr(str(path))
