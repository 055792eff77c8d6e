"""The state of a simulation and what is measured of it. Units: Å, eV, fs; masses in eV fs²/Å²."""

from collections.abc import Callable
from typing import Any, NamedTuple

import ase.units
import jax.numpy as jnp
import numpy as np
from ase import Atoms

from tripletjax.types import Array

KB = float(ase.units.kB)  # eV/K
MASS_UNIT = float(1 / ase.units.fs**2)  # eV fs²/Å² in one atomic mass unit
GPA = float(ase.units.GPa)  # eV/Å³


class Mechanics(NamedTuple):
    """What a potential says of one structure."""

    energy: Array  # [] eV
    forces: Array  # [N, 3] eV/Å
    stress: Array  # [3, 3] eV/Å³, positive under tension


Force = Callable[[Array, Array], Mechanics]  # of positions [N, 3] and cell [3, 3]


class State(NamedTuple):
    """Everything that a step changes; a pytree."""

    positions: Array  # [N, 3] Å, not wrapped into the cell
    momenta: Array  # [N, 3] eV fs/Å
    cell: Array  # [3, 3] Å, rows are lattice vectors
    mechanics: Mechanics  # at these positions
    thermostat: Any  # what the ensemble adds
    barostat: Any
    key: Array  # of random numbers
    steps: Array  # [] done so far, counted by the driver


def kinetic_energy(momenta: Array, masses: Array) -> Array:
    """Σ p²/2m, eV.

    Example:
        >>> kinetic_energy(jnp.ones((2, 3)), jnp.array([1.0, 4.0])).item()
        1.875
    """
    return 0.5 * jnp.sum(momenta**2 / masses[:, None])


def temperature(momenta: Array, masses: Array, degrees_of_freedom: int) -> Array:
    """2 · kinetic energy / (degrees of freedom · kB), K.

    With fewer degrees of freedom than momenta the kinetic energy is that about the centre of mass.

    Example:
        >>> momenta, masses = jnp.full((2, 3), KB), jnp.full(2, KB)
        >>> round(temperature(momenta, masses, degrees_of_freedom=6).item(), 5)
        1.0
    """
    energy = kinetic_energy(momenta, masses)
    if degrees_of_freedom < momenta.size:
        energy -= 0.5 * jnp.sum(jnp.sum(momenta, 0) ** 2) / jnp.sum(masses)
    return 2 * energy / (degrees_of_freedom * KB)


def pressure(state: State, masses: Array) -> Array:
    """The pressure tensor, (Σ p⊗p/m)/V - stress, [3, 3] eV/Å³.

    Example:
        >>> mechanics = Mechanics(0.0, jnp.zeros((1, 3)), -jnp.eye(3))
        >>> at, cell = jnp.ones((1, 3)), 2 * jnp.eye(3)
        >>> state = State(at, at, cell, mechanics, None, None, None, 0)
        >>> pressure(state, masses=jnp.ones(1)).diagonal().tolist()
        [1.125, 1.125, 1.125]
    """
    velocities = state.momenta / masses[:, None]
    flow = jnp.einsum("ia,ib->ab", state.momenta, velocities, precision="highest")
    return flow / volume(state.cell) - state.mechanics.stress


def volume(cell: Array) -> Array:
    """Å³.

    Example:
        >>> volume(jnp.diag(jnp.array([1.0, 2.0, 4.0]))).item()
        8.0
    """
    return jnp.abs(jnp.linalg.det(cell))


def thermal_momenta(masses: Array, kelvin: float, seed: int) -> np.ndarray:
    """Momenta of the Maxwell-Boltzmann distribution without a total momentum, [N, 3].

    The temperature has its canonical spread: it is not scaled to ``kelvin``.

    Example:
        >>> found = thermal_momenta(np.array([1.0, 2.0, 4.0]), 300.0, 0)
        >>> bool(abs(found.sum(0)).max() < 1e-12)
        True
    """
    random = np.random.Generator(np.random.PCG64(seed))
    masses = np.asarray(masses, np.float64)
    momenta = random.normal(size=(len(masses), 3)) * np.sqrt(masses * KB * kelvin)[:, None]
    return without_drift(momenta, masses) if len(masses) > 1 else momenta


def without_drift(momenta: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """Momenta [N, 3] in the frame of the centre of mass.

    Example:
        >>> without_drift(np.array([[2.0, 0, 0], [0, 0, 0]]), np.array([1.0, 3.0])).tolist()
        [[1.5, 0.0, 0.0], [-1.5, 0.0, 0.0]]
    """
    return momenta - masses[:, None] * (momenta.sum(0) / masses.sum())


def masses_of(atoms: Atoms) -> np.ndarray:
    """Masses in eV fs²/Å², [N].

    Example:
        >>> masses_of(Atoms("H")).round(3).tolist()
        [104.472]
    """
    return atoms.get_masses() * MASS_UNIT
