"""Dipoles and polarisabilities of structures, as they lie in files."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms

from tripletjax.tensor_properties import require_molecules, tensor_degrees
from tripletjax.types import InputError

SHAPES = {"dipole": (3,), "polarizability": (3, 3)}
ASYMMETRY = 0.01  # of the norm, above which a polarisability is refused


class TensorData(NamedTuple):
    """Structures with their dipoles [N, 3] e·Å or polarisabilities [N, 3, 3] Å³."""

    frames: Sequence[Atoms]
    tensors: np.ndarray

    def chosen(self, index: np.ndarray) -> "TensorData":
        """Some of the structures."""
        return TensorData([self.frames[i] for i in index], self.tensors[index])


def read_tensors(
    frames: Sequence[Atoms], target: str, key: str | None = None, source: str = "the data"
) -> TensorData:
    """Dipoles or polarisabilities from where ASE puts them, or from the given key of ``info``.

    Raises:
        InputError: a structure is periodic or has no such label (the keys seen are named), or a
            label has another shape, is not finite, or is not symmetric.

    Example:
        >>> from ase.build import molecule
        >>> frame = molecule("H2O")
        >>> frame.info["mu"] = [0.0, 0.0, -0.4]
        >>> read_tensors([frame], "dipole", key="mu").tensors.tolist()
        [[0.0, 0.0, -0.4]]
    """
    tensor_degrees(target)
    require_molecules(frames, target, source)
    found = [_label(f, target, key, f"frame {i} of {source}") for i, f in enumerate(frames)]
    return TensorData(frames, np.array(found).reshape(-1, *SHAPES[target]))


def _label(frame: Atoms, target: str, key: str | None, where: str) -> np.ndarray:
    results = frame.calc.results if frame.calc is not None else {}
    name = key or target
    found = results.get(name, frame.info.get(name))
    if found is None:
        keys = sorted({*results, *frame.info})
        raise InputError(f"{where} has no {target} under {name!r}; its keys are {keys}")
    shape = SHAPES[target]
    try:
        tensor = np.asarray(found, dtype=float)
    except (TypeError, ValueError):
        raise InputError(f"{where}: {name} is {found!r}; give numbers") from None
    if tensor.shape not in (shape, (int(np.prod(shape)),)):
        raise InputError(f"{where}: {name} has shape {tensor.shape}; give {shape}")
    tensor = tensor.reshape(shape)
    if not np.isfinite(tensor).all():
        raise InputError(
            f"{where}: {name} holds {tensor[~np.isfinite(tensor)][0]}; give finite ones"
        )
    if np.linalg.norm(tensor - tensor.T) > ASYMMETRY * np.linalg.norm(tensor):
        raise InputError(f"{where}: {name} is not symmetric; give a symmetric matrix")
    return (tensor + tensor.T) / 2
