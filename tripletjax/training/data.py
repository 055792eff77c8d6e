"""Structures and labels padded to a few sizes, with one compiled program for each size."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms

from tripletjax.neighbors import prepare, with_width
from tripletjax.potentials.base import Potential
from tripletjax.training.labels import Labels
from tripletjax.types import Array, Batch
from tripletjax.volumes import has_volume

ATOMS_A_PIECE = 256
MOST_PADDING = 0.1  # of all atoms, to have fewer sizes


class Bucket(NamedTuple):
    """F structures padded to A atoms with K neighbours each; a pytree, indexed along F."""

    frames: Array  # [F] index in the data
    positions: Array  # [F, A, 3] Å
    cells: Array  # [F, 3, 3] Å
    species: Array  # [F, A] index into those of the potential
    atom_mask: Array  # [F, A]
    neighbors: Array  # [F, A, K] atom of the same structure
    shifts: Array  # [F, A, K, 3]
    neighbor_mask: Array  # [F, A, K]
    energy: Array  # [F] eV, without the reference energies
    forces: Array  # [F, A, 3] eV/Å
    has_forces: Array  # [F]
    stress: Array  # [F, 3, 3] eV/Å³
    has_stress: Array  # [F] only if the cell has a well-defined volume


def make_buckets(
    frames: Sequence[Atoms], labels: Sequence[Labels], potential: Potential, dtype=None
) -> list[Bucket]:
    """Group structures by padded size and stack them, on the host in NumPy."""
    batches = [prepare([frame], potential.cutoff, potential.species, dtype) for frame in frames]
    sizes = merged_sizes([len(batch.positions) for batch in batches], MOST_PADDING)
    return [
        _stack(np.flatnonzero(sizes == size), batches, frames, labels, potential)
        for size in np.unique(sizes)
    ]


def split_buckets(
    parts: Mapping[str, tuple[Sequence[Atoms], Sequence[Labels]]],
    potential: Potential,
    dtype=None,
) -> dict[str, list[Bucket]]:
    """``make_buckets`` of each part of the data, of the same sizes, for which programs are shared.

    Args:
        parts: structures and labels by name.
        potential: for its cutoff, species and reference energies.
        dtype: None: JAX's default float.
    """
    everything = make_buckets(
        [frame for frames, _ in parts.values() for frame in frames],
        [label for _, labels in parts.values() for label in labels],
        potential,
        dtype,
    )
    found, first = {}, 0
    for name, (frames, _) in parts.items():
        found[name] = []
        for bucket in everything:
            index = bucket.frames - first
            own = (index >= 0) & (index < len(frames))
            if own.any():
                rows = jax.tree.map(lambda array, own=own: array[own], bucket)
                found[name].append(rows._replace(frames=index[own]))
        first += len(frames)
    return found


def merged_sizes(sizes: Sequence[int], most: float) -> np.ndarray:
    """Larger sizes for some structures, so that there are fewer, with little padding.

    Args:
        sizes: of the structures.
        most: padding, relative to the sum of the sizes.

    Example:
        >>> merged_sizes([2, 3, 3, 90, 100, 100], 0.1).tolist()
        [3, 3, 3, 100, 100, 100]
    """
    found, allowed = np.array(sizes), most * np.sum(sizes)
    while True:
        kinds, counts = np.unique(found, return_counts=True)
        padding = counts[:-1] * np.diff(kinds)
        if not len(padding) or padding.min() > allowed:
            return found
        place = int(np.argmin(padding))
        found[found == kinds[place]] = kinds[place + 1]
        allowed -= padding[place]


def _stack(members, batches, frames, labels, potential: Potential) -> Bucket:
    """The structures with these indices as a bucket."""
    batches, frames, chosen = ([of[index] for index in members] for of in (batches, frames, labels))
    n_atoms, dtype = max(map(len, frames)), batches[0].positions.dtype
    # Actual neighbours come first: up to the largest number of any atom.
    width = max(1, *(int(batch.neighbor_mask.sum(1).max()) for batch in batches))
    batches = [with_width(batch, width) for batch in batches]

    def atoms(name):
        return np.stack([_padded(getattr(batch, name), n_atoms) for batch in batches])

    forces = np.zeros((len(members), n_atoms, 3), dtype)
    stress, has_stress = np.zeros((len(members), 3, 3), dtype), np.zeros(len(members), bool)
    for row, (frame, label) in enumerate(zip(frames, chosen, strict=True)):
        if label.forces is not None:
            forces[row, : len(label.forces)] = label.forces
        if label.stress is not None and has_volume(frame):
            stress[row], has_stress[row] = label.stress, True
    energies = [
        label.energy - potential.reference(f) for label, f in zip(chosen, frames, strict=True)
    ]
    return Bucket(
        frames=members,
        positions=atoms("positions"),
        cells=np.stack([batch.cells[0] for batch in batches]),
        species=atoms("species"),
        atom_mask=atoms("atom_mask"),
        neighbors=atoms("neighbors"),
        shifts=atoms("shifts"),
        neighbor_mask=atoms("neighbor_mask"),
        energy=np.array(energies, dtype),
        forces=forces,
        has_forces=np.array([label.forces is not None for label in chosen]),
        stress=stress,
        has_stress=has_stress,
    )


def _padded(array: np.ndarray, count: int) -> np.ndarray:
    """The array with so many rows: cut off, or filled with zeros."""
    missing = (0, max(0, count - len(array)))
    return np.pad(array[:count], [missing] + [(0, 0)] * (array.ndim - 1))


@jax.jit
def take(bucket: Bucket, index: Array) -> Bucket:
    """Some structures of a bucket; not part of the step, which then fits buckets of any length."""
    return jax.tree.map(lambda array: array[index], bucket)


def as_batch(rows: Bucket, elements: Array, present: Array) -> Batch:
    """Some structures of a bucket as one ``Batch``; those not ``present`` [F] become padding."""
    n_structures, n_atoms = rows.species.shape
    first = jnp.arange(n_structures, dtype=jnp.int32) * n_atoms
    mask = (rows.atom_mask & present[:, None]).reshape(-1)
    return Batch(
        positions=rows.positions.reshape(-1, 3),
        cells=rows.cells,
        species=rows.species.reshape(-1),
        structure=jnp.repeat(jnp.arange(n_structures, dtype=jnp.int32), n_atoms),
        atom_mask=mask,
        centers=jnp.arange(n_structures * n_atoms, dtype=jnp.int32),
        center_mask=mask,
        neighbors=(rows.neighbors + first[:, None, None]).reshape(len(mask), -1),
        shifts=rows.shifts.reshape(len(mask), -1, 3),
        neighbor_mask=rows.neighbor_mask.reshape(len(mask), -1),
        elements=elements,
    )


def chunks(count: int, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Indices 0 ... count - 1 in order, in pieces of equal size, and masks of the present ones."""
    for start in range(0, count, size):
        index = np.arange(start, start + size)
        yield np.minimum(index, count - 1).astype(np.int32), index < count


