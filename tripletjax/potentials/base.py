"""Energy models and potentials: energies of atoms, with their forces and stress.

An energy model is a formula with free weights; a potential is a model with fitted weights,
reference energies and a unit of energy. Forces and stress are derived here, for every model.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms

from tripletjax.neighbors import environments_of, prepare
from tripletjax.potentials.checks import (
    require_batch,
    require_energies,
    require_model,
    require_weights,
)
from tripletjax.potentials.mechanics import (
    AtomicMechanics,
    Deviations,
    Mechanics,
    Predictions,
    forces_of,
    per_structure,
    stress_of,
    virials_of,
)
from tripletjax.potentials.precision import of_type
from tripletjax.potentials.predictions import FramePredictions, predict_frames
from tripletjax.potentials.saving import save_potential
from tripletjax.structures import require_known
from tripletjax.types import Array, Batch, Environments, InputError

Weights = Any  # a pytree of arrays


class EnergyModel(Protocol):
    """A formula for the energies of atoms; hashable and static under ``jit``.

    A model may have ``deviations(potential, batch) -> Deviations`` besides: standard deviations of
    what a potential with this model predicts; ``fixed_energies(environments)``, energies of atoms
    [C] in eV without weights, or None; ``needs_all_environments``, True if it uses
    ``environments.neighbors``, so that batches of only some atoms are refused, and then ``reach``,
    Å from an atom to the furthest one that its energy depends on; and ``dtype``, "float64" if
    ``predict``, the calculator and molecular dynamics should use it unless another is asked for.
    """

    @property
    def cutoff(self) -> float:
        """Å; atoms strictly inside are neighbours."""
        ...

    @property
    def species(self) -> tuple[int, ...]:
        """Atomic numbers, ascending."""
        ...

    def init(self, seed: int) -> Weights:
        """Random weights, from which a fit starts."""
        ...

    def energies(self, weights: Weights, environments: Environments) -> Array:
        """Energy of every atom, [C], in units of the potential's scale.

        Weights have the dtype of the vectors. Neighbours are in any order, within the cutoff;
        on padding the energies are any finite numbers with finite derivatives.
        """
        ...


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("weights", "scale"),
    meta_fields=("model", "references"),
)
@dataclass(frozen=True)
class Potential:
    """E = Σ_i (reference energy of species i + scale · E_i), with E_i from an energy model.

    A pytree: ``jit``, ``vmap`` and ``grad`` take it as an argument, with respect to ``weights`` and
    ``scale``. Methods are pure functions of a ``Batch`` from ``prepare``, in its dtype, and are
    compiled once for each of its sizes. In float32 a total energy of thousands of eV keeps few
    digits: ``interaction`` leaves the reference energies out, ``predict`` adds them in float64.

    Args:
        model: the formula.
        weights: those of a fit, or ``model.init(seed)``.
        references: eV, one for each of the model's species; None: zero.
        scale: eV, the unit of the model's energies.

    Raises:
        InputError: a model without the members of ``EnergyModel``, weights that are not arrays, or
            a number of references different from that of the species.

    Example:
        >>> from ase.build import molecule
        >>> from tripletjax import Potential, local_model
        >>> def springs(weights, vectors, species, mask, center):
        ...     r = jnp.linalg.norm(jnp.where(mask[:, None], vectors, 1.0), axis=-1)
        ...     return 0.25 * weights * jnp.sum(jnp.where(mask, (r - 1.0) ** 2, 0))
        >>> model = local_model(springs, lambda seed: jnp.ones(()), cutoff=1.2, species=(1, 8))
        >>> potential = Potential(model, model.init(0))
        >>> batch = potential.prepare(molecule("H2O"))
        >>> energy, forces, stress = potential.energy_forces_stress(batch)
        >>> energy.shape, forces.shape
        ((1,), (4, 3))
    """

    model: EnergyModel
    weights: Weights
    references: tuple[float, ...] | None = None
    scale: Any = 1.0

    def __post_init__(self):
        require_model(self.model)
        require_weights(self.weights)
        if self.references is not None and len(self.references) != len(self.species):
            raise InputError(
                f"invalid references: {len(self.references)} for the species "
                f"{list(self.species)}; expected one energy (eV) for each"
            )

    @property
    def cutoff(self) -> float:
        """Å; a batch must be prepared with at least this cutoff."""
        return self.model.cutoff

    @property
    def species(self) -> tuple[int, ...]:
        """Atomic numbers, ascending."""
        return self.model.species

    @property
    def has_deviations(self) -> bool:
        """Whether the model has uncertainties."""
        return hasattr(self.model, "deviations")

    def prepare(self, frames: Atoms | Sequence[Atoms], dtype: Any = None) -> Batch:
        """``tripletjax.prepare`` with the cutoff and species of this potential.

        Raises:
            InputError: a structure is invalid, or contains a species that the model does not know.
        """
        frames = [frames] if isinstance(frames, Atoms) else list(frames)
        self.require_known(frames)
        return prepare(frames, self.cutoff, self.species, dtype)

    def require_known(self, frames: Sequence[Atoms]) -> None:
        """Raise InputError for a species that the model does not know."""
        require_known(frames, self.species, "the potential")

    def predict(self, frames: Atoms | Sequence[Atoms], dtype: Any = None) -> FramePredictions:
        """Energies, forces, stress and deviations of structures, in NumPy and without padding.

        Example:
            >>> from ase.build import molecule
            >>> from tripletjax.potentials.network import Architecture
            >>> from tripletjax.potentials.triplet import untrained
            >>> potential = untrained([1, 8], Architecture(cutoff=3.0, units=4, width=4))
            >>> found = potential.predict([molecule("H2O"), molecule("OH")])
            >>> found.energy.shape, found.forces[1].shape
            ((2,), (2, 3))
        """
        return predict_frames(self, frames, dtype)

    def mechanics(self, batch: Batch) -> Mechanics:
        """Energies of atoms without reference energies, forces and stress."""
        require_batch(self, batch)
        return _mechanics(self.without_references, batch)

    def atomic_mechanics(self, batch: Batch) -> AtomicMechanics:
        """Energies of atoms without reference energies, forces, and virials of environments."""
        require_batch(self, batch)
        return _atomic_mechanics(self.without_references, batch)

    def atomic_energies(self, batch: Batch) -> Array:
        """Energy of every environment without its reference energy, [C] eV."""
        require_batch(self, batch)
        return _atomic_energies(self.without_references, batch)

    def interaction(self, batch: Batch) -> Array:
        """Energy of every structure without reference energies, [S] eV."""
        require_batch(self, batch)
        return _energy(self.without_references, None, batch)

    def energy(self, batch: Batch) -> Array:
        """Energy of every structure, [S] eV."""
        require_batch(self, batch)
        return _energy(self.without_references, self._references(batch), batch)

    def energy_forces_stress(self, batch: Batch) -> Predictions:
        """Energy, forces and stress of every structure, by one reverse pass.

        F_i = -dE/dr_i, and the stress is dE/dε / V with ε a strain of positions and cell: ASE's
        sign, positive under tension.
        """
        require_batch(self, batch)
        return _energy_forces_stress(self.without_references, self._references(batch), batch)

    def deviations(self, batch: Batch) -> Deviations:
        """Standard deviations of energies and forces, without the noise of the labels.

        Raises:
            InputError: the model has none.
        """
        require_batch(self, batch)
        if not self.has_deviations:
            raise InputError(
                f"a {type(self.model).__name__} has no uncertainty; fit a committee or a Gaussian "
                "process"
            )
        return _deviations(self.without_references, batch)

    def reference(self, frame: Atoms) -> float:
        """Sum of the reference energies of a structure's atoms, eV, in float64."""
        return float(self.references_of(frame).sum())

    def references_of(self, frame: Atoms) -> np.ndarray:
        """Reference energy of every atom of a structure, [N] eV, in float64."""
        return self.species_references[np.searchsorted(self.species, frame.numbers)]

    @property
    def species_references(self) -> np.ndarray:
        """Reference energy of every species, [E] eV, in float64."""
        return np.asarray(self.references or (0.0,) * len(self.species), np.float64)

    @property
    def without_references(self) -> "Potential":
        """A copy with zero reference energies, so that one program serves all fits of a model."""
        return self if self.references is None else replace(self, references=None)

    def with_weights(self, weights: Weights) -> "Potential":
        """A copy with other weights."""
        return replace(self, weights=weights)

    def environment_energies(self, environments: Environments, is_real: Array) -> Array:
        """Energy of every environment without its reference energy, [C] eV; zero on padding.

        Args:
            environments: with indices into the potential's species.
            is_real: ``[C]`` False on padding.
        """
        weights = of_type(self.weights, environments.vectors.dtype)
        within = jax.lax.stop_gradient(jnp.sum(environments.vectors**2, -1)) < self.cutoff**2
        environments = environments._replace(mask=environments.mask & within)
        with jax.default_matmul_precision("highest"):
            energies = self.model.energies(weights, environments)
        require_energies(energies, environments)
        energies *= jnp.asarray(self.scale, energies.dtype)
        fixed = fixed_energies(self.model, environments)
        return jnp.where(is_real, energies if fixed is None else energies + fixed, 0)

    def save(self, folder: str | Path, force: bool = False) -> None:
        """Save the potential to a folder, atomically, for ``tripletjax.load``.

        Raises:
            InputError: the folder contains files and ``force`` is not set, or cannot be written.
        """
        save_potential(self, folder, force)

    def _references(self, batch: Batch) -> np.ndarray | None:
        """Reference energies of the species, [E] eV, in the dtype of the batch."""
        if self.references is None:
            return None
        return np.asarray(self.references, jnp.asarray(batch.positions).dtype)


