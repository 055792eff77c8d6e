"""Committees: several sets of weights of one model, and the spread of their predictions.

The members are fits with different seeds, or samples of the last layer from its posterior. They are
evaluated together by vmap; what they share is computed once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from tripletjax.numerics import array_module
from tripletjax.potentials.base import EnergyModel, Potential, fixed_energies
from tripletjax.potentials.checks import needs_all_environments, reach_of
from tripletjax.potentials.mechanics import Deviations, per_structure
from tripletjax.types import Array, Batch, Environments, InputError


@dataclass(frozen=True)
class CommitteeModel:
    """An energy model of M members: the mean of their energies, with standard deviations.

    Weights are a dict of ``"potential"``, one set of weights; ``"members"``, what differs between
    the members, with a leading axis [M]; and ``"energy_factor"`` and ``"forces_factor"``, which
    standard deviations over the members are multiplied by, fitted to validation data.

    Args:
        model: the members' own.
        centered: the members are draws about the weights of ``"potential"``: its energies are those
            of the committee.
    """

    model: EnergyModel
    centered: bool = False

    @property
    def cutoff(self) -> float:
        """Å."""
        return self.model.cutoff

    @property
    def dtype(self) -> Any:
        """What the members' model is evaluated in by default; None: JAX's default float."""
        return getattr(self.model, "dtype", None)

    @property
    def species(self) -> tuple[int, ...]:
        """Atomic numbers, ascending."""
        return self.model.species

    def init(self, seed: int) -> dict[str, Any]:
        """Two members with random weights."""
        first, second = (self.model.init(2 * seed + member) for member in (0, 1))
        return committee_weights(first, jax.tree.map(lambda *w: jnp.stack(w), first, second))

    def energies(self, weights: dict[str, Any], environments: Environments) -> Array:
        """Mean energy of every atom, [C]."""
        if self.centered:
            return self.model.energies(weights["potential"], environments)
        of_member = lambda member: self.model.energies(member, environments)  # noqa: E731
        return jnp.mean(_over_members(of_member, weights), 0)

    @property
    def needs_all_environments(self) -> bool:
        """Whether their energies depend on the environments of neighbours."""
        return needs_all_environments(self.model)

    @property
    def reach(self) -> float | None:
        """Å from an atom to the furthest one that their energies depend on; None: not known."""
        return reach_of(self.model)

    def fixed_energies(self, environments: Environments) -> Array | None:
        """Those of the members' model, [C] eV; None: it has none."""
        return fixed_energies(self.model, environments)

    def members(self, potential: Potential) -> list[Potential]:
        """The members of a committee as potentials of their own."""
        weights = potential.weights

        def member(index: int) -> Potential:
            own = jax.tree.map(lambda array: array[index], weights["members"])
            return self._single(potential, _whole(weights["potential"], own))

        return [member(index) for index in range(size(potential))]

    def drawn_about(self, potential: Potential) -> Potential | None:
        """The potential about which the members are drawn; None: they are fits."""
        return self._single(potential, potential.weights["potential"]) if self.centered else None

    def _single(self, potential: Potential, weights: Any) -> Potential:
        return Potential(self.model, weights, potential.references, potential.scale)

    def deviations(self, potential: Potential, batch: Batch) -> Deviations:
        """Standard deviations over the members, multiplied by the factors."""
        weights = potential.weights

        def of_member(member):
            found = self._single(potential, member).mechanics(batch)
            return per_structure(batch, found.atoms), found.forces

        found = _over_members(of_member, weights)
        about = of_member(weights["potential"]) if self.centered else (None, None)
        return spread(potential, *zip(found, about, strict=True))


def spread(potential: Potential, energies, forces) -> Deviations:
    """Standard deviations of a committee from the predictions of its members.

    Args:
        potential: with the factors that deviations are multiplied by.
        energies, forces: those of the members, [M, ...], with those of the potential about whose
            weights the members are drawn; None: the members are fits, and vary about their mean.
    """

    def deviation(name: str, values: Array, about: Array | None) -> Array:
        xp = array_module(values)
        middle = xp.mean(values, 0) if about is None else about
        divisor = len(values) - (about is None)
        factor = xp.asarray(potential.weights[name], values.dtype)
        return factor * xp.sqrt(xp.sum((values - middle) ** 2, 0) / divisor)

    return Deviations(deviation("energy_factor", *energies), deviation("forces_factor", *forces))


def _over_members(function, weights: dict[str, Any]):
    """A function of the weights of one member, mapped over all."""
    of_member = lambda own: function(_whole(weights["potential"], own))  # noqa: E731
    return jax.vmap(of_member)(weights["members"])


def _whole(shared: Any, own: Any) -> Any:
    """All weights of a member."""
    return shared | own if isinstance(own, Mapping) else own


def committee_weights(
    shared: Any, members: Any, energy_factor: float = 1.0, forces_factor: float = 1.0
) -> dict[str, Any]:
    """Weights of a ``CommitteeModel``."""
    return {
        "potential": shared,
        "members": members,
        "energy_factor": jnp.asarray(energy_factor),
        "forces_factor": jnp.asarray(forces_factor),
    }


def committee_of(potentials: Sequence[Potential]) -> Potential:
    """Combine several fits, with different seeds or data: their mean, with deviations.

    Raises:
        InputError: fewer than two potentials, or potentials that differ in more than their weights.

    Example:
        >>> from ase.build import molecule
        >>> from tripletjax.potentials.network import Architecture
        >>> from tripletjax.potentials.triplet import untrained
        >>> sizes = Architecture(units=4, width=4)
        >>> mean = committee_of([untrained([1, 8], sizes, seed=seed) for seed in range(3)])
        >>> deviations = mean.deviations(mean.prepare(molecule("H2O")))
        >>> deviations.energy.shape, deviations.forces.shape
        ((1,), (4, 3))
    """
    if len(potentials) < 2:
        raise InputError(
            f"a committee of {len(potentials)} potential has no spread; expected two or more"
        )
    first = potentials[0]
    for number, other in enumerate(potentials):
        for field in ("model", "references", "scale"):
            if getattr(other, field) != getattr(first, field):
                raise InputError(
                    f"member {number} has another {field} than member 0; fit all members to the "
                    "same data with the same settings"
                )
    stack = lambda *leaves: array_module(leaves[0]).stack(leaves)  # noqa: E731
    members = jax.tree.map(stack, *(p.weights for p in potentials))
    model = CommitteeModel(first.model)
    return Potential(
        model, committee_weights(first.weights, members), first.references, first.scale
    )


def draws(potential: Potential, members: Mapping[str, Array]) -> Potential:
    """Combine a potential with samples of some of its weights: its predictions, with deviations.

    Args:
        potential: with a dict of weights.
        members: the samples by name, [M, ...].
    """
    weights = committee_weights(potential.weights, dict(members))
    return Potential(
        CommitteeModel(potential.model, centered=True),
        weights,
        potential.references,
        potential.scale,
    )


def calibrated(potential: Potential, energy_factor: float, forces_factor: float) -> Potential:
    """A committee with the given factors for its standard deviations."""
    weights = potential.weights
    factors = committee_weights(None, None, energy_factor, forces_factor)
    return potential.with_weights(
        weights | {name: factors[name] for name in ("energy_factor", "forces_factor")}
    )


def size(potential: Potential) -> int:
    """Number of members of a committee."""
    return len(jax.tree.leaves(potential.weights["members"])[0])