def pieces(
    buckets: Sequence[Bucket], size: int | None = None
) -> Iterator[tuple[Bucket, np.ndarray]]:
    """All structures of some buckets, bucket by bucket: rows, and masks of the present ones [F].

    Args:
        buckets: on the host.
        size: structures per piece; None: about 256 atoms.
    """
    for bucket in buckets:
        count, n_atoms = bucket.species.shape
        most = size or max(1, ATOMS_A_PIECE // n_atoms)
        for index, present in chunks(count, most):
            yield jax.tree.map(lambda array, index=index: array[index], bucket), present


def thinned(buckets: Sequence[Bucket], atoms: int) -> list[Bucket]:
    """Every n-th structure of each size, so that there are about so many atoms at most."""
    total = sum(int(bucket.atom_mask.sum()) for bucket in buckets)
    every = -(-total // atoms)
    if every <= 1:
        return list(buckets)
    return [jax.tree.map(lambda array: array[::every], bucket) for bucket in buckets]


def epoch_order(buckets: Sequence[Bucket], size: int, seed: int, epoch: int):
    """All steps of one epoch in random order: (bucket, indices [size], present [size])."""
    random = np.random.Generator(np.random.PCG64([seed, epoch]))
    steps = []
    for number, bucket in enumerate(buckets):
        order = random.permutation(len(bucket.energy)).astype(np.int32)
        steps += [(number, order[index], present) for index, present in chunks(len(order), size)]
    return [steps[i] for i in random.permutation(len(steps))]
