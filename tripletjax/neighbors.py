"""From ASE Atoms to padded arrays: neighbour lists on the host, in NumPy."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from ase import Atoms
from vesin import NeighborList

from tripletjax.types import Array, Batch, InputError, Prepared, as_positive

MIN_DISTANCE = 1e-3  # Å; closer atoms count as two on one spot
MIN_CELL_VOLUME = 1e-4  # of the product of the three lengths; flatter cells count as singular


class Pairs(NamedTuple):
    """The neighbours of some atoms of one structure, by centre, then distance.

    P neighbours in all, of C centres.
    """

    centers: np.ndarray  # [C] atom of each environment
    environment: np.ndarray  # [P] position of the centre in ``centers``
    neighbors: np.ndarray  # [P] atom
    shifts: np.ndarray  # [P, 3] lattice translations
    vectors: np.ndarray  # [P, 3] Å, from centre to neighbour


def check_frames(frames: Atoms | Iterable[Atoms]) -> list[Atoms]:
    """One structure or several as a list, checked for what no neighbour list can be made of.

    Raises:
        InputError: names the frame and atom, for something else than Atoms, no atoms, positions
            that are not finite, and periodic directions without a proper cell.
    """
    if not isinstance(frames, (Atoms, Iterable)):
        raise InputError(f"structures are a {type(frames).__name__}; give ASE Atoms or a list")
    frames = [frames] if isinstance(frames, Atoms) else list(frames)
    if not frames:
        raise InputError("no structures were given; give one ASE Atoms or a list of them")
    for index, frame in enumerate(frames):
        if not isinstance(frame, Atoms):
            raise InputError(f"frame {index} is a {type(frame).__name__}; give ASE Atoms")
        if len(frame) == 0:
            raise InputError(f"frame {index} has no atoms; give at least one")
        finite = np.isfinite(frame.positions).all(axis=1)
        if not finite.all():
            atom = int(np.argmin(finite))
            raise InputError(
                f"atom {atom} of frame {index} lies at {frame.positions[atom].tolist()}; "
                "positions must be finite numbers in Å"
            )
        _check_cell(frame, index)
    return frames


def _check_cell(frame: Atoms, index: int) -> None:
    periodic = frame.pbc
    if not periodic.any():
        return
    rows = np.asarray(frame.cell)[periodic]
    lengths = np.linalg.norm(rows, axis=1)
    # The volume of the periodic directions over the product of their lengths.
    with np.errstate(invalid="ignore", divide="ignore"):
        volume = np.sqrt(np.linalg.det(rows @ rows.T / np.outer(lengths, lengths)))
    if not (np.isfinite(lengths).all() and volume > MIN_CELL_VOLUME):
        raise InputError(
            f"the cell of frame {index} is singular along its periodic directions "
            f"{''.join(np.array(list('xyz'))[periodic])}: {np.asarray(frame.cell).tolist()}; "
            "give independent lattice vectors in Å, or set pbc=False"
        )


def full_cell(frame: Atoms) -> np.ndarray:
    """Three independent lattice vectors, also where some or all directions are not periodic.

    Example:
        >>> full_cell(Atoms("H")).tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    return frame.cell.complete().array if frame.pbc.any() else np.eye(3)


def require_elements(frames: Sequence[Atoms], species: Iterable[int] | None) -> np.ndarray:
    """Sorted atomic numbers of the species channels, checked to cover the neighbours.

    Args:
        frames: the structures.
        species: atomic numbers or chemical symbols; None takes all that occur.

    Raises:
        InputError: names an atom whose species is not among those given.
    """
    numbers = [frame.numbers for frame in frames]
    if species is None:
        return np.unique(np.concatenate(numbers))
    if not isinstance(species, Iterable):
        raise InputError(f"species={species!r} is not usable; give a list of numbers or symbols")
    elements = np.unique([_atomic_number(s) for s in species])
    for index, present in enumerate(numbers):
        unknown = ~np.isin(present, elements)
        if unknown.any():
            atom = int(np.argmax(unknown))
            raise InputError(
                f"atom {atom} of frame {index} has atomic number {present[atom]}, which is not "
                f"among species={elements.tolist()}; add it to species or remove the atom"
            )
    return elements


def _atomic_number(species) -> int:
    from ase.data import atomic_numbers

    if isinstance(species, str) and species in atomic_numbers:
        return atomic_numbers[species]
    if isinstance(species, str) and species.isdecimal():
        species = int(species)
    if isinstance(species, (int, np.integer)) and 0 <= species < len(atomic_numbers):
        return int(species)
    raise InputError(f"species {species!r} is not known; give atomic numbers or chemical symbols")


