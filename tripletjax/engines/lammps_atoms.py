"""The atoms that one process of LAMMPS sees, as a structure whose energies give exact forces."""

from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from scipy.spatial import KDTree


class Seen(NamedTuple):
    """Atoms of this process, its own first, in LAMMPS's order."""

    frame: Atoms
    chosen: np.ndarray | None  # [N] atoms whose environments the forces need; None: all


def whole_system(lmp: Any, numbers: np.ndarray) -> Seen:
    """All atoms in their cell: what a single process has.

    Args:
        lmp: the ``lammps`` object.
        numbers: atomic number of every atom type, from type 1.
    """
    low, high, xy, yz, xz, periodic, _ = lmp.extract_box()
    lengths = np.subtract(high, low)
    cell = [[lengths[0], 0, 0], [xy, lengths[1], 0], [xz, yz, lengths[2]]]
    count = lmp.extract_global("nlocal")
    positions, species = _atoms(lmp, numbers, count)
    return Seen(Atoms(species, positions, cell=cell, pbc=np.array(periodic, bool)), None)


def own_and_ghosts(lmp: Any, numbers: np.ndarray, reach: float, local: bool) -> Seen:
    """The atoms of this process and the ghosts on which their forces depend, without a cell.

    The force on an atom is the derivative of all energies within ``reach`` of it, which depend on
    atoms within twice that distance. Energies of the outermost ghosts are not those of the whole
    system, but no atom of this process is within reach of them.

    Args:
        lmp: the ``lammps`` object.
        numbers: atomic number of every atom type, from type 1.
        reach: Å, from an atom to the furthest one that its energy depends on.
        local: whether an energy depends on one environment alone, so that others than those of
            atoms within reach need not be computed.
    """
    own = lmp.extract_global("nlocal")
    positions, species = _atoms(lmp, numbers, own + lmp.extract_global("nghost"))
    distances = np.zeros(len(positions))
    distances[own:] = KDTree(positions[:own]).query(
        positions[own:], distance_upper_bound=2 * reach
    )[0]
    near = np.flatnonzero(distances < 2 * reach)
    chosen = np.flatnonzero(distances[near] < reach) if local else None
    return Seen(Atoms(species[near], positions[near]), chosen)


def _atoms(lmp: Any, numbers: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions [N, 3] Å and atomic numbers [N], copied from LAMMPS."""
    positions = np.array(lmp.numpy.extract_atom("x", nelem=count, dim=3))
    types = np.array(lmp.numpy.extract_atom("type", nelem=count))
    return positions[:count], numbers[types[:count] - 1]
