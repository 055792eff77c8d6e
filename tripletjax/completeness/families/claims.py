"""Checks of the claims of a degenerate pair: slow, simple and without any basis.

The correlation of order nu of a density of points is equivalent to the multiset of the Gram
matrices of all ordered nu-tuples of neighbours, with their species. Two multisets are compared by
sums over the tuples of exp(i phase), where the phase is a random function of the entries. Tuples of
distinct neighbours suffice: they determine the shorter ones, and hence those with repeated members.
"""

from itertools import combinations, permutations
from math import perm
from typing import NamedTuple

import numpy as np

from tripletjax.completeness.families.isometry import (
    joint_labels,
    neighborhood,
    relation_between,
)
from tripletjax.completeness.families.pairs import INVARIANTS, ORDERS, DegeneratePair
from tripletjax.types import InputError

EQUAL = 1e-12  # relative to the number of terms of a sum
DIFFERENT = 1e-8
SEEN = 1e-7  # a difference at which the search stops
N_FREQUENCIES = 4
MAX_ORDERED = 300_000
BLOCK = 50_000


class Verdict(NamedTuple):
    """The result of the checks: the claims hold if ``failures`` is empty."""

    relation: str
    differences: dict[str, float]  # relative, of every invariant named by the pair
    failures: tuple[str, ...]  # sentences


def verify(pair: DegeneratePair, reach: float = 5.0) -> Verdict:
    """Check all claims of a pair: its relation, what it defeats and what separates it.

    Args:
        pair: finite or periodic.
        reach: cutoff for neighbours in a periodic structure, Å.

    Example:
        >>> from tripletjax.completeness.families import two_neighbors
        >>> verdict = verify(two_neighbors())
        >>> verdict.failures, verdict.differences["distances"] < 1e-12
        ((), True)
    """
    relation = relation_between(pair)
    failures = []
    if relation != pair.relation:
        failures.append(f"relation is {relation!r}, not {pair.relation!r}")
    differences = {name: difference(pair, name, reach) for name in pair.defeats}
    failures += [f"{name} differs by {d:.1e}" for name, d in differences.items() if d > EQUAL]
    parted = {name: difference(pair, name, reach) for name in pair.separated_by}
    failures += [f"{name} is equal, {d:.1e}" for name, d in parted.items() if d < DIFFERENT]
    return Verdict(relation, differences | parted, tuple(failures))


def difference(pair: DegeneratePair, invariant: str, reach: float = 5.0) -> float:
    """Largest relative difference of one invariant in ``INVARIANTS`` between the members.

    For the orders nu: of the sums over tuples, or the first above 1e-7; for the others: the
    largest difference of sorted distances over the largest of them, or the fraction of atoms
    without a counterpart.

    Raises:
        InputError: an unknown invariant, or one that needs too many tuples.
    """
    if invariant in ORDERS:
        nu, handed = ORDERS[invariant]
        return _order_difference(pair, nu, handed, reach)
    measures = {
        "sorted_distances": _sorted_distances,
        "pointwise_distances": lambda pair, reach: _refinement(pair, reach, 1, False),
        "message_passing": lambda pair, reach: _refinement(pair, reach, None, False),
        "local_message_passing": lambda pair, reach: _refinement(pair, reach, None, True),
    }
    if invariant not in measures:
        raise InputError(f"unknown invariant {invariant!r}: expected one of {list(INVARIANTS)}")
    return measures[invariant](pair, reach)


