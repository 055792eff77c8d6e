"""How far a descriptor separates two structures, independently of scale and shift.

A relative distance ‖F - F'‖ / ‖F‖ means little: constant columns make it small, subtracting them
makes it large. The contrast compares the change of the descriptor with the average change for moves
of the same length, if the descriptor responded to all moves as it does to small ones:
‖F - F'‖ / (‖J‖_F d), with J = ∂F/∂r and d the geometric distance. Host side.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from scipy.optimize import linear_sum_assignment

from tripletjax.completeness.alignment import aligned_distance_upper
from tripletjax.completeness.families import DegeneratePair
from tripletjax.neighbors import bucket, find_pairs, pad_rows
from tripletjax.types import InputError

FAR = 1e3  # Å: no neighbour is excluded or unmatched
N_STARTS = 64  # for the geometric distance

# Values [D] of one environment and their changes [P, D] along P displacements [P, K, 3]:
# (vectors [K, 3], species [K], mask [K], center, displacements) -> (values, changes)
Evaluate = Callable[..., tuple[Any, Any]]


class Separation(NamedTuple):
    """The distance of two descriptors compared with that of their structures."""

    difference: float  # ‖F - F'‖
    relative: float  # ‖F - F'‖ / √((‖F‖² + ‖F'‖²)/2)
    slope: float  # ‖J‖_F, 1/Å, root mean square of both members; NaN if not given
    distance: float  # Å, between the structures; NaN if not given
    contrast: float  # ‖F - F'‖ / (‖J‖_F d); NaN without J or d, or if d = 0


class MovingEnvironments(NamedTuple):
    """The padded environments of one structure and their atoms."""

    vectors: np.ndarray  # [C, K, 3] Å
    species: np.ndarray  # [C, K] index of the species channel
    mask: np.ndarray  # [C, K]
    centers: np.ndarray  # [C] atoms
    center_species: np.ndarray  # [C]
    neighbors: np.ndarray  # [C, K] atoms

    def displacements(self, moves: np.ndarray) -> np.ndarray:
        """Changes [C, P, K, 3] of the vectors for P displacements of the atoms [P, N, 3]."""
        relative = moves[:, self.neighbors] - moves[:, self.centers, None]
        return np.where(self.mask[..., None], relative, 0).swapaxes(0, 1)


def separation(
    first_rows: Any, second_rows: Any, slope: float = np.nan, distance: float = np.nan
) -> Separation:
    """Distance between the descriptors of two structures, relative to their size and the geometry.

    The rows of a structure, one for each centre, are summed: F = Σ_i F_i.

    contrast = ‖F - F'‖ / (‖J‖_F d)

    is the same for F and αF + c. If F is linear, moves in random directions have a root mean square
    contrast of 1/√n for n coordinates; a degenerate pair has contrast 0.

    Args:
        first_rows, second_rows: ``[R, D]`` or ``[D]`` descriptors of both structures.
        slope: ‖J‖_F, 1/Å, mean of both structures.
        distance: d in Å, for example from ``structure_distance``.

    Returns:
        A ``Separation``.

    Raises:
        InputError: descriptors of different lengths.

    Example:
        >>> found = separation([1.0, 2.0], [1.0, 2.5], slope=2.0, distance=0.5)
        >>> found.difference, found.contrast
        (0.5, 0.5)
    """
    sums = [np.asarray(rows, float) for rows in (first_rows, second_rows)]
    sums = [rows.reshape(-1, rows.shape[-1]).sum(0) for rows in sums]
    if sums[0].shape != sums[1].shape:
        raise InputError(
            f"rows have {sums[0].size} and {sums[1].size} columns: expected the same descriptor"
        )
    difference = float(np.linalg.norm(sums[0] - sums[1]))
    scale = float(np.sqrt(np.mean([row @ row for row in sums])))
    expected = slope * distance
    return Separation(
        difference,
        difference / scale if scale else 0.0,
        float(slope),
        float(distance),
        difference / expected if expected > 0 else float("nan"),
    )


def pair_separation(
    evaluate: Evaluate,
    pair: DegeneratePair,
    cutoff: float,
    distance: float = np.nan,
    n_directions: int = 24,
    width: Callable[[int], int] = bucket,
) -> Separation:
    """The separation of a degenerate pair: of the centre's environments, or of sums over atoms.

    The centre of an environment is fixed, so J is with respect to its neighbours, with periodic
    images moving together; without a centre all atoms move. ‖J‖_F² = (n/P) Σ_p ‖J q_p‖² with P
    random orthonormal displacements q_p of the n coordinates: exact if P = n, else an unbiased
    estimate.

    Args:
        evaluate: values of one environment and their changes, see ``Evaluate``; usually compiled.
            Species are indices into the sorted atomic numbers of the pair.
        pair: both members.
        cutoff: Å, for neighbours.
        distance: Å between the members, for example from ``structure_distance``.
        n_directions: P, or the number of coordinates if that is smaller; 0: no slope.
        width: maps the largest number of neighbours to a padded number.

    Example:
        >>> from tripletjax.completeness.families import two_neighbors
        >>> lengths = lambda v: np.sort(np.linalg.norm(v, axis=1))
        >>> def evaluate(vectors, species, mask, center, displacements):  # slopes by differences
        ...     changes = [(lengths(vectors + 1e-6 * d) - lengths(vectors)) / 1e-6
        ...                for d in displacements]
        ...     return lengths(vectors), np.array(changes)
        >>> found = pair_separation(evaluate, two_neighbors(), cutoff=5.0)
        >>> round(found.difference, 9), round(found.slope, 3)  # two lengths, both with slope 1
        (0.0, 1.414)
    """
    members = [environments(pair, side, cutoff, width) for side in (0, 1)]
    moves = _moves(pair, n_directions)
    n_coordinates = 3 * (len(pair.species) - (pair.center is not None))
    rows, squares = [], []
    for atoms in members:
        displacements = atoms.displacements(moves)
        found = [
            evaluate(*environment)
            for environment in zip(
                atoms.vectors, atoms.species, atoms.mask, atoms.center_species, displacements,
                strict=True,
            )
        ]  # fmt: skip
        rows.append(np.sum([np.asarray(values, float) for values, _ in found], 0))
        changes = np.sum([np.asarray(change, float) for _, change in found], 0)
        n_real = min(n_directions, n_coordinates)
        squares.append(np.sum(changes**2) * n_coordinates / n_real if n_real else np.nan)
    return separation(*rows, slope=np.sqrt(np.mean(squares)), distance=distance)


def environments(
    pair: DegeneratePair, side: int, cutoff: float, width: Callable[[int], int] = bucket
) -> MovingEnvironments:
    """The environments of one member, 0 or 1: that of its centre, or those of all atoms."""
    positions = (pair.first, pair.second)[side]
    periodic = None if pair.cell is None else pair.cell.any(axis=1)
    frame = Atoms(numbers=pair.species, positions=positions, cell=pair.cell, pbc=periodic)
    chosen = np.arange(len(positions)) if pair.center is None else np.array([pair.center])
    found = find_pairs(frame, cutoff, chosen)
    channel = np.searchsorted(np.unique(pair.species), pair.species)
    largest = np.bincount(found.environment, minlength=len(chosen)).max(initial=0)
    mask, vectors, neighbors = pad_rows(
        found.environment, len(chosen), width(int(largest)), found.vectors, found.neighbors
    )
    return MovingEnvironments(vectors, channel[neighbors], mask, chosen, channel[chosen], neighbors)


def structure_distance(pair: DegeneratePair) -> float:
    """Geometric distance between the members, Å: the minimum of √Σ |Q a - b|²; an upper bound.

    The minimum is over Q in O(3) about the centre, or the centroid, and over the order of atoms;
    local optima from many starts. For a periodic pair with a centre: the atoms of the cell around
    the centre. For a crystal: over translations and inversion, to the nearest images, per cell.

    Example:
        >>> from tripletjax.completeness.families import two_neighbors
        >>> round(structure_distance(two_neighbors(1.0, (1.0, 1.2))), 4)  # 2 r sin(0.05) each
        0.1414
    """
    if pair.cell is not None and pair.center is None:
        return _crystal_distance(pair)
    members = [pair.first, pair.second]
    species = pair.species
    if pair.center is None:
        members = [member - member.mean(axis=0) for member in members]
    else:
        members = [np.delete(m - m[pair.center], pair.center, axis=0) for m in members]
        species = np.delete(species, pair.center)
    vectors = np.stack(members)
    return float(
        aligned_distance_upper(
            vectors, np.stack([species] * 2), np.ones(vectors.shape[:2], bool), [(0, 1)],
            cutoff=FAR, unmatched_cost=FAR, n_starts=N_STARTS,
        )[0]
    )  # fmt: skip


def _moves(pair: DegeneratePair, n_directions: int) -> np.ndarray:
    """Random orthonormal displacements [P, N, 3] of all atoms except the centre; zero beyond n."""
    n_atoms = len(pair.species)
    moving = np.arange(n_atoms) if pair.center is None else np.delete(range(n_atoms), pair.center)
    n_coordinates = 3 * len(moving)
    random = np.random.default_rng(0)
    basis = np.linalg.qr(random.normal(size=(n_coordinates, min(n_directions, n_coordinates))))[0]
    moves = np.zeros((n_directions, n_atoms, 3))
    moves[: basis.shape[1], moving] = basis.T.reshape(-1, len(moving), 3)
    return moves


def _crystal_distance(pair: DegeneratePair) -> float:
    assert pair.cell is not None
    inverse = np.linalg.pinv(pair.cell)
    best = np.inf
    for sign in (1, -1):
        for offset in (pair.second[:, None] - sign * pair.first).reshape(-1, 3):
            for _ in range(10):  # match, then shift by the mean difference
                apart = pair.second - sign * pair.first[:, None] - offset  # [first, second, 3]
                apart -= np.round(apart @ inverse) @ pair.cell
                costs = np.sum(apart**2, -1)
                costs[pair.species[:, None] != pair.species] = FAR**2
                matched = linear_sum_assignment(costs)
                best = min(best, costs[matched].sum())
                offset = offset + apart[matched].mean(0)
    return float(np.sqrt(best))
