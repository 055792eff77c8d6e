"""Brute-force distance of two environments: every partial matching, each aligned exactly."""

from itertools import combinations, permutations

import numpy as np
from scipy.optimize import minimize_scalar

from .density import cutoff_function


def leaving_cost(r, cutoff, width, kind="shifted_cosine", unmatched_cost=1.0):
    """min over s >= r of the cost of vanishing at s and of the way there."""

    def total(s):
        return unmatched_cost * cutoff_function(s, cutoff, width, kind) + s - r

    low = max(r, cutoff - width / 2)  # the ramp is convex from here, so the minimum is single
    found = minimize_scalar(total, bounds=(low, cutoff), method="bounded", options={"xatol": 1e-11})
    return min(total(r), found.fun, total(cutoff))


def greatest_overlap(products, allow_reflection):
    """max over Q of tr(Q Σ a bᵀ), by the largest eigenvalue of Horn's matrix of quaternions."""
    values = []
    for h in (products, -products) if allow_reflection else (products,):
        matrix = np.empty((*h.shape[:-2], 4, 4))
        xx, xy, xz, yx, yy, yz, zx, zy, zz = np.moveaxis(h.reshape(*h.shape[:-2], 9), -1, 0)
        rows = [
            [xx + yy + zz, yz - zy, zx - xz, xy - yx],
            [yz - zy, xx - yy - zz, xy + yx, zx + xz],
            [zx - xz, xy + yx, yy - xx - zz, yz + zy],
            [xy - yx, zx + xz, yz + zy, zz - xx - yy],
        ]
        for i, row in enumerate(rows):
            for j, entry in enumerate(row):
                matrix[..., i, j] = entry
        values.append(np.linalg.eigvalsh(matrix)[..., -1])
    return np.max(values, axis=0)


def distance(
    first,
    first_species,
    second,
    second_species,
    cutoff=5.0,
    width=0.5,
    kind="shifted_cosine",
    unmatched_cost=1.0,
    allow_reflection=True,
):
    """The distance of the definition, for up to six neighbours or so."""
    sides = []
    for vectors, species in ((first, first_species), (second, second_species)):
        kept = [(v, s) for v, s in zip(vectors, species, strict=True) if np.linalg.norm(v) < cutoff]
        vectors = np.array([v for v, _ in kept], float).reshape(-1, 3)
        costs = [
            leaving_cost(np.linalg.norm(v), cutoff, width, kind, unmatched_cost) for v in vectors
        ]
        sides.append((vectors, [s for _, s in kept], np.array(costs) ** 2))
    (a, a_species, a_cost), (b, b_species, b_cost) = sides
    best = a_cost.sum() + b_cost.sum()
    for size in range(1, min(len(a), len(b)) + 1):
        matchings = [
            (chosen, partners)
            for chosen in combinations(range(len(a)), size)
            for partners in permutations(range(len(b)), size)
            if all(a_species[i] == b_species[j] for i, j in zip(chosen, partners, strict=True))
        ]
        if not matchings:
            continue
        rows, columns = np.array(matchings).transpose(1, 0, 2)  # [M, size]
        products = np.swapaxes(a[rows], 1, 2) @ b[columns]
        squares = (a[rows] ** 2).sum((1, 2)) + (b[columns] ** 2).sum((1, 2))
        matched = squares - 2 * greatest_overlap(products, allow_reflection)
        left = a_cost.sum() + b_cost.sum() - a_cost[rows].sum(1) - b_cost[columns].sum(1)
        best = min(best, (matched + left).min())
    return float(np.sqrt(max(best, 0.0)))
