"""The initial potential of a fit: random weights, or an earlier fit; reference energies."""

from typing import Any, NamedTuple

import numpy as np
import optax
from ase.data import chemical_symbols

from tripletjax.io import checksum
from tripletjax.potentials.base import EnergyModel, Potential
from tripletjax.potentials.checks import require_model
from tripletjax.potentials.records import path_of
from tripletjax.potentials.species import with_species
from tripletjax.potentials.triplet import TripletModel, without_energies
from tripletjax.structures import compositions, require_known
from tripletjax.training.config import TrainConfig
from tripletjax.training.parts import Dataset
from tripletjax.training.references import fit_references, reference_energies
from tripletjax.training.step import Loss
from tripletjax.types import InputError


class Choices(NamedTuple):
    """What is fitted and how, in addition to the settings."""

    model: EnergyModel | None = None  # None: the network of the settings' architecture
    start: Potential | None = None  # an earlier fit; None: random weights
    loss: Loss | None = None
    optimizer: optax.GradientTransformation | None = None
    start_from: str | None = None  # folder of the earlier fit

    def options(self) -> dict[str, Any]:
        """Their entries in a settings file."""
        given = [self.model, self.loss, self.optimizer]
        given += [self.start] if self.start_from is None else []
        if any(one is not None for one in given):
            return {"model": None}
        return {"start_from": self.start_from}

    def settings(self) -> dict[str, Any]:
        """Entries that must be the same when a fit is resumed."""
        names = {"model": _name(self.model), "loss": _name(self.loss)}
        names |= {"optimizer": None if self.optimizer is None else "given"}
        if self.start is not None:
            names["start"] = checksum(self.start.weights)
        return {name: value for name, value in names.items() if value is not None}


def starting_point(
    data: Dataset,
    config: TrainConfig,
    choices: Choices = Choices(),  # noqa: B008
) -> Potential:
    """The potential that a fit starts from.

    Reference energies are those of the data. The scale is the size of the forces for the network,
    and 1 eV for a custom model. With ``choices.start`` both are those of the earlier fit, see
    ``fine_tuned``.
    """
    if choices.start is not None:
        return fine_tuned(choices.start, data, config)
    species = _species(data)
    if choices.model is None:
        model: Any = TripletModel(config.architecture, species)
        weights, scale = without_energies(model.init(config.seed)), force_scale(data)
    else:
        model = choices.model
        require_model(model)
        require_known(data.frames, model.species, "the model")
        weights, scale = model.init(config.seed), 1.0
    energies = np.array([label.energy for label in data.labels])
    given = config.reference_energies
    of_data = dict(
        zip(species, reference_energies(data.frames, energies, species, given), strict=True)
    )
    references = tuple(float(of_data.get(number, 0.0)) for number in model.species)
    return Potential(model, weights, references, scale)


def fine_tuned(start: Potential, data: Dataset, config: TrainConfig) -> Potential:
    """Extend an earlier fit to the species of the data.

    Its scale and reference energies are kept; those of new species are taken from
    ``config.reference_energies``, or fitted by least squares to the residual energies. Given values
    replace earlier ones.

    Raises:
        InputError: the data have new species, and the model cannot be extended.
    """
    species = tuple(sorted({*start.species, *_species(data)}))
    known = dict(zip(start.species, start.species_references.tolist(), strict=True))
    given = config.reference_energies
    new = [number for number in species if number not in known]
    if given is not None:
        of_data = _species(data)
        energies = np.array([label.energy for label in data.labels])
        if isinstance(given, dict):  # others are kept
            given = {chemical_symbols[n]: known[n] for n in of_data if n in known} | given
        known |= zip(
            of_data, reference_energies(data.frames, energies, of_data, given), strict=True
        )
    elif new:
        remaining = [
            label.energy - sum(known.get(number, 0.0) for number in frame.numbers.tolist())
            for frame, label in zip(data.frames, data.labels, strict=True)
        ]
        known |= zip(new, fit_references(data.frames, np.array(remaining), new), strict=True)
    references = tuple(float(known[number]) for number in species)
    model, weights = start.model, start.weights
    if new:
        if not isinstance(model, TripletModel):
            raise InputError(
                f"the fit to start from knows only {list(start.species)}, and its model cannot be "
                f"extended to {new}; leave these species out, or start from random weights"
            )
        model, weights = with_species(model, weights, species, config.seed)
    return Potential(model, weights, references, start.scale)


def force_scale(data: Dataset) -> float:
    """Root mean square of the force components, eV/Å; without forces the standard deviation of the
    energies per atom, eV, that is not explained by the composition.
    """
    forces = [label.forces for label in data.labels if label.forces is not None]
    if forces:
        return float(np.sqrt(np.mean(np.concatenate(forces) ** 2))) or 1.0
    energies = np.array([label.energy for label in data.labels])
    species = _species(data)
    counts = compositions(data.frames, species)
    remaining = energies - counts @ fit_references(data.frames, energies, species)
    return float(np.std(remaining / counts.sum(1))) or 1.0


def _species(data: Dataset) -> tuple[int, ...]:
    """Atomic numbers in the data, ascending."""
    return tuple(np.unique(np.concatenate([frame.numbers for frame in data.frames])).tolist())


def _name(thing: Any) -> str | None:
    if thing is None:
        return None
    return path_of(thing) if hasattr(thing, "__qualname__") else path_of(type(thing))
