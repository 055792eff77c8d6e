"""Fitted potentials: energy, forces and stress as pure functions, and their files."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms

from tripletjax.io import FolderFormat, atomic_folder
from tripletjax.neighbors import displacements, prepare
from tripletjax.numerics import map_blocks
from tripletjax.potentials.adaptive_tags import nearest_first
from tripletjax.potentials.mechanics import Predictions, forces_and_stress, per_structure
from tripletjax.potentials.network import Architecture, AtomicEnergy, initial_weights, weight_shapes
from tripletjax.types import (
    Array,
    Batch,
    InputError,
    as_integer,
    as_number,
    require_prepared,
)

ZOO = "zoo:"
ATOMS_A_BLOCK = 64  # what is computed for so many stays in a core's cache
WEIGHTS, DESCRIPTION = "weights.safetensors", "model.json"
FORMAT = FolderFormat(
    thing="model",
    source="the folder that training wrote",
    description=DESCRIPTION,
    arrays=WEIGHTS,
    version=1,
)


@dataclass(frozen=True, kw_only=True)
class Potential:
    """A fitted potential: E = Σ_i (reference energy of species i + scale · E_i).

    Its methods are pure functions of a ``Batch`` from ``prepare``, to compose with jit, vmap and
    grad, in the dtype of the batch. In float32 a total energy of thousands of eV keeps few digits:
    ``interaction`` leaves the reference energies out, for ``reference`` to add in float64.

    Example:
        >>> from ase.build import molecule
        >>> potential = untrained([1, 8], Architecture(cutoff=3.0, units=4, width=4))
        >>> batch = potential.prepare([molecule("H2O")])
        >>> energy, forces, stress = jax.jit(potential.energy_forces_stress)(batch)
        >>> energy.shape, forces.shape, stress.shape
        ((1,), (4, 3), (1, 3, 3))
    """

    architecture: Architecture
    species: tuple[int, ...]  # atomic numbers, ascending
    references: tuple[float, ...]  # eV, one for each species
    scale: float  # eV
    weights: Any  # the model's arrays by name

    @property
    def cutoff(self) -> float:
        """Å; a batch must be prepared with this one, or a larger one."""
        return self.architecture.cutoff

    def split(self) -> tuple["Potential", tuple[Any, Any]]:
        """What is static under jit, and the arrays, for ``joined``: one program for all fits.

        The static part has no reference energies: use it for ``interaction`` and what follows.
        """
        static = replace(self, weights=None, scale=1.0, references=(0.0,) * len(self.species))
        return static, (self.weights, jnp.asarray(self.scale, jnp.zeros(()).dtype))

    def joined(self, arrays: tuple[Any, Any]) -> "Potential":
        """The potential again, without reference energies."""
        return replace(self, weights=arrays[0], scale=arrays[1])

    def prepare(self, frames: Atoms | Sequence[Atoms], dtype=None) -> Batch:
        """``tripletjax.prepare`` with the cutoff and species of this potential.

        Raises:
            InputError: a structure cannot be used, or holds a species that was not in training.
        """
        frames = [frames] if isinstance(frames, Atoms) else list(frames)
        self.require_known(frames)
        return prepare(frames, self.cutoff, self.species, dtype)

    def require_known(self, frames: Sequence[Atoms]) -> None:
        """Raise InputError at a species that this potential was not trained for."""
        for index, frame in enumerate(frames):
            unknown = ~np.isin(frame.numbers, self.species)
            if unknown.any():
                atom = int(np.argmax(unknown))
                raise InputError(
                    f"atom {atom} of frame {index} has atomic number {frame.numbers[atom]}, but "
                    f"the potential knows only {list(self.species)}; train it on this species too"
                )

    def atomic_energies(self, batch: Batch) -> Array:
        """Energy of every environment without its reference energy, [C] eV."""
        vectors, species, mask = displacements(batch)
        arrays = (vectors, *self._kinds(batch, species, mask))
        return map_blocks(self._atomic_energy, arrays, ATOMS_A_BLOCK)

    def interaction(self, batch: Batch) -> Array:
        """Energy of every structure without the reference energies, [S] eV."""
        return per_structure(batch, self.atomic_energies(batch))

    def energy(self, batch: Batch) -> Array:
        """Energy of every structure, [S] eV."""
        return self.interaction(batch) + self.reference_energies(batch)

    def energy_forces_stress(self, batch: Batch) -> Predictions:
        """Energy, forces and stress by one reverse pass.

        F_i = -dE/dr_i, and the stress is dE/dε / V with ε a strain of positions and cell: ASE's
        sign, positive where the structure is under tension.
        """
        atomic, forces, stress = self.atomic_forces_stress(batch)
        energy = per_structure(batch, atomic) + self.reference_energies(batch)
        return Predictions(energy, forces, stress)

    def interaction_forces_stress(self, batch: Batch, in_order: bool = True) -> Predictions:
        """``energy_forces_stress`` with energies that leave the references out."""
        atomic, forces, stress = self.atomic_forces_stress(batch, in_order)
        return Predictions(per_structure(batch, atomic), forces, stress)

    def atomic_forces_stress(
        self, batch: Batch, in_order: bool = True
    ) -> tuple[Array, Array, Array]:
        """``atomic_energies`` [C], with forces and stress as in ``energy_forces_stress``.

        Neighbours that have moved since the batch was prepared may not be ``in_order`` of their
        distances any more: then say so.
        """
        vectors, species, mask = displacements(batch)
        energy = self._atomic_energy if in_order else self.environment_energy

        def of_atom(vectors, *rest):
            return jax.value_and_grad(energy)(vectors, *rest)

        energies, slopes = map_blocks(  # dE_i / dr_ij, [C, K, 3]
            of_atom, (vectors, *self._kinds(batch, species, mask)), ATOMS_A_BLOCK
        )
        forces, stress = forces_and_stress(batch, slopes, vectors)
        return energies, forces, stress

    def reference(self, frame: Atoms) -> float:
        """Sum of the reference energies of a structure's atoms, eV, in float64."""
        return float(
            np.asarray(self.references)[np.searchsorted(self.species, frame.numbers)].sum()
        )

    def _kinds(self, batch: Batch, species: Array, mask: Array) -> tuple[Array, ...]:
        """What the energy of an atom needs besides the vectors, with indices of our species."""
        index = self.species_index(batch)
        centers = index[jnp.asarray(batch.species)[batch.centers]]
        return index[species], mask, centers, jnp.asarray(batch.center_mask)

    def _atomic_energy(self, vectors, species, mask, center, is_real) -> Array:
        """Energy of one environment without its reference energy, eV; zero on padding."""
        model = AtomicEnergy(self.architecture, len(self.species))
        with jax.default_matmul_precision("highest"):
            energy: Any = model.apply({"params": self.weights}, vectors, species, mask, center)
        return jnp.where(is_real, energy, 0) * jnp.asarray(self.scale, energy.dtype)

    def environment_energy(self, vectors, species, mask, center, is_real=True) -> Array:
        """Energy of one environment without its reference energy, eV, its neighbours in any order.

        Args:
            vectors: ``[K, 3]`` Å, from the centre to its neighbours.
            species: ``[K]`` index into those of the potential.
            mask: ``[K]`` False on padding.
            center: species index of the centre.
            is_real: whether it is an atom, and not padding.
        """
        moved = nearest_first(vectors, species, mask, self.architecture.tags)
        return self._atomic_energy(*moved, center, is_real)

    def species_index(self, batch: Batch) -> Array:
        """From the species of a batch to those of the potential, [E].

        Raises:
            InputError: the batch was prepared with a smaller cutoff, or with unknown species.
        """
        require_prepared(batch, self.cutoff, self.species, "the potential")
        elements = batch.elements
        if isinstance(elements, np.ndarray) and not np.isin(elements, self.species).all():
            raise InputError(
                f"the batch has species {np.asarray(elements).tolist()}, the potential knows only "
                f"{list(self.species)}; train it on these species too"
            )
        return jnp.searchsorted(jnp.asarray(self.species, jnp.int32), jnp.asarray(elements))

    def reference_energies(self, batch: Batch) -> Array:
        """Sum of the reference energies of every structure, [S] eV, in the dtype of the batch."""
        dtype = jnp.asarray(batch.positions).dtype
        references = jnp.asarray(self.references, dtype)[self.species_index(batch)]
        atoms = references[jnp.asarray(batch.species)[batch.centers]]
        return per_structure(batch, jnp.where(batch.center_mask, atoms, 0))

    def save(self, folder: str | Path, force: bool = False) -> None:
        """Write the potential to a folder, atomically.

        Raises:
            InputError: the folder holds files and ``force`` is not given, or cannot be written.
        """
        record = {
            "architecture": asdict(self.architecture),
            "species": list(self.species),
            "references_eV": list(self.references),
            "scale_eV": self.scale,
        }
        with atomic_folder(folder, force, FORMAT.files) as new:
            FORMAT.write(new, record, self.weights)


