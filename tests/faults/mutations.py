"""Ways in which files of structures go wrong, or are written by others."""

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Random = np.random.Generator


class Mutated(NamedTuple):
    """Content of a file, which frame of it was changed, and whether it still means the same."""

    content: bytes
    frame: int | None  # None: more than one, or what follows is shifted
    same: bool = False


class Text:
    """A file of extended xyz in its lines, by frame."""

    def __init__(self, content: bytes, random: Random):
        self.lines = content.decode().splitlines()
        self.starts = []
        line = 0
        while line < len(self.lines):
            self.starts.append(line)
            line += int(self.lines[line]) + 2
        self.frame = int(random.integers(len(self.starts)))
        start = self.starts[self.frame]
        self.count, self.comment, self.first = start, start + 1, start + 2
        self.atoms = int(self.lines[start])
        self.atom = self.first + int(random.integers(self.atoms))

    def made(self, same: bool = False, shifted: bool = False) -> Mutated:
        content = ("\n".join(self.lines) + "\n").encode()
        return Mutated(content, None if shifted else self.frame, same)


def word(text: Text, random: Random, new: str, column: int | None = None) -> None:
    words = text.lines[text.atom].split()
    words[int(random.integers(1, len(words))) if column is None else column] = new
    text.lines[text.atom] = " ".join(words)


def changed(change: Callable[[Text, Random], None], same: bool = False, shifted: bool = False):
    """A mutation of the text from what changes its lines."""

    def mutate(content: bytes, random: Random) -> Mutated:
        text = Text(content, random)
        change(text, random)
        return text.made(same, shifted)

    return mutate


def of_bytes(change: Callable[[bytes, Random], bytes], same: bool = False):
    """A mutation of the content as a whole."""
    return lambda content, random: Mutated(change(content, random), None, same)


def _comment(pattern: str, new: Callable[[Random], str]):
    def change(text: Text, random: Random) -> None:
        text.lines[text.comment] = re.sub(
            pattern, lambda _: new(random), text.lines[text.comment], count=1
        )

    return change


def _any(*choices: str) -> Callable[[Random], str]:
    return lambda random: choices[int(random.integers(len(choices)))]


def _ended(new: Callable[[Random], str]):
    def change(text: Text, random: Random) -> None:
        text.lines[text.comment] += new(random)

    return change


def _duplicate(text: Text, random: Random) -> None:
    text.lines.insert(text.atom, text.lines[text.atom])


def _remove(text: Text, random: Random) -> None:
    del text.lines[text.atom]


def _two_on_one_spot(text: Text, random: Random) -> None:
    other = text.first + (text.atom - text.first + 1) % text.atoms
    text.lines[other] = text.lines[text.atom]


def _no_atoms(text: Text, random: Random) -> None:
    text.lines[text.count] = "0"
    del text.lines[text.first : text.first + text.atoms]


def _add_column(text: Text, random: Random) -> None:
    for line in range(text.first, text.first + text.atoms):
        text.lines[line] += " 7"


def _lone_column(text: Text, random: Random) -> None:
    for line in range(text.first, text.first + text.atoms):
        text.lines[line] = text.lines[line].split()[0]


def _swap_columns(text: Text, random: Random) -> None:
    for line in range(text.first, text.first + text.atoms):
        symbol, *rest = text.lines[line].split()
        text.lines[line] = " ".join([*rest, symbol])


def _spaced(text: Text, random: Random) -> None:
    for line in range(text.first, text.first + text.atoms):
        text.lines[line] = "\t " + "  \t".join(text.lines[line].split()) + "  "


def _random_bytes(content: bytes, random: Random) -> bytes:
    found = bytearray(content)
    for place in random.integers(0, len(content), int(random.integers(1, 9))):
        found[place] = int(random.integers(256))
    return bytes(found)


NUMBERS = _any("nan", "NaN", "inf", "-inf", "1e308", "-1e308", "1e40", "1e-320", "1e400", "9" * 400)
WORDS = _any("", "abc", "1,5", "1.5d0", "0x10", "--1", "1_0", "None", "*******", "१", "1.2.3")
CELLS = _any(
    'Lattice="0 0 0 0 0 0 0 0 0"', 'Lattice="-5 0 0 0 -5 0 0 0 -5"', 'Lattice="5 0 0 5 0 0 0 0 5"',
    'Lattice="nan 0 0 0 5 0 0 0 5"', 'Lattice="1e300 0 0 0 1e300 0 0 0 1e300"', 'Lattice="5 5 5"',
    'Lattice="5 0 0 0 5 0 0 0"', 'Lattice="1e-9 0 0 0 1e-9 0 0 0 1e-9"', 'Lattice="a b c"',
    'Lattice=""', 'Lattice="5', "Lattice=5",
)  # fmt: skip
PBC = _any(
    'pbc="1 1 1"', 'pbc="T F"', 'pbc="yes"', "pbc=True", "pbc=T", 'pbc="true false true"', "pbc=",
    'pbc="T T T T"', 'pbc="[T, T, T]"', "pbc=2", 'pbc="0 0 2"', 'pbc="None"',
)  # fmt: skip
ODD = _any(
    " =", " a==b", " {", " a=[1,", ' ""=1', " a=[[1,2],[3]]", " positions=5", " numbers=3",
    " forces=2",
)  # fmt: skip
COUNTS = _any("-1", "3.0", "1e1", "999999999999", "0x4", "", "four", "4 4", "٤", "1000000")

