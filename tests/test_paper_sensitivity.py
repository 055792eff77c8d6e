"""Distorted pairs: their noise and distances, features of new structures, and a quick run."""

import json

import numpy as np
import pytest

from experiments.paper import features
from experiments.paper.running import Runner, Settings
from experiments.paper.sensitivity import (
    COMPARED,
    ENCODER,
    ENERGY_ROWS,
    REFERENCE,
    UNDISTORTED,
    distortions,
    drawn_pairs,
    pair_distances,
    report,
    run,
)
from tripletjax import InputError
from tripletjax.data.b8 import load_b8

# The features are made in float64, the networks run in float32.
pytestmark = pytest.mark.once("float32")

QUICK = features.RESOLUTIONS["quick"]
MINUTES = 0.02


@pytest.fixture(scope="module")
def scratch(paper_scratch):
    return paper_scratch


@pytest.fixture(scope="module")
def cache(scratch):
    return scratch / "features"


def runner(scratch, out):
    return Runner(Settings(resolution="quick"), MINUTES, scratch, out)


def within(rows):
    return np.sqrt(((rows[0::2] - rows[1::2]) ** 2).sum(-1))


def test_noise_is_the_same_or_not():
    positions = load_b8().positions[:200]
    sets = distortions(positions)
    assert len(sets) == 9
    np.testing.assert_array_equal(sets[UNDISTORTED], positions)
    for deviation in (0.0001, 0.001, 0.01, 0.1):
        for kind in ("same", "independent"):
            noise = sets[f"{kind} {deviation:g}"] - positions
            assert noise.std() == pytest.approx(deviation, rel=0.05)
            is_same = np.allclose(noise[0::2], noise[1::2], rtol=0, atol=1e-12)
            assert is_same == (kind == "same")


def test_distances_are_in_units_of_those_between_pairs():
    random = np.random.default_rng(0)
    rows = random.normal(size=(2, 6, 5)) + 3  # sets, members of three pairs, columns
    unit = np.mean([
        np.sum((rows[0, i] - rows[0, j]) ** 2)
        for i in range(6) for j in range(6) if i // 2 != j // 2
    ])  # fmt: skip
    expected = [within(x) / np.sqrt(unit) for x in rows]
    flat = rows.reshape(12, 5)
    np.testing.assert_allclose(pair_distances([flat[:, :2], flat[:, 2:]], 2), expected)


@pytest.mark.parametrize("name", ["nu3", "nu7"])
def test_correlations_of_any_structures(cache, name):
    """Up to a factor at the distances of the features that rows are trained on."""
    kept = features.values(name, QUICK, cache).astype(float)
    places = np.r_[20:30, 410:420]
    positions = load_b8().positions[QUICK.structures[places]]
    blocks = list(features.correlation_blocks(name, positions, QUICK, cache))
    found, expected = np.concatenate(blocks, 1), kept[places]
    apart = [np.linalg.norm(x[:, None] - x, axis=-1)[np.triu_indices(20, 2)]
             for x in (found, expected)]  # fmt: skip
    ratio = apart[0] / apart[1]
    np.testing.assert_allclose(ratio, np.median(ratio), rtol=1e-3)


def test_correlations_without_features_of_all(cache, tmp_path):
    """What they are made with is the same, made for them alone; features of all are float32."""
    features.values("nu3", QUICK, cache)
    positions = load_b8().positions[:6]
    found, again = (
        np.concatenate(list(features.correlation_blocks("nu3", positions, QUICK, folder)), 1)
        for folder in (cache, tmp_path)
    )
    np.testing.assert_allclose(again, found, rtol=1e-6, atol=1e-6)
    assert not (tmp_path / "nu3-quick.npz").exists()


def test_triplets_of_any_structures(cache):
    kept = features.values("triplets", QUICK, cache)
    positions = load_b8().positions[QUICK.structures[[3, 450]]]
    found = features.triplets(positions, QUICK, cache)
    np.testing.assert_allclose(found, kept[[3, 450]], rtol=0, atol=1e-5 * np.abs(kept).max())


def test_rows_that_are_not_trained(tmp_path):
    with pytest.raises(InputError, match=r"no trained row A_rho_NL; train it by .* --quick --rows"):
        run(runner(tmp_path, tmp_path), 4, 4, "quick")
    with pytest.raises(InputError, match="pairs=51 is not usable; give 2 to 50"):
        drawn_pairs(runner(tmp_path, tmp_path), 51)


@pytest.mark.long
def test_run(scratch, tmp_path):
    """Order 3 is blind to pairs and sees only the noise; the learned codes see both."""
    row = runner(scratch, tmp_path / "out")
    for name in (ENCODER, *ENERGY_ROWS):
        row.trained(name, row.fit(name))
    before = (row.folder(ENCODER) / "checkpoint.safetensors").read_bytes()
    record = run(row, 8, 10, "quick")
    assert (row.folder(ENCODER) / "checkpoint.safetensors").read_bytes() == before
    assert json.loads((tmp_path / "out/sensitivity.json").read_text())["summary"]
    for name in ("sensitivity.png", "sensitivity_energies.png"):
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")
    assert all(name in report(record) for name in (*COMPARED, *ENERGY_ROWS, "same 0.01"))

    summary = record["summary"]
    blind, complete = COMPARED[0], COMPARED[1]
    assert summary[UNDISTORTED][blind]["largest"] < 1e-12
    for kind in ("same", "independent"):
        medians = [summary[f"{kind} {s}"][blind]["median"] for s in ("0.0001", "0.001")]
        assert medians[1] == pytest.approx(10 * medians[0], rel=0.7)  # proportional to the noise
    for feature in (REFERENCE, complete, COMPARED[2]):
        distant = summary[UNDISTORTED][feature]["median"]
        assert distant > 1e-3
        assert summary["same 0.0001"][feature]["median"] == pytest.approx(distant, rel=0.05)
    ratio = record["correlations"]["ratio_to_those_of_the_rows"]
    np.testing.assert_allclose(ratio, ratio[1], rtol=1e-3)
    assert record["correlations"]["rank_with_those_of_the_rows"] > 0.99
    assert record["energies"]["D_NL"]["delta"] == pytest.approx(1, abs=0.02)
    assert record["energies"]["fingerprint, Gaussian process"]["delta"] < 0.8
