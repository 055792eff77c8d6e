"""Random directions, rotations and their matrices, for the checks."""

import numpy as np

from .angular import spherical_harmonics


def directions(n, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(n, 3))
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def rotation(seed=1):
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.linalg.det(q)


def wigner(matrix, l):
    """D with Y_l(matrix r) = D Y_l(r), by least squares over directions."""
    points = directions(100, seed=2)
    y = spherical_harmonics(points, l)[:, l**2 :]
    rotated = spherical_harmonics(points @ matrix.T, l)[:, l**2 :]
    return np.linalg.lstsq(y, rotated, rcond=None)[0].T
