"""What people's files hold is read right, or refused in one line that names file and frame."""

import gzip
import logging
import os

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write

from tripletjax.cli import main
from tripletjax.io import iter_frames, read_frames
from tripletjax.types import InputError

pytestmark = pytest.mark.once("float32")

COLUMNS = "Properties=species:S:1:pos:R:3"
HEAD = f'2\n{COLUMNS} energy=-1.5 pbc="F F F"\n'
GOOD = f"{HEAD}O 0 0 0\nH 0 0 1\n"
NAMES = [
    "cu@300K.xyz", "cu@0.xyz", "@1", "a*b?[c].xyz", "100%d.xyz", "-", "~cu.xyz", "-rf.xyz",
    "postgresql.xyz", "mysql@host", "my-POSCAR.xyz", "vasp#1.xml.xyz",
    "two words.xyz", "wölfram.xyz",
    "cu.xyz@300K", "cu.xyz.gz@2", "cu.txt", "HISTORY.xyz", "x.db.xyz",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_are_taken_as_they_are(name, tmp_path, monkeypatch):
    """Also where a file lies at what ASE makes of the name."""
    monkeypatch.chdir(tmp_path)
    write("cu", bulk("Au"), format="extxyz")
    with open(name, "w") as file:
        write(file, [bulk("Cu"), bulk("Cu")], format="extxyz")
    for path in (name, tmp_path / name):
        assert [str(frame.symbols) for frame in read_frames(path)] == ["Cu", "Cu"]


def test_names_of_other_formats(tmp_path):
    for form, name in (("vasp", "POSCAR@300K"), ("traj", "cu@1.traj"), ("cif", "cu@1.cif")):
        with open(tmp_path / name, "wb" if form != "vasp" else "w") as file:
            write(file, bulk("Cu"), format=form)
        assert str(read_frames(tmp_path / name)[0].symbols) == "Cu"


def test_an_at_sign_through_a_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "water@300K.xyz").write_text(GOOD)
    sizes = ["--cutoff", "2", "--n-max", "1", "--l-max", "0"]
    out = "rows@1.npz"
    assert main(["describe", "water@300K.xyz", out, "--kind", "density", *sizes]) == 0
    assert os.listdir(tmp_path).count(out) == 1
    with np.load(out) as rows:
        assert len(rows["values"]) == 2


READ = {
    "plain": "2\n\nO 0 0 0\nH 0 0 1\n",
    "CRLF": GOOD.replace("\n", "\r\n"),
    "old Mac": GOOD.replace("\n", "\r"),
    "byte order mark": "\ufeff" + GOOD,
    "Latin-1": (HEAD.replace("energy", "by=Müller energy") + "O 0 0 0\nH 0 0 1\n").encode(
        "latin-1"
    ),
    "UTF-8": HEAD.replace("energy", "by=Müller energy") + "O 0 0 0\nH 0 0 1\n",
    "empty lines": f"\n\n{GOOD}\n\n{GOOD}\n",
    "tabs": GOOD.replace(" 0 ", "\t0\t"),
    "no line end": GOOD.rstrip(),
    "upper case": "2\n\nO 0 0 0\nH 0 0 1\n",
    "columns of a plain file": "2\n-1.5 by hand\nO 0 0 0 -0.4\nH 0 0 1 0.2\n",
    "atomic numbers": "2\nProperties=Z:I:1:pos:R:3\n8 0 0 0\n1 0 0 1\n",
    "vectors after the atoms": "2\ncell\nO 0 0 0\nH 0 0 1\nVEC1 3 0 0\nVEC2 0 3 0\nVEC3 0 0 3\n",
    "logical column": f"2\n{COLUMNS}:fixed:L:1\nO 0 0 0 T\nH 0 0 1 F\n",
}


