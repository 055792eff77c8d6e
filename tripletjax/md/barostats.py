"""Constant temperature and pressure: the cell moves by equations of motion of its own.

The rate of strain A = G / W has symmetric momenta G, so that no step turns the cell. With N_f
degrees of freedom and the pressure tensor Π,

    r' = p/m + A r,   p' = F - (A + tr A / N_f) p - thermostat,   h' = A h,
    G' = V (Π - P) + Σ p²/m / N_f - thermostat of the cell,

where an isotropic cell keeps the trace of G' alone. The enthalpy with the kinetic energy of the
cell and both chains is conserved, and the isothermal-isobaric ensemble is sampled.

Source: G. J. Martyna, D. J. Tobias and M. L. Klein, J. Chem. Phys. 101, 4177 (1994); M. E.
Tuckerman et al., J. Phys. A 39, 5629 (2006).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.md.integrators import (
    Chain,
    Ensemble,
    chain_energy,
    chain_step,
    freedom,
    resting_chain,
)
from tripletjax.md.states import KB, Force, State, kinetic_energy, pressure, volume
from tripletjax.types import Array


class Barostat(NamedTuple):
    """Momenta of the strain, [3, 3] eV fs, and the thermostat that they have for themselves."""

    momenta: Array
    chain: Chain


def npt(
    force: Force,
    masses: Array,
    dt: float,
    kelvin: float,
    tau: float,
    target: float,
    tau_cell: float,
    isotropic: bool = True,
) -> Ensemble:
    """Nosé-Hoover chains with a barostat, isotropic or for every component of the strain.

    Args:
        force, masses, dt: as for ``nve``.
        kelvin: temperature.
        tau: fs, period of the thermostats.
        target: pressure, eV/Å³.
        tau_cell: fs, period of the barostat: its inertia is (N_f + 3) kT τ² / 3 over (2π)².
        isotropic: keep the shape of the cell.

    Example:
        >>> from tripletjax.md.states import Mechanics
        >>> def free(positions, cell):
        ...     return Mechanics(jnp.zeros(()), 0 * positions, jnp.zeros((3, 3)))
        >>> masses, cell, at = jnp.ones(2), 10 * jnp.eye(3), jnp.zeros((2, 3))
        >>> ensemble = npt(free, masses, 0.5, 300.0, tau=100.0, target=0.001, tau_cell=1000.0)
        >>> count = jnp.zeros((), jnp.int32)
        >>> state = State(at, at, cell, free(at, cell), None, None, None, count)
        >>> state = jax.jit(ensemble.step)(ensemble.begin(state))
        >>> bool(jnp.linalg.det(state.cell) < 1000)  # pushed from outside
        True
    """
    count, kt = freedom(len(masses)), KB * kelvin
    inertia = (count + 3) * kt * (tau_cell / (2 * np.pi)) ** 2 / 3
    cell_count = 1 if isotropic else 6

    def begin(state: State) -> State:
        dtype = state.positions.dtype
        barostat = Barostat(jnp.zeros((3, 3), dtype), resting_chain(dtype))
        return state._replace(thermostat=resting_chain(dtype), barostat=barostat)

    def thermalised(state: State) -> State:
        cell = state.barostat
        doubled = jnp.sum(cell.momenta**2) / inertia
        cell_chain, cell_scale = chain_step(cell.chain, doubled, cell_count, kt, tau, 0.5 * dt)
        doubled = 2 * kinetic_energy(state.momenta, masses)
        chain, scale = chain_step(state.thermostat, doubled, count, kt, tau, 0.5 * dt)
        return state._replace(
            momenta=scale * state.momenta,
            thermostat=chain,
            barostat=Barostat(cell_scale * cell.momenta, cell_chain),
        )

    def strained(state: State) -> State:
        """The momenta of the cell, for half a step."""
        identity = jnp.eye(3, dtype=state.cell.dtype)
        push = volume(state.cell) * (pressure(state, masses) - target * identity)
        push += 2 * kinetic_energy(state.momenta, masses) / count * identity
        push = jnp.trace(push) / 3 * identity if isotropic else 0.5 * (push + push.T)
        momenta = state.barostat.momenta + 0.5 * dt * push
        return state._replace(barostat=state.barostat._replace(momenta=momenta))

    def kicked(state: State, rates: Array, axes: Array) -> State:
        """p' = F - (A + tr A / N_f) p, exactly, for half a step; A by its eigenvectors."""
        rates, time = rates + jnp.sum(rates) / count, 0.5 * dt
        momenta, forces = state.momenta @ axes, state.mechanics.forces @ axes
        # ∫ e^-λ(t-s) ds = t e^-λt/2 sinh(λt/2) / (λt/2)
        change = momenta * jnp.expm1(-rates * time)
        change += time * forces * jnp.exp(-0.5 * rates * time) * _sinhc(0.5 * rates * time)
        return state._replace(momenta=state.momenta + change @ axes.T)

    def drifted(state: State, rates: Array, axes: Array) -> State:
        """r' = p/m + A r and h' = A h, exactly, for a step."""
        growth = jnp.expm1(rates * dt)  # of increments: rounding must not rescale what moves little
        shift = dt * (state.momenta / masses[:, None]) @ axes
        shift *= jnp.exp(0.5 * rates * dt) * _sinhc(0.5 * rates * dt)
        shift += (state.positions @ axes) * growth
        return state._replace(
            positions=state.positions + shift @ axes.T,
            cell=state.cell + ((state.cell @ axes) * growth) @ axes.T,
        )

    def step(state: State) -> State:
        with jax.default_matmul_precision("highest"):
            state = strained(thermalised(state))
            strain = jnp.linalg.eigh(state.barostat.momenta / inertia)
            state = drifted(kicked(state, *strain), *strain)
            state = state._replace(mechanics=force(state.positions, state.cell))
            return thermalised(strained(kicked(state, *strain)))

    def conserved(state: State) -> Array:
        energy = state.mechanics.energy + kinetic_energy(state.momenta, masses)
        energy += target * volume(state.cell)
        energy += 0.5 * jnp.sum(state.barostat.momenta**2) / inertia
        energy += chain_energy(state.thermostat, count, kt, tau)
        return energy + chain_energy(state.barostat.chain, cell_count, kt, tau)

    return Ensemble(begin, step, conserved, count, moves_cell=True, needs_rest=True)


def _sinhc(x: Array) -> Array:
    """sinh(x) / x near zero, to 1e-16 for |x| < 0.1."""
    squared = x**2
    return 1 + squared / 6 * (1 + squared / 20 * (1 + squared / 42 * (1 + squared / 72)))
