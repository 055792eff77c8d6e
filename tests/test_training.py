"""Fits: labels, the loss, resuming bit for bit, what is written, and bad input."""

import csv
import json
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from tripletjax import InputError
from tripletjax.potentials.network import Architecture
from tripletjax.potentials.storage import load
from tripletjax.testing import FAST_COMPILATION
from tripletjax.training import (
    TrainConfig,
    evaluate,
    fit_references,
    read_config,
    read_labels,
    train,
)
from tripletjax.training.data import (
    as_batch,
    chunks,
    epoch_order,
    make_buckets,
    split_buckets,
)
from tripletjax.training.errors import Weighting
from tripletjax.training.folder import CHECKPOINT
from tripletjax.training.loop import Progress
from tripletjax.training.parts import Dataset
from tripletjax.training.starts import starting_point
from tripletjax.training.step import labelled, weighted_loss

pytestmark = pytest.mark.once("float32")

SMALL = Architecture(
    cutoff=3.0, n_radial=4, l_max=1, channels=4, messages=0, tags=4, units=8, odd_units=2, width=8
)
FAST = TrainConfig(architecture=SMALL, max_epochs=6, steps_between_validations=1, laplace_members=0)


def clusters(count: int, seed: int = 0, size: int = 4) -> list[Atoms]:
    """Shaken clusters of Ar and He with Lennard-Jones energies and forces."""
    random = np.random.default_rng(seed)
    frames = []
    for _ in range(count):
        positions = 1.5 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]])[:size]
        frame = Atoms(["Ar", "He", "Ar", "He", "Ar"][:size], positions=positions)
        frame.positions += random.normal(scale=0.1, size=(size, 3))
        frame.calc = LennardJones(sigma=1.3, epsilon=1.0, rc=4.0)
        results = {"energy": frame.get_potential_energy(), "forces": frame.get_forces()}
        results["energy"] += -1000.0 * (frame.numbers == 18).sum()
        frame.calc = SinglePointCalculator(frame, **results)
        frames.append(frame)
    return frames


def crystals(count: int) -> list[Atoms]:
    frames = []
    for seed in range(count):
        frame = bulk("Ar", a=2.1, cubic=True)
        frame.rattle(0.05, seed=seed)
        frame.set_cell(frame.cell * (1 + 0.01 * seed), scale_atoms=True)
        frame.calc = LennardJones(sigma=1.3, epsilon=1.0, rc=3.0, smooth=True)
        results = {
            name: frame.calc.get_property(name, frame) for name in ("energy", "forces", "stress")
        }
        frame.calc = SinglePointCalculator(frame, **results)
        frames.append(frame)
    return frames


def dataset(frames) -> Dataset:
    return Dataset(frames, read_labels(frames))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """One short fit with validation and test data, and the folder that it wrote."""
    folder = tmp_path_factory.mktemp("fit") / "out"
    data = dataset(clusters(20) + clusters(3, seed=5, size=5))
    config = replace(FAST, max_epochs=300, steps_between_validations=100)
    potential, record = train(data, folder, config, test=dataset(clusters(6, seed=1)), show=False)
    return folder, potential, record


def test_labels_come_from_where_ase_puts_them(tmp_path):
    frames = clusters(2) + crystals(1)
    write(tmp_path / "a.xyz", frames)
    labels = read_labels(read(tmp_path / "a.xyz", index=":"))
    for frame, label in zip(frames, labels, strict=True):
        np.testing.assert_allclose(label.energy, frame.get_potential_energy())
        np.testing.assert_allclose(label.forces, frame.get_forces(), atol=1e-7)
    assert labels[0].stress is None
    np.testing.assert_allclose(labels[2].stress, crystals(1)[0].get_stress(voigt=False), atol=1e-9)


def test_labels_come_from_keys(tmp_path):
    frame = molecule("H2O", vacuum=3.0, pbc=True)
    frame.info["dft_energy"] = -12.5
    frame.arrays["dft_forces"] = np.ones((3, 3))
    frame.info["virial_stress"] = np.arange(9.0)
    label = read_labels([frame], "dft_energy", "dft_forces", "virial_stress")[0]
    assert label.energy == -12.5 and label.forces is not None and label.stress is not None
    assert label.forces.sum() == 9 and label.stress[0, 1] == 1


