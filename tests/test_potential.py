"""Potentials: forces and stress as derivatives of the energy, and files."""

import json
from functools import cache

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy as safetensors
from ase import Atoms
from ase.build import bulk, molecule

from tests.systems import SYSTEMS, methanol, quick_jit
from tripletjax import InputError, prepare
from tripletjax.potentials import Potential, load, untrained
from tripletjax.potentials.network import Architecture
from tripletjax.potentials.records import to_record
from tripletjax.potentials.saving import FORMAT
from tripletjax.testing import assert_close, random_rotation

DESCRIPTION, WEIGHTS = FORMAT.files
SMALL = Architecture(
    cutoff=3.0, n_radial=3, l_max=2, channels=4, tags=5, units=6, odd_units=4, width=8
)
REFERENCES = (-10.0, -100.0, -1000.0)


@cache
def potential() -> Potential:
    return untrained([8, 1, 6], SMALL, REFERENCES, scale=0.5, seed=3)


def compound() -> Atoms:
    """Two species in a sheared cell that is shorter than the cutoff."""
    cell = bulk("NaCl", "rocksalt", a=4.4).cell
    return Atoms("CO", scaled_positions=[[0, 0, 0], [0.5, 0.45, 0.52]], cell=cell, pbc=True)


@quick_jit
def predicted(batch):
    return potential().energy_forces_stress(batch)


@quick_jit
def interaction(batch):
    return potential().interaction(batch)


@quick_jit
def total_energy(batch):
    return potential().energy(batch)


def energy(frame: Atoms) -> float:
    return float(interaction(potential().prepare(frame))[0])


def test_forces_are_minus_the_slope_of_the_energy(float64):
    frame = methanol()
    forces = predicted(potential().prepare(frame)).forces
    for atom, axis in [(0, 0), (3, 2)]:
        slope = 0.0
        for steps, coefficient in ((-2, 1), (-1, -8), (1, 8), (2, -1)):
            moved = frame.copy()
            moved.positions[atom, axis] += steps * 1e-4
            slope += coefficient * energy(moved) / 12e-4
        assert abs(forces[atom, axis] + slope) < 1e-8 * np.abs(forces).max()


def test_stress_is_the_slope_with_strain(float64):
    frame = compound()
    stress = predicted(potential().prepare(frame)).stress[0]
    for a, b in [(0, 0), (1, 2)]:
        slope = 0.0
        for steps, coefficient in ((-2, 1), (-1, -8), (1, 8), (2, -1)):
            strain = np.eye(3)
            strain[a, b] += steps * 1e-4
            strained = frame.copy()
            strained.set_cell(np.asarray(frame.cell) @ strain.T, scale_atoms=True)
            slope += coefficient * energy(strained) / 12e-4
        assert abs(stress[a, b] - slope / frame.get_volume()) < 1e-8 * np.abs(stress).max()
    assert_close(stress, stress.T, 1e-10)


def test_invariance_and_equivariance(dtype):
    frame, turn = methanol(), -random_rotation(5)
    other = frame.copy()
    order = np.random.default_rng(0).permutation(len(frame))
    other.positions = frame.positions @ turn.T + 3.0
    here, there = (predicted(potential().prepare(f)) for f in (frame, other[order]))
    rtol = 1e-4 if dtype == jnp.float32 else 1e-11
    assert_close(there.energy, here.energy, 1e-5 if dtype == jnp.float32 else 1e-12)
    assert_close(there.forces[: len(frame)], (here.forces[: len(frame)] @ turn.T)[order], rtol)


@pytest.mark.once("float64")
def test_a_structure_does_not_depend_on_the_others(dtype):
    frames = list(SYSTEMS.values())
    together = predicted(potential().prepare(frames))
    rtol = 1e-5 if dtype == jnp.float32 else 1e-12
    atom = 0
    for index, frame in enumerate(frames):
        alone = predicted(potential().prepare(frame))
        assert_close(together.energy[index], alone.energy[0], rtol)
        forces = together.forces[atom : atom + len(frame)]
        assert np.abs(forces - alone.forces[: len(frame)]).max() < 10 * rtol
        atom += len(frame)
    assert not together.forces[atom:].any()


