"""Fitted models of dipoles and polarisabilities: pure functions of a batch, and their files."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms

from tripletjax.io import FolderFormat, atomic_folder
from tripletjax.neighbors import environments_of
from tripletjax.potentials.base import Potential
from tripletjax.potentials.checks import require_batch
from tripletjax.potentials.local import map_atoms
from tripletjax.potentials.mechanics import per_structure
from tripletjax.potentials.network import Architecture, initial_weights, weight_shapes
from tripletjax.potentials.records import of_fields
from tripletjax.potentials.triplet import TripletModel
from tripletjax.properties.network import AtomicTensor, to_cartesian
from tripletjax.types import Array, Batch, InputError

FORMAT = FolderFormat(
    thing="model of tensors",
    source="the folder of its training",
    description="tensor.json",
    arrays="weights.safetensors",
    version=1,
)
UNITS = {"dipole": "e·Å", "polarizability": "Å³"}
FRAMES_A_CHUNK = 32


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("weights", "scale"),
    meta_fields=("target", "architecture", "species", "references", "charges"),
)
@dataclass(frozen=True, kw_only=True)
class TensorModel:
    """A fitted model of dipoles or polarisabilities, sums of atomic contributions; a pytree.

    The dipole of a neutral molecule, e·Å, from charges q_i and atomic dipoles d_i is

        μ = Σ_i (q_i - q̄) (r_i - r̄) + d_i,

    with q̄ and r̄ the means over the molecule: the charges sum to zero, so μ does not depend on the
    origin. The polarisability, Å³, has an isotropic part, including that of the species, and a
    traceless part: α = Σ_i (α_species + a_i) 1 + A_i.

    Example:
        >>> from ase.build import molecule
        >>> model = untrained_tensor("dipole", [1, 8], Architecture(cutoff=3.0, units=4, width=4))
        >>> jax.jit(model.tensors)(model.prepare([molecule("H2O")])).shape
        (1, 3)
    """

    target: str  # "dipole" or "polarizability"
    architecture: Architecture
    species: tuple[int, ...]  # atomic numbers, ascending
    references: tuple[float, ...]  # Å³, isotropic part of each species; zero for dipoles
    scale: Any  # of the atomic contributions, e·Å or Å³
    charges: bool  # whether a dipole has charges in addition to atomic dipoles
    weights: Any  # the model's arrays by name

    @property
    def degrees(self) -> tuple[int, ...]:
        """Degrees λ of the atomic contributions."""
        return tensor_degrees(self.target, self.charges)

    @property
    def without_energy(self) -> Potential:
        """A potential without weights, with the cutoff and the species, for ``prepare``."""
        return Potential(TripletModel(self.architecture, self.species), None)

    def prepare(self, frames: Atoms | Sequence[Atoms], dtype=None) -> Batch:
        """``tripletjax.prepare`` with the cutoff and species of this model.

        Raises:
            InputError: a structure is invalid, periodic (for dipoles), or contains a species that
                was not in the training data.
        """
        frames = [frames] if isinstance(frames, Atoms) else list(frames)
        require_molecules(frames, self.target)
        return self.without_energy.prepare(frames, dtype)

    def tensors(self, batch: Batch) -> Array:
        """Dipole [S, 3] or polarisability [S, 3, 3] of every structure, in the batch's dtype."""
        require_batch(self.without_energy, batch)
        vectors, kinds, mask, centers, _ = environments_of(batch, self.species)
        model = AtomicTensor(self.architecture, len(self.species), self.degrees)
        apply = partial(model.apply, {"params": self.weights})
        with jax.default_matmul_precision("highest"):
            found: Any = map_atoms(apply, (vectors, kinds, mask, centers))
        present = jnp.asarray(batch.center_mask)
        atoms = jnp.where(present[:, None], found, 0) * jnp.asarray(self.scale, found.dtype)
        if self.target == "dipole":
            dipoles = per_structure(batch, to_cartesian(atoms[:, -3:]))
            return dipoles + _of_charges(batch, atoms[:, 0]) if self.charges else dipoles
        references = jnp.asarray(self.references, found.dtype)[centers]
        isotropic = atoms[:, 0] + jnp.where(present, references, 0)
        matrices = isotropic[:, None, None] * jnp.eye(3, dtype=found.dtype)
        return per_structure(batch, matrices + to_cartesian(atoms[:, 1:]))

    def predict(self, frames: Atoms | Sequence[Atoms], dtype=None) -> np.ndarray:
        """``tensors`` of structures, [N, 3] or [N, 3, 3].

        Example:
            >>> from ase.build import molecule
            >>> model = untrained_tensor("polarizability", [6, 8], Architecture(units=4, width=4))
            >>> model.predict(molecule("CO")).shape
            (1, 3, 3)
        """
        frames = [frames] if isinstance(frames, Atoms) else list(frames)
        found = [
            np.asarray(_jitted_tensors(self, self.prepare(part, dtype)))[: len(part)]
            for part in _parts(frames, FRAMES_A_CHUNK)
        ]
        return np.concatenate(found)

    def save(self, folder: str | Path, force: bool = False) -> None:
        """Save the model to a folder, atomically.

        Raises:
            InputError: the folder contains files and ``force`` is not set, or cannot be written.
        """
        record = {
            "target": self.target,
            "unit": UNITS[self.target],
            "architecture": asdict(self.architecture),
            "species": list(self.species),
            "references": list(self.references),
            "scale": self.scale,
            "charges": self.charges,
        }
        with atomic_folder(folder, force, FORMAT.files) as new:
            FORMAT.write(new, record, self.weights)


