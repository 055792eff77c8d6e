"""Kernel potentials as release 0.1 wrote them, for ``tripletjax.load``."""

from pathlib import Path
from typing import Any

import numpy as np

from tripletjax.basis.densities import Mixing
from tripletjax.descriptors.base import descriptor
from tripletjax.descriptors.kinds import read_by
from tripletjax.descriptors.protocol import EnvironmentDescriptor
from tripletjax.invariants.nice import load_contraction
from tripletjax.io import FolderFormat
from tripletjax.kernels.environments import EnvironmentKernel
from tripletjax.kernels.model import KernelModel, SparseGaussianProcess
from tripletjax.kernels.nystrom import InducingTriplets, NystromDescriptor
from tripletjax.potentials.base import Potential
from tripletjax.potentials.storage import load
from tripletjax.types import Hypers

FIRST = FolderFormat(
    thing="kernel potential",
    source="a folder that save_kernel_potential wrote",
    description="model.json",
    arrays="arrays.safetensors",
    version=1,
    type="tripletjax kernel potential",
)
CONTRACTION = "contraction.safetensors"
NAMES = {  # of weights, by their names in the file
    "inducing.vectors": "points",
    "inducing.scale": "scale",
    "weights": "alpha",
    "tangents": "tangents",
    "covariance.variance": "variance",
    "covariance.prior": "prior",
    "covariance.posterior": "posterior",
}


def save_kernel_potential(folder: str | Path, potential: Potential, force: bool = False) -> None:
    """``potential.save(folder)``, by its name of release 0.1."""
    potential.save(folder, force)


def load_kernel_potential(folder: str | Path) -> Potential:
    """``tripletjax.load(folder)``, by its name of release 0.1."""
    return load(folder)


def read_first(folder: Path) -> Potential:
    """Read a kernel potential of release 0.1.

    Raises:
        InputError: it is damaged.
    """
    record, arrays = FIRST.read(folder)
    with FIRST.rebuilding(folder):
        return _rebuilt(folder, record, arrays)


def _rebuilt(folder: Path, record: dict[str, Any], arrays: dict[str, np.ndarray]) -> Potential:
    weights = {name: arrays[old] for old, name in NAMES.items() if old in arrays}
    n_points, width = weights["points"].shape
    kinds = arrays["inducing.kinds"]
    shapes = {name: (n_points, n_points) for name in ("prior", "posterior")}
    shapes |= {"alpha": (n_points,), "tangents": (n_points, width), "scale": (), "variance": ()}
    for name, shape in shapes.items():
        if name in weights and weights[name].shape != shape:
            raise ValueError(f"{name} and inducing environments differ in size")
    if kinds.shape != (n_points,) or "alpha" not in weights:
        raise ValueError("weights and inducing environments differ in number")
    describer = _describer(folder, record["describer"], arrays)
    if len(record["references_eV"]) != len(describer.elements):
        raise ValueError("reference energies and species differ in number")
    kind = SparseGaussianProcess if "prior" in weights else KernelModel
    model = kind(
        describer=describer,
        kernel=EnvironmentKernel(**record["kernel"]),
        kinds=tuple(kinds.tolist()),
        record=record["record"],
    )
    return Potential(model, weights, tuple(map(float, record["references_eV"])))


def _describer(
    folder: Path, record: dict[str, Any], arrays: dict[str, np.ndarray]
) -> EnvironmentDescriptor:
    elements, hypers = tuple(record["elements"]), record["hypers"]
    mixing = record["mixing"]
    if mixing is not None:
        mixing = Mixing(*(None if array is None else np.array(array) for array in mixing))
    if record["kind"] == "nystrom":
        names = InducingTriplets._fields
        triplets = InducingTriplets(*(arrays[f"triplets.{name}"] for name in names))
        return NystromDescriptor(Hypers.from_keywords(**hypers), elements, triplets, mixing)
    path = folder / CONTRACTION
    contraction = load_contraction(path) if path.is_file() else None
    kind = record["kind"]
    given = read_by(kind, hypers)  # records name all hyperparameters
    return descriptor(kind, elements, contraction=contraction, mixing=mixing, **given)
