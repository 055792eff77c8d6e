"""Positions near the origin for the integrators, and the lattice vectors to unwrap them.

A step in float32 resolves a position to a part in 10⁷ of its distance from the origin. The state
therefore contains r = R - t·h, with a cell h and integers t that keep r in the cell; along a
direction that is not periodic, t·h is the same for all atoms and follows their centre. R, which is
continuous, is computed in float64 when it is written.
"""

from typing import NamedTuple

import numpy as np

from tripletjax.types import Array, InputError

FURTHEST = 2**31 - 1  # lattice vectors, or Å


class Places(NamedTuple):
    """Positions and what was subtracted from them."""

    positions: np.ndarray  # [N, 3] Å, in the cell and near the origin
    turns: np.ndarray  # [N, 3] lattice vectors, int32


def near_origin(positions: Array, cell: Array, pbc: Array, turns: Array | int = 0) -> Places:
    """Positions moved as near to the origin as possible by lattice vectors.

    Args:
        positions: [N, 3] Å.
        cell: [3, 3] Å, independent rows; of 1 Å for directions without a lattice vector.
        pbc: [3] the periodic directions.
        turns: [N, 3] lattice vectors that were subtracted before.

    Raises:
        InputError: atoms more than 2³¹ lattice vectors away.

    Example:
        >>> pbc = np.array([True, False, False])
        >>> places = near_origin(np.array([[-1.0, 8, 0], [5, 9, 1]]), 4 * np.eye(3), pbc)
        >>> places.positions.tolist()
        [[3.0, 0.0, 0.0], [1.0, 1.0, 1.0]]
        >>> places.turns.tolist()
        [[-1, 2, 0], [1, 2, 0]]
    """
    positions, cell, pbc = np.asarray(positions, float), np.asarray(cell, float), np.asarray(pbc)
    fractional = positions @ np.linalg.inv(cell)
    more = np.where(pbc, np.floor(fractional), np.round(fractional.mean(0)))
    total = more + turns
    if not (np.abs(total) < FURTHEST).all():
        atom = int(np.argmin((np.abs(total) < FURTHEST).all(1)))
        raise InputError(
            f"atom {atom} lies at {positions[atom].tolist()}: expected positions within {FURTHEST} "
            "lattice vectors of the origin (or Å, if there are none)"
        )
    return Places(positions - more @ cell, total.astype(np.int32))


def unwrapped(positions: Array, turns: Array, cell: Array) -> np.ndarray:
    """The continuous positions, [N, 3] Å in float64.

    Example:
        >>> unwrapped(np.array([[3.0, 0, 0]]), np.array([[-1, 2, 0]]), 4 * np.eye(3)).tolist()
        [[-1.0, 8.0, 0.0]]
    """
    return np.asarray(positions, float) + np.asarray(turns, float) @ np.asarray(cell, float)
