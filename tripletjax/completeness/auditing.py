"""The audit: where does a descriptor lose information on these data, and what fixes it? Host side.

The nearest rows of the descriptor are compared in geometry. A *collision* is a pair of environments
whose rows are equal to working precision although their geometric distance exceeds a floor.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from tripletjax.basis.densities import Mixing
from tripletjax.completeness.alignment import aligned_distance_upper, environment_distance
from tripletjax.completeness.collisions import nearest_pairs, pair_distances
from tripletjax.completeness.jacobians import sensitivities
from tripletjax.completeness.resolution import parting_degrees
from tripletjax.descriptors.base import layout_of, require_invariant_vector, resolved
from tripletjax.descriptors.kinds import Kind, kind_of, read_by, require_invariant
from tripletjax.descriptors.protocol import EnvironmentDescriptor
from tripletjax.descriptors.rows import Description, rows_of
from tripletjax.invariants.nice import Contraction
from tripletjax.neighbors import displacements, prepare
from tripletjax.progress import progress_bar
from tripletjax.types import InputError, as_integer, as_positive

ROUNDING = {np.dtype(np.float64): 1e-12, np.dtype(np.float32): 1e-5}  # of the median norm
MAX_ROUNDS = 4  # of searching again with one of each set of equal environments
CELLS = 2000  # rotations examined to certify one distance
N_RANDOM = 500  # random pairs for reference


class Clusters(NamedTuple):
    """Padded environments on the host, one per row, as molecules."""

    vectors: np.ndarray  # [N, K, 3] Å
    species: np.ndarray  # [N, K] index into the elements
    mask: np.ndarray  # [N, K]
    center: np.ndarray  # [N] index into the elements
    elements: np.ndarray

    def cluster(self, row: int) -> Atoms:
        """One environment as a molecule, the centre first."""
        inside = self.mask[row]
        numbers = self.elements[np.r_[self.center[row], self.species[row][inside]]]
        return Atoms(numbers, np.concatenate([np.zeros((1, 3)), self.vectors[row][inside]]))


class PairTable(NamedTuple):
    """Pairs of environments, sorted by the distance of their rows."""

    first: np.ndarray  # [P] row
    second: np.ndarray  # [P] row
    descriptor: np.ndarray  # [P] |F_i - F_j| divided by the median norm of rows
    lower: np.ndarray  # [P] Å, bounds on the geometric distance
    upper: np.ndarray  # [P] Å


class Search(NamedTuple):
    """The extent of the comparison of pairs of environments."""

    n_equal: int  # environments excluded because another one is within the floor
    n_pairs: int  # pairs of the others with the same central species
    skipped: np.ndarray  # [T] row distances of the pairs that were not compared in geometry
    reach: np.ndarray  # [M] for each of the others, all rows nearer than this were found


@dataclass(frozen=True)
class Audit:
    """The results of an audit."""

    structure: np.ndarray  # [N] frame of each environment
    atom: np.ndarray  # [N] central atom in the frame
    pairs: PairTable  # the nearest rows
    search: Search
    random: PairTable  # random pairs
    smallest: np.ndarray  # [S] smallest singular values of the Jacobian of some environments, 1/Å
    soft: np.ndarray  # [S] number of their soft directions
    parted: list[dict[str, Any]]  # smallest l_max that separates the first pairs of equal rows
    floor: float  # Å
    precision: float  # Å
    tolerance: float  # descriptor distance up to which rows are equal
    label: str  # name of the descriptor
    hypers: dict[str, Any]
    seconds: float

    @property
    def equal(self) -> np.ndarray:
        """Mask over ``pairs``: the rows are equal."""
        return self.pairs.descriptor <= self.tolerance

    @property
    def collisions(self) -> np.ndarray:
        """Indices in ``pairs``: equal rows, certified to be further apart than the floor."""
        return np.flatnonzero(self.equal & (self.pairs.lower > self.floor))

    @property
    def undecided(self) -> np.ndarray:
        """Indices in ``pairs``: equal rows, but the bounds on the distance include the floor."""
        enclosed = (self.pairs.lower <= self.floor) & (self.pairs.upper > self.floor)
        return np.flatnonzero(self.equal & enclosed)

    @property
    def n_equal_skipped(self) -> int:
        """Pairs of equal rows beyond ``max_pairs``, which were not compared in geometry."""
        return int((self.search.skipped <= self.tolerance).sum())

    @property
    def n_crowded(self) -> int:
        """Environments with more equal rows than were looked up."""
        return int((self.search.reach <= self.tolerance).sum())


def audit(
    frames: Atoms | Iterable[Atoms],
    kind: str | Kind | EnvironmentDescriptor = "fingerprint",
    *,
    centers: Iterable[int] | None = None,
    species: Iterable[int] | None = None,
    dtype: str = "float64",
    floor: float = 1e-3,
    precision: float = 3e-8,
    max_pairs: int = 10_000,
    n_sensitivity: int = 64,
    n_parted: int = 12,
    seed: int = 0,
    progress: bool = False,
    contraction: Contraction | None = None,
    mixing: Mixing | None = None,
    **hypers: Any,
) -> Audit:
    """Search for different environments with equal rows of a descriptor.

    The nearest rows of environments with the same central species are compared in geometry: by
    alignment from several starts, and with certified bounds if the rows are equal. Environments
    with equal geometry count once. A pair of equal rows whose bounds include the floor is
    ``undecided``; ``search`` counts the pairs that were not compared.

    Args:
        frames: one ASE Atoms or several.
        kind: an invariant kind of ``describe``, or an invariant descriptor: any object with
            ``cutoff``, ``elements`` and ``environment``, which takes no hyperparameters here.
        centers, species, contraction, mixing: as for ``describe``.
        dtype: "float64", or "float32", which is faster but cannot resolve small differences.
        floor: Å; environments nearer than this are considered equal.
        precision: Å; rows are equal if they differ by at most the median change, over random pairs,
            due to a displacement of this length. The default is the rounding of files with eight
            decimals; rounding errors of the descriptor are taken into account as well.
        max_pairs: maximum number of pairs to compare in geometry, nearest rows first.
        n_sensitivity: number of random environments whose Jacobian is examined.
        n_parted: number of pairs of equal rows, collisions first, for which to find the smallest
            l_max that separates them.
        seed: seed of random choices, and of the directions of kind "fingerprint".
        progress: show progress.
        **hypers: fields of ``Hypers``; for large sets few ``tags`` and ``n_features``.

    Returns:
        An ``Audit``.

    Raises:
        InputError: as for ``describe``; also if fewer than two environments have the same central
            species, or an option is out of range.

    Example:
        >>> from ase.build import molecule
        >>> found = audit([molecule("CH4"), molecule("C2H6")], "power_spectrum", n_max=2, l_max=2)
        >>> len(found.collisions)
        0
    """
    start = time.monotonic()
    seed = as_integer("seed", seed)
    as_positive("floor", floor, "Å")
    as_positive("precision", precision, "Å")
    max_pairs = as_integer("max_pairs", max_pairs, 1)
    n_sensitivity = as_integer("n_sensitivity", n_sensitivity)
    n_parted = as_integer("n_parted", n_parted)
    if isinstance(kind, (str, Kind)):
        require_invariant(kind_of(kind))
        hypers |= read_by(kind, {"seed": seed})
    shared: dict[str, Any] = {"contraction": contraction, "mixing": mixing, **hypers}
    frames, chosen = resolved(frames, kind, species, **shared)
    require_invariant_vector(chosen)
    layout = layout_of(chosen)
    described = rows_of(frames, chosen, layout, centers=centers, dtype=dtype, progress=progress)
    atoms = _clusters(frames, chosen, centers, len(described.values))
    counts = np.bincount(atoms.center)
    if counts.max(initial=0) < 2:
        found = ", ".join(
            f"{n} of {chemical_symbols[z]}" for n, z in zip(counts, atoms.elements, strict=False)
        )
        raise InputError(
            f"an audit compares environments of one central species, but there are {found}: "
            "expected at least two"
        )
    compare = _Comparison(described, atoms, progress)
    random = compare.at_random(N_RANDOM, seed)
    slope = np.median(random.descriptor / np.maximum(random.upper, floor))
    tolerance = max(ROUNDING[described.values.dtype], float(slope) * precision)
    pairs, search = compare.nearest(floor, max_pairs, seed)
    pairs = compare.certified(pairs, floor, tolerance)
    result = Audit(
        structure=described.structure,
        atom=described.atom,
        pairs=pairs,
        search=search,
        random=random,
        smallest=np.zeros(0),
        soft=np.zeros(0, int),
        parted=[],
        floor=floor,
        precision=precision,
        tolerance=tolerance,
        label=layout.label,
        hypers=described.hypers,
        seconds=0.0,
    )
    smallest, soft = _sensitivity(chosen, atoms, n_sensitivity, seed, progress)
    parted = _parted(result, kind, atoms, n_parted, shared)
    seconds = time.monotonic() - start
    return replace(result, smallest=smallest, soft=soft, parted=parted, seconds=seconds)


def _clusters(frames, chosen: EnvironmentDescriptor, centers, n_rows: int) -> Clusters:
    with jax.enable_x64(True):
        batch = prepare(frames, chosen.cutoff, chosen.elements, "float64", centers)
        vectors, kinds, mask = (np.asarray(x)[:n_rows] for x in displacements(batch))
    center = np.asarray(batch.species)[batch.centers][:n_rows]
    return Clusters(vectors, kinds, mask, center, np.asarray(batch.elements))


def _weights(hypers: dict[str, Any]) -> dict[str, Any]:
    """Weights of neighbours near the cutoff in the geometry: those of the descriptor, if known."""
    cutoff = hypers["cutoff"]
    fall = {"cutoff": cutoff, "cutoff_width": min(0.5, cutoff)}
    return fall | {k: v for k, v in hypers.items() if k in ("cutoff_function", "cutoff_width")}


class _Comparison:
    """Distances of pairs of rows and of their environments."""

    def __init__(self, described: Description, atoms: Clusters, progress: bool):
        self.values, self.atoms, self.progress = described.values, atoms, progress
        norms = np.linalg.norm(described.values, axis=1)
        self.scale = float(np.median(norms)) or 1.0
        self.basis = _weights(described.hypers)

    def nearest(self, floor: float, max_pairs: int, seed: int) -> tuple[PairTable, Search]:
        """The nearest rows, with one environment for each set with equal geometry."""
        alive = np.arange(len(self.values))
        for _ in range(MAX_ROUNDS):
            near = nearest_pairs(
                self.values[alive], self.atoms.center[alive], max_pairs=None, seed=seed,
                progress=self.progress,
            )  # fmt: skip
            pairs = alive[np.stack([near.first, near.second], -1)]
            table = self.table(pairs[:max_pairs], near.distance[:max_pairs])
            again = np.unique(table.second[table.upper <= floor])
            searched, alive = alive, np.setdiff1d(alive, again)
            if not len(again):
                break
        remaining = np.all(np.isin(pairs, alive), axis=1)
        counts = np.bincount(self.atoms.center[alive])
        search = Search(
            n_equal=len(self.values) - len(alive),
            n_pairs=int((counts * (counts - 1) // 2).sum()),
            skipped=near.distance[max_pairs:][remaining[max_pairs:]] / self.scale,
            reach=near.reach[np.isin(searched, alive)] / self.scale,
        )
        return PairTable(*(column[remaining[:max_pairs]] for column in table)), search

    def at_random(self, n_pairs: int, seed: int) -> PairTable:
        random = np.random.Generator(np.random.PCG64(seed))
        pairs = np.sort(random.integers(0, len(self.values), size=(4 * n_pairs, 2)), axis=1)
        center = self.atoms.center
        alike = (pairs[:, 0] < pairs[:, 1]) & (center[pairs[:, 0]] == center[pairs[:, 1]])
        pairs = pairs[alike][:n_pairs]
        return self.table(pairs, pair_distances(self.values, pairs))

    def table(self, pairs: np.ndarray, distances: np.ndarray) -> PairTable:
        parts = np.array_split(pairs, max(1, len(pairs) // 64))
        bar = progress_bar(parts, unit="block", desc="geometry", disable=not self.progress)
        upper = [
            aligned_distance_upper(*self.atoms[:3], part, **self.basis) for part in bar if len(part)
        ]
        upper = np.concatenate(upper) if upper else np.zeros(0)
        descriptor = distances / self.scale
        return PairTable(pairs[:, 0], pairs[:, 1], descriptor, np.zeros(len(pairs)), upper)

    def certified(self, pairs: PairTable, floor: float, tolerance: float) -> PairTable:
        """Bounds by branch and bound for pairs of equal rows."""
        lower, upper = pairs.lower.copy(), pairs.upper.copy()
        doubtful = np.flatnonzero((pairs.descriptor <= tolerance) & (upper > floor))
        for place in progress_bar(doubtful, unit="pair", desc="certify", disable=not self.progress):
            sides = []
            for row in (pairs.first[place], pairs.second[place]):
                inside = self.atoms.mask[row]
                sides += [self.atoms.vectors[row][inside], self.atoms.species[row][inside]]
            found = environment_distance(*sides, **self.basis, max_cells=CELLS)
            lower[place], upper[place] = found.lower, min(upper[place], found.upper)
        return pairs._replace(lower=lower, upper=upper)


def _sensitivity(chosen, atoms: Clusters, n_rows: int, seed: int, progress: bool):
    """Smallest singular values and soft directions of some environments."""
    random = np.random.Generator(np.random.PCG64(seed))
    rows = random.permutation(np.flatnonzero(atoms.mask.sum(1) > 1))[:n_rows]
    if not len(rows):
        return np.zeros(0), np.zeros(0, int)
    clusters = [atoms.cluster(row) for row in np.sort(rows)]
    found = sensitivities(clusters, chosen, centers=[0], progress=progress)
    return found.smallest, found.n_soft()


def _parted(result: Audit, kind, atoms: Clusters, n_pairs: int, hypers) -> list[dict]:
    """For pairs of equal rows, the index in ``pairs`` and the l_max that separate them."""
    found = []
    for place in np.r_[result.collisions, result.undecided][:n_pairs]:
        rows = int(result.pairs.first[place]), int(result.pairs.second[place])
        clusters = [atoms.cluster(row) for row in rows]
        elements = atoms.elements.tolist()
        parted = parting_degrees(clusters, elements, kind, result.tolerance, **hypers)
        found.append({"pair": int(place), **parted})
    return found
