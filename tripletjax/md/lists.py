"""Neighbour lists with a skin, kept while atoms and cell move, and the forces made with them.

A list of pairs closer than cutoff + skin holds every pair within the cutoff as long as

    σ_min(F) (cutoff + skin) - 2 max_i |r_i - F r_i⁰| >= cutoff,

with F the deformation of the cell since the list was made, σ_min its least stretch, and r⁰ the
positions then. The list is made on the host, for cells of any size and shape: a pair of atoms may
be in it several times, through several periodic images.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from ase import Atoms

from tripletjax.md.states import Mechanics
from tripletjax.neighbors import bucket, prepare
from tripletjax.potential import Potential
from tripletjax.types import Array, Batch


class SkinList(NamedTuple):
    """A neighbour list and where it was made; a pytree of arrays."""

    batch: Batch  # of one structure, with neighbours up to cutoff + skin
    positions: Array  # [N, 3] Å
    cell: Array  # [3, 3] Å

    def moved_to(self, positions: Array, cell: Array) -> Batch:
        """The batch with the atoms elsewhere."""
        missing = len(self.batch.positions) - len(positions)
        padded = jnp.pad(positions, ((0, missing), (0, 0)))
        return self.batch._replace(positions=padded, cells=cell[None])


class Lists:
    """Makes lists for one structure; their padded width never shrinks.

    Args:
        potential: whose cutoff and species to use.
        atoms: species and periodic directions.
        skin: Å.
        dtype: of positions.
    """

    def __init__(self, potential: Potential, atoms: Atoms, skin: float, dtype):
        potential.require_known([atoms])
        self.potential, self.skin, self.dtype = potential, skin, dtype
        self.frame = atoms.copy()
        self.frame.calc = None
        self.width = 0

    def at(self, positions: Array, cell: Array) -> SkinList:
        """The list at these positions; float64 keeps the choice of images exact."""
        self.frame.positions = np.asarray(positions, np.float64)
        if self.frame.pbc.any():
            self.frame.cell = np.asarray(cell, np.float64)
        reach = self.potential.cutoff + self.skin
        batch = prepare([self.frame], reach, self.potential.species, self.dtype)
        batch = self._widened(batch)
        return SkinList(batch, jnp.asarray(positions), jnp.asarray(cell))

    def _widened(self, batch: Batch) -> Batch:
        """Pad to the most neighbours seen so far, with room for a few more."""
        if batch.neighbors.shape[1] > self.width:
            self.width = bucket(batch.neighbors.shape[1] + 2)
        missing = self.width - batch.neighbors.shape[1]

        def widened(array):
            return np.pad(array, [(0, 0), (0, missing)] + [(0, 0)] * (array.ndim - 2))

        return batch._replace(
            neighbors=widened(batch.neighbors),
            shifts=widened(batch.shifts),
            neighbor_mask=widened(batch.neighbor_mask),
        )


def moved(made: SkinList, positions: Array, cell: Array, cutoff: float, skin: float) -> Array:
    """How much of the skin is used up: the list is complete up to 1.

    Example:
        >>> from tripletjax.potential import untrained
        >>> lists = Lists(untrained([1]), Atoms("H2", [[0, 0, 0], [0, 0, 1]]), 1.0, None)
        >>> at = jnp.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
        >>> made = lists.at(at, jnp.eye(3))
        >>> round(moved(made, at.at[1, 0].set(0.25), jnp.eye(3), 5.0, 1.0).item(), 6)
        0.5
    """
    deformation = jnp.linalg.solve(made.cell, cell)  # rows: r = r⁰ F
    stretch = jnp.sqrt(jnp.maximum(jnp.linalg.eigvalsh(deformation @ deformation.T)[0], 0))
    apart = positions - jnp.matmul(made.positions, deformation, precision="highest")
    furthest = jnp.sqrt(jnp.max(jnp.sum(apart**2, -1)))
    return (2 * furthest + (1 - stretch) * (cutoff + skin)) / skin


def mechanics(potential: Potential, made: SkinList, positions: Array, cell: Array) -> Mechanics:
    """Energy without references, forces and stress of the atoms of a list, elsewhere."""
    batch, count = made.moved_to(positions, cell), len(positions)
    found = potential.interaction_forces_stress(batch, in_order=False)
    return Mechanics(found.energy[0], found.forces[:count], found.stress[0])
