"""``fit`` with models, losses and optimisers of one's own, and from an earlier fit."""

import json
from dataclasses import dataclass, replace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from tests.test_energy_models import Messages, spring_weights, springs
from tests.test_training import SMALL, clusters
from tripletjax import InputError, Potential, fit, load, local_model
from tripletjax.potentials.architecture import Architecture
from tripletjax.potentials.committee import committee_of, size
from tripletjax.potentials.saving import FORMAT
from tripletjax.potentials.species import with_species
from tripletjax.potentials.storage import FIRST, FIRST_COMMITTEE
from tripletjax.potentials.triplet import TripletModel, untrained
from tripletjax.settings import read_settings
from tripletjax.training import Dataset, TrainConfig, read_labels
from tripletjax.training.starts import fine_tuned

pytestmark = pytest.mark.once("float32")
KINDS = (2, 18)
FAST = {"max_epochs": 30, "batch_size": 2, "seed": 1, "steps_between_validations": 15}


def pair_energy(weights, vectors, species, mask, center):
    """Two functions of the distance, whose weights are to be found."""
    falling = jnp.maximum(1 - jnp.sum(vectors**2, -1) / 9.0, 0) ** 3
    pairs = weights["wide"] * falling - weights["narrow"] * falling**3
    return jnp.sum(jnp.where(mask, pairs, 0))


def pair_weights(seed):
    return {"wide": jnp.asarray(0.5), "narrow": jnp.asarray(0.5 + 0.01 * seed)}


PAIRS = local_model(pair_energy, pair_weights, 3.0, KINDS)


class Perceptron(nn.Module):
    """Layers of flax on a smooth histogram of the distances."""

    @nn.compact
    def __call__(self, vectors, mask):
        squares = jnp.sum(vectors**2, -1, keepdims=True) / 9.0
        bumps = jnp.exp(-8 * (squares - jnp.linspace(0, 1, 4, dtype=squares.dtype)) ** 2)
        bumps = bumps * jnp.maximum(1 - squares, 0) ** 3
        pooled = jnp.sum(jnp.where(mask[:, None], bumps, 0), 0)
        return nn.Dense(1)(nn.silu(nn.Dense(4)(pooled)))[0]


def dense_energy(weights, vectors, species, mask, center):
    return Perceptron().apply(weights, vectors, mask)


def dense_weights(seed):
    return Perceptron().init(jax.random.key(seed), jnp.eye(3), jnp.ones(3, bool))


DENSE = local_model(dense_energy, dense_weights, 3.0, KINDS)


def labelled(frames, potential):
    """Copies with the labels that a potential gives."""
    found = potential.predict(frames, "float64")
    result = []
    for index, frame in enumerate(frames):
        copy = Atoms(frame)
        labels = {"energy": found.energy[index], "forces": found.forces[index]}
        copy.calc = SinglePointCalculator(copy, **labels)
        result.append(copy)
    return result


@pytest.fixture(scope="module")
def truth():
    return Potential(PAIRS, {"wide": jnp.asarray(0.8), "narrow": jnp.asarray(1.9)}, (-1.0, -5.0))


@pytest.fixture(scope="module")
def data(truth):
    return labelled(clusters(8), truth)


def test_a_model_of_ones_own_finds_its_weights(data, truth, tmp_path):
    config = FAST | {"max_epochs": 300, "reference_energies": {"He": -1.0, "Ar": -5.0}}
    found = fit(data, tmp_path / "fit", model=PAIRS, config=config, show=False)
    for name, value in truth.weights.items():
        np.testing.assert_allclose(found.weights[name], value, rtol=0.02)
    again = load(tmp_path / "fit")
    assert again.model == PAIRS and again.references == (-1.0, -5.0)
    for here, there in zip(*map(jax.tree.leaves, (found.weights, again.weights)), strict=True):
        assert np.array_equal(here, there)
    assert not (tmp_path / "fit" / "committee").exists()  # nothing says what is linear in it


def test_layers_of_flax_are_fitted(data, tmp_path):
    fit(data, tmp_path, model=DENSE, config=FAST | {"max_epochs": 100}, show=False)
    errors = json.loads((tmp_path / "metrics.json").read_text())["train"]
    forces = np.concatenate([frame.get_forces() for frame in data])
    assert errors["force_mae_ev_per_A"] < 0.7 * np.abs(forces).mean()


def forces_alone(potential, batch, labels):
    """Mean square error of the forces."""
    errors = potential.energy_forces_stress(batch).forces - labels.forces
    return jnp.sum(jnp.where(labels.has_forces[:, None], errors**2, 0)) / jnp.sum(labels.n_atoms)