def _changed(**results):
    frame = clusters(1)[0]
    frame.calc = SinglePointCalculator(frame, **results)
    return frame


@pytest.mark.parametrize(
    ("frame", "keys", "words"),
    [
        (molecule("H2O"), {}, "energy_key"),
        (clusters(1)[0], {"energy_key": "dft"}, r"'dft'.*\['energy', 'forces'\]"),
        (clusters(1)[0], {"forces_key": "dft"}, "has forces under 'dft'"),
        (_changed(energy=np.nan), {}, "energy has nan"),
        (_changed(energy=1.0, forces=np.full((4, 3), np.inf)), {}, "forces has inf"),
    ],
)
def test_bad_labels_are_named(frame, keys, words):
    with pytest.raises(InputError, match=words):
        read_labels([*clusters(1), frame][1:], **keys)


def test_references_solve_the_normal_equations():
    frames = clusters(3) + clusters(2, size=5)
    counts = np.array([[(f.numbers == z).sum() for z in (2, 18)] for f in frames], float)
    energies = np.array([f.get_potential_energy() for f in frames])
    expected = np.linalg.solve(counts.T @ counts, counts.T @ energies)
    np.testing.assert_allclose(fit_references(frames, energies, (2, 18)), expected)


def test_loss_is_the_plain_formula(dtype):
    frames = [*clusters(2), *crystals(1)]
    labels = read_labels(frames)
    labels[1] = labels[1]._replace(forces=None)
    start = starting_point(Dataset(frames, labels), FAST)
    delta, scale = FAST.huber, start.scale

    def huber(error):
        return np.sqrt((error / scale) ** 2 + delta**2) - delta

    alone = predictions_alone(start, frames)
    weighted = weighted_loss(Weighting.of(FAST)._replace(energy=3.0, final_energy=3.0))

    @partial(jax.jit, compiler_options=FAST_COMPILATION)
    def plain(rows, present, elements):
        batch, labels = labelled(rows, present, elements, scale, 0.5)
        return weighted(start.without_references, batch, labels)

    elements = np.array([2, 18], np.int32)
    for bucket in make_buckets(frames, labels, start):
        rows = jax.tree.map(jnp.asarray, bucket)
        count = len(bucket.energy)
        found = plain(rows, np.ones(count, bool), elements)
        predictions = [(alone[i], frames[i], labels[i]) for i in bucket.frames]
        energy = [huber((p.energy[0] - (label.energy - start.reference(f))) / len(f))
                  for p, f, label in predictions]  # fmt: skip
        forces = [huber(np.linalg.norm(p.forces[: len(f)] - label.forces, axis=-1))
                  for p, f, label in predictions if label.forces is not None]  # fmt: skip
        stress = [huber(np.linalg.norm(p.stress[0] - label.stress) * f.get_volume() / len(f))
                  for p, f, label in predictions if label.stress is not None]  # fmt: skip
        expected = 3 * np.mean(energy) + np.mean(np.concatenate(forces))
        expected += np.mean(stress) if stress else 0
        np.testing.assert_allclose(found, expected, rtol=2e-4 if dtype == jnp.float32 else 1e-10)


def predictions_alone(potential, frames):
    """Interaction energy, forces and stress of each structure by itself."""
    predict = potential.without_references.energy_forces_stress
    return [predict(potential.prepare(frame)) for frame in frames]


def test_padding_of_batches_changes_nothing(dtype):
    """A bucket as one batch predicts what each structure alone does, and gaps nothing."""
    frames = clusters(3) + clusters(2, seed=3, size=5)
    start = starting_point(dataset(frames), FAST)
    alone = predictions_alone(start, frames)

    elements = np.array([2, 18], np.int32)

    def together(rows, present):
        batch = as_batch(rows, elements, present)
        return start.without_references.energy_forces_stress(batch)

    for bucket in make_buckets(*dataset(frames), start):
        present = np.arange(len(bucket.energy)) != 1
        energies, forces, _ = together(jax.tree.map(jnp.asarray, bucket), present)
        for row, index in enumerate(bucket.frames):
            factor = 1 if present[row] else 0
            np.testing.assert_allclose(energies[row], factor * alone[index].energy[0], rtol=1e-4)
            here = forces.reshape(*bucket.forces.shape)[row, : len(frames[index])]
            expected = factor * alone[index].forces[: len(frames[index])]
            np.testing.assert_allclose(
                here, expected, atol=1e-4 * np.abs(alone[index].forces).max()
            )


