"""The ASE calculator of a fitted potential."""

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress

from tripletjax.neighbors import with_width
from tripletjax.potentials.base import Potential
from tripletjax.potentials.precision import computing_in, in_precision, precision_of
from tripletjax.potentials.storage import potential_of
from tripletjax.types import InputError
from tripletjax.volumes import has_volume


class TripletCalculator(Calculator):
    """Energy, energies of atoms, forces and stress for ASE.

    The stress is available if the cell has a well-defined volume: three independent vectors, and at
    least one periodic direction.

    The neighbour list is rebuilt at every call. Its padded width never shrinks, so nothing is
    recompiled as long as the number of atoms and the largest number of neighbours stay within the
    padding. Reference energies are added in float64.

    Args:
        model: the folder of a fit, or a ``Potential`` with any energy model.
        dtype: "float32" or "float64", independent of JAX's x64 setting; None: float64 if x64 is
            enabled or the model requires it, as kernel models do, float32 otherwise.
        uncertainty: also evaluate standard deviations, with the committee in the folder or the
            potential's own; see ``get_deviations`` and ``with_results``.

    Raises:
        InputError: there is no model; on use, structures that the potential cannot describe.

    Example:
        >>> from ase.build import molecule
        >>> from tripletjax.potentials.network import Architecture
        >>> from tripletjax.potentials.triplet import untrained
        >>> water = molecule("H2O")
        >>> water.calc = TripletCalculator(untrained([1, 8], Architecture(units=4, width=4)))
        >>> water.get_forces().shape
        (3, 3)
    """

    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress"]  # noqa: RUF012

    def __init__(
        self,
        model: str | Path | Potential,
        dtype: str | None = None,
        uncertainty: bool = False,
        **options: Any,
    ):
        super().__init__(**options)
        if dtype not in (None, "float32", "float64"):
            raise InputError(f"invalid dtype={dtype!r}: expected 'float32', 'float64' or None")
        self.potential = potential_of(model, uncertainty)
        self.has_deviations = uncertainty
        self.dtype = dtype
        self._placed: tuple[np.dtype, Potential] | None = None
        self._width = 0
        self._deviations: dict[str, Any] = {}

    def calculate(self, atoms=None, properties=None, system_changes=all_changes) -> None:
        """Fill ``results``; called by ASE."""
        super().calculate(atoms, properties, system_changes)
        frame = self.atoms
        assert frame is not None, "ASE gives the atoms, or a calculator has them"
        dtype = precision_of(self.potential, self.dtype)
        with computing_in(dtype):
            potential = self._potential(dtype)
            batch = potential.prepare(frame, dtype)
            self._width = max(self._width, batch.neighbors.shape[1])
            batch = with_width(batch, self._width)
            found = potential.mechanics(batch)
            spread = potential.deviations(batch) if self.has_deviations else None
        atoms_energies, forces, stress = (np.array(v, np.float64) for v in found)
        energies = atoms_energies[: len(frame)] + self.potential.references_of(frame)
        total = float(energies.sum())
        results: dict[str, Any] = {"energy": total, "free_energy": total, "energies": energies}
        results["forces"] = forces[: len(frame)]
        if has_volume(frame):
            results["stress"] = full_3x3_to_voigt_6_stress(stress[0])
        self.results, self._deviations = results, {}
        if spread is not None:
            self._deviations = {
                "energy_std": float(spread.energy[0]),
                "forces_std": np.array(spread.forces[: len(frame)], np.float64),
            }

    def _potential(self, dtype: np.dtype) -> Potential:
        """The potential with its weights in this dtype, once for many calculations."""
        if self._placed is None or self._placed[0] != dtype:
            self._placed = dtype, in_precision(self.potential, dtype)
        return self._placed[1]

    def get_deviations(self, atoms: Atoms | None = None) -> dict[str, Any]:
        """Standard deviations of the energy, ``energy_std`` in eV, and of the forces.

        They are not in ``results``, where ASE only allows its own names.

        Args:
            atoms: the structure; None: that of the last calculation.

        Returns:
            ``energy_std`` and ``forces_std`` [N, 3] eV/Å.

        Raises:
            InputError: the model has no uncertainty.
        """
        if not self.has_deviations:
            raise InputError("the model has no uncertainty; give uncertainty=True")
        self.get_property("energy", atoms)
        return {name: np.copy(value)[()] for name, value in self._deviations.items()}


def with_results(atoms: Atoms) -> Atoms:
    """A copy with energy, forces, stress and any deviations, for ASE's write.

    ``energy_std`` is in its ``info``, ``forces_std`` in its ``arrays``, and both in extended xyz.

    Args:
        atoms: a structure with a ``TripletCalculator``.

    Example:
        >>> from ase.build import molecule
        >>> from tripletjax.potentials.network import Architecture
        >>> from tripletjax.potentials.triplet import untrained
        >>> water = molecule("H2O")
        >>> water.calc = TripletCalculator(untrained([1, 8], Architecture(units=4, width=4)))
        >>> kept = with_results(water)  # for ase.io.write("water.xyz", kept)
        >>> sorted(kept.calc.results)
        ['energies', 'energy', 'forces', 'free_energy']
    """
    calculator = atoms.calc
    if not isinstance(calculator, TripletCalculator):
        raise InputError("the structure has no TripletCalculator; set atoms.calc to one")
    calculator.get_property("energy", atoms)
    kept = atoms.copy()
    kept.calc = SinglePointCalculator(kept, **calculator.results)
    if calculator.has_deviations:
        deviations = calculator.get_deviations(atoms)
        kept.info["energy_std"] = float(deviations["energy_std"])
        kept.set_array("forces_std", deviations["forces_std"])
    return kept