def test_a_loss_and_an_optimizer_of_ones_own(data, truth):
    options = {"model": PAIRS, "show": False, "loss": forces_alone}
    found = fit(data, config=FAST | {"max_epochs": 200}, optimizer=optax.adam(0.02), **options)
    for name, value in truth.weights.items():
        np.testing.assert_allclose(found.weights[name], value, rtol=0.05)
    rest = fit(data, config=FAST, optimizer=optax.set_to_zero(), **options)
    assert rest.weights == PAIRS.init(1)  # the optimizer alone decides


def test_the_loss_sees_energies_without_references(data):
    seen = []

    def loss(potential, batch, labels):
        jax.debug.callback(lambda *both: seen.append(both), labels.energy, labels.has_energy)
        return forces_alone(potential, batch, labels)

    given = {"He": -1.0, "Ar": -5.0}
    config = FAST | {"max_epochs": 1, "reference_energies": given}
    fit(data, model=PAIRS, config=config, loss=loss, show=False)
    energies = np.unique(np.concatenate([energy[present] for energy, present in seen]).round(6))
    expected = [
        frame.get_potential_energy() - sum(given[symbol] for symbol in frame.symbols)
        for frame in data
    ]
    nearest = [min(abs(energy - value) for value in expected) for energy in energies]
    np.testing.assert_allclose(nearest, 0, atol=2e-4)


def test_a_fit_from_an_earlier_one(data, truth, tmp_path):
    truth.save(tmp_path / "model")
    rest = {"config": FAST | {"max_epochs": 1}, "optimizer": optax.set_to_zero(), "show": False}
    found = fit(data, start_from=tmp_path, **rest)
    assert (found.references, found.scale) == (truth.references, truth.scale)
    assert found.weights == truth.weights
    with pytest.raises(InputError, match="invalid model: start_from has its own"):
        fit(data, model=PAIRS, start_from=truth)
    with pytest.raises(InputError, match="invalid l_max: the model is that of the initial fit"):
        fit(data, start_from=truth, config={"l_max": 2})


def test_settings_of_what_python_gave_name_no_model(data, tmp_path):
    fit(data, tmp_path, model=PAIRS, config=FAST | {"max_epochs": 1}, show=False)
    assert read_settings(tmp_path / "settings.yaml")["model"] is None
    with pytest.raises(InputError, match="a fit with objects given in Python; give the model"):
        fit(data, config=tmp_path / "settings.yaml")
    with pytest.raises(InputError, match="fit: unknown argument 'energy'"):
        fit(data, energy="mine")


def test_a_network_for_more_species_keeps_its_energies(dtype):
    """Within the channels of species, across their number, and beyond."""
    frames = clusters(2)
    for channels in (1, 2, 8):
        sizes = replace(SMALL, species_channels=channels)
        old = untrained(KINDS, sizes, scale=0.5)
        model, weights = with_species(old.model, old.weights, (1, 2, 10, 18), seed=3)
        new = Potential(model, weights, scale=0.5)
        other = frames[0].copy()
        other.numbers[0] = 10
        expected = old.energy(old.prepare(frames))
        found = new.energy(new.prepare([*frames, other]))
        np.testing.assert_allclose(found[:2], expected, rtol=2e-5)
        assert abs(found[2] - found[0]) > 1e-4


def test_new_species_have_reference_energies(data):
    old = untrained((2,), SMALL, references=(-1.0,))
    config = TrainConfig().with_settings({"reference_energies": {"Ar": -7.0}})
    parts = Dataset(data, read_labels(data))
    assert fine_tuned(old, parts, config).references == (-1.0, -7.0)
    by_least_squares = fine_tuned(old, parts, TrainConfig()).references
    assert by_least_squares[0] == -1.0 and abs(by_least_squares[1] + 5) < 3
    with pytest.raises(InputError, match=r"knows only \[2\], and its model cannot be extended"):
        pairs = local_model(pair_energy, pair_weights, 3.0, (2,))
        fine_tuned(Potential(pairs, pairs.init(0)), parts, TrainConfig())


@dataclass(frozen=True)
class Bare:
    """Nothing but what a model must have."""

    species: tuple[int, ...] = KINDS
    cutoff: float = 3.0

    def init(self, seed):
        return [jnp.ones(()), {"shift": (jnp.zeros(2), None)}]

    def energies(self, weights, environments):
        first, rest = weights
        return first * jnp.sum(environments.mask, 1) + rest["shift"][0][environments.center]


@pytest.mark.parametrize("model", [PAIRS, Bare(), DENSE, Messages(), TripletModel(SMALL, KINDS)])
def test_saved_and_loaded_to_the_same_bits(model, tmp_path):
    potential = Potential(model, model.init(3), tuple(map(float, model.species)), 0.25)
    potential.save(tmp_path / "model")
    again = load(tmp_path)
    assert again.model == model and again.references == potential.references
    assert jax.tree.structure(again.weights) == jax.tree.structure(potential.weights)
    for here, there in zip(*map(jax.tree.leaves, (again.weights, potential.weights)), strict=True):
        assert here.dtype == jnp.asarray(there).dtype and np.array_equal(here, there)


