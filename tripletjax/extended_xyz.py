"""Extended xyz, one frame at a time: parsed by ASE after checking for what it would misread."""

import logging
import re
from collections.abc import Iterator
from io import StringIO
from itertools import islice
from typing import IO, Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.io.extxyz import key_val_str_to_dict, read_xyz

from tripletjax.types import InputError

log = logging.getLogger(__name__)
ISOTOPES = {"D": 2.014, "T": 3.016}  # of hydrogen: masses in atomic mass units
DECLARATION = re.compile(r"\w+:[RISL]:[0-9]+")  # of columns, as in species:S:1
FLAGS = {"t": True, "true": True, "1": True, "f": False, "false": False, "0": False}
LOGICAL = ("T", "F", "True", "False")
KINDS = {"R": (float, "a number"), "I": (int, "a whole number"), "L": (LOGICAL.index, "T or F")}
PLAIN = "species:S:1:pos:R:3"


class Column(NamedTuple):
    """The columns of one property, as declared by ``Properties``."""

    name: str
    kind: str  # of KINDS, or S for text
    count: int


def read_extended_xyz(file: IO[bytes], name: str) -> Iterator[Atoms]:
    """Read the frames of an open file.

    Line endings of any platform, empty lines between frames, and UTF-8 or Latin-1 are accepted. D
    and T are read as H with the masses of deuterium and tritium, with one log message.

    Args:
        file: open in binary mode.
        name: of the file, for messages.

    Raises:
        InputError: a line cannot be read; the message names it, its frame, and what is expected.
    """
    isotopes = 0
    for index, lines in enumerate(_split(_text(file), name)):
        frame, found = _Parser(lines, f"{name}, frame {index}").parse()
        isotopes += found
        yield frame
    if isotopes:
        log.info("%s: read %d atoms D or T as H with isotope masses", name, isotopes)


def _text(file: IO[bytes]) -> Iterator[str]:
    for number, line in enumerate(file):
        line = line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            text = line.decode("latin-1")
        # The line endings of old Macs leave several lines in one.
        yield from re.split(r"\r\n?|\n", text.rstrip("\r\n"))


class _Lines(NamedTuple):
    """The lines of one frame."""

    first: int  # number of the first line, from 1
    comment: str
    rows: list[str]
    vectors: list[str]  # lattice vectors that follow the atoms, in files written by ADF


def _split(lines: Iterator[str], name: str) -> Iterator[_Lines]:
    number, index, frame = 0, 0, None
    for line in lines:
        number += 1
        if not line.strip():
            continue
        if frame and line.lstrip().startswith("VEC"):
            frame.vectors.append(line)
            continue
        if frame:
            yield frame
            index += 1
        where = f"{name}, frame {index}"
        if not re.fullmatch(r"\s*[0-9]{1,12}\s*", line):
            raise InputError(
                f"{where}, line {number}: expected the number of atoms of a frame, found "
                f"{_short(line)}"
            )
        count = int(line)
        body = list(islice(lines, count + 1))
        if len(body) < count + 1:
            raise InputError(
                f"{where} is incomplete: line {number} declares {count} atoms, but the file ends "
                f"after {max(0, len(body) - 1)}"
            )
        frame = _Lines(number, body[0], body[1:], [])
        number += count + 1
    if frame:
        yield frame


