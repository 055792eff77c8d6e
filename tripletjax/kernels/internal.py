"""Forces on internal coordinates.

Energies do not depend on translations, nor those of isolated structures on rotations: net forces
and torques vanish for any weights. As labels without noise they would make the covariance singular
and its evidence unbounded, so only the components of forces in all other directions are labels.
"""

import numpy as np
from ase import Atoms

LEAST = 1e-8  # of the largest singular value: linear molecules have two rotations, atoms none


def internal_axes(frame: Atoms) -> np.ndarray:
    """Orthonormal directions without translations and, if not periodic, rotations, [3N, n].

    Example:
        >>> from ase.build import molecule
        >>> internal_axes(molecule("H2O")).shape, internal_axes(molecule("CO2")).shape
        ((9, 3), (9, 4))
    """
    axes = np.eye(3)
    motions = [np.tile(axis, (len(frame), 1)) for axis in axes]
    if not frame.pbc.any():
        offsets = frame.positions - frame.positions.mean(0)
        motions += [np.cross(axis, offsets) for axis in axes]
    directions, sizes, _ = np.linalg.svd(np.array(motions).reshape(len(motions), -1).T)
    return directions[:, int((sizes > LEAST * sizes[0]).sum()) :]
