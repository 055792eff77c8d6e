"""Ring pairs: what up to five neighbours see of them, their labels, and the models in small."""

from itertools import product

import numpy as np
import pytest

from experiments.paper.ring_pairs import (
    DATA,
    MIN_DISTANCE,
    RANGES,
    Rings,
    closest,
    load_rings,
    ring_positions,
    sample,
    turned,
)
from experiments.paper.rings import QUICK, report, run, shuffled
from tripletjax import describe
from tripletjax.data.b8 import b8_positions

pytestmark = pytest.mark.usefixtures("float32")  # all in float64, once


def deck(neighbors: np.ndarray, order: int) -> np.ndarray:
    """Sums over all tuples of ``order`` neighbours of functions of the tuple's distances.

    Σ Π_{a<b} h_ab(|r_a - r_b|) Π_a u_a(|r_a|) with other h and u for every pair and place: a
    function of each tuple up to O(3) that no permutation of its places leaves as it is.
    """
    distances = np.linalg.norm(neighbors[:, None] - neighbors, axis=-1)
    radii = np.linalg.norm(neighbors, axis=1)
    letters, terms, operands = "abcdef"[:order], [], []
    for place, letter in enumerate(letters):
        terms.append(letter)
        operands.append(np.cos((0.7 + 0.31 * place) * radii + place))
        for other in range(place):
            terms.append(letters[other] + letter)
            operands.append(np.cos((1.1 + 0.23 * place + 0.41 * other) * distances + other))
    return np.einsum(",".join(terms) + "->", *operands, optimize=False)


def tuples(neighbors: np.ndarray, order: int, rows: int = 200_000) -> float:
    """The same sum as ``deck`` by a loop over blocks of tuples: slow and obvious."""
    total, n = 0.0, len(neighbors)
    for index in product(range(n), repeat=order):
        r = neighbors[list(index)]
        value = 1.0
        for place in range(order):
            value *= np.cos((0.7 + 0.31 * place) * np.linalg.norm(r[place]) + place)
            for other in range(place):
                d = np.linalg.norm(r[place] - r[other])
                value *= np.cos((1.1 + 0.23 * place + 0.41 * other) * d + other)
        total += value
    return total
