"""Alternately match and align two sets of neighbours: a local optimum from each start.

Host side, NumPy in float64. The squared distance is the cost of leaving all neighbours unmatched
minus the gain of matching, which is w_a² + w_b² - |Q a - b|² for a matched pair.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from tripletjax.completeness.matching import Neighbors
from tripletjax.completeness.rotations import best_overlaps, best_rotations, random_rotations

_MAX_ROUNDS = 50  # of matching and aligning; the gain increases every time, so the loop terminates


class Problem(NamedTuple):
    """Gain of a pair: offsets + 2 (Q a)·b."""

    first: np.ndarray  # a [n, 3]
    second: np.ndarray  # b [m, 3]
    offsets: np.ndarray  # w_a² + w_b² - |a|² - |b|², -inf for different species, [n, m]
    limits: np.ndarray  # 2 |a| |b|, [n, m]
    unmatched: float  # Σ w_a² + Σ w_b²
    allow_reflection: bool


class Alignment(NamedTuple):
    """A matching, a rotation, and their gain."""

    gain: float
    matching: np.ndarray  # [n] partner in the second set, -1 if unmatched
    rotation: np.ndarray  # [3, 3]


def problem_of(first: Neighbors, second: Neighbors, allow_reflection: bool) -> Problem:
    """The gains of all pairs of two sets of neighbours."""
    offsets = np.add.outer(
        first.leaving**2 - first.lengths**2, second.leaving**2 - second.lengths**2
    )
    same = first.species[:, None] == second.species[None, :]
    unmatched = float(np.sum(first.leaving**2) + np.sum(second.leaving**2))
    return Problem(
        first.vectors,
        second.vectors,
        np.where(same, offsets, -np.inf),
        2 * np.outer(first.lengths, second.lengths),
        unmatched,
        allow_reflection,
    )


def best_matching(gains: np.ndarray) -> np.ndarray:
    """The partial matching [n] with the largest total gain, for gains [n, m] clipped at zero."""
    rows, columns = linear_sum_assignment(gains, maximize=True)
    matching = np.full(len(gains), -1)
    matching[rows] = np.where(gains[rows, columns] > 0, columns, -1)
    return matching


def clipped_gains(problem: Problem, rotations: np.ndarray) -> np.ndarray:
    """Gain of each pair under each rotation [R, 3, 3], zero if unmatched is better, [R, n, m]."""
    overlaps = (problem.first @ np.swapaxes(rotations, -1, -2)) @ problem.second.T
    return np.maximum(problem.offsets + 2 * overlaps, 0)


def matched_products(problem: Problem, matchings: np.ndarray) -> np.ndarray:
    """Σ a bᵀ over the matched pairs, for matchings [M, n], [M, 3, 3]."""
    partners = problem.second[matchings] * (matchings >= 0)[..., None]
    return np.swapaxes(np.broadcast_to(problem.first, partners.shape), -1, -2) @ partners


def aligned_gains(problem: Problem, matchings: np.ndarray) -> np.ndarray:
    """The largest gain of each matching [M, n] over all allowed rotations, [M]."""
    offsets = problem.offsets[np.arange(matchings.shape[1]), matchings]
    offsets = np.where(matchings >= 0, offsets, 0).sum(axis=1)
    products = matched_products(problem, matchings)
    return offsets + 2 * best_overlaps(products, problem.allow_reflection)


def starting_rotations(problem: Problem, number: int, seed: int) -> np.ndarray:
    """Rotations that map a pair of one set onto a pair of the other, and random rotations.

    The frame of two neighbours of the first set, the longest and the one that spans the largest
    triangle with it, is mapped onto the frame of every ordered pair of the second set with the same
    species and with lengths for which matching pays off. Of these and of ``number`` random
    rotations (and their negatives, with reflections), the ``number`` with the largest unassigned
    gain are kept.
    """
    random = random_rotations(number, np.random.default_rng(seed))
    found = [random, -random] if problem.allow_reflection else [random]
    worth = problem.offsets + problem.limits > 0
    i = int(np.argmax(np.linalg.norm(problem.first, axis=1) * worth.any(axis=1)))
    areas = np.linalg.norm(np.cross(problem.first[i], problem.first), axis=1)
    k = int(np.argmax(areas * worth.any(axis=1)))
    one, two = np.nonzero(worth[i][:, None] & worth[k][None, :])
    if areas[k] > 0 and len(one):
        source = _frames(problem.first[i][None], problem.first[k][None])
        targets = _frames(problem.second[one], problem.second[two])
        proper = targets @ np.swapaxes(source, -1, -2)
        found.append(proper)
        if problem.allow_reflection:
            mirror = np.diag([1.0, 1.0, -1.0])
            found.append(targets @ mirror @ np.swapaxes(source, -1, -2))
    rotations = np.concatenate(found)
    promise = clipped_gains(problem, rotations).max(axis=2).sum(axis=1)
    return rotations[np.argsort(-promise, kind="stable")[:number]]


def _frames(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Right-handed frames, columns, of pairs of vectors [P, 3]; collinear pairs get any frame."""
    stacked = np.stack([x, y, np.zeros_like(x)], axis=-1)
    q, r = np.linalg.qr(stacked)
    q = q * np.where(np.diagonal(r, axis1=-2, axis2=-1) < 0, -1.0, 1.0)[:, None, :]
    q[..., 2] *= np.linalg.det(q)[:, None]
    return q


def refined(problem: Problem, rotations: np.ndarray) -> Alignment:
    """Match and align alternately from each of the rotations [R, 3, 3]; return the best result."""
    seen: set[bytes] = set()
    best = Alignment(0.0, np.full(len(problem.first), -1), np.eye(3))
    for _ in range(_MAX_ROUNDS):
        fresh = []
        for gains in clipped_gains(problem, rotations):
            matching = best_matching(gains)
            if matching.tobytes() not in seen:
                seen.add(matching.tobytes())
                fresh.append(matching)
        if not fresh:
            break
        matchings = np.array(fresh)
        rotations = best_rotations(matched_products(problem, matchings), problem.allow_reflection)
        gains = aligned_gains(problem, matchings)
        top = int(np.argmax(gains))
        if gains[top] > best.gain:
            best = Alignment(float(gains[top]), matchings[top], rotations[top])
    return best


def local_optimum(problem: Problem, number: int, seed: int) -> Alignment:
    """The best of ``number`` starts."""
    if not (problem.offsets + problem.limits > 0).any():
        return refined(problem, np.eye(3)[None])
    return refined(problem, starting_rotations(problem, number, seed))
