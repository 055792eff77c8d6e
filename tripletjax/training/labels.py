"""Energies, forces and stress of structures, as stored in files."""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress

from tripletjax.training.names import (
    ENERGY,
    FORCES,
    STRESS,
    VIRIAL,
    Kind,
    Reading,
    choose,
    count_of_frames,
    keys_of,
    readings_of,
    under_key,
)
from tripletjax.types import InputError
from tripletjax.volumes import has_volume, stress_with_volume

log = logging.getLogger(__name__)
LARGEST = 1e12  # of a label: its square is well below the largest float32


class Labels(NamedTuple):
    """The labels of one structure; None if missing."""

    energy: float  # eV
    forces: np.ndarray | None  # [N, 3] eV/Å
    stress: np.ndarray | None  # [3, 3] eV/Å³, ASE's sign


def read_labels(
    frames: Sequence[Atoms],
    energy_key: str | None = None,
    forces_key: str | None = None,
    stress_key: str | None = None,
    source: str = "the data",
    virial_key: str | None = None,
) -> list[Labels]:
    """Read labels from where ASE puts them, or from the given keys of ``info`` and ``arrays``.

    If ASE has none, a name that looks like a label is used if there is only one such name, or one
    that goes with that of the energy: REF_forces with REF_energy. The names used are logged. Every
    structure needs an energy; forces and stress are optional.

    Args:
        frames: the structures.
        energy_key, forces_key, stress_key: None: as above.
        source: name of the file, for messages.
        virial_key: key of virials in eV, instead of the stress: stress = -virial / volume.

    Raises:
        InputError: a structure without energy (the existing keys are listed), several possible
            names, or labels that are not finite or have the wrong shape.

    Example:
        >>> from ase.build import molecule
        >>> frame = molecule("H2O")
        >>> frame.info["my_energy"] = -1.5
        >>> read_labels([frame], energy_key="my_energy")[0].energy
        -1.5
    """
    if stress_key is not None and virial_key is not None:
        raise InputError("stress_key and virial_key are both given: expected one of them")
    readings = {kind: readings_of(frames, kind) for kind in (ENERGY, FORCES, STRESS, VIRIAL)}

    def reading(kind: Kind, key: str | None, like: str | None = None) -> Reading | None:
        if key is not None:
            return under_key(frames, kind, key, source)
        return choose(readings[kind], source, like)

    energy = reading(ENERGY, energy_key)
    like = None if energy is None else energy.name
    forces = reading(FORCES, forces_key, like)
    if stress_key is not None:
        stress = under_key(frames, STRESS, stress_key, source)
    elif virial_key is not None:
        stress = _as_stress(frames, under_key(frames, VIRIAL, virial_key, source), source)
    else:
        virials = [_as_stress(frames, r, source) for r in readings[VIRIAL]]
        stress = choose([*readings[STRESS], *virials], source, like)
    found = [
        Labels(
            _energy(frame, None if energy is None else energy.values[i], like, place(i, source)),
            _array(forces, i, (len(frame), 3), source),
            _matrix(stress, i, source),
        )
        for i, frame in enumerate(frames)
    ]
    if found:
        seen = {reading.name for of_kind in readings.values() for reading in of_kind}
        _log_readings(frames, (energy, forces, stress), seen, source)
    return countable(frames, found, source)


def countable(
    frames: Sequence[Atoms], labels: Sequence[Labels], source: str = "the data"
) -> list[Labels]:
    """Labels without the stress of structures whose cell has no volume; logs their number once."""
    stress = stress_with_volume(frames, [label.stress for label in labels], source)
    return [label._replace(stress=s) for label, s in zip(labels, stress, strict=True)]


def place(index: int, source: str) -> str:
    """The name of a structure in a file, for messages."""
    return f"frame {index} of {source}"


def as_array(value: Any, shape: tuple[int, ...], name: str, where: str) -> np.ndarray:
    """Validate a label, as float64.

    Raises:
        InputError: it has the wrong shape, or contains anything but finite numbers up to LARGEST.
    """
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise InputError(f"{where}: {name} is {value!r}: expected numbers") from None
    if array.shape != shape:
        raise InputError(f"{where}: {name} has shape {array.shape}: expected {shape}")
    usable = np.abs(array) <= LARGEST  # False for NaN
    if not usable.all():
        raise InputError(
            f"{where}: {name} has {array[~usable][0]}: expected finite numbers up to {LARGEST:g}"
        )
    return array


def _energy(frame: Atoms, value: Any, name: str | None, where: str) -> float:
    if value is None:
        under = "" if name is None else f" under {name!r}"
        raise InputError(
            f"{where} has no energy{under}; its keys are {keys_of([frame])}: choose one with "
            "energy_key, or leave this structure out"
        )
    value = value[0] if np.shape(value) == (1,) else value
    return float(as_array(value, (), "energy", where))


def _array(reading: Reading | None, index: int, shape, source: str) -> np.ndarray | None:
    value = None if reading is None else reading.values[index]
    if reading is None or value is None:
        return None
    return as_array(value, shape, reading.kind.name, place(index, source))


def _matrix(reading: Reading | None, index: int, source: str) -> np.ndarray | None:
    value = None if reading is None else reading.values[index]
    if reading is None or value is None:
        return None
    return as_matrix(value, reading.kind.name, place(index, source))


def as_matrix(value: Any, name: str, where: str) -> np.ndarray:
    """A 3x3 matrix from 9 numbers, or from 6 in Voigt order xx, yy, zz, yz, xz, xy."""
    shape = np.shape(value)
    if shape == (9,):
        value = np.reshape(value, (3, 3))
    elif shape == (6,):
        value = voigt_6_to_full_3x3_stress(as_array(value, (6,), name, where))
    return as_array(value, (3, 3), name, where)


def _as_stress(frames: Sequence[Atoms], virials: Reading, source: str) -> Reading:
    """The stress -virial / volume; arbitrary without a volume, where it is ignored."""
    values: list[Any] = []
    for index, (frame, value) in enumerate(zip(frames, virials.values, strict=True)):
        if value is not None:
            volume = frame.get_volume() if has_volume(frame) else np.inf
            value = -as_matrix(value, "virial", place(index, source)) / volume
        values.append(value)
    return virials._replace(values=values)


def _log_readings(
    frames: Sequence[Atoms], readings: tuple[Reading | None, ...], seen: set[str], source: str
) -> None:
    """Log one line: the labels, their numbers of structures, their names, and unused names."""
    texts, used = [], set()
    for name, reading in zip(("energy", "forces", "stress"), readings, strict=True):
        if reading is None:
            texts.append(f"no {name}")
            continue
        used.add(reading.name)
        under = f"-{reading.name}/volume" if reading.kind is VIRIAL else reading.name
        texts.append(f"{name} of {reading.count} ({under})")
    stored = {name for frame in frames for name in (*frame.info, *frame.arrays)}
    unused = sorted((seen & stored) - used)
    texts[-1] += f"; not used: {', '.join(unused)}" if unused else ""
    log.info("labels of %s, %s: %s", source, count_of_frames(len(frames)), ", ".join(texts))
