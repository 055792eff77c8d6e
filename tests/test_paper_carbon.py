"""Carbon clusters: how they are drawn, the two heads and their comparison; PCovR."""

import json

import numpy as np
import pytest

from experiments.paper import pcovr as quadratic
from experiments.paper.carbon import features
from experiments.paper.carbon.fitting import gain_intervals, ridge, split
from experiments.paper.carbon.make import ATOMS, BOND, Structure, clusters, read, save
from experiments.paper.carbon.run import run
from experiments.paper.labels import Split
from experiments.paper.pcovr import pcovr, products
from tripletjax import InputError
from tripletjax.types import Basis

# Descriptors in float32, everything else in float64.
pytestmark = pytest.mark.once("float32")

SMALL = Basis(cutoff=3.0, cutoff_function="smooth", cutoff_width=1.0, n_max=2, l_max=2)


@pytest.fixture(scope="module")
def labelled():
    return read()


def test_clusters_are_drawn_as_told():
    for index in range(12):
        positions = next(clusters(index))
        assert ATOMS[0] <= len(positions) <= ATOMS[1]
        distances = np.linalg.norm(positions[:, None] - positions, axis=-1)
        nearest = np.sort(distances + 9 * np.eye(len(positions)), 1)[:, 0]
        assert nearest.min() > BOND[0] - 1e-5 and nearest.max() < BOND[1] + 1e-5


def test_labels_are_of_the_clusters_drawn(labelled):
    """The generator that is there made the set that is there."""
    assert len(labelled) >= 2000
    for index in range(0, len(labelled), max(1, len(labelled) // 10)):
        drawn = clusters(index)
        for _ in range(labelled[index].failures):
            next(drawn)
        np.testing.assert_array_equal(next(drawn), labelled[index].positions)


def test_energies_are_those_of_carbon(labelled):
    """A free atom has -49.8 eV in GFN2-xTB; an atom of a cluster is bound by 4 to 6 eV more."""
    per_atom = np.array([s.energy / len(s.positions) for s in labelled])
    assert -57 < per_atom.min() and per_atom.max() < -53


def test_labels_are_saved_and_read(tmp_path):
    made = [Structure(np.full((n, 3), n, np.float32), -1.5 * n, n % 2) for n in (4, 7, 5)]
    save(tmp_path / "some.npz", made)
    found = read(tmp_path / "some.npz")
    for a, b in zip(found, made, strict=True):
        np.testing.assert_array_equal(a.positions, b.positions)
        assert a[1:] == b[1:]
    assert read(tmp_path / "none.npz") == []


def _turned(structure: Structure, seed: int) -> Structure:
    """Rotated, mirrored and permuted."""
    random = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(random.normal(size=(3, 3)))
    rotation *= -np.sign(np.linalg.det(rotation))
    order = random.permutation(len(structure.positions))
    positions = structure.positions[order].astype(float) @ rotation.T
    return structure._replace(positions=positions)


def test_features_are_invariant_sums(labelled):
    """Under all of O(3), permutations, and additive over clusters that are far apart."""
    some = [s for s in labelled if len(s.positions) < 7][:3]
    same = [_turned(s, i) for i, s in enumerate(some)]
    far = np.concatenate([some[0].positions, some[1].positions + 50])
    everything = [*some, *same, Structure(far, 0.0, 0)]
    found = [features.baseline(everything, SMALL)]
    for rows_of in features.KINDS.values():
        rows = rows_of(everything, SMALL)
        units = features.fit_units(rows_of(some, SMALL))
        assert (rows.odd**2).sum() > 1e-5 * (rows.even[-1] ** 2).sum(), "mirror images differ"
        found.append(features.hidden_sums(rows, units, len(everything), 64, 1.0, 0))
    for values in found:
        size = np.abs(values).max()
        np.testing.assert_allclose(values[3:6], values[:3], atol=2e-4 * size)
        np.testing.assert_allclose(values[6], values[0] + values[1], atol=2e-4 * size)
        assert np.abs(values[0] - values[1]).max() > 0.01 * size


def test_splits_share_the_test_set():
    first, second = split(1000, 0), split(1000, 1)
    assert [len(part) for part in first] == [720, 80, 200]
    assert (first.test == second.test).all() and set(first.valid) != set(second.valid)
    assert len(np.unique(np.concatenate(first))) == 1000


def test_ridge_is_the_solution_of_its_equations():
    random = np.random.default_rng(0)
    inputs = random.normal(size=(60, 4))
    targets = inputs @ [1.0, -2.0, 0.5, 0.0] + 3 + 0.1 * random.normal(size=60)
    parts = Split(np.arange(40), np.arange(40, 50), np.arange(50, 60))
    fit = ridge(inputs, targets, parts)
    known = inputs[:50] - inputs[:50].mean(0)
    slopes = np.linalg.solve(
        known.T @ known + fit.penalty * np.trace(known.T @ known) * np.eye(4),
        known.T @ (targets[:50] - targets[:50].mean()),
    )
    expected = targets[:50].mean() + (inputs - inputs[:50].mean(0)) @ slopes
    np.testing.assert_allclose(fit.predicted, expected, atol=1e-10)
    unseen = targets.copy()
    unseen[parts.test] = 1e6
    np.testing.assert_array_equal(ridge(inputs, unseen, parts).predicted, fit.predicted)


def test_gain_intervals_are_paired():
    """Common errors of both models cancel; without a difference the interval holds zero."""
    random = np.random.default_rng(0)
    common = random.standard_t(3, size=(5, 400))
    better = gain_intervals(1.05 * common, common)
    low, high = better["structures_and_seeds"]
    assert 0 < low < better["gain"] < high
    apart = gain_intervals(random.normal(size=(5, 400)), random.normal(size=(5, 400)))
    for kind in ("structures", "structures_and_seeds"):
        assert apart[kind][0] < apart["gain"] < apart[kind][1]
    low, high = apart["structures"]
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(2 * 0.5 / 400 / 5), rel=0.25)


def test_the_comparison_in_small(labelled, tmp_path):
    tuning = {
        "nu3": {"chosen": {"nu3": 2.0}}, "triplets": {"chosen": {"nu3": 2.0, "triplets": 1.0}},
    }  # fmt: skip
    some = [s for s in labelled if len(s.positions) < 8][:400]
    found = run(some, tmp_path / "scratch", tmp_path, tuning, 32, 2)
    assert json.loads((tmp_path / "results.json").read_text())["gain_eV"] == found["gain_eV"]
    assert (tmp_path / "carbon.png").read_bytes().startswith(b"\x89PNG")
    spread = np.std([s.energy for s in some[320:]])
    for one in found["runs"]:
        assert one["baseline"]["test_rmse"] < 0.2 * spread
        for model in ("nu3", "triplets"):
            assert one[model]["test_rmse"] < 1.5 * one["baseline"]["test_rmse"]
    again = run(some, tmp_path / "scratch", tmp_path, tuning, 32, 2)
    assert again["runs"] == found["runs"]


def _rows(seed=0):
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(80, 6)) * [3, 2, 1, 0.7, 0.5, 0.2] + 1
    return inputs, inputs @ [0, 0, 0, 0, 0.5, 2.0] + 0.1 * random.normal(size=80)


