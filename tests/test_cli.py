"""The command line: results as from Python, and one line with exit status 2 for bad input."""

import json
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from ase.build import molecule
from ase.io import write

from tripletjax import describe
from tripletjax.cli import COMMANDS, main
from tripletjax.commands.parsing import Parser
from tripletjax.invariants.nice import fit_contraction, save_contraction

pytestmark = pytest.mark.once("float32")

SMALL = ["--cutoff", "3.0", "--n-max", "2", "--l-max", "2"]


@pytest.fixture
def structures(tmp_path):
    path = tmp_path / "in.xyz"
    write(path, [molecule("H2O"), molecule("CH4")])
    return path


def test_describe_writes_what_python_gives(structures, tmp_path, capsys):
    out = tmp_path / "out.npz"
    arguments = ["describe", str(structures), str(out), "--kind", "power_spectrum", *SMALL]
    assert main([*arguments, "--centers", "2", "0"]) == 0
    assert "4 rows" in capsys.readouterr().out
    expected = describe(
        [molecule("H2O"), molecule("CH4")],
        "power_spectrum", centers=[2, 0], cutoff=3.0, n_max=2, l_max=2,
    )  # fmt: skip
    with np.load(out) as written:
        np.testing.assert_allclose(written["values"], expected.values, rtol=1e-6, atol=1e-7)
        assert written["atom"].tolist() == [2, 0, 2, 0]
        assert written["structure"].tolist() == [0, 0, 1, 1]
        assert tuple(written["names"]) == expected.names
        assert json.loads(str(written["hypers"])) == json.loads(json.dumps(expected.hypers))


def test_triplets_are_written_with_their_neighbors(structures, tmp_path):
    out = tmp_path / "out.npz"
    assert main(["describe", str(structures), str(out), "--kind", "triplets", *SMALL]) == 0
    with np.load(out) as written:
        assert written["neighbors"].shape == (3 * 2 + 5 * 4 * 3, 2)