class _Parser:
    """Parser of one frame: number of atoms, comment and rows."""

    def __init__(self, lines: _Lines, where: str):
        self.first, self.comment, self.rows, self.vectors = lines
        self.where = where

    def parse(self) -> tuple[Atoms, int]:
        """Return the structure and the number of its atoms that are D or T."""
        try:
            info = parse_comment(self.comment)
            columns = declared_columns(info)
        except ValueError as error:
            raise InputError(f"{self.where}, line {self.first + 1}: {error}") from error
        self.check_widths(columns, exact="Properties" in info)
        isotopes = self.replace_isotopes(columns)
        text = "\n".join([str(len(self.rows)), self.comment, *self.rows, *self.vectors, ""])
        try:
            frame: Any = next(iter(read_xyz(StringIO(text), 0, lambda _: info)))
        except Exception as error:  # a broken frame may make ASE's parser raise anything
            self.explain(columns)
            raise InputError(f"{self.where} cannot be read: {reason(error)}") from error
        if isotopes and "masses" not in frame.arrays:
            masses = frame.get_masses()
            masses[list(isotopes)] = list(isotopes.values())
            frame.set_masses(masses)
        return frame, len(isotopes)

    def check_widths(self, columns: list[Column], exact: bool) -> None:
        """Raise InputError for a row with more columns than declared, which ASE would drop."""
        width = sum(column.count for column in columns)
        is_doubtful = any(column.kind == "L" for column in columns)
        for row, line in enumerate(self.rows):
            count = len(line.split())
            if count < width or (exact and count > width):
                least = "" if exact else "at least "
                self.fail(row, f"expected {least}{width} columns, found {count}")
            is_doubtful |= "_" in line
        if is_doubtful:
            self.explain(columns)

    def replace_isotopes(self, columns: list[Column]) -> dict[int, float]:
        """Replace D and T by H and return their masses; raise for unknown symbols."""
        place = _place(columns, ("species", "symbols"))
        masses: dict[int, float] = {}
        if place is None:
            return masses
        for row, line in enumerate(self.rows):
            symbol = line.split(None, place + 1)[place]
            if symbol.capitalize() in atomic_numbers:
                continue
            if symbol.upper() not in ISOTOPES:
                self.fail(
                    row,
                    f"unknown symbol {symbol!r}: expected a chemical element such as C, or D or T "
                    "for heavy hydrogen; labels and charges need columns of their own",
                )
            masses[row] = ISOTOPES[symbol.upper()]
            words = line.split()
            self.rows[row] = " ".join([*words[:place], "H", *words[place + 1 :]])
        return masses

    def explain(self, columns: list[Column]) -> None:
        """Raise InputError for the first value that does not match its column's type."""
        kinds = [(column.name, column.kind) for column in columns for _ in range(column.count)]
        for row, line in enumerate(self.rows):
            for word, (name, kind) in zip(line.split(), kinds, strict=False):
                if kind == "S":
                    continue
                convert, accepted = KINDS[kind]
                try:
                    convert(word)
                    is_plain = "_" not in word  # Python reads 1_0 as ten
                except (ValueError, OverflowError):
                    is_plain = False
                if not is_plain:
                    self.fail(row, f"invalid value {_short(word)} of {name}: expected {accepted}")

    def fail(self, row: int, what: str) -> None:
        raise InputError(f"{self.where}, line {self.first + 2 + row}: {what}")


def parse_comment(line: str) -> dict[str, Any]:
    """Keys and values of a comment line, by ASE's rules, after checking for what it would misread.

    ``pbc`` may be T, True, true or 1 and their opposites, once or three times in quotes; a stress
    or virial may have nine numbers, or six (xx, yy, zz, yz, xz, xy).

    Raises:
        ValueError: the line is invalid; the message says what is expected.

    Example:
        >>> parse_comment('pbc="t t f" name=water')
        {'pbc': [True, True, False], 'name': 'water'}
    """
    try:
        info = _parsed(line)
    except Exception as error:  # a broken line
        raise ValueError(f"the comment line cannot be parsed: {reason(error)}") from error
    for key, value in info.items():
        is_matrix = isinstance(value, np.ndarray) and value.size == 9
        if "Lattice" not in info and is_matrix and key.lower() in ("lattice", "cell"):
            raise ValueError(f"unknown key {key!r}: expected Lattice, with nine numbers (Å)")
        if "Properties" not in info and DECLARATION.search(str(value)):
            raise ValueError(f"unknown key {key!r}: expected Properties={_plain(str(value))}")
        if "pbc" not in info and key.lower() == "pbc":
            raise ValueError(f'unknown key {key!r}: expected pbc, as in pbc="T T F"')
    if "pbc" in info:
        info["pbc"] = _periodic(info)
    return info


