"""Vertices of regular solids on the unit sphere, in a fixed order."""

from itertools import product

import numpy as np

from tripletjax.types import InputError

_GOLDEN = (1 + np.sqrt(5)) / 2


def _signs(x: float, y: float, z: float) -> list[list[float]]:
    """All (±x, ±y, ±z), without duplicates for zeros."""
    choices = [(v, -v) if v else (0.0,) for v in (x, y, z)]
    return [list(point) for point in product(*choices)]


def _cyclic(x: float, y: float, z: float) -> list[list[float]]:
    return _signs(x, y, z) + _signs(z, x, y) + _signs(y, z, x)


def _tilted(points: list[list[float]]) -> list[list[float]]:
    """Points rotated by 45° about z."""
    root = np.sqrt(0.5)
    return [[root * (x - y), root * (x + y), z] for x, y, z in points]


_POINTS = {
    "tetrahedron": [[1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]],
    "cube": _signs(1, 1, 1),
    "tilted_cube": _tilted(_signs(1, 1, 1)),
    "octahedron": _cyclic(1, 0, 0),
    "cuboctahedron": _cyclic(1, 1, 0),
    "icosahedron": _cyclic(0, _GOLDEN, 1),
    "dodecahedron": _signs(1, 1, 1) + _cyclic(0, _GOLDEN, 1 / _GOLDEN),
}
SOLIDS = tuple(_POINTS)


def vertices(solid: str) -> np.ndarray:
    """Vertices [n, 3] on the unit sphere; "tilted_cube" is a cube rotated by 45° about z.

    Raises:
        InputError: a name not in ``SOLIDS``.

    Example:
        >>> {solid: len(vertices(solid)) for solid in ("cube", "dodecahedron")}
        {'cube': 8, 'dodecahedron': 20}
    """
    if solid not in _POINTS:
        raise InputError(f"unknown solid {solid!r}: expected one of {', '.join(SOLIDS)}")
    points = np.array(_POINTS[solid], dtype=float)
    return points / np.linalg.norm(points, axis=1, keepdims=True)
