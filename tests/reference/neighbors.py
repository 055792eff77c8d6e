"""Brute-force neighbour list with any mixture of periodic directions."""

from itertools import product
from math import ceil, floor

import numpy as np


def neighbor_list(positions, cell, pbc, cutoff):
    """All (i, j, shift, vector, distance), vector = r_j - r_i + shift @ cell, distance < cutoff.

    Rows of cell are lattice vectors; only periodic directions are shifted, the other rows are
    not read. An atom is not its own neighbour at zero shift. Sorted by (i, distance, j, shift).
    """
    positions, cell = np.asarray(positions, dtype=np.float64), np.array(cell, dtype=np.float64)
    pbc = np.broadcast_to(pbc, 3)
    cell[~pbc] = 0.0
    # Row k of `dual` is normal to the planes spanned by the other periodic vectors and has
    # the length 1 / (their spacing), so |dual_k . vector| <= |dual_k| cutoff for a neighbour.
    dual = np.linalg.pinv(cell).T
    pairs = []
    for i, j in product(range(len(positions)), repeat=2):
        between = positions[j] - positions[i]
        ranges = []
        for k in range(3):
            reach, offset = cutoff * np.linalg.norm(dual[k]), dual[k] @ between
            if pbc[k]:  # one more on each side, against rounding
                ranges.append(range(ceil(-reach - offset) - 1, floor(reach - offset) + 2))
            else:
                ranges.append(range(1))
        for shift in product(*ranges):
            vector = between + np.array(shift) @ cell
            distance = np.linalg.norm(vector)
            if distance < cutoff and not (i == j and shift == (0, 0, 0)):
                pairs.append((i, j, shift, vector, distance))
    return sorted(pairs, key=lambda pair: (pair[0], pair[4], pair[1], pair[2]))