def untrained_tensor(
    target: str,
    species: Iterable[int],
    architecture: Architecture | None = None,
    references: Iterable[float] | None = None,
    scale: float = 1.0,
    charges: bool = True,
    seed: int = 0,
) -> TensorModel:
    """A model with random weights, the start of a fit.

    Args:
        target: "dipole" or "polarizability".
        species: atomic numbers.
        architecture: sizes of the model; None: the defaults.
        references: Å³, isotropic polarisability of each species, ascending; None: zero.
        scale: scale of the atomic contributions, e·Å or Å³.
        charges: whether a dipole has charges in addition to atomic dipoles.
        seed: seed of the weights.

    Raises:
        InputError: unknown target.
    """
    architecture = architecture or Architecture()
    kinds = tuple(sorted({int(number) for number in species}))
    charges = charges and target == "dipole"
    degrees = tensor_degrees(target, charges)
    return TensorModel(
        target=target,
        architecture=architecture,
        species=kinds,
        references=tuple(map(float, references)) if references is not None else (0.0,) * len(kinds),
        scale=float(scale),
        charges=charges,
        weights=initial_weights(AtomicTensor(architecture, len(kinds), degrees), seed),
    )


def load_tensor(folder: str | Path) -> TensorModel:
    """Load a model from the folder of a fit, or from the ``model`` inside it.

    Raises:
        InputError: there is no such model, or it is damaged or has another version.

    Example:
        >>> import tempfile
        >>> model = untrained_tensor("dipole", [1, 8], Architecture(units=4, width=4))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save(f"{folder}/model")
        ...     load_tensor(folder).species
        (1, 8)
    """
    folder = FORMAT.inside(Path(folder))
    record, arrays = FORMAT.read(folder)
    with FORMAT.rebuilding(folder):
        model = TensorModel(
            target=record["target"],
            architecture=of_fields(Architecture, record["architecture"]),
            species=tuple(record["species"]),
            references=tuple(record["references"]),
            scale=record["scale"],
            charges=record["charges"],
            weights={name: jnp.asarray(array) for name, array in arrays.items()},
        )
        net = AtomicTensor(model.architecture, len(model.species), model.degrees)
        if weight_shapes(net) != {name: array.shape for name, array in arrays.items()}:
            raise ValueError("the weights have other shapes")
    return model


def tensor_degrees(target: str, charges: bool = True) -> tuple[int, ...]:
    """Degrees λ of the atomic contributions of a model.

    Raises:
        InputError: the target is not known.

    Example:
        >>> tensor_degrees("dipole"), tensor_degrees("polarizability")
        ((0, 1), (0, 2))
    """
    if target not in UNITS:
        raise InputError(f"invalid target={target!r}: expected one of {', '.join(UNITS)}")
    if target == "polarizability":
        return (0, 2)
    return (0, 1) if charges else (1,)


def require_molecules(frames: Sequence[Atoms], target: str, source: str = "the data") -> None:
    """Raise InputError for a periodic structure: it has no dipole, and no polarisability in Å³."""
    for index, frame in enumerate(frames):
        if frame.pbc.any():
            raise InputError(
                f"frame {index} of {source} is periodic, and its {target} not defined: "
                "expected molecules, with pbc=False"
            )


def _of_charges(batch: Batch, charges: Array) -> Array:
    """Σ_i (q_i - q̄) (r_i - r̄) of every structure, [S, 3]."""
    mask = jnp.asarray(batch.center_mask)
    structure = jnp.asarray(batch.structure)[batch.centers]
    count = jnp.maximum(per_structure(batch, mask.astype(charges.dtype)), 1)

    def centred(values):
        means = per_structure(batch, jnp.where(mask[:, None], values, 0)) / count[:, None]
        return jnp.where(mask[:, None], values - means[structure], 0)

    positions = centred(jnp.asarray(batch.positions)[batch.centers])
    return per_structure(batch, centred(charges[:, None]) * positions)


def _parts(items: list, size: int) -> Iterable[list]:
    return (items[start : start + size] for start in range(0, len(items), size))


@jax.jit
def _jitted_tensors(model: TensorModel, batch: Batch) -> Array:
    return model.tensors(batch)
