"""Energies, forces and stress of structures, as they lie in files."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress

from tripletjax.types import InputError
from tripletjax.volumes import stress_with_volume


class Labels(NamedTuple):
    """What is known of one structure; None where it is not."""

    energy: float  # eV
    forces: np.ndarray | None  # [N, 3] eV/Å
    stress: np.ndarray | None  # [3, 3] eV/Å³, ASE's sign


def read_labels(
    frames: Sequence[Atoms],
    energy_key: str | None = None,
    forces_key: str | None = None,
    stress_key: str | None = None,
    source: str = "the data",
) -> list[Labels]:
    """Labels from where ASE puts them, or from the given keys of ``info`` and ``arrays``.

    Args:
        frames: the structures.
        energy_key, forces_key, stress_key: None: those that ASE's readers recognise.
        source: name of the file, for messages.

    Raises:
        InputError: no energies (the keys seen are named), or labels that are not finite numbers
            or of another shape.

    Example:
        >>> from ase.build import molecule
        >>> frame = molecule("H2O")
        >>> frame.info["my_energy"] = -1.5
        >>> read_labels([frame], energy_key="my_energy")[0].energy
        -1.5
    """
    found = []
    for index, frame in enumerate(frames):
        where = f"frame {index} of {source}"
        energy = _find(frame, "energy", energy_key, frame.info, where)
        forces = _find(frame, "forces", forces_key, frame.arrays, where)
        stress = _find(frame, "stress", stress_key, frame.info, where)
        if energy is None:
            raise InputError(
                f"{where} has no energy; its keys are {_keys(frame)}: name one with --energy-key"
            )
        found.append(
            Labels(
                float(_checked(energy, (), "energy", where)),
                None if forces is None else _checked(forces, (len(frame), 3), "forces", where),
                None if stress is None else _as_matrix(stress, where),
            )
        )
    return countable(frames, found, source)


def countable(
    frames: Sequence[Atoms], labels: Sequence[Labels], source: str = "the data"
) -> list[Labels]:
    """Labels without the stress of structures whose cell has no volume; these are logged once."""
    stress = stress_with_volume(frames, [label.stress for label in labels], source)
    return [label._replace(stress=s) for label, s in zip(labels, stress, strict=True)]


def _find(frame: Atoms, name: str, key: str | None, place: dict, where: str):
    results = frame.calc.results if frame.calc is not None else {}
    if key is None:
        return results.get(name)
    if key in place:
        return place[key]
    if key in results:
        return results[key]
    raise InputError(f"{where} has no {name} under {key!r}; its keys are {_keys(frame)}")


def _keys(frame: Atoms) -> list[str]:
    results = frame.calc.results if frame.calc is not None else {}
    geometry = {"numbers", "positions"}
    return sorted({*results, *frame.info, *frame.arrays} - geometry)


def _checked(value, shape: tuple[int, ...], name: str, where: str) -> np.ndarray:
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise InputError(f"{where}: {name} is {value!r}; give numbers") from None
    if array.shape != shape:
        raise InputError(f"{where}: {name} has shape {array.shape}; give {shape}")
    if not np.isfinite(array).all():
        raise InputError(f"{where}: {name} holds {array[~np.isfinite(array)][0]}; give finite ones")
    return array


def _as_matrix(stress, where: str) -> np.ndarray:
    shape = np.shape(stress)
    if shape == (9,):
        stress = np.reshape(stress, (3, 3))
    elif shape == (6,):
        stress = voigt_6_to_full_3x3_stress(np.asarray(stress, dtype=float))
    return _checked(stress, (3, 3), "stress", where)


def fit_references(frames: Sequence[Atoms], energies: np.ndarray, species) -> np.ndarray:
    """Energy of each species, by least squares of the energies on the compositions.

    Where the compositions do not determine them, the solution of smallest norm is taken: the sum
    over a structure is what counts.

    Args:
        frames: the structures.
        energies: ``[N]`` eV.
        species: atomic numbers.

    Returns:
        ``[E]`` eV.

    Example:
        >>> from ase.build import molecule
        >>> frames = [molecule("H2"), molecule("H2O"), molecule("H2O2")]
        >>> fit_references(frames, np.array([-2.0, -12.0, -22.0]), (1, 8)).round(6).tolist()
        [-1.0, -10.0]
    """
    counts = np.stack([(frame.numbers[:, None] == list(species)).sum(0) for frame in frames])
    return np.linalg.lstsq(counts.astype(float), np.asarray(energies, float), rcond=None)[0]