def _order_difference(pair: DegeneratePair, nu: int, handed: bool, reach: float) -> float:
    centers = range(len(pair.species)) if pair.center is None else [pair.center]
    largest = 0.0
    for species in np.unique(pair.species[list(centers)]):
        chosen = [i for i in centers if pair.species[i] == species]
        around = [
            neighborhood(positions, pair.species, i, pair.cell, reach)
            for positions in (pair.first, pair.second)
            for i in chosen
        ]
        lengths = [len(vectors) for vectors, _ in around]
        size = min(nu, max(lengths))  # longer tuples repeat members: nothing new
        norms = np.linalg.norm(np.concatenate([vectors for vectors, _ in around]), axis=1)
        scale = max(norms.max(initial=0), 1e-300)
        numbers = np.concatenate([numbers for _, numbers in around])
        labels = np.split(joint_labels(norms / scale, numbers), np.cumsum(lengths)[:-1])
        scaled = [(vectors / scale, t) for (vectors, _), t in zip(around, labels, strict=True)]
        n_tuples = max(sum(perm(n, size) for n in lengths[: len(chosen)]), 1)
        compositions = {c for _, t in scaled for c in _compositions(np.bincount(t), size)}
        for composition in sorted(compositions, key=_spread):
            sums = [_sums(*one, composition, handed) for one in scaled]
            gap = sum(sums[: len(chosen)]) - sum(sums[len(chosen) :])
            largest = max(largest, float(np.abs(gap).max()) / n_tuples)
            if largest > SEEN:
                return largest
    return largest


def _compositions(counts: np.ndarray, nu: int, start: int = 0):
    """The numbers of members of each type in a tuple, ((type, number), ...), nu in total."""
    if nu == 0:
        yield ()
    for t in range(start, len(counts) if nu else 0):
        for n in range(1, min(nu, int(counts[t])) + 1):
            for rest in _compositions(counts, nu - n, t + 1):
                yield ((t, n), *rest)


def _spread(composition) -> tuple:
    """Sort key: compositions with the most even parts come first."""
    return -len(composition), max((n for _, n in composition), default=0), composition


def _sums(vectors, types, composition, handed: bool) -> np.ndarray:
    """The number of ordered tuples of this composition, and sums over them of exp(i phase).

    For few tuples, the phase is a random linear form of the entries in the order of the tuple. For
    many, only unordered tuples are used, and the phase is the determinant of the matrix of random
    functions of the entries, which does not depend on the order.
    """
    members = [np.nonzero(types == t)[0] for t, _ in composition]
    sizes = [perm(len(m), n) for m, (_, n) in zip(members, composition, strict=True)]
    n_tuples = float(np.prod(sizes, dtype=float))
    random = np.random.default_rng(0)
    sums = np.zeros(N_FREQUENCIES + 1, complex)
    if not n_tuples:
        return sums
    ordered = n_tuples <= MAX_ORDERED
    arrange = permutations if ordered else combinations
    parts = [np.array(list(arrange(m, n))) for m, (_, n) in zip(members, composition, strict=True)]
    nu = sum(n for _, n in composition)
    gram = vectors @ vectors.T
    pairs, triples = (list(combinations(range(nu), k)) for k in (2, 3))
    triples = triples if handed else []
    linear = random.normal(scale=10.0, size=(len(pairs) + len(triples), N_FREQUENCIES))
    slots = np.repeat(np.arange(len(parts)), [n for _, n in composition])
    rates = random.normal(scale=10.0, size=(2, nu, nu))[:, slots][:, :, slots]
    rates = rates + rates.swapaxes(1, 2)
    for tuples in _products(parts):
        entries = gram[tuples[:, :, None], tuples[:, None]]  # [tuple, nu, nu]
        if ordered:
            values = [entries[:, i, j] for i, j in pairs]
            values += [np.linalg.det(vectors[tuples[:, triple]]) for triple in triples]
            phases = np.stack(values, -1) @ linear if values else np.zeros((len(tuples), 1))
        else:
            if handed:
                raise InputError("too many tuples for pseudoscalars; use smaller structures")
            phases = 3.0 * np.linalg.det(np.cos(entries * rates[0] + rates[1]))[:, None]
        weight = n_tuples / np.prod([len(part) for part in parts], dtype=float)
        terms = np.broadcast_to(np.exp(1j * phases).sum(axis=0), N_FREQUENCIES)
        sums += weight * np.concatenate([[len(tuples)], terms])
    return sums