def test_a_model_that_cannot_be_imported_is_given_again(tmp_path, caplog):
    model = local_model(lambda *_: jnp.zeros(()), lambda seed: jnp.ones(1), 3.0, [1])
    Potential(model, jnp.ones(1)).save(tmp_path)
    assert "load(folder, model=...)" in caplog.text
    with pytest.raises(InputError, match="lambda> cannot be imported"):
        load(tmp_path)
    assert load(tmp_path, model=model).model is model


def test_records_cannot_run_what_is_not_a_model(tmp_path):
    Potential(PAIRS, PAIRS.init(0)).save(tmp_path)
    path = tmp_path / FORMAT.description
    record = json.loads(path.read_text())
    record["model"]["fields"]["energy"] = {"function": "os:system"}
    FORMAT.write(tmp_path, {k: v for k, v in record.items() if k != "format"}, {})
    with pytest.raises(InputError, match="os:system is not a function"):
        load(tmp_path)


def test_folders_of_the_first_release(tmp_path):
    network = replace(SMALL, tags=2, **Architecture.unrecorded)
    potential = untrained(KINDS, network, (-1.0, -2.0), 0.5)
    record = {"species": [2, 18], "references_eV": [-1.0, -2.0], "scale_eV": 0.5}
    names = "cutoff", "n_radial", "l_max", "channels", "tags", "units", "odd_units", "width"
    record["architecture"] = {name: getattr(network, name) for name in names}
    (tmp_path / "model").mkdir()
    FIRST.write(tmp_path / "model", record, potential.weights)
    members = {name: jnp.stack([w, w + 1]) for name, w in potential.weights.items()}
    record = {"centered": True, "energy_factor": 2.0, "forces_factor": 3.0}
    FIRST_COMMITTEE.write(tmp_path, record, members)
    frame = clusters(1)[0]
    first, committee = load(tmp_path / "model"), load(tmp_path)
    assert size(committee) == 2 and committee.model.centered
    expected = potential.predict(frame)
    for found in (first.predict(frame), committee.predict(frame)):
        np.testing.assert_array_equal(found.forces[0], expected.forces[0])
    assert expected.energy_std is None and committee.predict(frame).energy_std[0] > 0


def test_predictions_are_in_the_order_of_the_frames(truth):
    frames = [clusters(1, size=n)[0] for n in (4, 2, 5, 2, 1)]
    frames[0].set_cell([4, 9, 9])
    frames[0].pbc = True
    frames[0] *= (10, 1, 1)
    committee = committee_of([truth, truth.with_weights(PAIRS.init(0))])
    found = committee.predict(frames)
    for index, frame in enumerate(frames):
        alone = committee.predict(frame)
        np.testing.assert_allclose(found.energy[index], alone.energy[0], rtol=1e-5)
        np.testing.assert_allclose(found.forces[index], alone.forces[0], atol=1e-4)
        np.testing.assert_allclose(found.forces_std[index], alone.forces_std[0], atol=1e-4)
        assert found.energies[index].shape == (len(frame),)
    assert np.isfinite(found.stress).all((1, 2)).tolist() == [True] + 4 * [False]


def test_bad_input(data):
    nan = local_model(pair_energy, lambda seed: {"wide": jnp.nan, "narrow": 1.0}, 3.0, KINDS)
    with pytest.raises(InputError, match="invalid loss: nan at the start of the fit"):
        fit(data, model=nan, config=FAST, show=False)
    with pytest.raises(InputError, match="invalid loss: nan at the start of the fit"):
        loss = lambda potential, batch, labels: jnp.nan * jnp.sum(labels.energy)  # noqa: E731
        fit(data, model=PAIRS, loss=loss, config=FAST, show=False)
    with pytest.raises(InputError, match="invalid weights: a str"):
        fit(data, model=local_model(pair_energy, lambda seed: "none", 3.0, KINDS), show=False)
    with pytest.raises(InputError, match=r"invalid weights\['wide'\]: a function"):
        Potential(PAIRS, {"wide": springs})
    with pytest.raises(InputError, match="invalid model='triplets': expected triplet"):
        fit(data, model="triplets")
    with pytest.raises(InputError, match="invalid units: settings of the network"):
        fit(data, model=PAIRS, config={"units": 3})
    with pytest.raises(InputError, match="learning_rate is not used"):
        fit(data, optimizer=optax.sgd(1.0), config={"learning_rate": 1.0})
    with pytest.raises(InputError, match="unknown setting 'max_epoch'; did you mean 'max_epochs'"):
        fit(data, config={"max_epoch": 3})
    with pytest.raises(InputError, match="the model knows only"):
        fit(data, model=local_model(springs, spring_weights, 3.0, (1, 6, 8)), show=False)
    with pytest.raises(InputError, match="invalid model: int has no 'cutoff'"):
        fit(data, model=3)
