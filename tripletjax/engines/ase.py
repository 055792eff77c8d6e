"""The ASE calculator of a fitted potential."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress

from tripletjax.kernels.potential import KernelPotential
from tripletjax.neighbors import with_width
from tripletjax.potentials.base import Potential, load, resolve
from tripletjax.potentials.committee import Committee, load_committee, potential_of
from tripletjax.types import Batch, InputError
from tripletjax.volumes import has_volume


class TripletCalculator(Calculator):
    """Energy, energies of atoms, forces and stress for ASE.

    There is a stress where the cell has a volume of its own: with three independent vectors, and
    periodic along one or more of them.

    The neighbour list is made anew at every call. Its padded width never shrinks, so that nothing
    is compiled again as long as the number of atoms and the most neighbours of an atom stay
    within the padding. Reference energies are added in float64.

    Args:
        model: the folder that training wrote, a ``Potential``, a ``Committee`` or a
            ``KernelPotential``, which has no energies of atoms.
        dtype: "float32" or "float64", which needs no switch of JAX; None: float64 if JAX's x64 is
            on or the potential is one of kernels, float32 otherwise.
        uncertainty: read the committee of the folder too, or evaluate the posterior of a
            ``KernelPotential``; a ``Committee`` needs no such request.
            ``get_deviations`` then gives standard deviations, ``with_results`` keeps them.

    Raises:
        InputError: no model there; on use, structures that the potential cannot describe.

    Example:
        >>> from ase.build import molecule
        >>> from tripletjax.potentials.network import Architecture
        >>> from tripletjax.potentials.base import untrained
        >>> water = molecule("H2O")
        >>> water.calc = TripletCalculator(untrained([1, 8], Architecture(units=4, width=4)))
        >>> water.get_forces().shape
        (3, 3)
    """

    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress"]  # noqa: RUF012

    def __init__(
        self,
        model: str | Path | Potential | Committee | KernelPotential,
        dtype: str | None = None,
        uncertainty: bool = False,
        **options: Any,
    ):
        super().__init__(**options)
        if dtype not in (None, "float32", "float64"):
            raise InputError(f"dtype={dtype!r} is not usable; give 'float32', 'float64' or None")
        if isinstance(model, Potential) and uncertainty:
            raise InputError("a Potential has no uncertainty; give a Committee or its folder")
        if isinstance(model, KernelPotential):
            self._predict, dtype = _of_kernels(model, uncertainty), dtype or "float64"
            self.potential = model
        else:
            if isinstance(model, str | Path):
                folder = model
                model = (
                    load_committee(resolve(folder) / "committee") if uncertainty else load(folder)
                )
            self._predict, self.potential = partial(_of_networks, model), potential_of(model)
        self.model = model
        self.has_deviations = uncertainty or isinstance(model, Committee)
        self.dtype = dtype
        self._width = 0
        self._deviations: dict[str, Any] = {}

    def calculate(self, atoms=None, properties=None, system_changes=all_changes) -> None:
        """Fill ``results``; called by ASE."""
        super().calculate(atoms, properties, system_changes)
        frame = self.atoms
        assert frame is not None, "ASE gives the atoms, or a calculator has them"
        with jax.enable_x64(True) if self.dtype == "float64" else nullcontext():
            batch = self.potential.prepare(frame, self.dtype)
            self._width = max(self._width, batch.neighbors.shape[1])
            found = self._predict(frame, with_width(batch, self._width)._replace(elements=None))
        results: dict[str, Any] = {"energy": found.energy, "free_energy": found.energy}
        if found.energies is not None:
            results["energies"] = found.energies
        results["forces"] = found.forces
        if has_volume(frame):
            results["stress"] = full_3x3_to_voigt_6_stress(found.stress)
        self.results, self._deviations = results, found.deviations

    def get_deviations(self, atoms: Atoms | None = None) -> dict[str, Any]:
        """Standard deviations of the energy, ``energy_std`` in eV, and of the forces.

        They are no ``results``, which ASE lets have its own names alone.

        Args:
            atoms: the structure; None: that of the last calculation.

        Returns:
            ``energy_std`` and ``forces_std`` [N, 3] eV/Å.

        Raises:
            InputError: the model has no uncertainty.
        """
        if not self.has_deviations:
            raise InputError("the model has no uncertainty; give uncertainty=True or a Committee")
        self.get_property("energy", atoms)
        return {name: np.copy(value)[()] for name, value in self._deviations.items()}


def with_results(atoms: Atoms) -> Atoms:
    """A copy that keeps energy, forces and stress, and any deviations, for ASE's write.

    ``energy_std`` is in its ``info``, ``forces_std`` in its ``arrays``, and both in extended xyz.

    Args:
        atoms: a structure with a ``TripletCalculator``.

    Example:
        >>> from ase.build import molecule
        >>> from tripletjax.potentials.network import Architecture
        >>> from tripletjax.potentials.base import untrained
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


class _Found(NamedTuple):
    """What a model says of one structure, in NumPy and float64."""

    energy: float
    energies: np.ndarray | None
    forces: np.ndarray
    stress: np.ndarray  # [3, 3]
    deviations: dict[str, Any]


def _of_networks(model: Potential | Committee, frame: Atoms, batch: Batch) -> _Found:
    found = _evaluate(*model.split(), batch)
    energies, forces, stress, *deviations = (np.array(v, np.float64) for v in found)
    potential, count = potential_of(model), len(frame)
    references = np.asarray(potential.references)
    of_atoms = energies[:count] + references[np.searchsorted(potential.species, frame.numbers)]
    spread = _named(deviations[0][0], deviations[1][:count]) if deviations else {}
    return _Found(float(of_atoms.sum()), of_atoms, forces[:count], stress[0], spread)


def _of_kernels(model: KernelPotential, uncertainty: bool) -> Callable[[Atoms, Batch], _Found]:
    predict, deviate = jax.jit(model.energy_forces_stress), jax.jit(model.deviations)
    if uncertainty and model.covariance is None:
        raise InputError("the KernelPotential has no covariance, and with it no uncertainty")

    def found(frame: Atoms, batch: Batch) -> _Found:
        batch, count = batch._replace(elements=np.asarray(model.species, np.int32)), len(frame)
        energy, forces, stress = (np.array(v, np.float64) for v in predict(batch))
        spread = {}
        if uncertainty:
            energy_std, forces_std = (np.array(v, np.float64) for v in deviate(batch))
            spread = _named(energy_std[0], forces_std[:count])
        return _Found(float(energy[0]), None, forces[:count], stress[0], spread)

    return found


def _named(energy: np.ndarray, forces: np.ndarray) -> dict[str, Any]:
    return {"energy_std": float(energy), "forces_std": forces}


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
