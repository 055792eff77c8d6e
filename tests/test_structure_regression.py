"""Regression of energies and forces: its closed forms, its derivatives and its errors."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from tripletjax import InputError
from tripletjax.data.sets import load_frames
from tripletjax.descriptors.similarity import environments_of, similar, slopes, spectrum
from tripletjax.descriptors.structure_regression import (
    StructureKernelRegressor,
    ridge_by_structures,
)

pytestmark = pytest.mark.once("float32")

SMALL = {"cutoff": 3.0, "cutoff_width": 3.0, "n_max": 2, "l_max": 1}


def labelled(name, count, seed=0):
    """Structures in random order, their energies and forces."""
    frames = load_frames(name)
    order = np.random.default_rng(seed).permutation(len(frames))[:count]
    frames = [frames[i] for i in order]
    energies = np.array([frame.get_potential_energy() for frame in frames])
    return frames, energies, [frame.get_forces() for frame in frames]


def test_errors_of_structures_left_out():
    """The closed form against fits to all other structures."""
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(6, 3, 4)), rng.normal(size=(6, 3))
    penalties = [1e-3, 0.1, 10.0]
    coefficients, errors = ridge_by_structures(rows, labels, penalties)
    fits = []
    for penalty in penalties:
        for left_out in range(6):
            kept = np.arange(6) != left_out
            x, y = rows[kept].reshape(-1, 4), labels[kept].ravel()
            fitted = np.linalg.solve(x.T @ x + penalty * np.eye(4), x.T @ y)
            fits.append(labels[left_out, 0] - rows[left_out, 0] @ fitted)
    np.testing.assert_allclose(errors.ravel(), fits, rtol=1e-9)
    x, y = rows.reshape(-1, 4), labels.ravel()
    best = penalties[np.argmin((errors**2).sum(1))]
    expected = np.linalg.solve(x.T @ x + best * np.eye(4), x.T @ y)
    np.testing.assert_allclose(coefficients, expected, rtol=1e-9)


def test_slopes_of_moved_structures():
    """Against vectors of structures that are moved as a whole, with images of the atoms too."""
    crystal = Atoms("CO", [[0.1, 0, 0], [1.2, 0.9, 1.1]], cell=[2.4, 2.3, 2.6], pbc=True)
    frames, rng, step = (
        [molecule("CH3OH"), crystal, molecule("H2O")],
        np.random.default_rng(0),
        1e-4,
    )
    power = spectrum((1, 6, 8), SMALL)
    moves = [rng.normal(size=(2, len(frame), 3)) for frame in frames]

    def moved(place, sign):
        copies = [frame.copy() for frame in frames]
        for copy, own in zip(copies, moves, strict=True):
            copy.positions += sign * step * own[place]
        return similar(copies, power).vectors

    for place, slope in enumerate(slopes(environments_of(frames, power), power, moves)):
        expected = (moved(place, 1) - moved(place, -1)) / (2 * step)
        np.testing.assert_allclose(slope, expected, atol=1e-4 * np.abs(expected).max())


def test_forces_are_slopes_of_energies():
    """Changes of energies along displacements of other structures are those of their forces."""
    frames, energies, forces = labelled("ethanol", 50)
    steps = 0.01 * np.random.default_rng(1).normal(size=(10, 9, 3))
    expected = [-2 * np.sum(own * step) for own, step in zip(forces[40:], steps, strict=True)]

    def error(given):
        model = StructureKernelRegressor(**SMALL | {"n_max": 6, "l_max": 3})
        model.fit(frames[:40], energies[:40], forces=given)
        ends = []
        for sign in (1, -1):
            moved = [frame.copy() for frame in frames[40:]]
            for copy, step in zip(moved, steps, strict=True):
                copy.positions += sign * step
            ends.append(model.predict(moved))
        return np.linalg.norm(ends[0] - ends[1] - expected) / np.linalg.norm(expected)

    with_forces = error(forces[:40])
    assert with_forces < 0.2 and with_forces < 0.5 * error(None)


def test_it_is_a_sum_over_atoms():
    """Two molecules far from each other have the sum of their energies."""
    frames, energies, _ = labelled("molecules", 30)
    model = StructureKernelRegressor(**SMALL).fit(frames, energies)
    both = frames[0].copy()
    both.extend(frames[1])
    both.positions[len(frames[0]) :] += 50
    first, second, together = model.predict([*frames[:2], both])
    assert together == pytest.approx(first + second, rel=1e-9)


def test_parts_and_limits(monkeypatch):
    """Blocks of structures change nothing; fewer environments are as many as asked for."""
    frames, energies, forces = labelled("molecules", 20)
    model = StructureKernelRegressor(n_moves=2, n_environments=25, **SMALL)
    expected = model.fit(frames, energies, forces=forces).predict(frames)
    assert model.weights_.shape == (25,)
    monkeypatch.setattr("tripletjax.descriptors.structure_regression.ATOMS_AT_ONCE", 7)
    again = model.fit(frames, energies, forces=forces).predict(frames)
    np.testing.assert_allclose(again, expected, rtol=0, atol=1e-6)
    monkeypatch.setattr("tripletjax.descriptors.structure_regression.CANDIDATES", 2)
    assert model.fit(frames, energies).weights_.shape == (25,)


def test_energies_of_molecules():
    """Of 200 structures with forces: within 25 meV, half of the error of energies alone."""
    frames, energies, forces = labelled("molecules", 250)
    model = StructureKernelRegressor()
    errors = []
    for given in (forces[:200], None):
        model.fit(frames[:200], energies[:200], forces=given)
        errors.append(np.abs(model.predict(frames[200:]) - energies[200:]).mean())
    assert errors[0] < 0.020 and errors[1] < 0.040  # eV; 0.014 and 0.036 when written


def test_score_and_parameters():
    frames, energies, _ = labelled("ethanol", 12)
    model = StructureKernelRegressor(**SMALL).fit(frames, energies)
    errors = model.predict(frames) - energies
    assert model.score(frames, energies) == pytest.approx(1 - np.mean(errors**2) / energies.var())
    assert model.get_params()["n_moves"] == 10 and "cutoff=3.0" in repr(model)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"y": [1.0]}, "invalid energies of shape"),
        ({"y": [1.0, np.nan]}, "invalid energies of shape"),
        ({"forces": [np.zeros((3, 3))]}, "forces of 1 structures for 2"),
        ({"forces": [np.zeros((3, 3)), np.zeros((4, 3))]}, "invalid forces of frame 1"),
    ],
)
def test_bad_labels(changes, message):
    frames = [molecule("H2O"), molecule("CO2")]
    with pytest.raises(InputError, match=message):
        StructureKernelRegressor(**SMALL).fit(frames, **{"y": [1.0, 2.0]} | changes)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"n_moves": 0}, "invalid n_moves=0"),
        ({"force_weight": 0}, "invalid force_weight=0"),
        ({"cutof": 3.0}, "did you mean 'cutoff'"),
        ({"cutoff": 0.1, "cutoff_width": 0.1}, "no structure has a neighbour"),
    ],
)
def test_bad_parameters(changes, message):
    with pytest.raises(InputError, match=message):
        StructureKernelRegressor(**SMALL | changes).fit(molecule("H2O"), [1.0])


def test_bad_use():
    model = StructureKernelRegressor(**SMALL)
    with pytest.raises(InputError, match="call fit"):
        model.predict(molecule("H2O"))
    model.fit([molecule("H2O")], [1.0])
    with pytest.raises(InputError, match="number 7"):
        model.predict(molecule("NH3"))
