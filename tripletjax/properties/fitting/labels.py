"""Dipoles and polarisabilities of structures, as stored in files."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms

from tripletjax.properties.tensor_model import require_molecules, tensor_degrees
from tripletjax.training.labels import as_array, place
from tripletjax.training.names import (
    DIPOLE,
    POLARIZABILITY,
    Reading,
    choose,
    count_of_frames,
    keys_of,
    readings_of,
    under_key,
)
from tripletjax.types import InputError

log = logging.getLogger(__name__)

SHAPES = {"dipole": (3,), "polarizability": (3, 3)}
KINDS = {"dipole": DIPOLE, "polarizability": POLARIZABILITY}
ASYMMETRY = 0.01  # relative to the norm, above which a polarisability is rejected


class TensorData(NamedTuple):
    """Structures with their dipoles [N, 3] e·Å or polarisabilities [N, 3, 3] Å³."""

    frames: Sequence[Atoms]
    tensors: np.ndarray

    def chosen(self, index: np.ndarray) -> "TensorData":
        """A subset of the structures."""
        return TensorData([self.frames[i] for i in index], self.tensors[index])


def read_tensors(
    frames: Sequence[Atoms], target: str, key: str | None = None, source: str = "the data"
) -> TensorData:
    """Read dipoles or polarisabilities from where ASE puts them, or from the given key.

    If ASE has none, a name that looks like the label is used if it is the only one. The name used
    is logged.

    Raises:
        InputError: a structure is periodic or has no such label (the existing keys are listed),
            several names are possible, or a label has the wrong shape, is not finite, or is not
            symmetric.

    Example:
        >>> from ase.build import molecule
        >>> frame = molecule("H2O")
        >>> frame.info["mu"] = [0.0, 0.0, -0.4]
        >>> read_tensors([frame], "dipole", key="mu").tensors.tolist()
        [[0.0, 0.0, -0.4]]
    """
    tensor_degrees(target)
    require_molecules(frames, target, source)
    kind = KINDS[target]
    if key is not None:
        reading = under_key(frames, kind, key, source)
    else:
        reading = choose(readings_of(frames, kind), source)
    found = [_label(frames, i, reading, target, place(i, source)) for i in range(len(frames))]
    if reading is not None:
        count = count_of_frames(len(frames))
        log.info("labels of %s, %s: %s (%s)", source, count, target, reading.name)
    return TensorData(frames, np.array(found).reshape(-1, *SHAPES[target]))


def _label(
    frames: Sequence[Atoms], index: int, reading: Reading | None, target: str, where: str
) -> np.ndarray:
    value = None if reading is None else reading.values[index]
    if reading is None or value is None:
        name = target if reading is None else reading.name
        raise InputError(
            f"{where} has no {target} under {name!r}; its keys are {keys_of([frames[index]])}: "
            "choose one with key"
        )
    shape = SHAPES[target]
    flat = np.shape(value) == (int(np.prod(shape)),)
    tensor = as_array(np.reshape(value, shape) if flat else value, shape, reading.name, where)
    if np.linalg.norm(tensor - tensor.T) > ASYMMETRY * np.linalg.norm(tensor):
        raise InputError(f"{where}: {reading.name} is not symmetric: expected a symmetric matrix")
    return (tensor + tensor.T) / 2
