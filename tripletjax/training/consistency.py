"""Are energies, forces and stress consistent? Checks of units and signs, before and after a fit."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms

from tripletjax.training.labels import Labels
from tripletjax.volumes import has_volume

MOST_FRAMES = 150  # of each composition
FEWEST_PAIRS = 5
CORRELATION = 0.7  # below this value, the structures are too far apart to decide
TRUSTED = 2.0  # factor within which predictions are considered correct
PROPORTIONAL = 0.95  # correlation above which predictions are correct up to a factor
FACTOR = 4.0  # units differ by 23 (kcal/mol), 27 (hartree), 51 (hartree/bohr), 96 (kJ/mol)
UNITS = {
    "forces": "forces in eV/Å, and forces are not gradients",
    "stress": "stress in eV/Å³ (1 GPa is 1/160.2 of that), positive under tension",
}
SMALLEST_STRAIN = 1e-4

log = logging.getLogger(__name__)


def energy_slope(frames: Sequence[Atoms], labels: Sequence[Labels]) -> float | None:
    """Slope of energy differences against the work of the forces between similar structures.

    E_j - E_i ≈ -½ (F_i + F_j)·(r_j - r_i) for each structure and the most similar one, aligned with
    it if neither is periodic: 1 if the labels are consistent, -1 if forces have the wrong sign, 23
    if energies are in kcal/mol and forces in eV/Å.

    Returns:
        The least-squares slope; None if too few structures are similar enough.
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


def stress_slope(frames: Sequence[Atoms], labels: Sequence[Labels]) -> float | None:
    """Slope of energy differences against the work of the stress, for structures in other cells.

    E_j - E_i ≈ -½ (F_i + F_j)·u + s ½ (V_i σ_i + V_j σ_j):ε, with ε the strain that transforms one
    cell into the other and u the remaining displacements: s is 1 if the labels are consistent, -1
    if the stress has the wrong sign, 1/160.2 if it is in GPa.

    Returns:
        s by least squares; None if too few structures are similar enough.
    """
    groups: dict[tuple, list[int]] = {}
    for index, (frame, label) in enumerate(zip(frames, labels, strict=True)):
        if label.stress is not None and has_volume(frame):
            key = (*frame.numbers.tolist(), *frame.pbc.tolist())
            groups.setdefault(key, []).append(index)
    rows = []
    for members in groups.values():
        chosen = members[:: max(1, len(members) // MOST_FRAMES)][:MOST_FRAMES]
        if len(chosen) > 1:
            rows += _strained_pairs([frames[i] for i in chosen], [labels[i] for i in chosen])
    if len(rows) < FEWEST_PAIRS:
        return None
    of_forces, of_stress, change = np.array(rows).T
    work = np.stack([of_forces, of_stress], 1)
    slopes = np.linalg.lstsq(work, change, rcond=None)[0]
    rest = change - slopes[0] * of_forces  # to be explained by the stress
    if not (of_stress.any() and rest.any()):
        return None
    correlation = of_stress @ rest / np.sqrt(of_stress @ of_stress * (rest @ rest))
    return float(slopes[1]) if abs(correlation) > CORRELATION else None


def warn_of_units(frames: Sequence[Atoms], labels: Sequence[Labels]) -> None:
    """Log a warning if ``energy_slope`` or ``stress_slope`` is negative or far from one."""
    for name, slope_of in (("forces", energy_slope), ("stress", stress_slope)):
        slope = slope_of(frames, labels)
        if slope is not None and not 1 / FACTOR < slope < FACTOR:
            log.warning(
                "energies change by %.2g times the work of the %s, where 1 is expected: check that "
                "energies are in eV, %s",
                slope,
                name,
                UNITS[name],
            )


def proportion(labels: np.ndarray, predicted: np.ndarray) -> float | None:
    """Ratio of labels to predictions; None if they are not proportional."""
    x, y = predicted.ravel(), labels.ravel()
    norm = np.sqrt(np.dot(x, x) * np.dot(y, y))
    if len(x) < FEWEST_PAIRS or not abs(np.dot(x, y)) > PROPORTIONAL * norm:
        return None
    return float(np.dot(x, y) / np.dot(x, x))


def warn_of_predictions(factors: Mapping[str, float | None], source: str = "the data") -> None:
    """Log a warning if labels are predicted correctly up to a factor or a sign.

    This requires that labels of another kind are predicted correctly, because those of a potential
    that has not learned anything may be proportional too.

    Args:
        factors: ``proportion`` of energies, forces and stress by name.
        source: origin of the labels.
    """
    found = {name: factor for name, factor in factors.items() if factor is not None}
    if not any(1 / TRUSTED < factor < TRUSTED for factor in found.values()):
        return
    for name, expected in UNITS.items():
        if name in found and not 1 / FACTOR < found[name] < FACTOR:
            log.warning(
                "labels of %s: %s %.3g times what is predicted; expected %s",
                source,
                name,
                found[name],
                expected,
            )


def _strained_pairs(frames, labels) -> list[tuple[float, float, float]]:
    """Work of forces, work of stress and change of energy, from each structure to the nearest one.

    Nearest in strain and displacement, among those with a different cell.
    """
    cells = np.stack([frame.cell.array for frame in frames])  # [F, 3, 3]
    scaled = np.stack([frame.positions @ np.linalg.inv(frame.cell.array) for frame in frames])
    periodic, length = frames[0].pbc, np.cbrt(abs(np.linalg.det(cells)).mean())
    virials = [
        abs(np.linalg.det(f.cell.array)) * x.stress for f, x in zip(frames, labels, strict=True)
    ]
    pairs = []
    for i, frame in enumerate(frames):
        strains = np.linalg.inv(cells[i]) @ cells - np.eye(3)  # [F, 3, 3]
        steps = scaled - scaled[i]
        steps -= np.where(periodic, np.round(steps), 0)
        steps -= steps.mean(1, keepdims=True)
        beyond = steps @ cells
        distance = (beyond**2).sum((1, 2)) + len(frame) * length**2 * (strains**2).sum((1, 2))
        distance[np.abs(strains).max((1, 2)) < SMALLEST_STRAIN] = np.inf
        j = int(np.argmin(distance))
        if np.isfinite(distance[j]):
            forces = [0.0 if labels[k].forces is None else labels[k].forces for k in (i, j)]
            of_forces = -0.5 * np.sum((forces[0] + forces[1]) * beyond[j])
            of_stress = 0.5 * np.sum((virials[i] + virials[j]) * strains[j])
            pairs.append((of_forces, of_stress, labels[j].energy - labels[i].energy))
    return pairs


def _nearest_pairs(frames, labels) -> tuple[list[float], list[float]]:
    """Work of the forces and change of energy from each structure to the most similar one."""
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
    """Proper rotations [F, 3, 3] that minimise |positions @ R - target| (Kabsch)."""
    u, _, vt = np.linalg.svd(np.einsum("fni,nj->fij", positions, target))
    signs = np.ones((len(positions), 3))
    signs[:, 2] = np.sign(np.linalg.det(u @ vt))
    return (u * signs[:, None]) @ vt
