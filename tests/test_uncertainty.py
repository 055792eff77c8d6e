"""Committees and the posterior of the last layer."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest

from tests.test_training import FAST, SMALL, clusters
from tripletjax import InputError
from tripletjax.engines.ase import TripletCalculator
from tripletjax.potentials.committee import calibrated, committee_of, size
from tripletjax.potentials.network import LAST_LAYER
from tripletjax.potentials.saving import FORMAT
from tripletjax.potentials.storage import load
from tripletjax.potentials.triplet import untrained
from tripletjax.training import read_labels, train, train_committee
from tripletjax.training.calibration import calibrate, errors_and_deviations
from tripletjax.training.data import make_buckets, thinned
from tripletjax.training.laplace import (
    _precision,
    laplace_committee,
    last_layer_features,
    posterior_draws,
)
from tripletjax.training.parts import Dataset

pytestmark = pytest.mark.once("float64")

KINDS = (2, 18)


def potential(seed: int = 0):
    return untrained(KINDS, SMALL, (-3.0, -1000.0), scale=0.5, seed=seed)


def dataset(count: int, seed: int = 0) -> Dataset:
    frames = clusters(count, seed)
    return Dataset(frames, read_labels(frames))


@pytest.fixture(scope="module")
def buckets():
    return make_buckets(*dataset(6), potential())


@pytest.fixture(scope="module")
def drawn(buckets):
    return laplace_committee(potential(), buckets, make_buckets(*dataset(4, 1), potential()))


@pytest.fixture(scope="module")
def members():
    return committee_of([potential(seed) for seed in range(3)])


def last_layer_change(model):
    """Random changes of the last layer: by name, and flat as the features are ordered."""
    random = np.random.default_rng(0)
    changes = {
        name: random.normal(size=model.weights[name].shape).astype(np.float32)
        for name in LAST_LAYER
    }
    return changes, np.concatenate([changes[name].ravel() for name in LAST_LAYER])


def test_features_give_the_change_of_energies_and_forces(buckets, dtype):
    model, rows = potential(), buckets[0]
    signs = np.random.default_rng(1).choice([-1, 1], size=(2, *rows.positions.shape)).astype(dtype)
    elements = np.array(KINDS, np.int32)
    of_energy, of_forces = last_layer_features(model.without_references, rows, elements, signs)
    changes, flat = last_layer_change(model)
    moved = replace(
        model,
        weights=model.weights | {name: model.weights[name] + changes[name] for name in changes},
    )
    atol = 2e-4 if dtype == np.float32 else 1e-6  # the weights are float32
    for index in range(2):
        frame = clusters(6)[index]
        batch = model.prepare(frame)
        before, after = (evaluated(m.weights, batch) for m in (model, moved))
        change = after.energy[0] - before.energy[0]
        np.testing.assert_allclose(change, of_energy[index] @ flat, atol=atol)
        change = np.asarray(after.forces - before.forces)[: len(frame)]
        for probe in range(2):
            expected = np.sum(change * signs[probe, index])
            np.testing.assert_allclose(of_forces[probe, index] @ flat, expected, atol=10 * atol)


def predicted(committee, frame):
    """Mean and deviation for one structure."""
    batch = committee.prepare(frame)
    return committee.without_references.energy_forces_stress(batch), committee.deviations(batch)


def evaluated(weights, batch):
    """Predictions of the potential with other weights."""
    return potential().without_references.with_weights(weights).energy_forces_stress(batch)


def test_sign_vectors_estimate_the_sum_over_components(buckets):
    random = np.random.default_rng(0)
    few = [jax.tree.map(lambda a: a[:1], buckets[0])]
    size = 3 * few[0].positions.shape[1]
    unit = np.eye(size).reshape(size, 1, -1, 3).astype(few[0].positions.dtype)
    elements = np.array(KINDS, np.int32)
    _, exact = last_layer_features(potential().without_references, few[0], elements, unit)
    exact = np.asarray(exact, float)[:, 0]
    without = _precision(potential(), few, 0.1, None, 1, random)
    found = _precision(potential(), few, 0.1, 0.2, 400, random) - without
    expected = exact.T @ exact / 0.2**2
    # The relative error of the trace has a standard deviation of at most √(2/400) = 0.07.
    assert abs(np.trace(found) / np.trace(expected) - 1) < 0.3
    assert np.linalg.norm(found - expected) < 0.5 * np.linalg.norm(expected)


def test_draws_have_the_inverse_precision_as_covariance():
    random = np.random.default_rng(0)
    root = random.normal(size=(5, 5))
    precision = root @ root.T + np.eye(5)
    draws = posterior_draws(precision, 20_000, random)
    covariance = draws.T @ draws / len(draws)
    # Elements of precision · covariance have standard deviations of about √(2/20000) = 0.01.
    whitened = np.linalg.cholesky(precision).T @ covariance @ np.linalg.cholesky(precision)
    np.testing.assert_allclose(whitened, np.eye(5), atol=0.05)


def test_predictions_are_mean_and_deviation_of_the_members(members, dtype):
    batch = members.prepare(clusters(1)[0])
    each = [evaluated(potential(seed).weights, batch) for seed in range(3)]
    mean, deviation = predicted(calibrated(members, 2.0, 3.0), clusters(1)[0])
    rtol = 1e-4 if dtype == np.float32 else 1e-10
    for number, factor in ((0, 2.0), (1, 3.0)):
        values = np.stack([np.asarray(found[number], float) for found in each])
        np.testing.assert_allclose(mean[number], values.mean(0), rtol=rtol, atol=rtol)
        spread = factor * values.std(0, ddof=1)
        np.testing.assert_allclose(deviation[number], spread, rtol=rtol, atol=rtol)


def test_the_deviation_grows_away_from_the_data(drawn):
    near, far = clusters(1, seed=7)[0], clusters(1, seed=7)[0]
    far.positions *= 0.8
    spreads = [predicted(drawn, frame)[1] for frame in (near, far)]
    assert np.mean(spreads[1].forces) > 1.5 * np.mean(spreads[0].forces)


@pytest.mark.parametrize("kind", ["drawn", "members"])
def test_errors_and_deviations_are_those_of_the_committee(kind, request):
    """The members one by one, in batches, as all together for one structure."""
    committee = request.getfixturevalue(kind)
    committee = calibrated(committee, 2.0, 3.0)
    data = dataset(3, 5)
    found = errors_and_deviations(committee, make_buckets(*data, committee))
    energy, forces = map(np.stack, found)
    start = 0
    for row, (frame, label) in enumerate(zip(data.frames, data.labels, strict=True)):
        mean, deviation = predicted(committee, frame)
        error = mean.energy[0] - (label.energy - committee.reference(frame))
        np.testing.assert_allclose(energy[:, row], [error, deviation.energy[0]], atol=1e-4)
        error = (mean.forces[: len(frame)] - label.forces).ravel()
        spread = np.asarray(deviation.forces)[: len(frame)].ravel()
        rows = forces[:, start : start + len(error)]
        np.testing.assert_allclose(rows, [error, spread], atol=1e-4)
        start += len(error)


def test_thinned_data_are_spread_over_all():
    buckets = make_buckets(*dataset(40), potential())
    few = thinned(buckets, 60)
    assert 20 <= sum(bucket.atom_mask.sum() for bucket in few) <= 60
    frames = np.concatenate([bucket.frames for bucket in few])
    assert len(set(frames)) == len(frames) and frames.max() - frames.min() > 20
    assert thinned(buckets, 10**6) == buckets


def test_calibration_makes_the_ratio_one(drawn):
    valid = make_buckets(*dataset(4, 1), drawn)
    for errors, deviations in errors_and_deviations(drawn, valid):
        np.testing.assert_allclose(np.mean((errors / deviations) ** 2), 1, rtol=1e-4)
    again = calibrate(drawn, valid)
    factors = [fitted.weights["forces_factor"] for fitted in (again, drawn)]
    np.testing.assert_allclose(*factors, rtol=1e-5)


def test_calculator_gives_deviations(drawn, tmp_path):
    drawn.save(tmp_path / "committee")
    frame = clusters(1)[0]
    frame.calc = TripletCalculator(tmp_path, uncertainty=True)
    mean, deviation = predicted(drawn, frame)
    frame.get_forces()
    np.testing.assert_allclose(
        frame.calc.get_deviations()["energy_std"], deviation.energy[0], rtol=1e-4
    )
    np.testing.assert_allclose(
        frame.calc.get_deviations(frame)["forces_std"],
        deviation.forces[: len(frame)],
        rtol=1e-3,
        atol=1e-6,
    )
    np.testing.assert_allclose(frame.get_forces(), mean.forces[: len(frame)], atol=1e-5)
    with pytest.raises(InputError, match="has no uncertainty"):
        TripletCalculator(potential(), uncertainty=True)


def test_saved_committees_are_the_same_and_damage_is_told(drawn, tmp_path):
    drawn.save(tmp_path / "committee")
    loaded = load(tmp_path / "committee")
    assert (loaded.model, loaded.scale) == (drawn.model, drawn.scale)
    for here, there in zip(*map(jax.tree.leaves, (loaded.weights, drawn.weights)), strict=True):
        assert np.array_equal(here, there)
    path = tmp_path / "committee" / FORMAT.arrays
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(InputError, match="damaged"):
        load(tmp_path / "committee")
    with pytest.raises(InputError, match="no model"):
        load(tmp_path)


def test_members_must_belong_together():
    with pytest.raises(InputError, match="two or more"):
        committee_of([potential()])
    with pytest.raises(InputError, match="member 1 has another scale"):
        committee_of([potential(), replace(potential(), scale=2.0)])


@pytest.mark.long
def test_training_writes_both_kinds(tmp_path, caplog):
    caplog.set_level("INFO")
    config = replace(FAST, max_epochs=2, laplace_members=4)
    _, record = train(dataset(6), tmp_path / "fit", config, test=dataset(3, 1), show=False)
    assert size(load(tmp_path / "fit" / "committee")) == 4
    assert "test_forces_ratio" in record["uncertainty"]
    assert "computing uncertainties" in caplog.messages
    said = []
    committee, record = train_committee(
        dataset(6),
        tmp_path / "many",
        2,
        config,
        test=dataset(3, 1),
        show=False,
        announce=said.append,
    )
    assert size(committee) == 2 and len(said) == 2 and len(record["members"]) == 2
    assert not committee.model.centered
    weights = [committee.weights["members"]["readout_1"][member] for member in range(2)]
    assert not np.array_equal(*weights)
    written = json.loads((tmp_path / "many" / "metrics.json").read_text())
    assert np.isfinite(written["uncertainty"]["test_forces_ratio"])
