"""From ASE Atoms to padded arrays: neighbour lists on the host, in NumPy."""

import warnings
from collections.abc import Iterable, Sequence

import jax.numpy as jnp
import numpy as np
from ase import Atoms

from tripletjax.pairs import Pairs, find_pairs
from tripletjax.structures import (
    centred,
    check_frames,
    full_cell,
    require_centers,
    require_elements,
)
from tripletjax.types import Array, Batch, Environments, InputError, Prepared, as_positive

WIDE = 1500.0  # Å from the centre of a structure, beyond which float32 is too coarse


def float_type(dtype) -> np.dtype:
    """The dtype float32 or float64; None: JAX's default float."""
    if dtype is None:
        return jnp.zeros(()).dtype
    known = [np.dtype(name) for name in ("float32", "float64")]
    for candidate in known:
        if dtype == candidate.name or dtype in (candidate, candidate.type):
            return candidate
    raise InputError(f"invalid dtype={dtype!r}: expected 'float32', 'float64' or None")


def pad_rows(environment: np.ndarray, n_rows: int, width: int, *columns: np.ndarray):
    """Pad ragged rows to rectangles: mask [n_rows, width], then each column padded with zeros."""
    counts = np.bincount(environment, minlength=n_rows)
    slot = np.arange(len(environment)) - np.repeat(np.cumsum(counts) - counts, counts)
    mask = np.zeros((n_rows, width), dtype=bool)
    mask[environment, slot] = True
    padded = []
    for column in columns:
        rectangle = np.zeros((n_rows, width, *column.shape[1:]), dtype=column.dtype)
        rectangle[environment, slot] = column
        padded.append(rectangle)
    return mask, *padded


def bucket(count: int, smallest: int = 4) -> int:
    """The next padded size: 4, 6, 8, 12, 16, 24 ..., at most one and a half times the count.

    Example:
        >>> [bucket(n) for n in (0, 5, 7, 30)]
        [4, 6, 8, 32]
    """
    size = smallest
    while size < count:
        size = size * 3 // 2 if size & (size - 1) == 0 else size * 4 // 3
    return size


def prepare(
    frames: Atoms | Iterable[Atoms],
    cutoff: float = 5.0,
    species: Iterable[int] | None = None,
    dtype=None,
    centers: Iterable[int] | None = None,
    wrap: bool = True,
) -> Batch:
    """Neighbour lists of one or more structures as padded arrays, for jit, vmap and grad.

    ``positions`` are those of ``structures.centred``: wrapped into the cell and centred on the
    origin, so that float32 resolves them wherever the atoms are. Vectors between atoms, and hence
    energies, forces and stress, do not depend on this.

    Args:
        frames: one ASE Atoms or a list.
        cutoff: Å; atoms strictly inside are neighbours.
        species: atomic numbers (or symbols) of the channels; None: all that occur, ascending.
        dtype: of positions, cells and shifts; None: JAX's default float.
        centers: atoms to describe in every frame; None: all.
        wrap: wrap and centre the positions; False: keep them as they are.

    Returns:
        A ``Batch``; atoms, environments and neighbours are padded to a few sizes.

    Raises:
        InputError: a structure is invalid; the frame and atom are named.

    Example:
        >>> from ase.build import molecule
        >>> batch = prepare(molecule("H2O"), cutoff=3.0)
        >>> batch.elements.tolist(), batch.neighbor_mask.sum().item()
        ([1, 8], 6)
    """
    cutoff = as_positive("cutoff", cutoff, "Å")
    frames = check_frames(frames)
    elements = require_elements(frames, species)
    chosen = require_centers(frames, centers)
    pairs = [
        find_pairs(frame, cutoff, atoms, index)
        for index, (frame, atoms) in enumerate(zip(frames, chosen, strict=True))
    ]
    dtype = float_type(dtype)
    sizes = np.array([len(frame) for frame in frames])
    first_atom = np.cumsum(sizes) - sizes
    first_row = np.cumsum([0] + [len(p.centers) for p in pairs])
    n_atoms, n_rows = bucket(sizes.sum()), bucket(first_row[-1])

    environment = np.concatenate(
        [p.environment + r for p, r in zip(pairs, first_row[:-1], strict=True)]
    )
    neighbors = np.concatenate([p.neighbors + a for p, a in zip(pairs, first_atom, strict=True)])
    positions, shifts = zip(
        *(_placed(frame, p, wrap) for frame, p in zip(frames, pairs, strict=True)), strict=True
    )
    if dtype == np.float32:
        _warn_if_wide(positions)
    shifts = np.concatenate(shifts).astype(dtype)
    width = bucket(np.bincount(environment, minlength=1).max())
    mask, neighbors, shifts = pad_rows(environment, n_rows, width, neighbors, shifts)
    centers = np.concatenate([p.centers + a for p, a in zip(pairs, first_atom, strict=True)])
    cells = np.stack([full_cell(frame) for frame in frames]).astype(dtype)

    def padded(values, size, dtype):
        values = np.asarray(values, dtype=dtype)
        return np.concatenate([values, np.zeros((size - len(values), *values.shape[1:]), dtype)])

    return Batch(
        positions=padded(np.concatenate(positions), n_atoms, dtype),
        cells=cells,
        species=padded(
            np.searchsorted(elements, np.concatenate([f.numbers for f in frames])),
            n_atoms,
            np.int32,
        ),
        structure=padded(np.repeat(np.arange(len(frames)), sizes), n_atoms, np.int32),
        atom_mask=np.arange(n_atoms) < sizes.sum(),
        centers=padded(centers, n_rows, np.int32),
        center_mask=np.arange(n_rows) < len(centers),
        neighbors=neighbors.astype(np.int32),
        shifts=shifts,
        neighbor_mask=mask,
        elements=elements.astype(np.int32),
        prepared=Prepared(cutoff, tuple(elements.tolist()), all_atoms=len(centers) == sizes.sum()),
    )


