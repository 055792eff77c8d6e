"""Energies that depend on the environments of neighbours: symmetry, reach, blocks, smoothness."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from tests.systems import quick_jit
from tests.test_training import FAST, clusters, dataset
from tripletjax import InputError, Potential, load, prepare
from tripletjax.neighbors import environments_of
from tripletjax.potentials.committee import committee_of
from tripletjax.potentials.network import Architecture
from tripletjax.potentials.species import with_species
from tripletjax.potentials.triplet import SENDER, TripletModel, untrained
from tripletjax.properties.tensor_model import untrained_tensor
from tripletjax.testing import assert_close, random_rotation
from tripletjax.training import train

SMALL = Architecture(cutoff=2.0, n_radial=3, channels=4, messages=3, width=8)


def potential_of(species, architecture=SMALL, seed=0) -> Potential:
    """Random weights of order one, gains included, without the repulsion."""
    model = TripletModel(replace(architecture, repulsion=False), species)
    random = np.random.default_rng(seed)
    weights = {
        name: jnp.asarray(random.normal(size=array.shape), jnp.float32)
        for name, array in model.init(0).items()
    }
    return Potential(model, weights)


def chain(*distances: float) -> Atoms:
    """Atoms on a line."""
    return Atoms("H" * (len(distances) + 1), [[x, 0, 0] for x in np.cumsum([0, *distances])])


def test_an_atom_sees_up_to_twice_the_cutoff(float64):
    potential = potential_of((1,))
    energies = [
        potential.atomic_energies(potential.prepare(chain(1.1, 1.1, last)))[0]
        for last in (1.0, 1.1)
    ]
    assert_close(energies[1], energies[0], 1e-13)  # the fourth atom is a neighbour of the third
    energies = [
        potential.atomic_energies(potential.prepare(chain(1.1, second)))[0] for second in (1.0, 1.1)
    ]
    assert abs(energies[1] - energies[0]) > 1e-5


def test_without_messages_it_sees_its_own_environment_alone(float64):
    potential = potential_of((1,), replace(SMALL, messages=0))
    energies = [
        potential.atomic_energies(potential.prepare(chain(1.1, second)))[0] for second in (1.0, 1.1)
    ]
    assert_close(energies[1], energies[0], 1e-13)
    assert not any(name.startswith((SENDER, "message")) for name in potential.weights)


def test_rotations_and_the_order_of_atoms_change_nothing(float64):
    potential = potential_of((1, 6, 8))
    frame = molecule("CH3CH2OH")
    order = np.random.default_rng(1).permutation(len(frame))
    turned = frame[order]
    rotation = random_rotation(0)
    turned.positions = turned.positions @ rotation.T
    expected = potential.predict(frame, "float64")
    found = potential.predict(turned, "float64")
    assert_close(found.energy, expected.energy, 1e-12)
    assert_close(found.forces[0], (expected.forces[0] @ rotation.T)[order], 1e-9)


def test_forces_and_stress_are_derivatives(float64):
    potential = potential_of((14,), replace(SMALL, cutoff=3.0))
    frame = bulk("Si", cubic=True)
    frame.rattle(0.1, seed=0)
    found = potential.predict(frame, "float64")
    for atom, axis in ((0, 0), (5, 2)):
        energies = []
        for step in (1e-4, -1e-4):
            moved = frame.copy()
            moved.positions[atom, axis] += step
            energies.append(potential.predict(moved, "float64").energy[0])
        slope = (energies[0] - energies[1]) / 2e-4
        assert_close(found.forces[0][atom, axis], -slope, 1e-6)
    energies = []
    for step in (1e-4, -1e-4):
        strained = frame.copy()
        strain = np.eye(3)
        strain[0, 1] += step
        strained.set_cell(frame.cell.array @ strain, scale_atoms=True)
        energies.append(potential.predict(strained, "float64").energy[0])
    slope = (energies[0] - energies[1]) / 2e-4 / frame.get_volume()
    assert_close(found.stress[0][0, 1], slope, 1e-6)


def test_blocks_of_atoms_change_nothing(dtype):
    """More atoms than are computed at once, against a cell with fewer."""
    potential = potential_of((14,), replace(SMALL, cutoff=3.0))
    cell = bulk("Si", cubic=True)
    cell.rattle(0.1, seed=0)
    few, many = cell * (2, 2, 1), cell * (4, 4, 5)  # 32 and 640 atoms
    one, other = (potential.predict(frame, np.dtype(dtype).name) for frame in (few, many))
    rtol = 2e-4 if dtype == jnp.float32 else 1e-10
    assert_close(other.energy / len(many), one.energy / len(few), rtol)
    assert_close(other.forces[0][:8], one.forces[0][:8], rtol)


def test_gradients_of_weights_are_those_of_finite_differences(float64):
    """The loss contains forces: derivatives of second order, through the messages."""
    potential = potential_of((1, 8))
    batch = potential.prepare(molecule("H2O"), "float64")

    def loss(weights):
        return jnp.sum(potential.with_weights(weights).mechanics(batch).forces ** 2)

    weights = {name: jnp.asarray(array, "float64") for name, array in potential.weights.items()}
    slopes = quick_jit(jax.grad(loss))(weights)
    random = np.random.default_rng(2)
    change = {name: random.normal(size=array.shape) for name, array in weights.items()}
    moved = [
        loss({name: array + step * change[name] for name, array in weights.items()})
        for step in (1e-6, -1e-6)
    ]
    expected = sum(float(jnp.vdot(slopes[name], change[name])) for name in weights)
    assert_close((moved[0] - moved[1]) / 2e-6, expected, 1e-5)


def test_messages_vanish_smoothly_at_the_cutoff(float64):
    potential = potential_of((1,))
    energies = [
        potential.interaction(potential.prepare(chain(1.0, distance)))[0]
        for distance in (2.0 - 1e-3, 2.0, 2.0 + 1e-3)
    ]
    assert_close(energies[0], energies[2], 1e-10)
    assert_close(energies[1], energies[2], 1e-10)


def test_batches_of_some_atoms_are_refused():
    potential = untrained([1, 8], SMALL)
    batch = prepare(molecule("H2O"), 3.0, centers=[0])
    for one in (potential, committee_of([potential, untrained([1, 8], SMALL, seed=1)])):
        with pytest.raises(InputError, match="prepare it without centers"):
            one.energy(batch)
    local = untrained([1, 8], replace(SMALL, messages=0))
    assert np.isfinite(local.energy(batch)).all()
    potential.energy(prepare(molecule("H2O"), 3.0, centers=[0, 1, 2]))


def test_new_species_leave_the_energies_of_old_ones(float64):
    for channels in (1, 2, 4):  # an embedding from the start, one that is new, and none
        potential = potential_of((1, 8), replace(SMALL, species_channels=channels))
        model, weights = with_species(potential.model, potential.weights, (1, 6, 8), seed=1)
        frame = molecule("H2O")
        found = Potential(model, weights).predict(frame, "float64")
        assert_close(found.energy, potential.predict(frame, "float64").energy, 1e-6)


def test_padding_is_finite_and_changes_nothing(float64):
    potential = potential_of((1, 8))
    alone = potential.predict(molecule("H2O"), "float64")
    frames = [Atoms("H"), molecule("H2O"), molecule("H2O2"), molecule("H2O")]
    batch = potential.prepare(frames, "float64")
    energies, forces, _ = potential.energy_forces_stress(batch)
    assert np.isfinite(forces).all()
    assert_close(energies[1], alone.energy[0], 1e-12)
    assert_close(energies[3], alone.energy[0], 1e-12)
    environments = environments_of(batch, (1, 8))
    assert environments.neighbors.max() < len(batch.centers)


def test_tensors_have_none():
    with pytest.raises(InputError, match="messages=3"):
        untrained_tensor("dipole", [1, 8], SMALL)


def test_a_fit_learns_with_them_and_has_uncertainties(tmp_path):
    """Fitted, saved with the posterior of its last layer, and loaded."""
    config = replace(FAST, architecture=SMALL, laplace_members=2)
    data = dataset(clusters(6))
    potential, _ = train(data, tmp_path / "fit", config, show=False)
    assert any(name.startswith(SENDER) for name in potential.weights)
    frame = data.frames[0]
    expected = potential.predict(frame)
    assert_close(load(tmp_path / "fit").predict(frame).forces[0], expected.forces[0], 1e-5)
    deviations = load(tmp_path / "fit" / "committee").predict(frame).energy_std
    assert deviations is not None and deviations[0] > 0