MUTATIONS: dict[str, Callable[[bytes, Random], Mutated]] = {
    "truncated": of_bytes(lambda c, r: c[: int(r.integers(len(c)))]),
    "cut within a line": of_bytes(lambda c, r: c[: len(c) - int(r.integers(2, 30))]),
    "random bytes": of_bytes(_random_bytes),
    "binary": of_bytes(lambda c, r: r.bytes(int(r.integers(1, 3000)))),
    "zeros": of_bytes(lambda c, r: bytes(int(r.integers(1, 500)))),
    "zeros at the end": of_bytes(lambda c, r: c + bytes(int(r.integers(1, 500)))),
    "compressed by half": of_bytes(lambda c, r: b"\x1f\x8b\x08\x00" + r.bytes(100)),
    "UTF-16": of_bytes(lambda c, r: c.decode().encode("utf-16")),
    "Latin-1": of_bytes(lambda c, r: c.replace(b" energy", b" note=\xe9t\xe9 energy")),
    "byte-order mark": of_bytes(lambda c, r: b"\xef\xbb\xbf" + c, same=True),
    "CRLF": of_bytes(lambda c, r: c.replace(b"\n", b"\r\n"), same=True),
    "CR": of_bytes(lambda c, r: c.replace(b"\n", b"\r")),
    "no newline at the end": of_bytes(lambda c, r: c.rstrip(b"\n"), same=True),
    "empty lines at the end": of_bytes(lambda c, r: c + b"\n" * int(r.integers(1, 5)), same=True),
    "blanks at the end": of_bytes(lambda c, r: c + b"   \n\t\n", same=True),
    "empty lines at the start": of_bytes(lambda c, r: b"\n\n" + c),
    "text at the end": of_bytes(lambda c, r: c + b"the end\n"),
    "empty": of_bytes(lambda c, r: b""),
    "tabs and blanks": changed(_spaced, same=True),
    "number too large or none": changed(lambda t, r: word(t, r, NUMBERS(r))),
    "position too large or none": changed(
        lambda t, r: word(t, r, NUMBERS(r), int(r.integers(1, 4)))
    ),
    "word for a number": changed(lambda t, r: word(t, r, WORDS(r))),
    "unknown symbol": changed(
        lambda t, r: word(t, r, _any("Xx", "X", "C1", "he", "-", "É", "999", "H" * 300)(r), 0)
    ),
    "another element": changed(lambda t, r: word(t, r, _any("U", "D", "Og")(r), 0)),
    "a line twice": changed(_duplicate, shifted=True),
    "a line lost": changed(_remove, shifted=True),
    "two atoms on one spot": changed(_two_on_one_spot),
    "no atoms": changed(_no_atoms),
    "wrong count": changed(
        lambda t, r: t.lines.__setitem__(t.count, COUNTS(r)), shifted=True
    ),
    "count off by one": changed(
        lambda t, r: t.lines.__setitem__(t.count, str(t.atoms + _sign(r))), shifted=True
    ),
    "one column more": changed(_add_column),
    "one column more in a line": changed(
        lambda t, r: t.lines.__setitem__(t.atom, t.lines[t.atom] + " 7")
    ),
    "one column less in a line": changed(
        lambda t, r: t.lines.__setitem__(t.atom, t.lines[t.atom].rsplit(maxsplit=1)[0])
    ),
    "only symbols": changed(_lone_column),
    "symbols last": changed(_swap_columns),
    "cell": changed(_comment(r'Lattice="[^"]*"', CELLS)),
    "pbc": changed(_comment(r'pbc="[^"]*"', PBC)),
    "no properties": changed(_comment(r"Properties=\S+", lambda r: "")),
    "bad properties": changed(_comment(
        r"Properties=\S+",
        _any(
            "Properties=species:S:1", "Properties=pos:R:3", "Properties=species:S:1:pos:R",
            "Properties=species:S:1:pos:R:-3", "Properties=species:S:1:pos:I:3", "Properties=",
            "Properties=species:S:1:pos:R:3:pos:R:3", "Properties=species:S:1:pos:R:2",
            "Properties=species:S:1:pos:R:99999999", "Properties=a:b:c",
        ),
    )),
    "no label": changed(_comment(r"energy=\S+", lambda r: "")),
    "bad label": changed(_comment(
        r"energy=\S+",
        _any("energy=nan", "energy=inf", "energy=", 'energy="a b"', "energy=1e400", "energy=T",
             'energy="1 2 3"', "energy=-1e30", "energy={1}", "energy=1.5e"),
    )),
    "energy twice": changed(_comment(r"energy=", lambda r: "energy=5 energy=")),
    "empty comment": changed(lambda t, r: t.lines.__setitem__(t.comment, "")),
    "open quote": changed(_ended(lambda r: ' a="b')),
    "odd comment": changed(_ended(ODD)),
}  # fmt: skip


def _sign(random: Random) -> int:
    return int(random.choice([-1, 1]))
