"""The neural network on triplets as an energy model."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax.numpy as jnp

from tripletjax.potentials.base import Potential
from tripletjax.potentials.local import local_energies, map_atoms
from tripletjax.potentials.messages import Messages
from tripletjax.potentials.network import (
    LAST_LAYER,
    Architecture,
    AtomicEnergy,
    initial_weights,
)
from tripletjax.potentials.repulsion import repulsion_energies
from tripletjax.types import Array, Environments

SENDER = "sender_"  # prefix of the names of the weights of messages
SENDER_ORDER = 2  # of the invariants of messages: higher ones cost more than they gain


@dataclass(frozen=True)
class TripletModel:
    """Energies of atoms by ``network.AtomicEnergy``, with the messages of ``messages.Messages``.

    Args:
        architecture: sizes of the network.
        species: atomic numbers, ascending.

    Example:
        >>> model = TripletModel(Architecture(cutoff=3.0, units=4, width=4), (1, 8))
        >>> sorted(model.init(0))[0]
        'density_0_gain'
    """

    architecture: Architecture
    species: tuple[int, ...]

    linear = LAST_LAYER  # names of weights in which the energies are linear

    @property
    def cutoff(self) -> float:
        """Å."""
        return self.architecture.cutoff

    @property
    def network(self) -> AtomicEnergy:
        """The flax module."""
        return AtomicEnergy(self.architecture, len(self.species))

    @property
    def sender(self) -> Messages:
        """The flax module of the messages."""
        sizes = replace(self.architecture, channels=self.network.n_messages, order=SENDER_ORDER)
        return Messages(sizes, len(self.species))

    @property
    def needs_all_environments(self) -> bool:
        """Whether energies depend on the environments of neighbours."""
        return self.network.n_messages > 0

    @property
    def reach(self) -> float:
        """Å from an atom to the furthest one that its energy depends on."""
        return self.cutoff * (2 if self.needs_all_environments else 1)

    def init(self, seed: int) -> dict[str, Array]:
        """Random weights by name, the same on every machine."""
        weights = initial_weights(self.network, seed)
        if not self.network.n_messages:
            return weights
        sending = initial_weights(self.sender, (seed, 1))
        return weights | {SENDER + name: array for name, array in sending.items()}

    def energies(self, weights: Any, environments: Environments) -> Array:
        """Energy of every atom, [C]."""
        vectors, *others = environments[:4]
        messages = None
        if self.network.n_messages:
            sent = map_atoms(partial(self._sent, weights), (vectors, *others))
            messages = sent[environments.neighbors], sent
        return local_energies(self._energy, weights, (vectors, messages), *others)

    def fixed_energies(self, environments: Environments) -> Array | None:
        """The repulsion of close nuclei, [C] eV, if the architecture has it."""
        if not self.architecture.repulsion:
            return None
        return repulsion_energies(environments, self.species)

    def _energy(self, weights, inputs, *others) -> Array:
        vectors, messages = inputs
        energy: Any = self.network.apply({"params": weights}, vectors, *others, messages)
        return energy

    def _sent(self, weights, *environment) -> Array:
        """The messages of one atom."""
        own = {
            name.removeprefix(SENDER): array
            for name, array in weights.items()
            if name.startswith(SENDER)
        }
        messages: Any = self.sender.apply({"params": own}, *environment)
        return messages


def untrained(
    species: Iterable[int],
    architecture: Architecture | None = None,
    references: Iterable[float] | None = None,
    scale: float = 1.0,
    seed: int = 0,
) -> Potential:
    """A potential with random weights.

    Args:
        species: atomic numbers.
        architecture: sizes of the model; None: the defaults.
        references: eV, for the species in ascending order; None: zero.
        scale: scale of the energy per atom, eV.
        seed: seed of the weights.

    Example:
        >>> untrained([8, 1], Architecture(units=4, width=4)).species
        (1, 8)
    """
    kinds = tuple(sorted({int(number) for number in species}))
    model = TripletModel(architecture or Architecture(), kinds)
    energies = None if references is None else tuple(map(float, references))
    return Potential(model, model.init(seed), energies, float(scale))


def without_energies(weights: dict[str, Array]) -> dict[str, Array]:
    """Weights with a last layer of zero, for the start of a fit.

    Random initial energies would remain in regions with few data.
    """
    return weights | {name: jnp.zeros_like(weights[name]) for name in LAST_LAYER}
