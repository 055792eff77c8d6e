"""Positions in float32 stay near the origin, and what is written goes wherever the atoms go."""

from dataclasses import replace

import ase.units
import numpy as np
import pytest
from ase.io import read

from tests.md_runs import QUICK, rows, run, silicon
from tripletjax import InputError
from tripletjax.md.files import FINAL, THERMO, TRAJECTORY
from tripletjax.md.motion import Motion
from tripletjax.md.places import near_origin, unwrapped

pytestmark = pytest.mark.once("float32")


def far(atoms, shift=1e4):
    """Ten thousand Å away, some atoms in other cells."""
    atoms = atoms.copy()
    atoms.positions += shift
    if atoms.pbc.any():
        turns = np.random.default_rng(0).integers(-9, 9, (len(atoms), 3))
        atoms.positions += turns @ atoms.cell.array
    return atoms


@pytest.mark.parametrize("ensemble", ["nve", "npt"])
def test_where_the_atoms_lie_does_not_matter_in_float32(ensemble, tmp_path, float32):
    config = replace(QUICK, ensemble=ensemble, skin=0.2)
    here = run(tmp_path / "here", config, dtype="float32")
    there = run(tmp_path / "there", config, far(silicon()), dtype="float32")
    near, away = rows(tmp_path / "here"), rows(tmp_path / "there")
    for column in ("potential_eV", "kinetic_eV", "conserved_eV"):
        values = [[float(row[column]) for row in found] for found in (near, away)]
        np.testing.assert_allclose(*values, atol=1e-4)
    # Unwrapped: what was far away is so still, and has moved as the atoms here.
    first = read(tmp_path / "there/trajectory.xyz", 0)
    np.testing.assert_allclose(
        first.positions, far(silicon()).positions, atol=2e-3 if ensemble == "npt" else 2e-6
    )
    if ensemble == "nve":
        moved = here.positions - silicon().positions
        np.testing.assert_allclose(there.positions - far(silicon()).positions, moved, atol=1e-4)


def test_a_restart_far_away_has_the_same_bits(tmp_path, float32):
    config = replace(QUICK, ensemble="npt", skin=0.2)
    run(tmp_path / "whole", config, far(silicon()), dtype="float32")
    for steps in (10, 20):
        run(tmp_path / "parts", replace(config, steps=steps), far(silicon()), dtype="float32",
            resume=True)  # fmt: skip
    for name in (THERMO, TRAJECTORY, FINAL):
        parts, whole = ((tmp_path / run / name).read_bytes() for run in ("parts", "whole"))
        assert parts == whole


@pytest.mark.parametrize("ensemble", ["nve", "npt"])
def test_positions_cross_the_cell_continuously(ensemble, tmp_path, monkeypatch, float32):
    """A crystal that flies through its cell, brought back with every new list, goes straight on."""
    atoms, turned = silicon(), []
    speed = np.array([0.06, 0, -0.04]) if ensemble == "nve" else np.zeros(3)  # Å/fs
    atoms.set_velocities(atoms.get_velocities() + speed / ase.units.fs)
    renew = Motion.renew

    def renewing(self):
        before = self.turns
        renew(self)
        turned.append(bool((self.turns != before).any()))

    monkeypatch.setattr(Motion, "renew", renewing)
    config = replace(QUICK, steps=60, log_every=1, write_every=1, skin=0.15, max_temperature=1e6)
    if ensemble == "npt":
        config = replace(config, ensemble="npt", tau_cell=1e4)
    run(tmp_path / "run", config, atoms, dtype="float32")
    assert any(turned), "no atom crossed"
    frames = read(tmp_path / "run/trajectory.xyz", ":")
    positions = np.array([frame.positions for frame in frames])
    velocities = np.array([frame.get_velocities() for frame in frames]) * ase.units.fs
    mean = (velocities[1:] + velocities[:-1]) / 2
    np.testing.assert_allclose(np.diff(positions, axis=0), 0.5 * mean, atol=2e-3)
    if ensemble == "nve":  # else the cell takes the centre along
        drift = (positions[-1] - positions[0]).mean(0)
        np.testing.assert_allclose(drift, 30 * speed, atol=2e-3)


def test_places_follow_a_drifting_molecule():
    """Whole Å, the same for all atoms; nothing where they are near already."""
    pbc, cell = np.zeros(3, bool), np.eye(3)
    positions = np.array([[0.0, 0, 0], [0.9, 0, 0]])
    near = near_origin(positions, cell, pbc)
    assert not near.turns.any() and (near.positions == positions).all()
    drift = np.array([0, 12345.5, -3.25])
    away = near_origin(positions + drift, cell, pbc)
    assert (away.turns == away.turns[0]).all() and np.abs(away.positions.mean(0)).max() <= 0.5
    back = unwrapped(away.positions, away.turns, cell)
    np.testing.assert_allclose(back, positions + drift, atol=1e-10)
    with pytest.raises(InputError, match="atom 0 lies at"):
        near_origin(positions + 1e13, cell, pbc)