@pytest.mark.parametrize("content", READ.values(), ids=READ)
def test_what_is_read(content, tmp_path):
    path = tmp_path / "a.xyz"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    frames = read_frames(path)
    assert len(frames) == 1 + (content.count("energy") == 2 if isinstance(content, str) else 0)
    for frame in frames:
        assert frame.get_atomic_numbers().tolist() == [8, 1]
        assert frame.positions.tolist() == [[0, 0, 0], [0, 0, 1]]
        assert frame.pbc.tolist() == [isinstance(content, str) and "VEC1" in content] * 3
        assert "energy" not in str(content) or frame.get_potential_energy() == -1.5
        assert "Müller" not in str(content) or frame.info["by"] == "Müller"


PBC = {
    '"T T F"': [1, 1, 0], '"t t f"': [1, 1, 0], '"True true FALSE"': [1, 1, 0],
    '"1 1 0"': [1, 1, 0], '"1.0 1.0 0.0"': [1, 1, 0], "[T,T,F]": [1, 1, 0],
    "F": [0, 0, 0], "true": [1, 1, 1],     '"f f f"': [0, 0, 0], "0": [0, 0, 0],
}  # fmt: skip
LATTICE = 'Lattice="4 0 0 0 4 0 0 0 4"'


@pytest.mark.parametrize("text, expected", PBC.items())
def test_spellings_of_periodic_directions(text, expected, tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text(f"1\n{LATTICE} pbc={text} {COLUMNS}\nO 0 0 0\n")
    assert read_frames(path)[0].pbc.tolist() == expected


def row(line: str, head: str = HEAD) -> str:
    return f"{head}O 0 0 0\n{line}\n"


def comment(text: str) -> str:
    return f"1\n{text}\nO 0 0 0\n"


REFUSED = {
    "a label": (row("C1 0 0 1"), ["line 4", "symbol 'C1'", "element"]),
    "a number for a symbol": (row("1 0 0 1"), ["line 4", "symbol '1'"]),
    "a placeholder": (row("X 0 0 1"), ["atom 1", "placeholder", "1 to 118"]),
    "beyond the elements": (
        "1\nProperties=Z:I:1:pos:R:3\n119 0 0 0\n", ["atom 0", "number 119", "1 to 118"]
    ),
    "too few columns": (row("H 0 0"), ["line 4", "expected 4 columns, found 3"]),
    "too many columns": (row("H 0 0 1 7"), ["line 4", "expected 4 columns, found 5"]),
    "too few of a plain file": ("1\n\nH 0 0\n", ["line 3", "at least 4 columns, found 3"]),
    "not a number": (row("H 0 0 one"), ["line 4", "'one' of pos", "a number"]),
    "Fortran's exponent": (row("H 0 0 1.0D0"), ["line 4", "'1.0D0' of pos"]),
    "Python's underscore": (row("H 0 0 1_0"), ["line 4", "'1_0' of pos"]),
    "half a number": (f"1\n{COLUMNS}:tags:I:1\nO 0 0 0 1.5\n", ["'1.5' of tags", "whole number"]),
    "no flag": (f"1\n{COLUMNS}:fixed:L:1\nO 0 0 0 yes\n", ["'yes' of fixed", "T or F"]),
    "NaN": (row("H 0 0 nan"), ["atom 1", "nan", "finite"]),
    "huge": (row("H 0 0 1e300"), ["atom 1", "1e+300", "finite"]),
    "overflow": (row("H 0 0 1e999"), ["atom 1", "inf", "finite"]),
    "one spot": (row("H 0 0 1e-5"), ["atoms 0 and 1", "coincide"]),
    "no atoms": ("0\n\n", ["no atoms", "at least one"]),
    "a negative number of atoms": ("-1\n\n", ["line 1", "number of atoms", "'-1'"]),
    "half a header": ("2 atoms\n\nO 0 0 0\nH 0 0 1\n", ["line 1", "number of atoms", "'2 atoms'"]),
    "truncated": (HEAD + "O 0 0 0\n", ["incomplete", "declares 2 atoms", "ends after 1"]),
    "only a header": ("7\n", ["incomplete", "declares 7 atoms"]),
    "absurdly many atoms": ("999999999999\n\nO 0 0 0\n", ["incomplete", "999999999999"]),
    "a line twice": (row("H 0 0 1\nH 0 0 1"), ["line 5", "number of atoms", "'H 0 0 1'"]),
    "a comment lost": (f"2\n{row('H 0 0 1', '')}2\n\n", ["line 4", "expected at least 4 columns"]),
    "binary": (b"\x89PNG\r\n\x1a\n\0\0", ["line 1", "number of atoms"]),
    "UTF-16": (GOOD.encode("utf-16"), ["line 1", "number of atoms"]),
    "eight numbers": (comment('Lattice="4 0 0 0 4 0 0 0"'), ["line 2", "Lattice", "9"]),
    "zero cell": (comment('Lattice="0 0 0 0 0 0 0 0 0"'), ["cell", "singular"]),
    "NaN cell": (comment('Lattice="4 0 0 0 4 0 0 0 nan"'), ["cell", "finite"]),
    "flat cell": (comment('Lattice="4 0 0 4 0 0 0 0 4"'), ["cell", "singular"]),
    "no cell": (comment('pbc="T T T"'), ["cell", "singular"]),
    "another key for the cell": (
        comment('cell="4 0 0 0 4 0 0 0 4"'), ["line 2", "'cell'", "expected Lattice"]
    ),
    "lower case": (comment('lattice="4 0 0 0 4 0 0 0 4"'), ["'lattice'", "expected Lattice"]),
    "misspelt columns": (comment("Propertys=species:S:1:pos:R:3"), ["'Propertys'", "Properties="]),
    "PBC": (comment('PBC="T T T"'), ["'PBC'", "expected pbc"]),
    "two flags": (comment(f'{LATTICE} pbc="T T"'), ["line 2", "pbc=True True", "or three"]),
    "loose flags": (comment(f"{LATTICE} pbc=T T F"), ["line 2", "pbc=True T F", 'pbc="T T F"']),
    "no flags": (comment(f"{LATTICE} pbc=xyz"), ["pbc=xyz", "one flag or three"]),
    "flags beyond one": (comment(f'{LATTICE} pbc="1 1 2"'), ["pbc=1 1 2"]),
    "columns cut short": (comment(f"{COLUMNS}:forces:R"), ["line 2", "Properties", "types R"]),
    "no positions": (comment("Properties=species:S:1:xyz:R:3"), ["line 2", "pos:R:3"]),
    "two positions": (comment("Properties=species:S:1:pos:R:2"), ["line 2", "pos:R:3"]),
    "columns twice": (comment(f"{COLUMNS}:pos:R:3"), ["line 2", "distinct names"]),
    "an unknown type": (comment("Properties=species:S:1:pos:Q:3"), ["line 2", "types R"]),
    "energy in words": (comment("energy=low"), ["energy=low", "a number"]),
    "energy without a value": (comment("energy"), ["energy=True", "a number"]),
    "two energies": (comment('energy="1 2"'), ["energy=[1 2]", "a number"]),
    "forces of one column": (
        f"1\n{COLUMNS}:forces:R:1\nO 0 0 0 1\n", ["forces", "(1,)", "(1, 3)"]
    ),
    "stress of three numbers": (comment('stress="1 2 3"'), ["line 2", "stress", "six or nine"]),
    "broken JSON": (comment('x="_JSON {"'), ["line 2", "comment line"]),
}  # fmt: skip


@pytest.mark.parametrize("content, words", REFUSED.values(), ids=REFUSED)
def test_what_is_refused(content, words, tmp_path):
    """After a good frame, which is counted."""
    path = tmp_path / "a.xyz"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as first:
        read_frames(path)
    path.write_bytes(GOOD.encode() + path.read_bytes())
    with pytest.raises(InputError) as second:
        read_frames(path)
    begun = int("H 0 0 1" in words[-1])  # the line is where the next frame would begin
    for raised, index in ((first, begun), (second, begun + 1)):
        message = str(raised.value)
        assert f"{path}, frame {index}" in message and "\n" not in message
    for word in words:
        assert word in str(first.value)


def test_heavy_hydrogen(tmp_path, caplog):
    """D and T are H with their masses, which is said once; masses in the file are kept."""
    caplog.set_level(logging.INFO, "tripletjax")
    path = tmp_path / "a.xyz"
    path.write_text("3\n\nO 0 0 0\nD 0 0 1\nT 0 1 0\n" + "1\n\nd 0 0 0\n")
    first, second = read_frames(path)
    assert str(first.symbols) == "OH2" and str(second.symbols) == "H"
    np.testing.assert_allclose(first.get_masses(), [15.999, 2.014, 3.016])
    assert second.get_masses().tolist() == [2.014]
    assert [record.message for record in caplog.records] == [
        f"{path}: read 3 atoms D or T as H with isotope masses"
    ]
    path.write_text(f"1\n{COLUMNS}:masses:R:1\nD 0 0 0 2.5\n")
    assert read_frames(path)[0].get_masses().tolist() == [2.5]


def test_stress_of_six_numbers(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text(comment(f'{LATTICE} stress="1 2 3 4 5 6" virial="6 5 4 3 2 1"'))
    frame = read_frames(path)[0]
    assert frame.get_stress().tolist() == [1, 2, 3, 4, 5, 6]
    assert frame.info["virial"].tolist() == [6, 5, 4, 3, 2, 1]
    path.write_text(comment(f'{LATTICE} stress="1 6 5 6 2 4 5 4 3" virial="1 0 0 0 2 0 0 0 3"'))
    frame = read_frames(path)[0]
    assert frame.get_stress().tolist() == [1, 2, 3, 4, 5, 6]
    assert frame.info["virial"].tolist() == np.diag([1, 2, 3]).tolist()


def test_what_ase_writes_comes_back(tmp_path):
    frame = molecule("CH3OH")
    frame.info |= {"name": "a 'b' \"c\"", "list": [1.5, 2.5], "flag": True, "dict": {"x": [1]}}
    frame.set_tags(np.arange(6))
    frame.new_array("flags", np.arange(6) % 2 == 0)
    frame.new_array("names", np.array(["a_1", "b", "c", "d", "e", "f"]))
    write(tmp_path / "a.xyz", [frame, bulk("Si")])
    read, silicon = read_frames(tmp_path / "a.xyz")
    assert read.info["name"] == frame.info["name"] and read.info["dict"] == {"x": [1]}
    for name, array in frame.arrays.items():
        np.testing.assert_array_equal(read.arrays[name], array)
    assert silicon.pbc.all() and silicon.cell.rank == 3


def test_compressed_files(tmp_path):
    path = tmp_path / "a.xyz.gz"
    path.write_bytes(gzip.compress(GOOD.encode()))
    assert len(read_frames(path)) == 1
    path.write_bytes(gzip.compress(GOOD.encode() * 50)[:60])
    with pytest.raises(InputError, match=r"a\.xyz\.gz, frame \d+ cannot be read: "):
        read_frames(path)


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("missing.xyz", None, ["is not a file"]),
        ("empty.xyz", "", ["is empty"]),
        ("blank.xyz", " \n\n", ["contains no structures"]),
        ("a.unheard", "???", ["unknown format"]),
        ("a.traj", "- of Ulm", ["frame 0"]),
        ("POSCAR", "x\n1\n4 0 0\n", ["frame 0"]),
        ("a.cif", "data_\n", ["a.cif"]),
        ("a.json", "{", ["frame 0"]),
    ],
)
def test_files_of_no_use(name, content, words, tmp_path):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as raised:
        read_frames(tmp_path / name)
    assert "\n" not in str(raised.value)
    for word in (name, *words):
        assert word in str(raised.value)


def test_frames_come_one_at_a_time(tmp_path):
    """A fault further on does not keep the first ones back; nothing is held."""
    path = tmp_path / "a.xyz"
    path.write_text(GOOD * 3 + "junk\n")
    frames = iter_frames(path)
    assert isinstance(next(frames), Atoms) and isinstance(next(frames), Atoms)
    next(frames)
    with pytest.raises(InputError, match="frame 3, line 13"):
        next(frames)
