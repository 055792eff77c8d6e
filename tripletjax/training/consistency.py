"""Do forces and energies belong together? A check of units and sign before a long fit."""

import logging
from collections.abc import Sequence

import numpy as np
from ase import Atoms

from tripletjax.training.labels import Labels

MOST_FRAMES = 150  # of each composition
FEWEST_PAIRS = 5
CORRELATION = 0.7  # below, the structures are too far apart to tell
FACTOR = 4.0  # units differ by 23 (kcal/mol), 27 (hartree), 51 (hartree/bohr), 96 (kJ/mol)

log = logging.getLogger(__name__)


def energy_slope(frames: Sequence[Atoms], labels: Sequence[Labels]) -> float | None:
    """Slope of energy differences against the work of the forces between similar structures.

    E_j - E_i ≈ -½ (F_i + F_j)·(r_j - r_i) for each structure and the one most like it, turned onto
    it if nothing is periodic: 1 if the labels are consistent, -1 if forces have the wrong sign,
    23 if energies are in kcal/mol and forces in eV/Å.

    Returns:
        The slope of least squares; None if too few structures are similar enough.
    """
    groups: dict[tuple, list[int]] = {}
    for index, (frame, label) in enumerate(zip(frames, labels, strict=True)):
        if label.forces is not None and len(frame) > 1:
            cell = tuple(np.round(frame.cell.array[frame.pbc], 6).ravel())
            groups.setdefault((tuple(frame.numbers), cell), []).append(index)
    work, change = [], []
    for members in groups.values():
        chosen = members[:: max(1, len(members) // MOST_FRAMES)][:MOST_FRAMES]
        if len(chosen) > 1:
            one, other = _nearest_pairs([frames[i] for i in chosen], [labels[i] for i in chosen])
            work += one
            change += other
    x, y = np.array(work), np.array(change)
    if len(x) < FEWEST_PAIRS or not (x.any() and y.any()):
        return None
    correlation = np.dot(x, y) / np.sqrt(np.dot(x, x) * np.dot(y, y))
    return float(np.dot(x, y) / np.dot(x, x)) if abs(correlation) > CORRELATION else None


def warn_of_units(frames: Sequence[Atoms], labels: Sequence[Labels]) -> None:
    """Log a warning if the slope of ``energy_slope`` is negative or far from one."""
    slope = energy_slope(frames, labels)
    if slope is not None and not 1 / FACTOR < slope < FACTOR:
        log.warning(
            "energies change by %.2g times the work of the forces, where 1 is expected: check that "
            "energies are in eV, forces in eV/Å, and forces are not gradients",
            slope,
        )


def _nearest_pairs(frames, labels) -> tuple[list[float], list[float]]:
    """Work of the forces and change of energy from each structure to the one most like it."""
    positions = np.stack([f.positions - f.positions.mean(0) for f in frames])
    forces = np.stack([label.forces for label in labels])
    energies = np.array([label.energy for label in labels])
    work, change = [], []
    for i in range(len(frames)):
        turns = np.broadcast_to(np.eye(3), (len(frames), 3, 3))
        if not frames[i].pbc.any():
            turns = _onto(positions, positions[i])
        displaced = positions @ turns - positions[i]
        squared = (displaced**2).sum((1, 2))
        squared[i] = np.inf
        j = int(np.argmin(squared))
        work.append(float(-0.5 * np.sum((forces[i] + forces[j] @ turns[j]) * displaced[j])))
        change.append(float(energies[j] - energies[i]))
    return work, change


def _onto(positions: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Proper rotations [F, 3, 3] with |positions @ R - target| least (Kabsch)."""
    u, _, vt = np.linalg.svd(np.einsum("fni,nj->fij", positions, target))
    signs = np.ones((len(positions), 3))
    signs[:, 2] = np.sign(np.linalg.det(u @ vt))
    return (u * signs[:, None]) @ vt
