"""Neighbour lists with a skin, kept while atoms and cell move, and forces computed with them.

A list of pairs closer than cutoff + skin contains all pairs within the cutoff as long as

    σ_min(F) (cutoff + skin) - 2 max_i |r_i - F r_i⁰| >= cutoff,

where F is the deformation of the cell since the list was built, σ_min its smallest stretch, and r⁰
the positions at that time. The list is built on the host, for cells of any size and shape: a pair
of atoms may occur several times, with different periodic images.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms

from tripletjax.devices import device_mesh, divided_batch
from tripletjax.md.states import Mechanics
from tripletjax.neighbors import prepare, with_width
from tripletjax.numerics import least_stretch
from tripletjax.potentials.base import Potential
from tripletjax.types import Array, Batch


class SkinList(NamedTuple):
    """A neighbour list and the positions and cell for which it was built; a pytree of arrays."""

    batch: Batch  # of one structure without padded atoms, with neighbours up to cutoff + skin
    positions: Array  # [N, 3] Å
    cell: Array  # [3, 3] Å

    def moved_to(self, positions: Array, cell: Array) -> Batch:
        """The batch with other positions and cell."""
        return self.batch._replace(positions=positions, cells=cell[None])


class Lists:
    """Builds lists for one structure; their padded width never shrinks.

    Args:
        potential: provides the cutoff and species.
        atoms: species and periodic directions.
        skin: Å.
        dtype: dtype of the positions.
        devices: number among which the environments are divided.
    """

    def __init__(self, potential: Potential, atoms: Atoms, skin: float, dtype, devices: int = 1):
        potential.require_known([atoms])
        self.potential, self.skin, self.dtype = potential, skin, dtype
        self.frame = atoms.copy()
        self.frame.calc = None
        self.frame.set_constraint()  # positions are set without constraints
        self.width = 0
        self.mesh = device_mesh(devices)

    def at(self, positions: Array, cell: Array) -> SkinList:
        """Build the list at these positions; float64 keeps the choice of images exact."""
        self.frame.positions = np.asarray(positions, np.float64)
        if self.frame.pbc.any():
            self.frame.cell = np.asarray(cell, np.float64)
        reach = self.potential.cutoff + self.skin
        batch = prepare([self.frame], reach, self.potential.species, self.dtype, wrap=False)
        most = int(batch.neighbor_mask.sum(1).max())
        if most > self.width or not self.width:  # at least one column, possibly of padding
            self.width = roomy(most)
        batch = without_padded_atoms(with_width(batch, self.width), len(self.frame))
        one = self.mesh.size == 1
        batch = jax.tree.map(jnp.asarray, batch) if one else divided_batch(batch, self.mesh)
        return SkinList(batch, jnp.asarray(positions), jnp.asarray(cell))


def roomy(most: int) -> int:
    """Number of columns for a number of neighbours and a few more, a multiple of 8.

    Example:
        >>> roomy(28), roomy(0)
        (32, 8)
    """
    return 8 * math.ceil((1.05 * most + 2) / 8)


def without_padded_atoms(batch: Batch, count: int) -> Batch:
    """A batch of one structure without padded atoms: their number is constant in a simulation."""
    kept = {
        name: getattr(batch, name)[:count]
        for name in Batch._fields
        if name not in ("cells", "elements", "prepared")
    }
    return batch._replace(**kept)


def moved(
    made: SkinList,
    positions: Array,
    cell: Array,
    cutoff: float,
    skin: float,
    cell_moves: bool = True,
) -> Array:
    """The fraction of the skin that is used up; the list is complete up to 1.

    Example:
        >>> from tripletjax.potentials.triplet import untrained
        >>> lists = Lists(untrained([1]), Atoms("H2", [[0, 0, 0], [0, 0, 1]]), 1.0, None)
        >>> at = jnp.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
        >>> made = lists.at(at, jnp.eye(3))
        >>> round(moved(made, at.at[1, 0].set(0.25), jnp.eye(3), 5.0, 1.0).item(), 6)
        0.5
    """
    if not cell_moves:
        return 2 * _furthest(positions - made.positions) / skin
    with jax.default_matmul_precision("highest"):
        deformation = jnp.linalg.solve(made.cell, cell)  # rows: r = r⁰ F
        stretch = least_stretch(deformation)
        apart = positions - made.positions @ deformation
    return (2 * _furthest(apart) + (1 - stretch) * (cutoff + skin)) / skin


def _furthest(vectors: Array) -> Array:
    return jnp.sqrt(jnp.max(jnp.sum(vectors**2, -1)))


def mechanics(potential: Potential, made: SkinList, positions: Array, cell: Array) -> Mechanics:
    """Energy without references, forces and stress of the atoms of a list at other positions."""
    atoms, forces, stress = potential.mechanics(made.moved_to(positions, cell))
    return Mechanics(jnp.sum(atoms), forces, stress[0])
