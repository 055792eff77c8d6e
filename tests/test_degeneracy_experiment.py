"""The table of families and descriptors: a smoke run, and what the committed figures claim."""

import json
from pathlib import Path

import numpy as np
import pytest

import experiments.degeneracy.run as degeneracy
from experiments.degeneracy.references import EXTENT, PERIODIC_SCALE, scaled
from experiments.degeneracy.table import as_text, worst
from tripletjax.completeness.families import FAMILIES, instances

pytestmark = pytest.mark.once("float32")

RESULTS = Path(degeneracy.__file__).with_name("results") / "results.json"
# Names of the invariants that the columns stand for, where a pair's claims are about them.
CLAIMS = {
    "sorted distances": "sorted_distances",
    "distance messages": "message_passing",
    "power spectrum": "power_spectrum",
    "bispectrum": "bispectrum",
    "triplet sum": "bispectrum",
    "order 4": "nu4",
}


@pytest.fixture(scope="module")
def committed():
    return json.loads(RESULTS.read_text())


def test_quick_run_writes_its_files_and_resumes(tmp_path, monkeypatch):
    monkeypatch.setattr(degeneracy, "QUICK_REFERENCES", ("power spectrum", "fingerprint l=3"))
    names = ["two_neighbors", "methane"]
    record = degeneracy.run(tmp_path, names, quick=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "results.json", "separations.png", "table.txt",
    ]  # fmt: skip
    assert (tmp_path / "separations.png").read_bytes().startswith(b"\x89PNG")
    for pair in record["families"]["methane"]:
        cells = pair["separations"]
        assert cells["power spectrum"]["relative"] < 1e-12
        assert cells["fingerprint l=3"]["relative"] > 1e-8 and pair["distance"] > 0
    assert "equal" in (tmp_path / "table.txt").read_text()

    def fail(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(degeneracy, "measure_family", fail)
    again = degeneracy.run(tmp_path, names, quick=True)
    assert again["families"] == json.loads(json.dumps(record["families"]))


def test_structures_are_scaled_to_one_extent():
    for name in ("b8", "trapezium_kite", "homometric_crystal"):
        pair = FAMILIES[name]()
        after = scaled(pair)
        if pair.cell is None:
            distances = [frame.get_all_distances() for frame in after.frames()]
            rows = slice(None) if pair.center is None else pair.center
            assert max(d[rows].max() for d in distances) == pytest.approx(EXTENT)
        else:
            assert np.allclose(after.first, PERIODIC_SCALE * pair.first)
            assert np.allclose(after.cell, PERIODIC_SCALE * pair.cell)


def test_every_family_is_in_the_committed_table(committed):
    names = [pair.name for pair in instances()]
    assert [r["name"] for rows in committed["families"].values() for r in rows] == names
    rows = worst(committed["families"], committed["settings"]["descriptors"])
    text = as_text(rows, committed["settings"]["descriptors"])
    assert RESULTS.with_name("table.txt").read_text() == text


def test_fingerprints_part_all_that_no_isometry_relates(committed):
    for records in committed["families"].values():
        for record in records:
            relative = record["separations"]["fingerprint l=12"]["relative"]
            if record["relation"] == "none":
                assert relative > 1e-11, record["name"]
            else:
                assert relative < 1e-12, record["name"]


def test_references_are_blind_where_the_families_say_so(committed):
    for records in committed["families"].values():
        for record in records:
            for column, invariant in CLAIMS.items():
                # A crystal's claim is about all of its distances, not those within environments.
                if column == "sorted distances" and record["name"].startswith("homometric_crystal"):
                    continue
                if invariant in record["defeats"] and column in record["separations"]:
                    relative = record["separations"][column]["relative"]
                    assert relative < 1e-11, (record["name"], column)