def test_parts_of_the_data_share_their_sizes_and_keep_their_structures():
    """A few small structures among many large ones are padded, not compiled for."""
    frames = {"train": clusters(20, size=5) + clusters(1), "valid": clusters(2)}
    parts = {name: dataset(own) for name, own in frames.items()}
    start = starting_point(parts["train"], FAST)
    found = split_buckets(parts, start)
    shapes = {bucket.neighbors.shape[1:] for own in found.values() for bucket in own}
    assert shapes == {(5, 4)}
    for name, own in frames.items():
        (bucket,) = found[name]
        assert sorted(bucket.frames) == list(range(len(own)))
        for row, index in enumerate(bucket.frames):
            atoms = bucket.atom_mask[row]
            assert atoms.sum() == len(own[index])
            expected = start.prepare(own[index])
            kept = np.asarray(expected.atom_mask)
            np.testing.assert_allclose(bucket.positions[row][atoms], expected.positions[kept])
            assert bucket.neighbor_mask[row].sum() == expected.neighbor_mask.sum()


def test_every_structure_is_seen_once_an_epoch():
    frames = clusters(7) + clusters(4, size=5)
    buckets = make_buckets(*dataset(frames), starting_point(dataset(frames), FAST))
    seen = [
        int(buckets[number].frames[i])
        for number, index, present in epoch_order(buckets, 3, seed=1, epoch=2)
        for i in index[present]
    ]
    assert sorted(seen) == list(range(11))
    assert [int(p.sum()) for _, p in chunks(7, 3)] == [3, 3, 1]


def test_fit_learns_and_writes_everything(fitted):
    folder, potential, record = fitted
    names = {p.name for p in folder.iterdir()}
    expected = {"model", "settings.yaml", "metrics.json", "history.csv", "parity.png", "loss.png"}
    assert names == expected | {CHECKPOINT}
    written = json.loads((folder / "metrics.json").read_text())
    assert written == record
    with (folder / "history.csv").open() as file:
        history = list(csv.DictReader(file))
    assert float(history[-1]["valid_force_mae_ev_per_A"]) > 0
    forces = np.concatenate([f.get_forces() for f in clusters(6, seed=1)])
    assert record["test"]["force_mae_ev_per_A"] < 0.5 * np.abs(forces).mean()
    errors = evaluate(load(folder), *dataset(clusters(6, seed=1)))
    assert errors == pytest.approx(record["test"], rel=1e-4)
    assert potential.species == (2, 18)


def test_metrics_are_means_over_structures_and_components(fitted):
    _, potential, record = fitted
    frames = clusters(6, seed=1)
    energies, forces = [], []
    for frame, found in zip(frames, predictions_alone(potential, frames), strict=True):
        energy = float(found.energy[0]) + potential.reference(frame)
        energies.append((energy - frame.get_potential_energy()) / len(frame) * 1000)
        forces.append(np.asarray(found.forces[: len(frame)]) - frame.get_forces())
    expected = {
        "energy_mae_mev_per_atom": np.mean(np.abs(energies)),
        "energy_rmse_mev_per_atom": np.sqrt(np.mean(np.square(energies))),
        "force_mae_ev_per_A": np.mean(np.abs(forces)),
        "force_rmse_ev_per_A": np.sqrt(np.mean(np.square(forces))),
    }
    assert record["test"] == pytest.approx(expected, rel=1e-3)


class Killed(Exception):
    pass


