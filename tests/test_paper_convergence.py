"""Convergence with resolution: the target, what is recovered of environments, the run in small."""

import json
from itertools import permutations

import jax
import numpy as np
import pytest

from experiments.paper import convergence
from experiments.paper.convergence import QUICK, held, hypers_of, line, run, target
from experiments.paper.recovery import apart, coarse_weights, noisy, triplet_errors, triplet_values
from tripletjax import descriptor
from tripletjax.data.b8 import load_b8

pytestmark = pytest.mark.once("float32")  # all in float64, whatever the default


def neighbors(count: int) -> np.ndarray:
    return load_b8().positions[:count, 1:]


def test_target_is_the_sum_over_rings():
    """Against a loop over all ordered sets of five, each ring counted ten times."""
    r = neighbors(1)[0]
    total = 0.0
    for ring in permutations(range(7), 5):
        steps = r[list(ring)] - r[list(np.roll(ring, -1))]
        total += np.exp(-(steps**2).sum() / 2)
    assert target(r[None])[0] == pytest.approx(np.log(total / 10), abs=1e-12)


def test_target_belongs_to_the_structure_and_parts_the_pairs():
    r = neighbors(200)
    values = target(r)
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    np.testing.assert_allclose(target(r[:, ::-1] @ turn), values, atol=1e-12)
    differences = values[0::2] - values[1::2]
    assert np.std(differences) > 0.05 * np.std(values)


def test_distance_of_what_is_recovered():
    r = neighbors(1)[0]
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    assert apart(r, (r @ turn)[::-1]) < 1e-7
    moved = r.copy()
    moved[0, 0] += 1e-3
    assert apart(r, moved) == pytest.approx(1e-3 / np.sqrt(7), rel=0.2)


def test_noise_has_the_size_asked_for():
    values = np.random.default_rng(0).normal(size=10_000)
    change = np.linalg.norm(noisy(values, 1e-3, 1) - values) / np.linalg.norm(values)
    assert change == pytest.approx(1e-3, rel=0.1)
    assert (noisy(values, 1e-3, 1) != noisy(values, 1e-3, 2)).any()


@pytest.mark.long
def test_a_triplet_holds_the_other_atoms_only_with_resolution():
    """15 coordinates of the five untagged neighbours against n_max (l_max + 1)² coefficients."""
    found = {}
    with jax.enable_x64(True):
        for l_max in (1, 3):
            basis = descriptor("fingerprint", (5,), **hypers_of(2, l_max, 8)).hypers.basis
            assert triplet_values(neighbors(1)[0], basis).shape == (3 + 2 * (l_max + 1) ** 2,)
            assert len(coarse_weights(basis)) == 3 + 2 * (l_max + 1) ** 2
            found[l_max] = np.median(triplet_errors(neighbors(2), basis, 1e-8))
    assert found[3] < 1e-5 < 1e-2 < found[1]


@pytest.mark.long
def test_run_in_small(tmp_path, monkeypatch):
    """Files, a table, and a second run that measures nothing again."""
    monkeypatch.setitem(convergence.PARTS, "fingerprint", lambda n, l, settings: [0.1, 0.2])
    monkeypatch.setitem(convergence.PARTS, "triplet", lambda n, l, settings: [0.1, 0.2])
    record = run(QUICK, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["convergence.json", "convergence.png"]
    low, high = (entry["learned"]["200"]["errors"] for entry in record["resolutions"].values())
    assert high["mean"] < low["mean"] and high["delta"] < 1.2
    monkeypatch.setitem(convergence.PARTS, "learned", None)
    assert run(QUICK, tmp_path)["resolutions"] == record["resolutions"]
    assert json.loads((tmp_path / "convergence.json").read_text())["settings"] == QUICK
    assert all(line(entry, QUICK).count("|") == 8 for entry in record["resolutions"].values())
    assert held(QUICK["resolutions"]) in ((1, 1), (2, 3), (1, 3), (2, 1))
