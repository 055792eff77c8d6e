"""Neural dipoles and polarisabilities: symmetry, corner cases, fits, files and bad input."""

import json
from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from tests.systems import environment, methanol
from tripletjax import InputError
from tripletjax.basis.angular import spherical_harmonics, wigner_matrix
from tripletjax.data.sets import load_frames
from tripletjax.potentials.network import Architecture, weight_shapes
from tripletjax.properties.fitting import (
    TensorData,
    evaluate_tensors,
    fit_tensors,
    read_tensors,
    tensor_metrics,
)
from tripletjax.properties.network import AtomicTensor, to_cartesian
from tripletjax.properties.tensor_model import load_tensor, untrained_tensor
from tripletjax.testing import FAST_COMPILATION, assert_close, random_rotation
from tripletjax.training import TrainConfig
from tripletjax.training.folder import CHECKPOINT

SMALL = Architecture(
    cutoff=3.0,
    n_radial=3,
    l_max=2,
    channels=4,
    tags=4,
    tag_channels=3,
    units=6,
    odd_units=3,
    width=8,
)
TARGETS = ("dipole", "polarizability")
CENTROSYMMETRIC = ("CO2", "C2H2", "C2H4", "H2")
TURN = random_rotation(5)
RTOL = {"float32": 1e-5, "float64": 1e-12}


def random_weights(shapes):
    """All of order one: the gains and biases too."""
    random = np.random.default_rng(3)
    return {name: random.normal(size=s).astype(np.float32) for name, s in shapes.items()}


@cache
def model(target: str):
    found = untrained_tensor(target, [1, 6, 8], SMALL, references=[0.1, 0.5, 0.4])
    shapes = {name: array.shape for name, array in found.weights.items()}
    return replace(found, weights=random_weights(shapes))


def turned(tensor, rotation):
    return rotation @ tensor if tensor.ndim == 1 else rotation @ tensor @ rotation.T


def moved(frame: Atoms, rotation, shift=0.0) -> Atoms:
    frame = frame.copy()
    frame.positions = frame.positions @ np.asarray(rotation).T + shift
    return frame


@cache
def predicted(target: str) -> dict[str, np.ndarray]:
    """Of all these molecules in one batch."""
    frames = {
        "methanol": methanol(),
        "turned": moved(methanol(), TURN),
        "improperly": moved(methanol(), -TURN),
        "translated": moved(methanol(), np.eye(3), [1.0, -2.0, 3.0]),
    }
    frames |= {name: moved(molecule(name), TURN, 0.5) for name in CENTROSYMMETRIC}
    return dict(zip(frames, model(target).predict(list(frames.values())), strict=True))


@pytest.mark.parametrize("target", TARGETS)
def test_tensors_turn_with_the_molecule(target, dtype):
    found, rtol = predicted(target), RTOL[dtype.name]
    expected = found["methanol"]
    assert expected.dtype == dtype
    assert_close(found["turned"], turned(expected, TURN), rtol)
    assert_close(found["improperly"], turned(expected, -TURN), rtol)
    assert_close(found["translated"], expected, 3 * rtol)
    assert np.linalg.norm(expected) > 0.1
    if target == "polarizability":
        assert_close(expected, expected.T, rtol)
        assert np.linalg.norm(expected - np.trace(expected) / 3 * np.eye(3)) > 0.1


def test_components_of_an_atom_turn_as_harmonics(dtype):
    degrees = (0, 1, 2, 3)  # the highest exceeds the l_max of the density
    net = AtomicTensor(SMALL, 3, degrees)
    weights = {"params": random_weights(weight_shapes(net))}
    vectors, species, mask = environment(dtype, n_neighbors=6)
    apply = jax.jit(net.apply)
    expected = np.asarray(apply(weights, vectors, species, mask, 1), float)
    for matrix in (random_rotation(2), -random_rotation(2)):
        there = (np.asarray(vectors, float) @ matrix.T).astype(dtype)
        found = apply(weights, there, species, mask, 1)
        assert_close(found, wigner_matrix(matrix, 3) @ expected, 3 * RTOL[dtype.name])
    for degree in degrees:
        assert np.linalg.norm(expected[degree**2 : (degree + 1) ** 2]) > 1e-2


