"""Validated labels of structures: energies, and forces and stress if available."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms

from tripletjax.descriptors.base import require_invariant_vector
from tripletjax.descriptors.protocol import (
    EnvironmentDescriptor,
    has_any_length,
    require_descriptor,
)
from tripletjax.kernels.copies import without_copies
from tripletjax.kernels.internal import internal_axes
from tripletjax.neighbors import check_frames, prepare
from tripletjax.structures import compositions, first_unknown
from tripletjax.types import Batch, InputError, as_positive
from tripletjax.volumes import stress_with_volume

log = logging.getLogger(__name__)

UPPER = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])  # xx, yy, zz, yz, xz, xy
KINDS = ("energy", "forces", "stress")


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Standard deviations of the noise of labels; None: chosen by maximising the evidence."""

    energy: float | None = None  # eV for one atom; √N times as much for N atoms
    forces: float | None = None  # eV/Å
    stress: float | None = None  # eV/Å³

    def __post_init__(self):
        for kind, unit in (("energy", "eV"), ("forces", "eV/Å"), ("stress", "eV/Å³")):
            if getattr(self, kind) is not None:
                as_positive(f"noise of the {kind}", getattr(self, kind), unit)


class Labelled(NamedTuple):
    """A structure of a training set: its number of atoms and its labels."""

    n_atoms: int
    forces: int  # number of internal directions with a label
    stress: bool

    def rows(self, n_padded: int) -> np.ndarray:
        """Its labels among the rows [1 + J] of energy and all derivatives, including padding.

        The rows of internal directions are the first of those of the coordinates.
        """
        rows = [np.zeros(1, int), 1 + np.arange(self.forces)]
        if self.stress:
            rows.append(1 + 3 * n_padded + np.arange(6))
        return np.concatenate(rows)