def test_resume_gives_the_same_bits(tmp_path, monkeypatch):
    data = dataset(clusters(8) + clusters(3, size=5))
    config = replace(FAST, max_epochs=4, steps_between_validations=1, checkpoint_minutes=0)
    whole, _ = train(data, tmp_path / "whole", config, show=False)
    kept = 0

    def killed_within_an_epoch(self, settings):
        nonlocal kept
        kept += 1
        if kept > 5:
            raise Killed
        return original(self, settings)

    original = Progress.checkpoint
    monkeypatch.setattr(Progress, "checkpoint", killed_within_an_epoch)
    with pytest.raises(Killed):
        train(data, tmp_path / "parts", config, show=False)
    monkeypatch.setattr(Progress, "checkpoint", original)
    resumed, record = train(data, tmp_path / "parts", config, resume=True, show=False)
    assert record["epochs"] == 4
    for name, array in whole.weights.items():
        assert np.array_equal(array, resumed.weights[name]), name
    histories = [(tmp_path / name / "history.csv").read_text() for name in ("whole", "parts")]
    without_time = [
        [r.split(",")[:2] + r.split(",")[3:] for r in h.splitlines()] for h in histories
    ]
    assert without_time[0] == without_time[1]


def test_minutes_end_a_run_and_everything_is_written(tmp_path):
    config = replace(FAST, max_minutes=1e-9)
    _, record = train(dataset(clusters(4)), tmp_path / "out", config, show=False)
    assert record["steps"] == 1
    assert (tmp_path / "out" / "parity.png").stat().st_size > 1000
    assert load(tmp_path / "out").species == (2, 18)


def test_energies_alone_are_enough(tmp_path):
    data = dataset(clusters(4))
    data = Dataset(data.frames, [label._replace(forces=None) for label in data.labels])
    _, record = train(data, tmp_path / "out", FAST, show=False)
    assert set(record["valid"]) == {"energy_mae_mev_per_atom", "energy_rmse_mev_per_atom"}


def test_patience_stops_early(tmp_path):
    config = replace(FAST, max_epochs=50, steps_between_validations=1, patience=1,
        learning_rate=1e-12,
    )  # fmt: skip
    _, record = train(dataset(clusters(4)), tmp_path / "out", config, show=False)
    assert record["epochs"] < 50


def _contents(folder):
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "with force"),
        ({"force": True, "test": [molecule("NH3")]}, "7"),
        ({"force": True, "data": []}, "no structures"),
        ({"resume": True, "config": replace(FAST, seed=1)}, "seed"),
    ],
)
def test_bad_input_leaves_earlier_output_alone(change, words, fitted):
    folder, _, _ = fitted
    before = _contents(folder)
    data = change.pop("data", clusters(10))
    test = change.pop("test", None)
    if test is not None:
        test[0].calc = SinglePointCalculator(test[0], energy=0.0)
        change["test"] = dataset(test)
    with pytest.raises(InputError, match=words):
        train(dataset(data), folder, **{"config": FAST, "show": False, **change})
    assert _contents(folder) == before


def test_a_checkpoint_of_another_run_or_truncated_is_told(tmp_path):
    train(dataset(clusters(4)), tmp_path / "out", FAST, show=False)
    wider = replace(FAST, architecture=replace(SMALL, width=9))
    with pytest.raises(InputError, match=r"different settings \(architecture\)"):
        train(dataset(clusters(4)), tmp_path / "out", wider, resume=True, show=False)
    path = tmp_path / "out" / CHECKPOINT
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(InputError, match="incomplete or corrupted checkpoint"):
        train(dataset(clusters(4)), tmp_path / "out", FAST, resume=True, show=False)


def test_settings_from_a_file(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("cutoff: 4.0\nbatch_size: 2\n")
    config = TrainConfig().with_settings(read_config(path), str(path))
    assert (config.architecture.cutoff, config.batch_size) == (4.0, 2)
    for text, words in (
        ("batchsize: 2", "did you mean 'batch_size'"),
        ("- 1", "name: value"),
        ("a: [", "YAML"),
        ("batch_size: 0", "batch_size"),
        ("warm_up: much", "warm_up"),
        ("units: 1.5", "units"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=words):
            TrainConfig().with_settings(read_config(path), str(path))
    with pytest.raises(InputError, match="not a file"):
        read_config(tmp_path / "missing.yaml")
