"""Rotations on the host: optimal alignment of vectors, and a covering of all rotations by cells.

NumPy, float64.
"""

from itertools import product

import numpy as np

_CORNERS = np.array(list(product((-1.0, 1.0), repeat=3)))


def random_rotations(number: int, random: np.random.Generator) -> np.ndarray:
    """Proper rotations [number, 3, 3], uniformly distributed."""
    quaternions = random.normal(size=(number, 4))
    return rotation_matrices(quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True))


def rotation_matrices(quaternions: np.ndarray) -> np.ndarray:
    """Unit quaternions [..., 4] as matrices [..., 3, 3].

    Example:
        >>> rotation_matrices(np.array([0.0, 0.0, 0.0, 1.0])).tolist()  # half a turn about z
        [[-1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    w, x, y, z = np.moveaxis(quaternions, -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def best_rotations(products: np.ndarray, allow_reflection: bool) -> np.ndarray:
    """The Q that maximise tr(Q H), H = Σ a bᵀ: they rotate the vectors a onto the vectors b.

    With H = U S Vᵀ, Q is V D Uᵀ, D = diag(1, 1, ±1); without reflections its determinant is 1.

    Args:
        products: H, ``[..., 3, 3]``.
        allow_reflection: search O(3) instead of SO(3).

    Returns:
        ``[..., 3, 3]``.

    Source: Kabsch, Acta Crystallogr. A 32, 922 (1976).

    Example:
        >>> found = best_rotations(np.diag([3.0, 2.0, -1.0]), allow_reflection=False)
        >>> bool(np.allclose(found, np.eye(3)))
        True
    """
    u, _, vt = np.linalg.svd(products)
    v = np.swapaxes(vt, -1, -2).copy()
    if not allow_reflection:
        sign = np.sign(np.linalg.det(u) * np.linalg.det(v))
        v[..., :, 2] *= sign[..., None]
    return v @ np.swapaxes(u, -1, -2)


def best_overlaps(products: np.ndarray, allow_reflection: bool) -> np.ndarray:
    """max over Q of tr(Q H) for H [..., 3, 3]: s1 + s2 ± s3, with s its singular values."""
    s = np.linalg.svd(products, compute_uv=False)
    sign = 1.0 if allow_reflection else np.where(np.linalg.det(products) < 0, -1.0, 1.0)
    return s[..., 0] + s[..., 1] + sign * s[..., 2]


class Cells:
    """Sets of rotations around their centres that cover SO(3), or O(3) with reflections.

    A unit quaternion and its opposite are the same rotation, so four of the eight faces of a cube
    in four dimensions, projected from its centre, cover SO(3). A cell is a small cube on a face.
    """

    def __init__(self, faces, centers, signs, half_width: float):
        self.faces, self.centers, self.signs = faces, centers, signs  # [C], [C, 3], [C] ±1
        self.half_width = half_width

    @classmethod
    def covering(cls, n_per_edge: int, allow_reflection: bool) -> "Cells":
        """All rotations, with n_per_edge³ cells on each face."""
        edge = (2 * np.arange(n_per_edge) + 1) / n_per_edge - 1
        grid = np.stack(np.meshgrid(edge, edge, edge, indexing="ij"), axis=-1).reshape(-1, 3)
        signs = (1.0, -1.0) if allow_reflection else (1.0,)
        labels = np.array(list(product(range(4), signs)))
        faces, signs = np.repeat(labels, len(grid), axis=0).T
        centers = np.tile(grid, (len(labels), 1))
        return cls(faces.astype(int), centers, signs, 1 / n_per_edge)

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, chosen) -> "Cells":
        return Cells(self.faces[chosen], self.centers[chosen], self.signs[chosen], self.half_width)

    def reach_no_twist(self) -> np.ndarray:
        """Cells with a rotation about an axis perpendicular to z: a quaternion with z component 0.

        Every rotation is one of these preceded, or followed, by a rotation about z.
        """
        place = 2 - self.faces  # of z among the three coordinates on the face: see _quaternions
        z = np.take_along_axis(self.centers, np.maximum(place, 0)[:, None], axis=1)[:, 0]
        return np.flatnonzero((self.faces < 3) & (np.abs(z) < self.half_width * (1 + 1e-9)))

    def divided(self) -> "Cells":
        """Divide each cell into eight of half the width, in the order of their parents."""
        half = self.half_width / 2
        centers = (self.centers[:, None, :] + half * _CORNERS).reshape(-1, 3)
        return Cells(np.repeat(self.faces, 8), centers, np.repeat(self.signs, 8), half)

    def rotations(self) -> tuple[np.ndarray, np.ndarray]:
        """Matrices at the centres [C, 3, 3], and the largest angle to them within each cell [C].

        A cell is convex on the sphere of quaternions, so a corner is its farthest point.
        """
        middle = self._quaternions(self.centers)
        corners = self._quaternions(self.centers[:, None, :] + self.half_width * _CORNERS)
        cosine = np.einsum("cq,ckq->ck", middle, corners).min(axis=1)
        matrices = rotation_matrices(middle) * self.signs[:, None, None]
        return matrices, 2 * np.arccos(np.minimum(cosine, 1))

    def _quaternions(self, centers: np.ndarray) -> np.ndarray:
        face = self.faces.reshape(-1, *[1] * (centers.ndim - 2))
        one = np.ones_like(centers[..., :1])
        q = np.concatenate([one, centers], axis=-1)
        order = (np.arange(4) - face[..., None]) % 4
        q = np.take_along_axis(q, np.broadcast_to(order, q.shape), axis=-1)
        return q / np.linalg.norm(q, axis=-1, keepdims=True)