def _parsed(line: str) -> dict[str, Any]:
    matrices = re.compile(r"(?<!\S)(stress|virial)=")
    try:
        return key_val_str_to_dict(line)
    except ValueError:
        info = key_val_str_to_dict(matrices.sub(r"six numbers of \1=".replace(" ", "_"), line))
        for key in ("stress", "virial"):
            value = info.pop(f"six_numbers_of_{key}", None)
            if value is not None:
                if np.shape(value) not in ((6,), (9,)):
                    raise ValueError(f"{key} needs six or nine numbers") from None
                info[key] = value if np.size(value) == 6 else value.reshape(3, 3, order="F")
        return info


def _periodic(info: dict[str, Any]) -> list[bool]:
    value = info["pbc"]
    words = value.split() if isinstance(value, str) else np.atleast_1d(value).tolist()
    texts = [f"{word:g}" if isinstance(word, float) else str(word) for word in words]
    flags = [FLAGS[text.lower()] for text in texts if text.lower() in FLAGS]
    loose = [key for key in info if key.lower() in FLAGS]  # of pbc=T T F, without quotes
    if len(flags) != len(texts) or len(flags) not in (1, 3) or (len(flags) == 1 and loose):
        shown = " ".join([*texts, *loose])
        raise ValueError(
            f'invalid pbc={_plain(shown)}: expected one flag or three, as in pbc="T T F"'
        )
    return flags * (3 // len(flags))


def declared_columns(info: dict[str, Any]) -> list[Column]:
    """The columns declared by ``Properties``, or the symbol and position of a plain xyz file.

    Raises:
        ValueError: it is damaged, or declares no species or positions.

    Example:
        >>> declared_columns({"Properties": "species:S:1:pos:R:3"})[1]
        Column(name='pos', kind='R', count=3)
    """
    declaration = info.get("Properties", PLAIN)
    fields = declaration.split(":") if isinstance(declaration, str) else []
    triples = list(zip(fields[::3], fields[1::3], fields[2::3], strict=False))
    whole = len(fields) % 3 == 0 and all(
        name and kind in "RISL" and re.fullmatch("[1-9][0-9]{0,4}", count)
        for name, kind, count in triples
    )
    columns = [Column(name, kind, int(count)) for name, kind, count in triples] if whole else []
    names = [column.name for column in columns]
    if not columns or len(set(names)) < len(names):
        raise ValueError(
            f"invalid Properties={_short(str(declaration))}: expected distinct names with types R, "
            f"I, S or L and numbers of columns, as in {PLAIN}"
        )
    forms = {(c.kind, c.count) for c in columns if c.name in ("pos", "positions")}
    identity = [c for c in columns if c.name in ("species", "symbols", "Z", "numbers")]
    if forms != {("R", 3)} or not identity or any(c.count != 1 for c in identity):
        raise ValueError(
            f"invalid Properties={_short(declaration)}: expected species:S:1 (or Z:I:1) and pos:R:3"
        )
    return columns


def _place(columns: list[Column], names: tuple[str, ...]) -> int | None:
    before = 0
    for column in columns:
        if column.name in names:
            return before
        before += column.count
    return None


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")


def _plain(text: str) -> str:
    return text if text.isprintable() else repr(text)


def reason(error: BaseException) -> str:
    """The message of an error on one line, with its type if the message is a single word.

    Example:
        >>> reason(KeyError("C1")), reason(ValueError("bad\\nfile"))
        ("KeyError: 'C1'", 'bad file')
    """
    text = _plain(" ".join(str(error).split()))
    return text if " " in text else f"{type(error).__name__}: {text}".removesuffix(": ")
