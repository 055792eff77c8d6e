"""The ASE calculator of a fitted potential."""

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from tripletjax.neighbors import with_width
from tripletjax.potential import Potential, load, resolve
from tripletjax.types import Batch, InputError
from tripletjax.uncertainty import Committee, load_committee, potential_of


class TripletCalculator(Calculator):
    """Energy, energies of atoms, forces and stress for ASE.

    The neighbour list is made anew at every call. Its padded width never shrinks, so that nothing
    is compiled again as long as the number of atoms and the most neighbours of an atom stay
    within the padding. Reference energies are added in float64.

    Args:
        model: the folder that training wrote, a ``Potential`` or a ``Committee``.
        dtype: "float32" or "float64", which needs no switch of JAX; None: float64 if JAX's x64 is
            on, float32 otherwise.
        uncertainty: read the committee of the folder too; a ``Committee`` needs no such request.
            ``results`` then has the standard deviations ``energy_std`` and ``forces_std``.

    Raises:
        InputError: no model there; on use, structures that the potential cannot describe.

    Example:
        >>> from ase.build import molecule
        >>> from tripletjax.models import Architecture
        >>> from tripletjax.potential import untrained
        >>> water = molecule("H2O")
        >>> water.calc = TripletCalculator(untrained([1, 8], Architecture(units=4, width=4)))
        >>> water.get_forces().shape
        (3, 3)
    """

    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress"]  # noqa: RUF012

    def __init__(
        self,
        model: str | Path | Potential | Committee,
        dtype: str | None = None,
        uncertainty: bool = False,
        **options: Any,
    ):
        super().__init__(**options)
        if dtype not in (None, "float32", "float64"):
            raise InputError(f"dtype={dtype!r} is not usable; give 'float32', 'float64' or None")
        if isinstance(model, Potential) and uncertainty:
            raise InputError("a Potential has no uncertainty; give a Committee or its folder")
        if not isinstance(model, Potential | Committee):
            model = load_committee(resolve(model) / "committee") if uncertainty else load(model)
        self.model = model
        self.potential = potential_of(model)
        self.dtype = dtype
        self._width = 0

    def calculate(self, atoms=None, properties=None, system_changes=all_changes) -> None:
        """Fill ``results``; called by ASE."""
        super().calculate(atoms, properties, system_changes)
        frame = self.atoms
        assert frame is not None, "ASE gives the atoms, or a calculator has them"
        with jax.enable_x64(True) if self.dtype == "float64" else nullcontext():
            batch = self.potential.prepare(frame, self.dtype)
            self._width = max(self._width, batch.neighbors.shape[1])
            arrays = with_width(batch, self._width)._replace(elements=None)
            found = _evaluate(*self.model.split(), arrays)
            energies, forces, stress, *deviations = (np.asarray(v, np.float64) for v in found)
        count = len(frame)
        references = np.asarray(self.potential.references)
        of_species = references[np.searchsorted(self.potential.species, frame.numbers)]
        of_atoms = energies[:count] + of_species
        total = float(of_atoms.sum())
        self.results = {
            "energy": total,
            "free_energy": total,
            "energies": of_atoms,
            "forces": forces[:count],
        }
        if deviations:
            self.results["energy_std"] = float(deviations[0][0])
            self.results["forces_std"] = deviations[1][:count]
        if frame.pbc.all():
            self.results["stress"] = full_3x3_to_voigt_6_stress(stress[0])


@partial(jax.jit, static_argnums=0)
def _evaluate(static: Potential | Committee, fitted, batch: Batch):
    """Energies of atoms without references, forces, stress; deviations of energy and forces."""
    model = static.joined(fitted)
    potential = potential_of(model)
    batch = batch._replace(elements=np.asarray(potential.species, np.int32))
    if isinstance(model, Potential):
        return model.atomic_forces_stress(batch)
    atoms, mean, deviation = model.with_atoms(batch)
    return atoms, mean.forces, mean.stress, deviation.energy, deviation.forces