def test_a_supercell_has_so_many_times_the_energy(dtype):
    energies = [energy(compound() * size) for size in ((1, 1, 1), (2, 1, 2))]
    assert abs(energies[1] / energies[0] / 4 - 1) < (1e-5 if dtype == jnp.float32 else 1e-12)


def test_references_are_added_for_every_atom(dtype):
    frame = molecule("CH3OH")
    batch = potential().prepare(frame)
    reference = -1000.0 - 100 + 4 * -10
    assert potential().reference(frame) == reference
    total, without = total_energy(batch), interaction(batch)
    assert_close(total - without, np.array([reference]), 1e-6)


@pytest.mark.once("float64")
def test_species_may_be_fewer_in_the_batch(dtype):
    frame = molecule("H2O")
    few, all_of_them = prepare(frame, 3.0), potential().prepare(frame)
    assert_close(total_energy(few), total_energy(all_of_them), 1e-6)


def test_unknown_species_are_named():
    with pytest.raises(InputError, match=r"atom 0 of frame 1 .* 7"):
        potential().prepare([molecule("H2O"), molecule("NH3")])
    with pytest.raises(InputError, match="7"):
        potential().energy(prepare(molecule("NH3"), 3.0))


def test_one_compilation_for_equal_shapes(dtype):
    compiled = quick_jit(potential().energy_forces_stress)
    for seed in range(3):
        compiled(potential().prepare(methanol(seed)))
    assert compiled._cache_size() == 1


def test_save_and_load_give_the_same_potential(tmp_path):
    potential().save(tmp_path / "out" / "model")
    for folder in (tmp_path / "out", tmp_path / "out" / "model"):
        loaded = load(folder)
        for name, array in potential().weights.items():
            assert np.array_equal(loaded.weights[name], array)
        assert loaded.references == REFERENCES and loaded.scale == 0.5
        assert (loaded.species, loaded.model.architecture) == (potential().species, SMALL)
    with pytest.raises(InputError, match="already holds"):
        potential().save(tmp_path / "out" / "model")


def damaged(change):
    """A function that saves a model, changes the folder and returns the words of the error."""

    def make(folder):
        potential().save(folder)
        change(folder)

    return make


def _edit(folder, **changes):
    """Another description, and weights without the digest that would not be that of both."""
    record = json.loads((folder / DESCRIPTION).read_text()) | changes
    (folder / DESCRIPTION).write_text(json.dumps(record))
    (folder / WEIGHTS).write_bytes(
        safetensors.save(safetensors.load((folder / WEIGHTS).read_bytes()))
    )


def _sizes(**changes):
    """The record of a network with other sizes."""
    record = to_record(potential().model, {}, "model")
    record["fields"]["architecture"]["fields"] |= changes
    return record


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / DESCRIPTION).unlink(), "no model"),
        (lambda folder: (folder / WEIGHTS).unlink(), "missing"),
        (lambda folder: _truncate(folder / WEIGHTS), "damaged"),
        (lambda folder: _truncate(folder / DESCRIPTION), "damaged"),
        (lambda folder: _edit(folder, format=99), "format 99"),
        (lambda folder: _edit(folder, references_eV=[1.0]), "references"),
        (lambda folder: _edit(folder, weights={"dict": {"a": {"array": "b"}}}), "does not fit"),
        (lambda folder: _edit(folder, model=_sizes(width=-1)), "width"),
        (lambda folder: _edit(folder, model=_sizes(depth=3)), "depth"),
        (lambda folder: _edit(folder, model={"class": "no.such:Model", "fields": {}}), "no.such"),
        (lambda folder: _edit(folder, model={"function": "os:system"}), "os:system is not"),
    ],
)
def test_damaged_models_are_told(change, words, tmp_path):
    damaged(change)(tmp_path / "model")
    with pytest.raises(InputError, match=words) as caught:
        load(tmp_path / "model")
    assert "\n" not in str(caught.value)
