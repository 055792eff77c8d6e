"""The B8 clusters: pairs of different environments with equal bispectra.

Two rings of three atoms, equal up to a rotation about z and at heights ±z1, surround the central
atom; one more atom sits on the axis at +z2 or at -z2. All four-body correlations about the
central atom are equal for the two members, although no isometry maps one onto the other.

Source: Pozdnyakov et al., Phys. Rev. Lett. 125, 166001 (2020), arXiv 2001.11696; sampling of
Nigam et al., arXiv 2302.14770.
"""

from importlib import resources
from typing import NamedTuple

import numpy as np
from ase import Atoms

PARAMETER_NAMES = ("r", "z1", "z2", "psi", "phi1", "phi2")


def b8_positions(parameters: np.ndarray) -> np.ndarray:
    """Cartesian positions of both members of each pair; the centre is atom 0, at the origin.

    Args:
        parameters: ``[..., 6]`` values of ``PARAMETER_NAMES``: ring radius, ring height and axial
            height in Å; rotation between the rings and the two arcs in rad.

    Returns:
        ``[..., 2, 8, 3]`` positions in Å, the member with the axial atom at +z2 first.

    Example:
        >>> b8_positions(np.array([1.4, 0.6, 1.7, 2.3, 2.7, 1.8])).shape
        (2, 8, 3)
    """
    r, z1, z2, psi, phi1, phi2 = np.moveaxis(np.asarray(parameters, dtype=float), -1, 0)
    angles = np.stack([0 * phi1, phi1, phi1 + phi2], axis=-1)  # [..., 3]

    def ring(offset, height):
        turned = angles + offset[..., None]
        heights = np.broadcast_to(height[..., None], turned.shape)
        radius = r[..., None]
        return np.stack([radius * np.cos(turned), radius * np.sin(turned), heights], axis=-1)

    center = np.zeros((*r.shape, 1, 3))
    axial = np.stack([0 * z2, 0 * z2, z2], axis=-1)[..., None, :]
    rings = [ring(0 * psi, z1), ring(psi, -z1)]
    members = [np.concatenate([center, *rings, sign * axial], axis=-2) for sign in (1, -1)]
    return np.stack(members, axis=-3)


class B8Data(NamedTuple):
    """The included data, in the order +, -, +, - ...: structures 2p and 2p+1 are pair p."""

    positions: np.ndarray  # [structure, 8, 3] Å
    energies: np.ndarray  # [structure] eV, GFN2-xTB free energies
    forces: np.ndarray  # [structure, 8, 3] eV/Å
    parameters: np.ndarray  # [pair, 6]

    def frames(self, which: slice | np.ndarray = slice(None)) -> list[Atoms]:
        """Selected structures (default: all) as ASE Atoms of eight boron atoms."""
        return [Atoms("B8", positions=positions) for positions in self.positions[which]]


def load_b8() -> B8Data:
    """The 4000 pairs (8000 structures) with their GFN2-xTB energies and forces.

    Example:
        >>> load_b8().energies.shape
        (8000,)
    """
    with resources.files("tripletjax.data").joinpath("b8_gfn2.npz").open("rb") as file:
        data = np.load(file)
        parameters, energies, forces = (data[k] for k in ("parameters", "energies", "forces"))
    positions = b8_positions(parameters).reshape(-1, 8, 3)
    return B8Data(positions, energies, forces.astype(float), parameters)
