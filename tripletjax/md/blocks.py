"""The compiled functions of a simulation: its start, a block of steps, and what is looked at."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.md.config import MDConfig
from tripletjax.md.ensembles import ensemble_of
from tripletjax.md.integrators import Ensemble
from tripletjax.md.lists import SkinList, mechanics, moved
from tripletjax.md.states import GPA, Force, State, kinetic_energy, pressure, temperature, volume
from tripletjax.potentials.base import Potential
from tripletjax.types import Array


class Observed(NamedTuple):
    """What is looked at after a block."""

    conserved: Array  # eV
    kinetic: Array  # eV
    kelvin: Array
    pressure: Array  # [3, 3] eV/Å³
    volume: Array  # Å³
    moved: Array  # the most of the skin that was used up


@partial(jax.jit, static_argnums=0)
def begun(
    config: MDConfig, potential: Potential, masses, made, positions, momenta, cell, key
) -> State:
    """The state before the first step."""
    force: Force = partial(mechanics, potential, made)
    count = jnp.zeros((), jnp.int32)
    state = State(positions, momenta, cell, force(positions, cell), None, None, key, count)
    return ensemble_of(config, force, masses).begin(state)


@partial(jax.jit, static_argnums=0)
def advanced(
    config: MDConfig, potential: Potential, masses, made: SkinList, state: State, count: int
) -> tuple[State, Observed]:
    """The state ``count`` steps later, or where the list no longer holds, and what is looked at."""
    ensemble = ensemble_of(config, partial(mechanics, potential, made), masses)
    until = state.steps + count

    def goes_on(carry):
        state, most = carry
        return (state.steps < until) & (most <= 1)

    def body(carry):
        state, most = carry
        state = ensemble.step(state)
        at = state.positions, state.cell
        here = moved(made, *at, potential.cutoff, config.skin, config.ensemble == "npt")
        return state, jnp.maximum(most, here)  # NaN stays NaN

    start = state, jnp.zeros((), state.positions.dtype)
    state, most = jax.lax.while_loop(goes_on, body, start)
    return state, _observed(ensemble, state, masses, most)


def _observed(ensemble: Ensemble, state: State, masses: Array, most: Array) -> Observed:
    return Observed(
        conserved=ensemble.conserved(state),
        kinetic=kinetic_energy(state.momenta, masses),
        kelvin=temperature(state.momenta, masses, ensemble.degrees_of_freedom),
        pressure=pressure(state, masses),
        volume=volume(state.cell),
        moved=most,
    )


def row_of(
    observed: Observed, state: State, timestep: float, reference: float, is_bulk: bool
) -> dict[str, Any]:
    """A row of the table, with the reference energy (eV); pressure and volume of bulk alone."""
    step, pressures = int(state.steps), np.asarray(observed.pressure, float)
    return {
        "step": step,
        "time_fs": step * timestep,
        "potential_eV": float(state.mechanics.energy) + reference,
        "kinetic_eV": float(observed.kinetic),
        "conserved_eV": float(observed.conserved) + reference,
        "temperature_K": float(observed.kelvin),
        "pressure_GPa": float(np.trace(pressures) / 3 / GPA) if is_bulk else np.nan,
        "volume_A3": float(observed.volume) if is_bulk else np.nan,
    }


def deviations(potential: Potential, made: SkinList, state: State) -> tuple[Array, Array]:
    """Standard deviations of the energy [] and the forces [N, 3]."""
    found = potential.deviations(made.moved_to(state.positions, state.cell))
    return found.energy[0], found.forces
