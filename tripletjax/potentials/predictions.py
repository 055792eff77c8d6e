"""Predictions for structures as NumPy arrays in float64, without padding."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms

from tripletjax.neighbors import bucket
from tripletjax.potentials.precision import computing_in, in_precision, precision_of
from tripletjax.volumes import has_volume

ATOMS_A_CHUNK = 256


class FramePredictions(NamedTuple):
    """Predictions for N structures, in the given order; NumPy, float64."""

    energy: np.ndarray  # [N] eV, with reference energies
    energies: list[np.ndarray]  # of the atoms of each structure, [n] eV
    forces: list[np.ndarray]  # [n, 3] eV/Å
    stress: np.ndarray  # [N, 3, 3] eV/Å³; NaN where the cell has no volume
    energy_std: np.ndarray | None  # [N] eV; None: the potential has no deviations
    forces_std: list[np.ndarray] | None  # [n, 3] eV/Å


def predict_frames(
    potential: Any, frames: Atoms | Sequence[Atoms], dtype: Any = None, deviations: bool = True
) -> FramePredictions:
    """Energies, forces, stress and deviations of structures; see ``Potential.predict``.

    Args:
        potential: a ``Potential``.
        frames: one structure, or several, which are evaluated in chunks of a few hundred atoms.
        dtype: float32 or float64, which needs no switch of JAX; None: the ``dtype`` of the model,
            if it has one, or JAX's default float.
        deviations: also evaluate standard deviations, if the potential has any.

    Raises:
        InputError: a structure is invalid, or contains an unknown species.
    """
    frames = [frames] if isinstance(frames, Atoms) else list(frames)
    potential.require_known(frames)
    order = sorted(range(len(frames)), key=lambda index: len(frames[index]))
    found: dict[int, tuple] = {}
    spread = deviations and potential.has_deviations
    dtype = precision_of(potential, dtype)
    with computing_in(dtype):
        potential = in_precision(potential, dtype)
        for chunk in _chunks(frames, order):
            found |= zip(chunk, _of_chunk(potential, frames, chunk, dtype, spread), strict=False)
    columns = [[found[index][column] for index in range(len(frames))] for column in range(5)]
    energies, forces, stress, energy_std, forces_std = columns
    return FramePredictions(
        energy=np.array([atoms.sum() for atoms in energies]),
        energies=energies,
        forces=forces,
        stress=np.reshape(stress, (-1, 3, 3)),
        energy_std=np.array(energy_std) if spread else None,
        forces_std=forces_std if spread else None,
    )


def _chunks(frames: Sequence[Atoms], order: list[int]):
    """Indices of structures of nearly equal size, a full chunk each: the last repeats a structure.

    Equal numbers of structures share a compiled program.
    """
    while order:
        atoms = bucket(max(1, len(frames[order[0]])))
        count = max(1, ATOMS_A_CHUNK // atoms) if len(order) > 1 else 1
        chunk = [index for index in order[:count] if len(frames[index]) <= atoms]
        order = order[len(chunk) :]
        full = min(count, bucket(len(chunk)))
        yield chunk + chunk[-1:] * (full - len(chunk))


def _of_chunk(potential, frames, chunk: list[int], dtype, spread: bool):
    """What was found for each structure of a chunk."""
    chosen = [frames[index] for index in chunk]
    batch = potential.prepare(chosen, dtype)
    atoms, forces, stress = (np.array(v, np.float64) for v in potential.mechanics(batch))
    deviations = potential.deviations(batch) if spread else None
    ends = np.cumsum([len(frame) for frame in chosen])
    for row, (frame, end) in enumerate(zip(chosen, ends, strict=True)):
        part = slice(end - len(frame), end)
        no_stress = np.full((3, 3), np.nan)
        yield (
            atoms[part] + potential.references_of(frame),
            forces[part],
            stress[row] if has_volume(frame) else no_stress,
            None if deviations is None else float(deviations.energy[row]),
            None if deviations is None else np.array(deviations.forces[part], np.float64),
        )
