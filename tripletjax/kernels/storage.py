"""Kernel potentials in folders: safetensors for arrays, JSON for the rest."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tripletjax.basis.densities import Mixing
from tripletjax.descriptors.base import Descriptor, descriptor
from tripletjax.descriptors.kinds import KINDS, read_by
from tripletjax.descriptors.protocol import EnvironmentDescriptor
from tripletjax.invariants.nice import load_contraction, save_contraction
from tripletjax.io import FolderFormat, atomic_folder
from tripletjax.kernels.designs import Inducing
from tripletjax.kernels.environments import EnvironmentKernel
from tripletjax.kernels.nystrom import InducingTriplets, NystromDescriptor
from tripletjax.kernels.potential import Covariance, KernelPotential
from tripletjax.types import Hypers, InputError

FORMAT = FolderFormat(
    thing="kernel potential",
    source="a folder that save_kernel_potential wrote",
    description="model.json",
    arrays="arrays.safetensors",
    version=1,
    type="tripletjax kernel potential",
)
CONTRACTION = "contraction.safetensors"


def save_kernel_potential(
    folder: str | Path, potential: KernelPotential, force: bool = False
) -> None:
    """Write a kernel potential to a folder, whole or not at all.

    Args:
        folder: new or empty, unless ``force`` is given.
        potential: as made by ``fit_sparse_potential`` or ``fit_full_potential``.
        force: replace an earlier potential in the folder; other files stay.

    Raises:
        InputError: the folder holds files and ``force`` is not given, or cannot be written; or the
            potential's describer is not of this package.
    """
    describer = potential.describer
    if not isinstance(describer, (Descriptor, NystromDescriptor)):
        raise InputError(
            f"describer of type {type(describer).__name__} cannot be saved; describe with a "
            "Descriptor or a NystromDescriptor"
        )
    if isinstance(describer, Descriptor) and KINDS.get(describer.kind) != describer.recipe:
        raise InputError(
            f"kind {describer.kind!r} is your own and cannot be saved; choose one of "
            f"{', '.join(KINDS)} to save"
        )
    record = {
        "describer": _describer_record(describer),
        "kernel": {
            "kind": potential.kernel.kind,
            "length_scale": float(potential.kernel.length_scale),
            "degree": int(potential.kernel.degree),
        },
        "references_eV": list(potential.references),
        "record": dict(potential.record),
    }
    with atomic_folder(folder, force, (*FORMAT.files, CONTRACTION)) as new:
        FORMAT.write(new, record, _named(potential))
        if isinstance(describer, Descriptor) and describer.parameters.contraction is not None:
            save_contraction(new / CONTRACTION, describer.parameters.contraction)


def load_kernel_potential(folder: str | Path) -> KernelPotential:
    """Read a kernel potential that ``save_kernel_potential`` wrote.

    Raises:
        InputError: there is none, or it is damaged or of another version.
    """
    folder = Path(folder)
    record, arrays = FORMAT.read(folder)
    with FORMAT.rebuilding(folder):
        return _rebuilt(folder, record, arrays)


def _describer_record(describer: Descriptor | NystromDescriptor) -> dict[str, Any]:
    if isinstance(describer, Descriptor):
        kind, mixing = describer.kind, describer.parameters.mixing
    else:
        kind, mixing = "nystrom", describer.mixing
    plain = (
        None if mixing is None else [None if a is None else np.asarray(a).tolist() for a in mixing]
    )
    return {
        "kind": kind,
        "elements": list(describer.elements),
        "hypers": asdict(describer.hypers),
        "mixing": plain,
    }


def _named(potential: KernelPotential) -> dict[str, Any]:
    """Every array by its name in the file."""
    arrays: dict[str, Any] = {
        "inducing.vectors": potential.inducing.vectors,
        "inducing.kinds": potential.inducing.kinds,
        "inducing.scale": np.asarray(potential.inducing.scale, float),
        "weights": potential.weights,
    }
    if potential.tangents is not None:
        arrays["tangents"] = potential.tangents
    if potential.covariance is not None:
        arrays["covariance.variance"] = np.asarray(potential.covariance.variance, float)
        arrays["covariance.prior"] = potential.covariance.prior
        arrays["covariance.posterior"] = potential.covariance.posterior
    if isinstance(potential.describer, NystromDescriptor):
        triplets = potential.describer.inducing._asdict()
        arrays |= {f"triplets.{name}": array for name, array in triplets.items()}
    return arrays


def _rebuilt(folder: Path, record: dict[str, Any], arrays: dict[str, np.ndarray]):
    inducing = Inducing(*(arrays[f"inducing.{name}"] for name in Inducing._fields))
    n_points, width = inducing.vectors.shape
    covariance = None
    if "covariance.prior" in arrays:
        covariance = Covariance(
            float(arrays["covariance.variance"]),
            arrays["covariance.prior"],
            arrays["covariance.posterior"],
        )
        if {covariance.prior.shape, covariance.posterior.shape} != {(n_points, n_points)}:
            raise ValueError("the covariance has another size than the inducing environments")
    tangents = arrays.get("tangents")
    if inducing.kinds.shape != (n_points,) or arrays["weights"].shape != (n_points,):
        raise ValueError("weights and inducing environments differ in number")
    if tangents is not None and tangents.shape != (n_points, width):
        raise ValueError("tangents and inducing environments differ in size")
    describer = _describer(folder, record["describer"], arrays)
    if len(record["references_eV"]) != len(describer.elements):
        raise ValueError("reference energies and species differ in number")
    return KernelPotential(
        describer=describer,
        kernel=EnvironmentKernel(**record["kernel"]),
        inducing=inducing,
        weights=arrays["weights"],
        tangents=tangents,
        references=tuple(map(float, record["references_eV"])),
        covariance=covariance,
        record=record["record"],
    )


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