def untrained(
    species: Iterable[int],
    architecture: Architecture | None = None,
    references: Iterable[float] | None = None,
    scale: float = 1.0,
    seed: int = 0,
) -> Potential:
    """A potential with random weights, as training starts from.

    Args:
        species: atomic numbers.
        architecture: sizes of the model; None: the defaults.
        references: eV, for the species in ascending order; None: zero.
        scale: of the energy per atom, eV.
        seed: of the weights.
    """
    architecture = architecture or Architecture()
    kinds = tuple(sorted({int(number) for number in species}))
    weights = initial_weights(AtomicEnergy(architecture, len(kinds)), seed)
    references = tuple(map(float, references)) if references is not None else (0.0,) * len(kinds)
    return Potential(
        architecture=architecture,
        species=kinds,
        references=references,
        scale=float(scale),
        weights=weights,
    )


def load(folder: str | Path) -> Potential:
    """Read a potential from the folder that training wrote, or from the ``model`` inside it.

    Args:
        folder: the folder; or ``"zoo:NAME"``, a model that comes with the package.

    Raises:
        InputError: there is no model, or it is damaged or of another version.

    Example:
        >>> import tempfile
        >>> potential = untrained([1, 8], Architecture(units=4, width=4))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     potential.save(f"{folder}/model")
        ...     load(folder).species
        (1, 8)
    """
    folder = FORMAT.inside(resolve(folder))
    record, arrays = FORMAT.read(folder)
    with FORMAT.rebuilding(folder):
        potential = Potential(
            architecture=Architecture(**record["architecture"]),
            species=tuple(as_integer("species", number, 1, 118) for number in record["species"]),
            references=tuple(
                as_number("references_eV", value) for value in record["references_eV"]
            ),
            scale=as_number("scale_eV", record["scale_eV"]),
            weights={name: jnp.asarray(array) for name, array in arrays.items()},
        )
        if not potential.species or tuple(sorted(set(potential.species))) != potential.species:
            raise ValueError("the species are not atomic numbers in ascending order")
        if len(potential.references) != len(potential.species):
            raise ValueError("reference energies and species differ in number")
        net = AtomicEnergy(potential.architecture, len(potential.species))
        if weight_shapes(net) != {name: array.shape for name, array in arrays.items()}:
            raise ValueError("the weights have other shapes")
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