def require_centers(frames: Sequence[Atoms], centers: Iterable[int] | None) -> list[np.ndarray]:
    """The central atoms of each frame: all, or the given ones, which every frame must have."""
    if centers is None:
        return [np.arange(len(frame)) for frame in frames]
    chosen = np.asarray(centers if isinstance(centers, (np.ndarray, int)) else list(centers))
    if chosen.ndim != 1 or chosen.size == 0 or chosen.dtype.kind not in "iu":
        raise InputError(f"centers={chosen.tolist()!r} is not usable; give whole numbers from 0")
    for index, frame in enumerate(frames):
        outside = (chosen < 0) | (chosen >= len(frame))
        if outside.any():
            raise InputError(
                f"centers holds {chosen[outside][0]}, but frame {index} has atoms 0 to "
                f"{len(frame) - 1}; give atoms that every frame has"
            )
    return [chosen] * len(frames)


def find_pairs(frame: Atoms, cutoff: float, centers: np.ndarray, index: int = 0) -> Pairs:
    """Neighbours strictly inside the cutoff of the given atoms, periodic images included.

    Args:
        frame: a checked structure; any mix of periodic directions, cells of any size.
        cutoff: Å.
        centers: ``[C]`` atoms.
        index: number of the frame, for messages.

    Returns:
        Pairs sorted by environment, then distance, then neighbour and shift.

    Raises:
        InputError: two atoms lie on one spot.
    """
    pairs = NeighborList(cutoff=float(cutoff), full_list=True)
    i, j, shifts, distances, vectors = pairs.compute(
        frame.positions, full_cell(frame), frame.pbc.tolist(), "ijSdD"
    )
    too_close = distances < MIN_DISTANCE
    if too_close.any():
        first = int(np.argmax(too_close))
        raise InputError(
            f"atoms {i[first]} and {j[first]} of frame {index} lie on one spot "
            f"({distances[first]:.1e} Å apart); move or remove one"
        )
    order = np.lexsort((*shifts.T[::-1], j, distances, i))
    order = order[distances[order] < cutoff]
    i, j, shifts, vectors = (x[order] for x in (i, j, shifts, vectors))
    start, stop = np.searchsorted(i, centers), np.searchsorted(i, centers, side="right")
    counts = stop - start
    rows = np.repeat(start - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
    environment = np.repeat(np.arange(len(centers)), counts)
    return Pairs(centers, environment, j[rows], shifts[rows], vectors[rows])


def float_type(dtype) -> np.dtype:
    """float32 or float64 as given; None: JAX's default float."""
    if dtype is None:
        return jnp.zeros(()).dtype
    known = [np.dtype(name) for name in ("float32", "float64")]
    for candidate in known:
        if dtype == candidate.name or dtype in (candidate, candidate.type):
            return candidate
    raise InputError(f"dtype={dtype!r} is not usable; give 'float32', 'float64' or None")


def pad_rows(environment: np.ndarray, n_rows: int, width: int, *columns: np.ndarray):
    """Ragged rows to rectangles: mask [n_rows, width], then each column padded by zeros."""
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
    """The next padded size: 4, 6, 8, 12, 16, 24 ..., at most half more than asked for.

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
) -> Batch:
    """Neighbour lists of one or several structures as padded arrays, for jit, vmap and grad.

    Args:
        frames: one ASE Atoms or a list.
        cutoff: Å; atoms strictly inside are neighbours.
        species: atomic numbers (or symbols) of the channels; None: all that occur, ascending.
        dtype: of positions, cells and shifts; None: JAX's default float.
        centers: atoms to describe in every frame; None: all.

    Returns:
        A ``Batch``; atoms, environments and neighbours are padded to a few sizes.

    Raises:
        InputError: names the frame and atom that cannot be used, and what is accepted.

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
    shifts = np.concatenate([p.shifts for p in pairs]).astype(dtype)
    width = bucket(np.bincount(environment, minlength=1).max())
    mask, neighbors, shifts = pad_rows(environment, n_rows, width, neighbors, shifts)
    centers = np.concatenate([p.centers + a for p, a in zip(pairs, first_atom, strict=True)])
    cells = np.stack([full_cell(frame) for frame in frames]).astype(dtype)

    def padded(values, size, dtype):
        values = np.asarray(values, dtype=dtype)
        return np.concatenate([values, np.zeros((size - len(values), *values.shape[1:]), dtype)])

    return Batch(
        positions=padded(np.concatenate([f.positions for f in frames]), n_atoms, dtype),
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
        prepared=Prepared(cutoff, tuple(elements.tolist())),
    )


def with_width(batch: Batch, width: int) -> Batch:
    """A NumPy batch with so many columns of neighbours: padded, or cut where all is padding.

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