class Observations(NamedTuple):
    """Structures and their labels, without reference energies."""

    frames: list[Atoms]
    energies: np.ndarray  # [F] eV, without the reference energies
    forces: list[np.ndarray | None]  # [N, 3] eV/Å each
    stress: list[np.ndarray | None]  # [3, 3] eV/Å³ each, ASE's sign
    references: np.ndarray  # [E] eV

    def of(self, chosen: Sequence[int]) -> "Observations":
        """Those of some structures."""
        return self._replace(
            frames=[self.frames[index] for index in chosen],
            energies=self.energies[list(chosen)],
            forces=[self.forces[index] for index in chosen],
            stress=[self.stress[index] for index in chosen],
        )

    def targets(self, index: int) -> dict[str, np.ndarray]:
        """Labels of one structure by kind, flat; the energy is divided by √N for equal noise."""
        found = {"energy": self.energies[index : index + 1] / np.sqrt(len(self.frames[index]))}
        forces, stress = self.forces[index], self.stress[index]
        if forces is not None:
            found["forces"] = forces.ravel()
        if stress is not None:
            found["stress"] = stress[UPPER]
        return found

    def rows(self, index: int, energy, forces, stress) -> dict[str, np.ndarray]:
        """The rows of a design [1, M], [A, 3, M], [1, 3, 3, M] that have a label, by kind."""
        n_atoms = len(self.frames[index])
        found = {"energy": np.asarray(energy)[:1] / np.sqrt(n_atoms)}
        if self.forces[index] is not None:
            found["forces"] = np.asarray(forces)[:n_atoms].reshape(3 * n_atoms, -1)
        if self.stress[index] is not None:
            found["stress"] = np.asarray(stress)[0][UPPER]
        return found

    @property
    def arrays(self) -> list[np.ndarray]:
        """Structures and labels, which say whether another set is the same."""
        missing = [np.zeros(0) if x is None else x for x in (*self.forces, *self.stress)]
        frames = [(f.numbers, f.positions, f.cell.array, f.pbc) for f in self.frames]
        return [*(part for parts in frames for part in parts), self.energies, *missing]

    @property
    def internal_axes(self) -> list[np.ndarray]:
        """Directions of the labels of the forces on each structure, [3N, n]; n = 0 without."""
        return [
            np.zeros((3 * len(frame), 0)) if forces is None else internal_axes(frame)
            for frame, forces in zip(self.frames, self.forces, strict=True)
        ]

    def labelled(self, axes: Sequence[np.ndarray]) -> tuple[Labelled, ...]:
        """The labels of every structure, given its ``internal_axes``."""
        return tuple(
            Labelled(len(frame), along.shape[1], stress is not None)
            for frame, along, stress in zip(self.frames, axes, self.stress, strict=True)
        )

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of labels."""
        present = (True, *(any(x is not None for x in y) for y in (self.forces, self.stress)))
        return tuple(kind for kind, there in zip(KINDS, present, strict=True) if there)

    @property
    def log_scale(self) -> float:
        """The effect of dividing energies by √N on the log of their probability density."""
        return -0.5 * float(np.log([len(frame) for frame in self.frames]).sum())


def check_observations(
    frames: Atoms | Sequence[Atoms],
    energies: Any,
    forces: Sequence[Any] | None,
    stress: Sequence[Any] | None,
    describer: EnvironmentDescriptor,
    references: Any = None,
    *,
    is_told: bool = True,
) -> Observations:
    """Validate labels, as arrays; copies of structures with the same labels are left out.

    Args:
        frames: the structures.
        energies: [F] eV.
        forces: one [N, 3] eV/Å for each structure, or None if missing.
        stress: one [3, 3] eV/Å³ for each structure, or None if missing; ignored if the cell has no
            well-defined volume.
        describer: defines the allowed species.
        references: energy of each species, eV; None: least squares of the energies on the
            compositions.
        is_told: log the numbers of labels, and warn of copies.

    Raises:
        InputError: labels of the wrong number or shape, or not finite, an unknown species, or a
            describer without the members of a descriptor.
    """
    require_descriptor(describer)
    if not has_any_length(describer):
        require_invariant_vector(describer)
    frames = check_frames(frames)
    require_known(frames, describer.elements)
    energies = _numbers("energies", energies, (len(frames),))
    known = np.array(describer.elements)
    counts = compositions(frames, known).astype(float)
    if references is None:
        references = np.linalg.lstsq(counts, energies, rcond=None)[0]
    references = _numbers("references", references, (len(known),))
    found_forces, found_stress = (
        _per_frame(name, values, frames)
        for name, values in (("forces", forces), ("stress", stress))
    )
    counted = stress_with_volume(frames, found_stress)
    level = logging.INFO if is_told else logging.DEBUG
    log.log(
        level,
        "labels of %d structures: %d energies, forces of %d, stress of %d",
        len(frames),
        len(energies),
        *(sum(value is not None for value in values) for values in (found_forces, counted)),
    )
    found = Observations(frames, energies - counts @ references, found_forces, counted, references)
    labels = list(zip(energies, found_forces, counted, strict=True))
    return found.of(without_copies(frames, labels, is_told))


def require_known(frames: Sequence[Atoms], elements: tuple[int, ...]) -> None:
    """Raise InputError for a species that the describer does not know."""
    if unknown := first_unknown(frames, elements):
        index, atom = unknown
        raise InputError(
            f"atom {atom} of frame {index} has atomic number {frames[index].numbers[atom]}, but "
            f"only {list(elements)} are known; add it to the descriptor's elements and fit again"
        )


def single_batches(frames: Sequence[Atoms], describer: EnvironmentDescriptor, dtype) -> list[Batch]:
    """One Batch for each structure: few sizes, hence few compiled programs."""
    cutoff = describer.cutoff
    return [prepare([frame], cutoff, describer.elements, dtype) for frame in frames]


def _per_frame(name: str, values, frames) -> list[np.ndarray | None]:
    if values is None:
        return [None] * len(frames)
    if len(values) != len(frames):
        raise InputError(
            f"{len(values)} {name} are given for {len(frames)} structures; give one for each, "
            "None where there are none"
        )
    shapes = [(len(frame), 3) if name == "forces" else (3, 3) for frame in frames]
    return [
        None if value is None else _numbers(f"{name} of frame {index}", value, shape)
        for index, (value, shape) in enumerate(zip(values, shapes, strict=True))
    ]


def _numbers(name: str, values, shape: tuple[int, ...]) -> np.ndarray:
    try:
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        raise InputError(f"{name} are not numbers; give an array of shape {shape}") from None
    if array.shape != shape:
        raise InputError(f"{name} have shape {array.shape}; give {shape}")
    if not np.isfinite(array).all():
        index = int(np.argmin(np.isfinite(array).ravel()))
        raise InputError(f"{name} hold {array.ravel()[index]} at {index}; give finite numbers")
    return array
