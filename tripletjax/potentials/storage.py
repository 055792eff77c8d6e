"""Load potentials of any kind from their folders, including those of earlier releases."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from tripletjax.io import FolderFormat
from tripletjax.potentials.base import EnergyModel, Potential
from tripletjax.potentials.checks import require_potential
from tripletjax.potentials.committee import CommitteeModel, committee_weights
from tripletjax.potentials.network import Architecture, weight_shapes
from tripletjax.potentials.precision import on_device
from tripletjax.potentials.records import UnknownModelError, imported, of_fields, of_record
from tripletjax.potentials.saving import FORMAT
from tripletjax.potentials.triplet import TripletModel
from tripletjax.types import InputError, as_integer, as_number

ZOO = "zoo:"
COMMITTEE = "committee"  # the folder of uncertainties in that of a fit
FIRST = replace(FORMAT, version=1)  # of release 0.1: networks
FIRST_COMMITTEE = FolderFormat(
    thing="committee",
    source="the one inside the folder that training wrote",
    description="committee.json",
    arrays="members.safetensors",
    version=1,
)
# Readers of other folders, which are imported when one is found: records of release 0.1 by their
# type, and a file that tells.
TYPES = {"tripletjax kernel potential": "tripletjax.kernels.storage:read_first"}
FILES = {"tensor.json": "tripletjax.properties.tensor_model:load_tensor"}


def load(folder: str | Path, model: EnergyModel | None = None) -> Any:
    """Load a fit from its folder, or from the ``model`` inside it.

    Args:
        folder: the folder; or ``"zoo:NAME"``, a potential included in the package.
        model: the energy model, where the folder cannot tell: one made of functions or classes
            that cannot be imported. None: as in the folder.

    Returns:
        A ``Potential``; a ``TensorModel`` for fits of dipoles or polarisabilities.

    Raises:
        InputError: there is no fit, or it is damaged, has another version, or a model that cannot
            be imported.

    Example:
        >>> import tempfile
        >>> from tripletjax.potentials.triplet import untrained
        >>> potential = untrained([1, 8], Architecture(units=4, width=4))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     potential.save(f"{folder}/model")
        ...     load(folder).species
        (1, 8)
    """
    folder = resolve(folder)
    if (folder / FIRST_COMMITTEE.description).is_file():
        return _first_committee(folder)
    for name, reader in FILES.items():
        if (folder / name).is_file() or (folder / "model" / name).is_file():
            return imported(reader)(folder)
    folder = FORMAT.inside(folder)
    version, kind = _version(folder)
    if kind in TYPES:
        return imported(TYPES[kind])(folder)
    return _first(folder) if version == 1 else _current(folder, model)


def load_uncertain(folder: str | Path) -> Potential:
    """``load`` with standard deviations: those of the committee in the folder, or of the fit.

    Raises:
        InputError: as for ``load``, or the fit has no uncertainty.
    """
    folder = resolve(folder)
    if (folder / COMMITTEE).is_dir():
        return load(folder / COMMITTEE)
    potential = load(folder)
    if not potential.has_deviations:
        raise InputError(
            f"{folder} has no uncertainty: no {COMMITTEE} beside the model; fit with "
            "laplace_members above 0, several members, or a Gaussian process"
        )
    return potential


def potential_of(given: str | Path | Potential, uncertainty: bool = False) -> Potential:
    """The potential given or that of a folder, with standard deviations if they are asked for.

    Raises:
        InputError: as for ``load``, it is not a potential, or it has no uncertainty.

    Example:
        >>> potential_of("zoo:ethanol_gfn2").species
        (1, 6, 8)
    """
    if isinstance(given, str | Path):
        potential = load_uncertain(given) if uncertainty else load(given)
    else:
        potential = given
    require_potential(potential)
    if uncertainty and not potential.has_deviations:
        raise InputError("the potential has no uncertainty; give a committee or a Gaussian process")
    return potential


def resolve(folder: str | Path) -> Path:
    """The folder itself, or that of ``"zoo:NAME"``."""
    if not str(folder).startswith(ZOO):
        return Path(folder)
    name, zoo = str(folder).removeprefix(ZOO), Path(__file__).parents[1] / "zoo"
    names = sorted(path.name for path in zoo.glob("*") if path.is_dir())
    if name not in names:
        raise InputError(f"the zoo has no {name!r}; it has {', '.join(names) or 'no models yet'}")
    return zoo / name


def _version(folder: Path) -> tuple[Any, Any]:
    """Format and type of the record in a folder; what is wrong with it is said on reading."""
    try:
        record = json.loads((folder / FORMAT.description).read_bytes())
        return record.get("format"), record.get("type")
    except (OSError, ValueError, AttributeError):
        return None, None


def _current(folder: Path, model: EnergyModel | None) -> Potential:
    record, arrays = FORMAT.read(folder)
    with FORMAT.rebuilding(folder):
        try:
            made: Any = of_record(record["model"], arrays) if model is None else model
        except UnknownModelError as error:
            raise InputError(
                f"{folder / FORMAT.description} is a fit of a model of one's own: {error}; put its "
                "module where Python finds it, or give the model: load(folder, model=...)"
            ) from error
        references = record["references_eV"]
        if references is not None:
            references = tuple(as_number("references_eV", energy) for energy in references)
        weights = on_device(of_record(record["weights"], arrays))
        return Potential(
            made,
            weights,
            references,
            as_number("scale_eV", record["scale_eV"]),
        )


def _first(folder: Path) -> Potential:
    """A network of release 0.1."""
    record, arrays = FIRST.read(folder)
    with FIRST.rebuilding(folder):
        species = tuple(as_integer("species", number, 1, 118) for number in record["species"])
        model = TripletModel(of_fields(Architecture, record["architecture"]), species)
        if weight_shapes(model.network) != {name: a.shape for name, a in arrays.items()}:
            raise ValueError("the weights have other shapes")
        return Potential(
            model,
            {name: jnp.asarray(array) for name, array in arrays.items()},
            tuple(as_number("references_eV", value) for value in record["references_eV"]),
            as_number("scale_eV", record["scale_eV"]),
        )


def _first_committee(folder: Path) -> Potential:
    """A committee of release 0.1."""
    record, arrays = FIRST_COMMITTEE.read(folder)
    potential = load(folder / "model")
    shapes = {name: np.shape(array) for name, array in potential.weights.items()}
    with FIRST_COMMITTEE.rebuilding(folder):
        for name, array in arrays.items():
            if array.shape[1:] != shapes.get(name):
                raise ValueError(f"{name} has another shape than in the model beside it")
        members = {name: jnp.asarray(array) for name, array in arrays.items()}
        factors = record["energy_factor"], record["forces_factor"]
        return Potential(
            CommitteeModel(potential.model, record["centered"]),
            committee_weights(potential.weights, members, *factors),
            potential.references,
            potential.scale,
        )