def test_correlations_with_a_saved_contraction(structures, tmp_path):
    frames, hypers = [molecule("H2O"), molecule("CH4")], {"cutoff": 3.0, "n_max": 2, "l_max": 2}
    density = describe(frames, "density", **hypers).values.reshape(8, 3, 2, 9)
    contraction = fit_contraction(density, 4, components=4)
    saved, out = tmp_path / "contraction.safetensors", tmp_path / "out.npz"
    save_contraction(saved, contraction)
    options = ["--kind", "correlations", "--nu", "4", "--contraction", str(saved), *SMALL]
    assert main(["describe", str(structures), str(out), *options]) == 0
    expected = describe(frames, "correlations", nu=4, contraction=contraction, **hypers)
    with np.load(out) as written:
        np.testing.assert_allclose(written["values"], expected.values, rtol=1e-5, atol=1e-6)
        assert json.loads(str(written["hypers"]))["contraction"] == expected.hypers["contraction"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "required"),
        (["unknown"], "invalid choice"),
        (["describ"], "did you mean 'describe'?; see 'tripletjax --help'"),
        (["describe"], "required"),
        (["describe", "IN", "OUT", "--cutof", "3"], "--cutof 3; did you mean '--cutoff'?"),
        (["md", "IN", "IN", "--out", "FOLDER", "--max-temp=9"], "did you mean '--max-temperature'"),
        (["md", "IN", "IN", "--out", "FOLDER", "--thermostat", "nose-hover"], "mean 'nose-hoover'"),
        (["describe", "IN", "OUT", "--cutoff", "wide"], "wide"),
        (["describe", "IN", "OUT", "--cutoff", "-1"], "positive"),
        (["describe", "IN", "OUT", "--kind", "soap"], "power_spectrum"),
        (["describe", "IN", "OUT", "--kind", "bispectra"], "did you mean 'bispectrum'?"),
        (["describe", "IN", "OUT", "--kind", "correlations", "--nu", "4"], "fit_contraction"),
        (["describe", "IN", "OUT", "--contraction", "nowhere"], "nowhere"),
        (["describe", "IN", "OUT", "--centers", "7"], "centers"),
        (["describe", "IN", "OUT", "--species", "Xx"], "Xx"),
        (["describe", "IN", "OUT", "--species", "H"], "not among"),
        (["describe", "IN", "OUT", "--l-max", "99"], "l_max"),
        (["describe", "IN", "OUT", "--radial-range", "1"], "radial_range"),
        (["describe", "IN", "OUT", "--radial-scaling", "1,2"], "radial_scaling=(1.0, 2.0)"),
        (["describe", "IN", "OUT", "--radial-scaling", "1,x,2"], "C,R0,M"),
        (["describe", "IN", "OUT", "--kind", "density", "--tags", "2"], "invalid tags=2"),
        (["describe", "IN", "OUT", "--kind", "density", "--chiral"], "invalid chiral=True"),
        (["describe", "IN", "OUT", "--coupling", "minimal"], "for kind 'triplets'"),
        (["audit", "IN", "--out", "FOLDER", "--kind", "bispectrum", "--form", "edge"], "form="),
        (["describe", "IN", "out.txt"], ".npz"),
        (["describe", "IN", "IN/out.npz"], "cannot be written"),
        (["describe", "missing.xyz", "OUT"], "not a file"),
        (["describe", "EMPTY", "OUT"], "empty"),
        (["describe", "BROKEN", "OUT"], "declares 3 atoms"),
        (["describe", "NAN", "OUT"], "finite"),
        (["demo", "--n-train", "3", "--out", "FOLDER"], "even"),
        (["demo", "--train", "8000", "--out", "FOLDER"], "overlap"),
        (["demo", "--out", "IN"], "cannot be written"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(arguments, words, structures, tmp_path, capsys):
    (tmp_path / "empty.xyz").touch()
    (tmp_path / "broken.xyz").write_text("3\n\nH 0 0 0\n")
    (tmp_path / "nan.xyz").write_text("1\n\nH nan 0 0\n")
    before = sorted(tmp_path.iterdir())
    names = {
        "OUT": "out.npz", "EMPTY": "empty.xyz", "BROKEN": "broken.xyz", "NAN": "nan.xyz",
        "FOLDER": "folder", "IN": "in.xyz", "IN/out.npz": "in.xyz/out.npz",
    }  # fmt: skip
    words_given = [str(tmp_path / names[a]) if a in names else a for a in arguments]
    try:
        status = main(words_given)
    except SystemExit as stopped:
        status = stopped.code
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("tripletjax:")]
    assert status == 2
    assert len(lines) == 1 and words in lines[0] and "Traceback" not in captured.err
    assert sorted(tmp_path.iterdir()) == before


def shown(*arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 0
    return capsys.readouterr().out


def test_help_names_the_commands(capsys):
    text = shown("--help", capsys=capsys)
    assert all(command.name in text for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_help_of_a_command(command, capsys):
    """Options under headings, a meaning for each, and an example that the parser takes."""
    text = shown(command.name, "--help", capsys=capsys)
    assert text.endswith(f"Example:\n  {command.example}\n")
    headings = re.findall(r"^([a-z ]+):$", text, re.M)
    assert headings[0] == "options" and len(headings) >= 3
    name, *rest = shlex.split(command.example.removeprefix("tripletjax "))
    assert name == command.name
    parser = Parser(command)
    assert parser.parse_args(rest).run is command.run
    groups = parser._action_groups  # argparse has no public list
    assert all(action.help for group in groups for action in group._group_actions)


QUICK = """
import sys
from tripletjax.cli import main
for arguments in (["--help"], ["--version"], ["train"], ["train", "--print-config"],
                  *([name, "--help"] for name in ("train", "evaluate", "train-tensor", "md"))):
    try:
        main(arguments)
    except SystemExit:
        pass
assert "jax" not in sys.modules and "scipy" not in sys.modules, arguments
"""


def test_help_comes_before_jax():
    """Importing it takes a second."""
    done = subprocess.run([sys.executable, "-c", QUICK], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
