"""The paper's table: its errors and splits, features and networks, and a quick run of its rows."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest

from experiments.paper import features
from experiments.paper.__main__ import main
from experiments.paper.errors import errors, intervals
from experiments.paper.label import Label, read, save
from experiments.paper.labels import FIRST_TEST, Labels, read_labels, split
from experiments.paper.networks import Head, Linear, LinearHead, Reconstruction, Summed
from experiments.paper.rows import SCALINGS
from experiments.paper.running import Runner, Settings
from tripletjax import InputError
from tripletjax.demo import pair_errors

# The features are made in float64, the networks run in float32.
pytestmark = pytest.mark.once("float32")

QUICK = Settings(resolution="quick")


@pytest.fixture(scope="module")
def scratch(paper_scratch):
    return paper_scratch


def test_errors_are_those_of_the_demo():
    random = np.random.default_rng(0)
    reference, predicted = random.normal(size=(2, 200))
    found, expected = errors(predicted, reference), pair_errors(predicted, reference)
    assert found["mean"] == pytest.approx(expected["mean"])
    assert found["delta"] == pytest.approx(expected["difference"])
    vectors = errors(np.stack([predicted] * 3, 1), np.stack([reference] * 3, 1))
    assert vectors == pytest.approx(found)
    for name, (low, high) in intervals(predicted, reference).items():
        assert low < found[name] < high


def test_a_blind_model_has_the_error_of_the_paper():
    """RMS(Δ)/std(Δ), whatever it predicts for a pair."""
    labels = read_labels("pbe")
    energies = labels.energies[labels.index >= FIRST_TEST]
    predicted = np.repeat(np.random.default_rng(0).normal(size=500), 2)
    assert errors(predicted, energies)["delta"] == pytest.approx(1.0001, abs=1e-4)


@pytest.mark.parametrize("kind", ["xtb", "pbe"])
def test_splits_hold_whole_pairs(kind):
    labels = read_labels(kind)
    found = split(labels, 1000)
    assert [len(part) for part in found] == [900, 100, 1000]
    assert len(np.unique(np.concatenate(found))) == 2000
    for part in found:
        index = labels.index[part].reshape(-1, 2)
        assert (index[:, 0] % 2 == 0).all() and (index[:, 1] == index[:, 0] + 1).all()
    assert (labels.index[found.test] >= FIRST_TEST).all()
    assert len(split(labels, clean=False).valid) == 0
    smaller = split(labels, 500)
    assert np.isin(smaller.train, np.concatenate([found.train, found.valid])).all()
    with pytest.raises(InputError, match="n_train=7002"):
        split(labels, 7002)


def test_labels_that_are_missing(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_labels("pbe", tmp_path / "none.npz")
    file = tmp_path / "few.npz"
    save(file, {index: Label(index, -1.0, -1.0, True) for index in (0, 1, 2)})
    assert sorted(read(file)) == [0, 1, 2]
    with pytest.raises(InputError, match="lacks 1000 of the test"):
        read_labels("pbe", file)
    with pytest.raises(InputError, match="dft"):
        read_labels("dft")


def test_features_of_pairs(scratch):
    """Equal within a pair for all that four-body correlations determine, and only for that."""
    size = features.RESOLUTIONS["quick"]
    found = {
        name: features.values(name, size, scratch / "features")
        for name in ("triplets", "nu3", "nu7")
    }
    triplets = found["triplets"]
    assert triplets.shape[:2] == (500, 64)
    assert not triplets[:, :8].any() and not triplets[:, ::8].any(), "pairs with the centre"
    assert triplets[:, 9:16].any(-1).all(), "both tags may be one neighbour"
    sums = triplets.astype(float).sum(1)
    for rows in (sums, found["nu3"]):
        apart = np.abs(rows[0::2] - rows[1::2]).max()
        assert apart < 1e-5 * np.abs(rows).max()
    apart = np.abs(found["nu7"][0::2] - found["nu7"][1::2]).max(1)
    assert np.median(apart) > 1e-4 * np.abs(found["nu7"]).max()
    for rows in (triplets[:400, 9:], found["nu3"][:400], found["nu7"][:400]):
        assert 0.3 < np.mean(rows**2) < 3


def test_networks_see_scaled_components(scratch):
    """Small ones of triplets smaller still, none that counts left out; correlations as they are."""
    runner = Runner(QUICK, 1.0, scratch, scratch / "none")
    known = runner.split.known
    for name, scaling in SCALINGS.items():
        rows = runner.features(name)
        shown = runner.scaled(name, rows, rows)
        sizes, scaled = (
            np.sqrt((a[known].astype(float) ** 2).mean(tuple(range(a.ndim - 1))))
            for a in (rows, shown)
        )
        assert np.sqrt((scaled**2).sum()) == pytest.approx(scaling.size, rel=1e-3)
        kept = np.isin(np.arange(len(sizes)), np.argsort(-sizes)[: len(scaled)])
        factors = scaled / sizes[kept]
        np.testing.assert_allclose(factors, factors[0] * (sizes[kept] / sizes[0]) ** scaling.power,
                                   rtol=1e-3)  # fmt: skip
        assert (sizes[~kept] / sizes[0]).max(initial=0) ** (1 + scaling.power) < 2e-5
        assert len(runner.scaled(name, rows[:2], rows)) == 2


def test_networks_start_uniform_within_the_bound_of_their_inputs():
    weights = Head().init(jax.random.key(0), np.zeros(400, np.float32))["params"]
    for layer, n_inputs in (("Dense_0", 400), ("Dense_1", 128), ("Dense_2", 128)):
        for values in weights[layer].values():
            assert np.abs(values).max() <= n_inputs**-0.5
        assert np.std(weights[layer]["kernel"]) == pytest.approx((3 * n_inputs) ** -0.5, rel=0.15)
    assert np.std(weights["Dense_0"]["bias"]) == pytest.approx(1200**-0.5, rel=0.15)


def test_networks_see_one_triplet_at_a_time():
    triplets = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    for network in (Summed(Head()), Reconstruction(Linear(4), 3)):
        with jax.numpy_dtype_promotion("standard"):
            weights = network.init(jax.random.key(0), triplets)
            whole = network.apply(weights, triplets)
            turned = network.apply(weights, triplets[::-1])
        np.testing.assert_allclose(turned, whole, rtol=2e-5)
    for head in (Summed(Head(), zeros=2), Summed(LinearHead(), zeros=2)):
        with jax.numpy_dtype_promotion("standard"):
            weights = head.init(jax.random.key(0), triplets)
            weights = jax.tree.map(lambda w: w + 0.1, weights)  # no bias is zero
            whole = head.apply(weights, triplets)
            with_zeros = np.concatenate([triplets, np.zeros((2, 5), np.float32)])
            parts = [
                head.of_triplet.apply({"params": weights["params"]["of_triplet"]}, row)
                for row in with_zeros
            ]
        np.testing.assert_allclose(sum(parts), whole, rtol=1e-4)


@pytest.mark.long
def test_the_command_from_labels_to_the_table(scratch, capsys, monkeypatch):
    """Blind rows are blind, the others are not; what is there is not repeated."""
    monkeypatch.setattr("experiments.paper.__main__.QUICK_MINUTES", 0.02)  # of each row
    names = ["D_L", "B_L", "B_NL", "B_NL_pairs", "C_L", "A_rho_L", "A_L", "closed_form"]
    main(["--quick", "--scratch", str(scratch.parent), "--rows", *names])
    printed = capsys.readouterr().out
    found = {name: json.loads((scratch / f"{name}-xtb.json").read_text()) for name in names}
    blind = found["D_L"]["best_on_valid"]["test"]["delta"]
    assert found["A_rho_L"]["best_on_test"]["test"]["delta"] == pytest.approx(1, abs=0.02)
    for name in ("A_L", "B_L"):
        assert found[name]["best_on_test"]["test"]["delta"] == pytest.approx(blind, abs=1e-4)
    assert abs(found["C_L"]["best_on_test"]["test"]["delta"] - blind) > 1e-3
    assert found["closed_form"]["best_on_valid"]["test"]["delta"] < 0.6
    assert printed.count("B_NL ") == 2  # the epoch best on either set
    before = {path: path.read_bytes() for path in scratch.glob("*.json")}
    main(["--quick", "--scratch", str(scratch.parent), "--rows", "D_L", "closed_form"])
    assert {path: path.read_bytes() for path in scratch.glob("*.json")} == before
    assert capsys.readouterr().out == printed


def test_results_of_other_settings_are_kept(scratch):
    out = scratch / "kept"
    Runner(QUICK, 0.002, scratch / "s1", out).row("D_L")
    before = (out / "D_L-xtb.json").read_bytes()
    with pytest.raises(InputError, match=r"other settings \(minutes\)"):
        Runner(QUICK, 1.0, scratch / "s1", out).row("D_L")
    assert (out / "D_L-xtb.json").read_bytes() == before
    Runner(replace(QUICK, clean=False), 0.002, scratch / "s1", out).row("D_L")
    assert "best_on_valid" not in json.loads((out / "D_L-xtb-all.json").read_text())


def test_a_budget_too_small(scratch):
    with pytest.raises(InputError, match="budget=0"):
        Runner(QUICK, 0.0, scratch, scratch / "none")
    assert not (scratch / "none").exists()


def test_among_keeps_whole_pairs():
    labels = Labels(np.arange(10), np.arange(10.0))
    assert labels.among(np.array([2, 3, 8, 9])).energies.tolist() == [2, 3, 8, 9]
