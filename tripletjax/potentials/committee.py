"""How sure a potential is: several sets of weights at once, and what they agree on.

A committee holds M sets of weights of one architecture: fits from different seeds, or draws of the
last layer alone from its posterior. All members are evaluated together by vmap; what they share is
computed once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.io import FolderFormat, atomic_folder
from tripletjax.potentials.base import FORMAT as POTENTIAL_FORMAT
from tripletjax.potentials.base import Potential, load
from tripletjax.potentials.mechanics import Predictions, per_structure
from tripletjax.types import Array, Batch, InputError

MEMBERS = "members.safetensors"
FORMAT = FolderFormat(
    thing="committee",
    source="the one inside the folder that training wrote",
    description="committee.json",
    arrays=MEMBERS,
    version=1,
)
FILES = (*FORMAT.files, *(f"model/{name}" for name in POTENTIAL_FORMAT.files))


@dataclass(frozen=True, kw_only=True)
class Committee:
    """A potential and the weights of M members; predictions with standard deviations.

    The mean is that of the potential where the members are draws about it (``centered``), and the
    mean of the members otherwise. Standard deviations over members are multiplied by a factor
    fitted on validation data (``calibrated``).

    Example:
        >>> from ase.build import molecule
        >>> from tripletjax.potentials.network import Architecture
        >>> from tripletjax.potentials.base import untrained
        >>> sizes = Architecture(units=4, width=4)
        >>> committee = of_members([untrained([1, 8], sizes, seed=seed) for seed in range(3)])
        >>> batch = committee.potential.prepare(molecule("H2O"))
        >>> mean, deviation = jax.jit(committee.predict)(batch)
        >>> deviation.energy.shape, deviation.forces.shape
        ((1,), (4, 3))
    """

    potential: Potential
    members: Mapping[str, Array]  # by name of the weights: [M, ...]; the others are shared
    centered: bool = False
    energy_factor: float = 1.0  # of the standard deviation of the energy
    forces_factor: float = 1.0

    @property
    def size(self) -> int:
        """Number of members."""
        return len(next(iter(self.members.values())))

    def predict(self, batch: Batch) -> tuple[Predictions, Predictions]:
        """Energy, forces and stress of a batch, and their standard deviations: a pure function.

        The deviation of the stress has the factor of the forces.
        """
        mean, deviation = self.interaction(batch)
        energy = mean.energy + self.potential.reference_energies(batch)
        return mean._replace(energy=energy), deviation

    def interaction(self, batch: Batch) -> tuple[Predictions, Predictions]:
        """``predict`` with energies that leave the references out."""
        return self.with_atoms(batch)[1:]

    def with_atoms(
        self, batch: Batch, in_order: bool = True
    ) -> tuple[Array, Predictions, Predictions]:
        """Mean energies of the atoms [C], less their references, and ``interaction``."""

        def of_weights(changed):
            potential = replace(self.potential, weights=self.potential.weights | changed)
            atoms, forces, stress = potential.atomic_forces_stress(batch, in_order)
            return atoms, Predictions(per_structure(batch, atoms), forces, stress)

        atoms, found = jax.vmap(of_weights)(self.members)
        if self.centered:
            mean_atoms, mean = of_weights({})
        else:
            mean_atoms, mean = jax.tree.map(lambda values: jnp.mean(values, 0), (atoms, found))
        # Draws vary about the potential's own weights, members about their mean.
        divisor = self.size if self.centered else self.size - 1
        factors = self.energy_factor, self.forces_factor, self.forces_factor
        deviation = Predictions(
            *(
                jnp.asarray(factor, values.dtype)
                * jnp.sqrt(jnp.sum((values - center) ** 2, 0) / divisor)
                for values, center, factor in zip(found, mean, factors, strict=True)
            )
        )
        return mean_atoms, mean, deviation

    def calibrated(self, energy_factor: float, forces_factor: float) -> "Committee":
        """With these factors of the standard deviations."""
        return replace(self, energy_factor=float(energy_factor), forces_factor=float(forces_factor))

    def split(self) -> tuple["Committee", Any]:
        """What is static under jit, and the arrays, for ``joined``."""
        static, arrays = self.potential.split()
        factors = jnp.asarray([self.energy_factor, self.forces_factor])
        bare = replace(self, potential=static, members=None, energy_factor=1.0, forces_factor=1.0)
        return bare, (arrays, self.members, factors)

    def joined(self, arrays: Any) -> "Committee":
        """The committee again, without reference energies."""
        fitted, members, factors = arrays
        return replace(
            self,
            potential=self.potential.joined(fitted),
            members=members,
            energy_factor=factors[0],
            forces_factor=factors[1],
        )

    def save(self, folder: str | Path, force: bool = False) -> None:
        """Write the committee to a folder, atomically; its potential lies in ``model`` inside.

        Raises:
            InputError: the folder holds files and ``force`` is not given, or cannot be written.
        """
        record = {
            "centered": self.centered,
            "energy_factor": self.energy_factor,
            "forces_factor": self.forces_factor,
        }
        with atomic_folder(folder, force, FILES) as new:
            self.potential.save(new / "model")
            FORMAT.write(new, record, self.members)


def of_members(potentials: Sequence[Potential]) -> Committee:
    """The committee of several fits, from different seeds or data.

    Raises:
        InputError: fewer than two, or potentials that differ in more than their weights.
    """
    first = potentials[0]
    if len(potentials) < 2:
        raise InputError("a committee needs two or more potentials")
    for number, other in enumerate(potentials):
        for field in ("architecture", "species", "references", "scale"):
            if getattr(other, field) != getattr(first, field):
                raise InputError(
                    f"member {number} has another {field} than member 0; fit all members to the "
                    "same data with the same settings"
                )
    names = first.weights
    members = {name: jnp.stack([p.weights[name] for p in potentials]) for name in names}
    return Committee(potential=first, members=members)


def potential_of(model: Potential | Committee) -> Potential:
    """The potential itself, or that of a committee.

    Raises:
        InputError: the model is something else.
    """
    if isinstance(model, Committee):
        return model.potential
    if isinstance(model, Potential):
        return model
    raise InputError(
        f"invalid model of type {type(model).__name__}: expected a Potential or a Committee; a "
        "KernelPotential runs in ASE, by TripletCalculator"
    )


def load_committee(folder: str | Path) -> Committee:
    """Read a committee as ``Committee.save`` wrote it.

    Raises:
        InputError: there is none, or it is damaged or of another version.
    """
    folder = Path(folder)
    record, arrays = FORMAT.read(folder)
    potential = load(folder / "model")
    shapes = {name: np.shape(array) for name, array in potential.weights.items()}
    with FORMAT.rebuilding(folder):
        for name, array in arrays.items():
            if array.shape[1:] != shapes.get(name):
                raise ValueError(f"{name} has another shape than in the model beside it")
        members = {name: jnp.asarray(array) for name, array in arrays.items()}
        return Committee(potential=potential, members=members, **record)
