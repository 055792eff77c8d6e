"""One step in time, for each ensemble: pure functions of the state, made once for all steps.

A step is a product of exact solutions of parts of the equations of motion, the same forth and
back, so that it is reversible and its error falls as dt². What is conserved is given with it.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.md.states import KB, Force, State, kinetic_energy
from tripletjax.types import Array

CHAIN = 3  # links of a Nosé-Hoover chain
# Parts of a step of the chain that cancel errors up to the fourth order (Suzuki, Yoshida).
_OUTER = 1 / (2 - 2 ** (1 / 3))
PARTS = (_OUTER, 1 - 2 * _OUTER, _OUTER)


class Ensemble(NamedTuple):
    """How a state begins, goes on, and what stays the same meanwhile.

    ``begin`` fills ``state.thermostat`` and ``state.barostat`` with pytrees of arrays, or leaves
    them None. ``step`` returns a state of the same shapes, with ``mechanics`` at its positions and
    cell; random numbers come from ``state.key``, which it replaces. The driver counts the steps.
    """

    begin: Callable[[State], State]
    step: Callable[[State], State]
    conserved: Callable[[State], Array]  # [] eV
    degrees_of_freedom: int  # that hold kT/2 each
    moves_cell: bool = False  # the cell changes: it must be periodic in all directions
    needs_rest: bool = False  # the total momentum must be zero, and stays so


class Chain(NamedTuple):
    """A Nosé-Hoover chain: a thermostat with a thermostat of its own, and so on."""

    positions: Array  # [M]
    momenta: Array  # [M] eV fs


def nve(force: Force, masses: Array, dt: float) -> Ensemble:
    """Velocity Verlet: energy, volume and total momentum are constant.

    Args:
        force: energy, forces and stress at positions and cell.
        masses: ``[N]`` eV fs²/Å².
        dt: fs.

    Example:
        >>> from tripletjax.md.states import Mechanics
        >>> def spring(positions, cell):
        ...     return Mechanics(0.5 * jnp.sum(positions**2), -positions, jnp.zeros((3, 3)))
        >>> masses, cell = jnp.ones(1), jnp.eye(3)
        >>> ensemble = nve(spring, masses, dt=0.1)
        >>> at = jnp.array([[1.0, 0.0, 0.0]])
        >>> state = State(at, 0 * at, cell, spring(at, cell), None, None, None, 0)
        >>> for _ in range(63):
        ...     state = ensemble.step(state)
        >>> bool(abs(state.positions[0, 0] - 1) < 0.01)
        True
    """

    def conserved(state: State) -> Array:
        return state.mechanics.energy + kinetic_energy(state.momenta, masses)

    def step(state: State) -> State:
        state = _kicked(state, 0.5 * dt)
        state = _drifted(state, masses, dt)
        state = state._replace(mechanics=force(state.positions, state.cell))
        return _kicked(state, 0.5 * dt)

    return Ensemble(lambda state: state, step, conserved, freedom(len(masses)))


def nvt_langevin(
    force: Force, masses: Array, dt: float, kelvin: float, friction: float
) -> Ensemble:
    """Langevin dynamics, p' = F - γp + noise, in the order B A O A B.

    All 3N momenta are canonical, the total one included. The conserved quantity is the
    energy less the heat from the bath.

    Args:
        force, masses, dt: as for ``nve``.
        kelvin: temperature.
        friction: γ in 1/fs.

    Example:
        >>> from tripletjax.md.states import Mechanics
        >>> def free(positions, cell):
        ...     return Mechanics(jnp.zeros(()), 0 * positions, jnp.zeros((3, 3)))
        >>> ensemble = nvt_langevin(free, jnp.ones(2), 1.0, kelvin=300.0, friction=0.01)
        >>> at, cell, count = jnp.zeros((2, 3)), jnp.eye(3), jnp.zeros((), jnp.int32)
        >>> key = jax.random.key_data(jax.random.key(0))
        >>> state = State(at, at, cell, free(at, cell), None, None, key, count)
        >>> state = jax.jit(ensemble.step)(ensemble.begin(state))
        >>> heat = kinetic_energy(state.momenta, jnp.ones(2)) - state.thermostat
        >>> bool(abs(heat) < 1e-6)  # all that moves is heat of the bath
        True

    Source: B. Leimkuhler and C. Matthews, Appl. Math. Res. Express 2013, 34 (2013).
    """
    kept = float(np.exp(-friction * dt))
    spread = float(np.sqrt((1 - kept**2) * KB * kelvin))

    def begin(state: State) -> State:
        return state._replace(thermostat=jnp.zeros((), state.positions.dtype))  # heat so far, eV

    def step(state: State) -> State:
        state = _drifted(_kicked(state, 0.5 * dt), masses, 0.5 * dt)
        before = kinetic_energy(state.momenta, masses)
        key, now = jax.random.split(jax.random.wrap_key_data(jnp.asarray(state.key)))
        noise = jax.random.normal(now, state.momenta.shape, state.momenta.dtype)
        momenta = kept * state.momenta + spread * jnp.sqrt(masses)[:, None] * noise
        heat = state.thermostat + kinetic_energy(momenta, masses) - before
        state = state._replace(momenta=momenta, thermostat=heat, key=jax.random.key_data(key))
        state = _drifted(state, masses, 0.5 * dt)
        state = state._replace(mechanics=force(state.positions, state.cell))
        return _kicked(state, 0.5 * dt)

    def conserved(state: State) -> Array:
        energy = state.mechanics.energy + kinetic_energy(state.momenta, masses)
        return energy - state.thermostat

    return Ensemble(begin, step, conserved, 3 * len(masses))


def nvt_nose_hoover(force: Force, masses: Array, dt: float, kelvin: float, tau: float) -> Ensemble:
    """A Nosé-Hoover chain on the kinetic energy: canonical, deterministic, reversible.

    Args:
        force, masses, dt: as for ``nve``.
        kelvin: temperature.
        tau: fs, period of the thermostat.

    Example:
        >>> from tripletjax.md.states import Mechanics
        >>> def free(positions, cell):
        ...     return Mechanics(jnp.zeros(()), 0 * positions, jnp.zeros((3, 3)))
        >>> ensemble = nvt_nose_hoover(free, jnp.ones(2), 1.0, kelvin=300.0, tau=50.0)
        >>> at, cell, count = jnp.zeros((2, 3)), jnp.eye(3), jnp.zeros((), jnp.int32)
        >>> hot = jnp.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
        >>> state = State(at, hot, cell, free(at, cell), None, None, None, count)
        >>> state = jax.jit(ensemble.step)(ensemble.begin(state))
        >>> bool(kinetic_energy(state.momenta, jnp.ones(2)) < 1)  # it cools
        True

    Source: G. J. Martyna, M. E. Tuckerman, D. J. Tobias and M. L. Klein, Mol. Phys. 87, 1117
    (1996).
    """
    count, kt = freedom(len(masses)), KB * kelvin
    inner = nve(force, masses, dt)

    def begin(state: State) -> State:
        return state._replace(thermostat=resting_chain(state.positions.dtype))

    def thermalised(state: State) -> State:
        doubled = 2 * kinetic_energy(state.momenta, masses)
        chain, scale = chain_step(state.thermostat, doubled, count, kt, tau, 0.5 * dt)
        return state._replace(momenta=scale * state.momenta, thermostat=chain)

    def step(state: State) -> State:
        return thermalised(inner.step(thermalised(state)))

    def conserved(state: State) -> Array:
        return inner.conserved(state) + chain_energy(state.thermostat, count, kt, tau)

    return Ensemble(begin, step, conserved, count, needs_rest=True)


def freedom(n_atoms: int) -> int:
    """Degrees of freedom of atoms whose total momentum is zero and stays so."""
    return 3 * n_atoms - 3 if n_atoms > 1 else 3


def resting_chain(dtype) -> Chain:
    """At the start."""
    return Chain(jnp.zeros(CHAIN, dtype), jnp.zeros(CHAIN, dtype))


def chain_step(
    chain: Chain, doubled: Array, count: int, kt: float, tau: float, dt: float
) -> tuple[Chain, Array]:
    """A chain goes on by dt; how it scales the momenta that it is coupled to.

    Args:
        chain: as it is.
        doubled: Σ p²/m of these momenta, eV.
        count: how many they are.
        kt: eV.
        tau: fs; the masses are count · kT τ² and kT τ², over (2π)².
        dt: fs.
    """
    inertia = chain_masses(count, kt, tau)
    position, momentum = chain.positions, list(chain.momenta)
    scale = jnp.ones_like(doubled)

    def pushed(link: int, time: float) -> None:
        """dp_i/dt = G_i - p_i p_i+1 / Q_i+1 for half the time, damped before and after."""
        if link:
            push = momentum[link - 1] ** 2 / inertia[link - 1] - kt
        else:
            push = doubled * scale**2 - count * kt
        damping = 1.0
        if link + 1 < CHAIN:
            damping = jnp.exp(-0.25 * time * momentum[link + 1] / inertia[link + 1])
        momentum[link] = damping * (damping * momentum[link] + 0.5 * time * push)

    for part in PARTS:
        time = part * dt
        for link in reversed(range(CHAIN)):
            pushed(link, time)
        scale = scale * jnp.exp(-time * momentum[0] / inertia[0])
        position = position + time * jnp.stack(momentum) / jnp.asarray(inertia, position.dtype)
        for link in range(CHAIN):
            pushed(link, time)
    return Chain(position, jnp.stack(momentum)), scale


def chain_energy(chain: Chain, count: int, kt: float, tau: float) -> Array:
    """What the chain adds to the conserved quantity, eV."""
    inertia = jnp.asarray(chain_masses(count, kt, tau), chain.momenta.dtype)
    weights = jnp.asarray([count * kt] + [kt] * (CHAIN - 1), chain.positions.dtype)
    return jnp.sum(0.5 * chain.momenta**2 / inertia + weights * chain.positions)


def chain_masses(count: int, kt: float, tau: float) -> list[float]:
    """Inertia of the links, eV fs²."""
    unit = kt * (tau / (2 * np.pi)) ** 2
    return [float(count * unit)] + [float(unit)] * (CHAIN - 1)


def _kicked(state: State, time: float) -> State:
    return state._replace(momenta=state.momenta + time * state.mechanics.forces)


def _drifted(state: State, masses: Array, time: float) -> State:
    return state._replace(positions=state.positions + time * state.momenta / masses[:, None])
