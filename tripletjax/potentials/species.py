"""Extend a fitted network to more species, without changing its energies."""

from typing import Any

import numpy as np

from tripletjax.potentials.triplet import SENDER, TripletModel
from tripletjax.types import Array


def with_species(
    model: TripletModel, weights: dict[str, Array], species: tuple[int, ...], seed: int
) -> tuple[TripletModel, dict[str, Array]]:
    """A model with more species and its weights; structures of old species keep their energies.

    A layer with species among its inputs has rows for each of them: those of new species are
    random. Its division by the square root of the number of rows is compensated.

    Args:
        model, weights: for the old species.
        species: atomic numbers, including the old ones, ascending.
        seed: seed of the new rows.

    Example:
        >>> from tripletjax.potentials.network import Architecture
        >>> old = TripletModel(Architecture(units=4, width=4), (1, 8))
        >>> model, weights = with_species(old, old.init(0), (1, 6, 8), seed=1)
        >>> model.species, weights["feature_shift"].shape
        ((1, 6, 8), (3, 4))
    """
    larger = TripletModel(model.architecture, species)
    places = np.searchsorted(species, model.species)
    channels = model.architecture.species_channels
    embeds = len(model.species) > channels, len(species) > channels
    found: dict[str, Any] = {}
    new: Any
    for name, new in larger.init(seed).items():
        if name.removeprefix(SENDER) == "species" and not embeds[0]:
            # Each old species had its own channel.
            own = np.eye(len(model.species), channels) * np.sqrt(len(species))
            found[name] = new.at[places].set(own.astype(new.dtype))
            continue
        old = weights[name]
        if new.shape == old.shape:
            found[name] = old
            continue
        by_channel = embeds[1] and not embeds[0] and not _of_center(name)
        count = len(model.species)
        blocks = len(old) // count  # rows of one species
        first = np.arange(count) if by_channel else places
        rows = (first[:, None] * blocks + np.arange(blocks)).ravel()
        factor = np.sqrt(len(new) / len(old)).astype(np.float32)
        found[name] = new.at[rows].set(old * factor)
    return larger, found


def _of_center(name: str) -> bool:
    """Whether the species of the centre is an input of a layer."""
    return name.removeprefix(SENDER).startswith(("density_", "feature"))
