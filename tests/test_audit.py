"""The audit finds what is known to be there, and nothing else; its folder is whole or not there."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import read, write

from tripletjax import InputError
from tripletjax.cli import main
from tripletjax.completeness import report
from tripletjax.completeness.audit import audit
from tripletjax.completeness.collisions import nearest_pairs
from tripletjax.data.b8 import load_b8
from tripletjax.testing import random_rotation

N_PAIRS = 24
HYPERS = {"cutoff": 2.0, "n_max": 2, "l_max": 3, "n_features": 64, "floor": 1e-4}
FEW = {"n_sensitivity": 8, "n_parted": 1}


@pytest.fixture(scope="module")
def b8_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("b8") / "b8.xyz"
    write(path, load_b8().frames(slice(2 * N_PAIRS)))
    return path


@pytest.fixture(scope="module")
def blind(b8_file):
    return audit(read(b8_file, ":"), "bispectrum", centers=[0], **HYPERS, **FEW)


def test_every_b8_pair_collides_in_the_bispectrum(blind):
    """Also from a file, whose positions are rounded to eight decimals."""
    pairs = blind.pairs
    found = {(int(pairs.first[i]), int(pairs.second[i])) for i in blind.collisions}
    assert found == {(2 * p, 2 * p + 1) for p in range(N_PAIRS)}
    assert not len(blind.undecided)
    assert (pairs.lower[blind.collisions] > 1e-4).all()
    assert (pairs.lower <= pairs.upper + 1e-9).all()


def test_collisions_are_parted_by_resolution_of_the_fingerprint_alone(blind):
    (entry,) = blind.parted
    assert entry["bispectrum"] is None and entry["fingerprint"] <= 4


def test_no_pair_collides_in_the_fingerprint(b8_file):
    found = audit(read(b8_file, ":"), "fingerprint", centers=[0], **HYPERS, **FEW)
    assert not len(found.collisions) and not len(found.undecided) and not found.parted
    assert (found.smallest > 0).all() and len(found.smallest) == 8


def test_equal_environments_do_not_collide():
    """Turned, mirrored and repeated structures are the same, however often they occur."""
    shaken = molecule("CH3OH")
    shaken.rattle(0.1, seed=1)
    frames = []
    for seed in range(6):
        frames.append(shaken.copy())
        frames[-1].positions = shaken.positions @ ((-1) ** seed * random_rotation(seed)).T
    others = [molecule("CH3OH"), molecule("C2H6")]
    found = audit(frames + others, "power_spectrum", **HYPERS, **FEW)
    assert not len(found.collisions)


def test_nearest_rows_are_those_of_all_pairs():
    rows = np.random.default_rng(0).normal(size=(60, 500))
    rows[30:] = rows[:30] + 1e-9 * rows[:30] ** 2
    groups = np.arange(60) % 3
    found = nearest_pairs(rows, groups, n_neighbors=3, max_pairs=25)
    assert (groups[found.first] == groups[found.second]).all()
    assert (np.diff(found.distance) >= 0).all()
    expected = sorted(np.linalg.norm(rows[i] - rows[i + 30]) for i in range(30))
    np.testing.assert_allclose(found.distance, expected[:25], rtol=1e-12)


def test_the_command_writes_a_folder(b8_file, tmp_path, capsys):
    arguments = ["audit", str(b8_file), "--kind", "power_spectrum", "--centers", "0"]
    arguments += ["--cutoff", "2.0", "--n-max", "1", "--l-max", "2", "--floor", "1e-4"]
    out = tmp_path / "out"
    assert main([*arguments, "--out", str(out)]) == 0
    assert "different environments have equal rows" in capsys.readouterr().out
    record = json.loads((out / "audit.json").read_text())
    assert len(record["collisions"]) >= N_PAIRS
    assert record["collisions"][0]["frames"][0] % 2 == 0
    assert record["settings"]["hypers"]["kind"] == "power_spectrum"
    text = (out / "report.md").read_text()
    for figure in ("distances.png", "sensitivity.png"):
        assert figure in text and (out / figure).stat().st_size > 1000

    assert main([*arguments, "--out", str(out)]) == 2
    assert "already holds files" in capsys.readouterr().err


def test_an_interrupted_audit_leaves_nothing(blind, tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "sensitivity_histogram", interrupt)
    with pytest.raises(KeyboardInterrupt):
        report.write_audit(blind, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_an_earlier_report_is_kept_if_the_next_fails(blind, tmp_path, monkeypatch):
    out = tmp_path / "out"
    report.write_audit(blind, out)
    before = (out / "audit.json").read_bytes()

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(report, "distance_scatter", fail)
    with pytest.raises(OSError, match="disk full"):
        report.write_audit(blind, out, force=True)
    assert (out / "audit.json").read_bytes() == before


@pytest.mark.parametrize(
    "frames, options, words",
    [
        (Atoms("O"), {}, ["one central species", "1 of O", "at least two"]),
        (molecule("CO"), {}, ["1 of C", "1 of O"]),
        (molecule("H2O"), {"kind": "density"}, ["'density'", "fingerprint"]),
        (molecule("H2O"), {"kind": "triplets"}, ["'triplets'", "fingerprint"]),
        (molecule("H2O"), {"floor": 0.0}, ["floor=0.0", "positive"]),
        (molecule("H2O"), {"precision": -1}, ["precision=-1", "positive"]),
        (molecule("H2O"), {"species": [1]}, ["number 8", "species=[1]"]),
        (molecule("H2O"), {"centers": [5]}, ["5", "0 to 2"]),
    ],
)
def test_bad_input(frames, options, words):
    with pytest.raises(InputError) as raised:
        audit(frames, **({"kind": "power_spectrum"} | options))
    assert "\n" not in str(raised.value)
    for word in words:
        assert word in str(raised.value)


@pytest.mark.parametrize("content", ["", "nonsense\n"])
def test_unreadable_files(content, tmp_path, capsys):
    path = tmp_path / "in.xyz"
    path.write_text(content)
    assert main(["audit", str(path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "in.xyz" in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()
