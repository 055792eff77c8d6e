"""The audit finds what is known to be there, and nothing else; its folder is whole or not there."""

import json
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import read, write

from tripletjax import InputError
from tripletjax.basis.densities import Mixing
from tripletjax.cli import main
from tripletjax.completeness import reports as report
from tripletjax.completeness.auditing import audit
from tripletjax.completeness.collisions import nearest_pairs
from tripletjax.completeness.resolution import parting_degrees
from tripletjax.data.b8 import load_b8
from tripletjax.testing import random_rotation

pytestmark = pytest.mark.once("float64")

N_PAIRS = 24
HYPERS = {"cutoff": 2.0, "n_max": 2, "l_max": 3, "floor": 1e-4}
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


def test_report_names_the_resolutions_that_were_tried(blind):
    """A pair that no l_max parts is not one for which none was tried."""
    text = report.report(blind)
    assert "none up to 6" in text and "not tried" not in text
    assert "1, 2, 3, 4, 6 for the bispectrum" in text
    clusters = load_b8().frames(slice(2))
    contracted = parting_degrees(clusters, [5], "bispectrum", 1e-9, mixing=Mixing(None, None))
    assert contracted["bispectrum"] is None and contracted["tried"]["bispectrum"] == []
    text = report.report(replace(blind, parted=[{"pair": 0, **contracted}]))
    assert "not tried: fitted for one l_max" in text and "none up to" not in text


def close_packed() -> list[Atoms]:
    """fcc and hcp, whose rows of the power spectrum are equal up to l_max=2."""
    a = 2.55
    return [bulk("Cu", "fcc", a=a * np.sqrt(2)), bulk("Cu", "hcp", a=a, c=a * np.sqrt(8 / 3))]


def test_equal_rows_that_are_undecided_are_reported(tmp_path, capsys):
    """Neither a collision nor none: the distance, about 1 Å, cannot be certified."""
    path, out = tmp_path / "close_packed.xyz", tmp_path / "out"
    write(path, close_packed())
    arguments = ["audit", str(path), "--kind", "power_spectrum", "--cutoff", "3.0", "--n-max", "3"]
    assert main([*arguments, "--l-max", "2", "--out", str(out)]) == 0
    line = capsys.readouterr().out.splitlines()[0]
    assert line.startswith("Undecided: 1 pair has equal rows")
    assert "atom 0 of frame 0 and atom 0 of frame 1" in line and "None" not in line
    text = (out / "report.md").read_text()
    assert line in text and "| 0, 0 | 1, 0 |" in text
    assert "| 0, 0 and 1, 0 | 3 | 1 |" in text  # of the power spectrum, of the fingerprint
    found = json.loads((out / "audit.json").read_text())
    assert found["verdict"] == line
    assert found["collisions"] == [] and found["pairs_with_equal_rows"] == 1
    (pair,) = found["undecided"]
    assert pair["frames"] == [0, 1] and pair["atoms"] == [0, 0]
    assert pair["geometric_lower_bound_A"] <= 1e-3 < pair["geometric_distance_A"]


def test_pairs_of_equal_rows_that_were_not_compared_are_counted():
    frames = load_b8().frames(slice(8))
    options = HYPERS | {"n_sensitivity": 0, "n_parted": 0, "centers": [0]}
    found = audit(frames, "bispectrum", max_pairs=1, **options)
    assert len(found.collisions) == 1 and found.n_equal_skipped == 3
    assert found.search.n_pairs == 28
    assert "Not compared: 3 more pairs with equal rows; raise max_pairs." in report.verdict(found)
    assert report.record(found)["pairs_with_equal_rows_not_compared"] == 3
    text = report.report(audit(frames, "bispectrum", max_pairs=5, **options))
    assert "None of the pairs that were not compared has equal rows." in text


def test_more_equal_rows_than_are_looked_up_are_reported():
    """Without angles in the descriptor all of these are equal, and each has only 8 nearest rows."""
    bent = [(np.cos(angle), np.sin(angle), 0) for angle in np.linspace(0.5, 2.5, 12)]
    frames = [Atoms("CHH", [(0, 0, 0), (1, 0, 0), place]) for place in bent]
    options = {"n_max": 1, "l_max": 0, "centers": [0], "n_sensitivity": 0, "n_parted": 0}
    found = audit(frames, "power_spectrum", **options)
    assert found.n_crowded == 12
    assert "Partly compared: 12 environments" in report.verdict(found)
    found = audit(frames[:9], "power_spectrum", **options)
    assert found.n_crowded == 0 and len(found.collisions) == 36
    assert report.verdict(found).startswith("36 pairs of different environments have equal rows")


def test_no_pair_collides_in_the_fingerprint(b8_file):
    found = audit(read(b8_file, ":"), "fingerprint", centers=[0], n_features=64, **HYPERS, **FEW)
    assert not len(found.collisions) and not len(found.undecided) and not found.parted
    assert (found.smallest > 0).all() and len(found.smallest) == 8
    assert report.verdict(found).startswith("None: no two different environments")


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


@pytest.mark.parametrize("n_columns", [3, 500])
def test_no_row_within_reach_is_missing(n_columns):
    rows = np.random.default_rng(0).normal(size=(60, n_columns))
    rows[40:] = rows[:20] + 1e-9
    found = nearest_pairs(rows, np.zeros(60), n_neighbors=5, max_pairs=None)
    listed = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    near = np.linalg.norm(rows[:, None] - rows, axis=-1) < found.reach[:, None]
    within = {(i, j) for i, j in np.argwhere(near | near.T).tolist() if i < j}
    assert {(i, i + 40) for i in range(20)} <= within <= listed
    rows[:10] = rows[0]
    crowded = nearest_pairs(rows, np.zeros(60), n_neighbors=5).reach == 0
    assert crowded[:10].all() and not crowded[10:40].any()
    assert np.isinf(nearest_pairs(rows, np.zeros(60), n_neighbors=59).reach).all()


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
    (out / "notes.txt").write_text("of someone")
    (out / "report.md").write_text("old")
    report.write_audit(blind, out, force=True)
    assert (out / "notes.txt").read_text() == "of someone"
    assert (out / "report.md").read_text() != "old"

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
        (molecule("H2O"), {"max_pairs": 0}, ["max_pairs=0", "from 1"]),
        (molecule("H2O"), {"n_parted": 1.5}, ["n_parted=1.5", "whole number"]),
        (molecule("H2O"), {"species": [1]}, ["number 8", "species=[1]"]),
        (molecule("H2O"), {"centers": [5]}, ["5", "0 to 2"]),
        (molecule("H2O"), {"tags": 3}, ["invalid tags=3", "'power_spectrum' does not read it"]),
        (molecule("H2O"), {"lmax": 3}, ["'lmax'", "did you mean 'l_max'?"]),
        (molecule("H2O"), {"seed": -1}, ["invalid seed=-1"]),
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
