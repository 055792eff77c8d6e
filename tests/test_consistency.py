"""Units and signs of labels: forces and stress against energies, and against predictions."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator

from tests.test_training import clusters, crystals
from tripletjax.testing import random_rotation
from tripletjax.training import read_labels
from tripletjax.training.consistency import energy_slope, stress_slope, warn_of_units
from tripletjax.training.metrics import Comparison

pytestmark = pytest.mark.once("float32")


def shaken(periodic: bool) -> list[Atoms]:
    """Small displacements from one structure; free clusters are turned about as well."""
    frames = []
    for seed in range(12):
        frame = bulk("Ar", a=2.1, cubic=True) if periodic else clusters(1)[0]
        frame.rattle(0.01, seed=seed)
        if not periodic:
            frame.positions = frame.positions @ random_rotation(seed).T
        calculator = LennardJones(sigma=1.3, epsilon=1.0, rc=3.0 if periodic else 10.0, smooth=True)
        frame.calc = calculator
        energy, forces = frame.get_potential_energy(), frame.get_forces()
        frame.calc = SinglePointCalculator(frame, energy=energy, forces=forces)
        frames.append(frame)
    return frames


def strained(pbc) -> list[Atoms]:
    """Shaken crystals or layers in cells that differ by a percent, shear included, and wrapped."""
    frames, random = [], np.random.default_rng(0)
    for seed in range(12):
        frame = bulk("Ar", a=2.1, cubic=True)
        frame.pbc = pbc
        strain = random.normal(scale=0.01, size=(3, 3)) * np.outer(pbc, pbc)
        frame.set_cell(frame.cell @ (np.eye(3) + strain), scale_atoms=True)
        frame.rattle(0.003, seed=seed)
        frame.positions += random.normal(size=3) * pbc
        frame.wrap()
        frame.calc = LennardJones(sigma=1.3, epsilon=1.0, rc=3.0, smooth=True)
        names = "energy", "forces", "stress"
        results = {name: frame.calc.get_property(name, frame) for name in names}
        frame.calc = SinglePointCalculator(frame, **results)
        frames.append(frame)
    return frames


@pytest.mark.parametrize("periodic", [False, True])
def test_forces_of_other_units_or_sign_are_noticed(periodic, caplog):
    frames = shaken(periodic)
    labels = read_labels(frames)
    assert energy_slope(frames, labels) == pytest.approx(1, rel=0.1)
    warn_of_units(frames, labels)
    assert not caplog.records
    for factor in (-1, 27, 1 / 51):
        changed = [label._replace(forces=factor * label.forces) for label in labels]
        assert energy_slope(frames, changed) == pytest.approx(1 / factor, rel=0.1)
        caplog.clear()
        warn_of_units(frames, changed)
        assert "eV/Å" in caplog.text


def test_structures_too_far_apart_say_nothing_of_units():
    frames = clusters(3)
    assert energy_slope(frames, read_labels(frames)) is None


@pytest.mark.parametrize("pbc", [(True, True, True), (True, True, False)])
def test_stress_of_other_units_or_sign_is_noticed(pbc, caplog):
    frames = strained(pbc)
    labels = read_labels(frames)
    assert stress_slope(frames, labels) == pytest.approx(1, rel=0.1)
    caplog.clear()
    warn_of_units(frames, labels)
    assert not caplog.records
    for factor in (-1, 160.2, -1602.0):
        changed = [label._replace(stress=factor * label.stress) for label in labels]
        assert stress_slope(frames, changed) == pytest.approx(1 / factor, rel=0.1)
        caplog.clear()
        warn_of_units(frames, changed)
        assert "stress in eV/Å³" in caplog.text


def test_structures_of_one_cell_or_too_far_apart_say_nothing_of_the_stress():
    frames = shaken(periodic=True)
    labels = [label._replace(stress=np.eye(3)) for label in read_labels(frames)]
    assert stress_slope(frames, labels) is None
    frames = crystals(3)
    assert stress_slope(frames, read_labels(frames)) is None


def compared(labels, predicted) -> Comparison:
    """Predictions beside labels: energies [F], forces [N, 3] and stress [G, 3, 3]."""
    energies, forces, stress = zip(labels, predicted, strict=True)
    count = len(energies[0])
    return Comparison(np.ones(count), *energies, *forces, *stress, np.ones(len(stress[0])))


def numbers(random) -> list[np.ndarray]:
    return [random.normal(size=shape) for shape in (9, (9, 3), (4, 3, 3))]


@pytest.mark.parametrize(("factor", "warns"), [(1, 0), (1.2, 0), (-1, 1), (160.2, 1), (1 / 51, 1)])
@pytest.mark.parametrize("kind", ["forces", "stress"])
def test_labels_in_proportion_to_predictions_are_noticed(kind, factor, warns, caplog):
    random = np.random.default_rng(0)
    labels = numbers(random)
    predicted = [x + 0.05 * random.normal(size=x.shape) for x in labels]
    labels[("energies", "forces", "stress").index(kind)] *= factor
    compared(labels, predicted).warn_of_units("a.xyz")
    assert len(caplog.records) == warns
    assert not warns or f"labels of a.xyz: {kind} " in caplog.text


def test_potentials_that_have_learnt_nothing_say_nothing_of_units(caplog):
    random = np.random.default_rng(0)
    labels = numbers(random)
    compared(labels, [x / 300 for x in labels]).warn_of_units()
    compared(labels, numbers(random)).warn_of_units()
    compared([x[:1] for x in labels], [x[:1] / 300 for x in labels]).warn_of_units()
    compared(
        [x[:0] if x.ndim > 1 else x for x in labels], [x[:0] if x.ndim > 1 else x for x in labels]
    ).warn_of_units()
    assert not caplog.records