def test_odd_types_lead_out_of_the_plane_of_the_tags(float64):
    # Two tags in the plane z = 0, others above it, and no vectors of the density itself: only
    # r̂_t × r̂_s, times a pseudoscalar, leaves the plane.
    two = replace(SMALL, tags=2, tag_channels=None)
    weights = random_weights(weight_shapes(AtomicTensor(two, 3, (1,))))
    weights = {k: 0 * w if k.startswith("density_gate") else w for k, w in weights.items()}
    vectors, species, mask = environment(float, n_neighbors=6)
    vectors[:2] = [[1.0, 0.0, 0.0], [0.3, 1.1, 0.0]]
    vectors[2:, 2] = np.abs(vectors[2:, 2])
    apply = jax.jit(AtomicTensor(two, 3, (1,)).apply)
    vector = apply({"params": weights}, vectors, species, mask, 0)
    weights["pair_1_1_1"] = 0 * weights["pair_1_1_1"]
    flat = apply({"params": weights}, vectors, species, mask, 0)
    _, z, _ = np.asarray(vector)
    assert abs(z) > 1e-3 and abs(flat[1]) < 1e-12 < np.abs(flat).max()


def test_cartesian_forms_of_harmonics(dtype):
    directions = np.random.default_rng(0).normal(size=(4, 3))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    harmonics = jnp.asarray(spherical_harmonics(directions, 2), dtype)
    outer = directions[:, :, None] * directions[:, None] - np.eye(3) / 3
    rtol = RTOL[dtype.name]
    assert_close(to_cartesian(harmonics[:, 1:4]), np.sqrt(3 / 4 / np.pi) * directions, rtol)
    assert_close(to_cartesian(harmonics[:, 4:]), np.sqrt(15 / 8 / np.pi) * outer, rtol)
    lengths = np.linalg.norm(to_cartesian(harmonics[:, 4:]), axis=(1, 2))
    assert_close(lengths, np.linalg.norm(harmonics[:, 4:], axis=1), rtol)


def test_centrosymmetric_molecules_have_no_dipole(dtype):
    found = predicted("dipole")
    dipoles = np.stack([found[name] for name in CENTROSYMMETRIC])
    tolerance = 3e-5 if dtype == jnp.float32 else 1e-11
    assert np.abs(dipoles).max() < tolerance * np.abs(found["methanol"]).max()


@pytest.mark.parametrize("target", TARGETS)
def test_corner_cases_have_finite_values_and_gradients(target):
    frames = [molecule("CO2"), Atoms("O", positions=[[1.0, 2.0, 3.0]]), molecule("CO"), methanol()]
    far = Atoms("CO", positions=[[0, 0, 0], [3.0, 0, 0]])  # at the cutoff
    found = model(target)
    batch = found.prepare([*frames, far])

    def size(positions):
        tensors = found.tensors(batch._replace(positions=positions))
        return jnp.sum(tensors**2), tensors

    differentiated = jax.jit(
        jax.value_and_grad(size, has_aux=True), compiler_options=FAST_COMPILATION
    )
    (_, tensors), slopes = differentiated(jnp.asarray(batch.positions))
    assert np.isfinite(tensors).all() and np.isfinite(slopes).all()
    slopes = np.asarray(slopes)[batch.atom_mask]
    # neither depends on the origin, so the slopes of each molecule sum to zero
    structure = np.asarray(batch.structure)[batch.atom_mask]
    sums = np.stack([slopes[structure == s].sum(0) for s in range(5)])
    assert np.abs(sums).max() < 1e-4 * np.abs(slopes).max()
    if target == "dipole":
        assert np.abs(tensors[1]).max() == 0
    else:
        isotropic = np.trace(tensors[1]) / 3 * np.eye(3)
        assert np.abs(tensors[1] - isotropic).max() < 1e-6


def test_neighbours_in_the_batch_change_nothing(dtype):
    alone = model("dipole").predict(methanol())[0]
    assert_close(predicted("dipole")["methanol"], alone, RTOL[dtype.name])