def _products(parts: list[np.ndarray]):
    """All combinations of rows of the parts, concatenated, in blocks [tuple, nu]."""
    if not parts:
        yield np.zeros((1, 0), int)
        return
    rest = [np.arange(len(part)) for part in parts[1:]]
    step = max(1, BLOCK // int(np.prod([len(rows) for rows in rest])))
    for start in range(0, len(parts[0]), step):
        first = np.arange(start, min(start + step, len(parts[0])))
        grid = np.meshgrid(first, *rest, indexing="ij")
        chosen = [part[rows.reshape(-1)] for part, rows in zip(parts, grid, strict=True)]
        yield np.concatenate(chosen, axis=1)


def _distances(pair: DegeneratePair, reach: float) -> tuple[list[list[tuple]], float]:
    """Distances and atoms of each atom's neighbours, for both members, and the largest distance."""
    members, largest = [], 1e-300
    for positions in (pair.first, pair.second):
        rows = []
        for i in range(len(positions)):
            index = np.arange(len(positions))
            vectors, neighbor = neighborhood(positions, index, i, pair.cell, reach)
            distances = np.linalg.norm(vectors, axis=1)
            largest = max(largest, distances.max(initial=0))
            rows.append((distances, neighbor))
        members.append(rows)
    return members, largest


def _sorted_distances(pair: DegeneratePair, reach: float) -> float:
    members, largest = _distances(pair, reach)
    tables = []
    for rows in members:
        table: dict[tuple, list] = {}
        for i, (distances, neighbor) in enumerate(rows):
            for distance, j in zip(distances, neighbor, strict=True):
                key = tuple(sorted((pair.species[i], pair.species[j])))
                table.setdefault(key, []).append(distance)
        tables.append({key: np.sort(values) for key, values in table.items()})
    worst = 0.0
    for key in tables[0].keys() | tables[1].keys():
        one, other = (table.get(key, np.zeros(0)) for table in tables)
        if len(one) != len(other):
            return 1.0
        worst = max(worst, float(np.abs(one - other).max(initial=0)) / largest)
    return worst


def _refinement(pair: DegeneratePair, reach: float, rounds: int | None, bonded: bool) -> float:
    """Fraction of atoms whose colour has no counterpart, after colour refinement.

    A colour is replaced by that of (colour, multiset of distances and colours of the neighbours),
    identified by a sum of random cosines, until the number of colours is constant; colours are
    integers, so that rounding errors do not grow.
    """
    members, largest = _distances(pair, reach)
    rows = [row for member in members for row in member]
    n_atoms = len(pair.species)
    if bonded:
        bond = 1.2 * min(distances.min() for distances, _ in rows)
        rows = [(distances[distances < bond], j[distances < bond]) for distances, j in rows]
    colors = np.unique(np.tile(pair.species, 2), return_inverse=True)[1]
    random = np.random.default_rng(0)
    frequencies = random.normal(scale=5.0, size=8) / largest
    for _ in range(n_atoms if rounds is None else rounds):
        phases = random.uniform(0, 2 * np.pi, size=(colors.max() + 1, 8))
        signatures = np.zeros((2 * n_atoms, 8))
        for row, (distances, neighbor) in enumerate(rows):
            seen = colors[neighbor + n_atoms * (row >= n_atoms)]
            signatures[row] = np.cos(distances[:, None] * frequencies + phases[seen]).sum(axis=0)
        refined = joint_labels(signatures, colors, tolerance=1e-10)
        settled = refined.max() == colors.max()
        colors = refined
        if settled:
            break
    counts = [np.bincount(half, minlength=colors.max() + 1) for half in np.split(colors, 2)]
    return float(np.abs(counts[0] - counts[1]).sum()) / (2 * n_atoms)