def test_pcovr_has_its_two_limits():
    inputs, targets = _rows()
    centred, wanted = inputs - inputs.mean(0), targets - targets.mean()
    covariates = pcovr(inputs, targets, 1.0, 3)(inputs)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    scores = left[:, :3] * sizes[:3] / np.linalg.norm(centred)
    np.testing.assert_allclose(np.abs(covariates), np.abs(scores), atol=1e-8)
    line = pcovr(inputs, targets, 0.0, 1, regularisation=0.0)(inputs)[:, 0]
    slopes, *_ = np.linalg.lstsq(centred, wanted)
    assert abs(np.corrcoef(line, centred @ slopes)[0, 1]) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("mixing", [0.2, 0.5, 0.9])
def test_pcovr_is_that_of_sample_space(mixing):
    """Eigenvectors of α X X^T + (1 - α) Ŷ Ŷ^T, times the roots of their eigenvalues."""
    inputs, targets = _rows(1)
    x, y = inputs - inputs.mean(0), targets - targets.mean()
    x, y = x / np.linalg.norm(x), y / np.linalg.norm(y)
    predicted = x @ np.linalg.solve(x.T @ x + 1e-3 * np.eye(6), x.T @ y)
    gram = mixing * x @ x.T + (1 - mixing) * np.outer(predicted, predicted)
    values, vectors = np.linalg.eigh(gram)
    expected = vectors[:, :-3:-1] * np.sqrt(values[:-3:-1])
    covariates = pcovr(inputs, targets, mixing, 2, regularisation=1e-3)(inputs)
    np.testing.assert_allclose(np.abs(covariates), np.abs(expected), atol=1e-8)
    with pytest.raises(InputError, match=r"mixing=1\.5"):
        pcovr(inputs, targets, 1.5)


def test_products_are_those_of_the_kernel():
    """Inner products of Σ t⊗t are Σ Σ (t·t')²."""
    triplets = np.random.default_rng(0).normal(size=(5, 7, 4)).astype(np.float32)
    found = products(triplets)
    kernel = (np.einsum("atd,bsd->abts", triplets, triplets) ** 2).sum((2, 3))
    np.testing.assert_allclose(found @ found.T, kernel, rtol=1e-5)


NAMES = ("sum", "sum_of_products")


def test_products_are_not_blind(paper_scratch, tmp_path):
    """Pairs that have the same Σ t differ in Σ t⊗t."""
    found = quadratic.run("quick", "xtb", paper_scratch, tmp_path)
    blind, other = (found[name]["penalty_best_for_energies"]["test"]["delta"] for name in NAMES)
    assert blind == pytest.approx(1, abs=0.02) and abs(other - 1) > 0.02
    assert found["sum"]["distance_of_pairs"] < 1e-4
    assert found["sum_of_products"]["distance_of_pairs"] > 1e-2
    assert (tmp_path / "pcovr.png").read_bytes().startswith(b"\x89PNG")