def test_without_weights_the_references_remain():
    bare = replace(
        model("polarizability"),
        weights={name: np.zeros_like(w) for name, w in model("polarizability").weights.items()},
    )
    expected = (4 * 0.1 + 0.5 + 0.4) * np.eye(3)
    assert_close(bare.predict(molecule("CH3OH"))[0], expected, 1e-6)


@pytest.mark.once("float32")
def test_a_fit_learns_and_what_it_writes_predicts_the_same(tmp_path):
    data = read_tensors(load_frames("ethanol")[::20], "dipole")
    config = TrainConfig(
        architecture=SMALL,
        max_epochs=60,
        batch_size=5,
        learning_rate=0.02,
        seed=1,
        steps_between_validations=30,
    )
    start = untrained_tensor("dipole", [1, 6, 8], SMALL, scale=0.2)
    folder = tmp_path / "fit"
    fitted, record = fit_tensors(data, "dipole", folder, config, valid=data, show=False)
    errors = evaluate_tensors(fitted, data)
    assert errors["mae"] < evaluate_tensors(start, data)["mae"] / 3
    assert errors["r2"] > 0.8
    assert record["train"] == pytest.approx(errors)
    assert json.loads((folder / "metrics.json").read_text())["unit"] == "e·Å"
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "model",
        "settings.yaml",
        "metrics.json",
        "history.csv",
        "parity.png",
        CHECKPOINT,
    }
    again = load_tensor(folder)
    assert np.array_equal(again.predict(data.frames[:3]), fitted.predict(data.frames[:3]))
    with pytest.raises(InputError, match="holds files"):
        fit_tensors(data, "dipole", folder, config)
    with pytest.raises(InputError, match="atomic number 14"):
        again.predict(molecule("SiH4"))
    (folder / "model" / "weights.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match="damaged"):
        load_tensor(folder)


def test_metrics_are_those_of_the_formulas():
    random = np.random.default_rng(0)
    reference = random.normal(size=(6, 3, 3))
    reference += reference.transpose(0, 2, 1)
    predicted = reference + 0.1 * np.eye(3)
    found = tensor_metrics("polarizability", reference, predicted)
    assert found["mae"] == pytest.approx(0.1 / 3)
    assert found["isotropic_mae"] == pytest.approx(0.1)
    assert found["anisotropic_rmse"] == pytest.approx(0, abs=1e-12)
    spread = np.sum((reference - reference.mean(0)) ** 2)
    assert found["r2"] == pytest.approx(1 - 6 * 3 * 0.01 / spread)


def labelled(**info) -> Atoms:
    frame = molecule("H2O")
    frame.info = info
    return frame


BAD = {
    "no label": ([labelled(mu=[0, 0, 1])], "dipole", r"no dipole under 'dipole'.*\['mu'\]"),
    "shape": ([labelled(dipole=[0, 1])], "dipole", r"shape \(2,\): expected \(3,\)"),
    "text": ([labelled(dipole="up")], "dipole", "expected numbers"),
    "not finite": ([labelled(dipole=[0, 0, np.nan])], "dipole", "has nan"),
    "asymmetric": (
        [labelled(polarizability=np.triu(np.ones((3, 3))))],
        "polarizability",
        "not symmetric",
    ),
    "periodic": ([Atoms("H", cell=[3] * 3, pbc=True)], "dipole", "periodic"),
    "target": ([labelled()], "quadrupole", "expected one of dipole, polarizability"),
}


@pytest.mark.parametrize("case", sorted(BAD))
def test_bad_labels_are_named(case):
    frames, target, message = BAD[case]
    with pytest.raises(InputError, match=message):
        read_tensors(frames, target)


def test_bad_fits_are_named(tmp_path):
    water = TensorData([molecule("H2O")], np.zeros((1, 3)))
    carbon = TensorData([molecule("CH4")], np.zeros((1, 3)))
    with pytest.raises(InputError, match="atomic number 6"):
        fit_tensors(water, "dipole", config=TrainConfig(architecture=SMALL), valid=carbon)
    with pytest.raises(InputError, match="contains no model of tensors"):
        load_tensor(tmp_path)
    with pytest.raises(InputError, match="different degrees"):
        weight_shapes(AtomicTensor(SMALL, 1, (1, 1)))