def fixed_energies(model: Any, environments: Environments) -> Array | None:
    """Energies of atoms that do not depend on weights, [C] eV; None: the model has none."""
    return model.fixed_energies(environments) if hasattr(model, "fixed_energies") else None


@jax.jit
def _atomic_energies(potential: Potential, batch: Batch) -> Array:
    environments = environments_of(batch, potential.species)
    return potential.environment_energies(environments, jnp.asarray(batch.center_mask))


@jax.jit
def _energy(potential: Potential, references: Array | None, batch: Batch) -> Array:
    return _totals(potential, references, batch, _atomic_energies(potential, batch))


@jax.jit
def _atomic_mechanics(potential: Potential, batch: Batch) -> AtomicMechanics:
    environments, is_real = environments_of(batch, potential.species), batch.center_mask

    def total(vectors):
        energies = potential.environment_energies(environments._replace(vectors=vectors), is_real)
        return jnp.sum(energies), energies

    slopes, energies = jax.grad(total, has_aux=True)(environments.vectors)  # [C, K, 3]
    virials = virials_of(slopes, environments.vectors)
    return AtomicMechanics(energies, forces_of(batch, slopes), virials)


@jax.jit
def _mechanics(potential: Potential, batch: Batch) -> Mechanics:
    found = _atomic_mechanics(potential, batch)
    return Mechanics(found.atoms, found.forces, stress_of(batch, found.virials))


@jax.jit
def _energy_forces_stress(
    potential: Potential, references: Array | None, batch: Batch
) -> Predictions:
    atoms, forces, stress = _mechanics(potential, batch)
    return Predictions(_totals(potential, references, batch, atoms), forces, stress)


@jax.jit
def _deviations(potential: Potential, batch: Batch) -> Deviations:
    model: Any = potential.model
    return model.deviations(potential, batch)


def _totals(potential: Potential, references: Array | None, batch: Batch, atoms: Array) -> Array:
    """Energies of structures, [S] eV, from those of atoms and reference energies."""
    if references is not None:
        centers = environments_of(batch, potential.species).center
        atoms += jnp.where(batch.center_mask, jnp.asarray(references)[centers], 0)
    return per_structure(batch, atoms)