def _placed(frame: Atoms, pairs: Pairs, wrap: bool) -> tuple[np.ndarray, np.ndarray]:
    """Positions [N, 3] and the matching shifts [P, 3]."""
    if not wrap:
        return frame.positions, pairs.shifts
    place = centred(frame)
    first = place.wraps[pairs.centers[pairs.environment]]
    return place.positions, pairs.shifts + place.wraps[pairs.neighbors] - first


def _warn_if_wide(positions: Iterable[np.ndarray]) -> None:
    for index, atoms in enumerate(positions):
        furthest = float(np.abs(atoms).max())
        if furthest > WIDE:
            warnings.warn(
                f"frame {index} extends {furthest:.3g} Å from its centre, where float32 resolves "
                f"positions to {np.spacing(np.float32(furthest)):.0e} Å; use float64",
                stacklevel=3,
            )


def with_width(batch: Batch, width: int) -> Batch:
    """A NumPy batch with ``width`` columns of neighbours: padded, or with padding removed.

    Example:
        >>> from ase.build import molecule
        >>> with_width(prepare(molecule("H2O"), cutoff=3.0), 7).neighbors.shape
        (4, 7)
    """

    def changed(array: Array) -> np.ndarray:
        missing = [(0, 0)] * array.ndim
        missing[1] = (0, max(0, width - array.shape[1]))
        return np.pad(array[:, :width], missing)

    return batch._replace(
        neighbors=changed(batch.neighbors),
        shifts=changed(batch.shifts),
        neighbor_mask=changed(batch.neighbor_mask),
    )


def displacements(batch: Batch) -> tuple[Array, Array, Array]:
    """Vectors from centre to neighbour, and their species, as functions of positions and cells.

    r_ij = r_j - r_i + S·h is formed here, in JAX, so that forces and stress are gradients.

    Returns:
        vectors ``[C, K, 3]`` Å, species ``[C, K]`` and mask ``[C, K]``.

    Example:
        >>> from ase.build import molecule
        >>> vectors, species, mask = displacements(prepare(molecule("H2O"), cutoff=3.0))
        >>> vectors.shape
        (4, 4, 3)
    """
    positions = jnp.asarray(batch.positions)
    cells = jnp.asarray(batch.cells)[jnp.asarray(batch.structure)[batch.centers]]  # [C, 3, 3]
    offsets = jnp.einsum("cks,csx->ckx", batch.shifts, cells, precision="highest")
    vectors = positions[batch.neighbors] - positions[batch.centers][:, None] + offsets
    return vectors, jnp.asarray(batch.species)[batch.neighbors], jnp.asarray(batch.neighbor_mask)


def environments_of(batch: Batch, species: Sequence[int]) -> Environments:
    """All environments of a batch, with indices into the given species; differentiable like
    ``displacements``.

    Args:
        batch: must have an environment for every atom if ``neighbors`` is used.
        species: atomic numbers, ascending, including those of the batch.

    Example:
        >>> from ase.build import molecule
        >>> found = environments_of(prepare(molecule("H2O"), cutoff=3.0), (1, 6, 8))
        >>> found.center[:3].tolist(), found.vectors.shape
        ([2, 0, 0], (4, 4, 3))
    """
    vectors, kinds, mask = displacements(batch)
    index = jnp.searchsorted(jnp.asarray(species, jnp.int32), jnp.asarray(batch.elements))
    index = index.astype(jnp.int32)
    center = index[jnp.asarray(batch.species)[batch.centers]]
    n_rows = len(batch.centers)
    rows = jnp.where(batch.center_mask, jnp.arange(n_rows, dtype=jnp.int32), 0)
    row_of_atom = jnp.zeros(len(batch.positions), jnp.int32).at[batch.centers].max(rows)
    return Environments(vectors, index[kinds], mask, center, row_of_atom[batch.neighbors])
