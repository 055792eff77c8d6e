"""The compiled functions of a simulation: its start, a block of steps, and what is looked at."""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.md.ensembles import EnsembleMaker
from tripletjax.md.integrators import Ensemble
from tripletjax.md.lists import SkinList, mechanics, moved
from tripletjax.md.states import GPA, State, kinetic_energy, pressure, temperature, volume
from tripletjax.potentials.base import Potential
from tripletjax.types import Array, InputError


class Observed(NamedTuple):
    """What is looked at after a block."""

    conserved: Array  # eV
    kinetic: Array  # eV
    kelvin: Array
    pressure: Array  # [3, 3] eV/Å³
    volume: Array  # Å³
    moved: Array  # the most of the skin that was used up


@dataclass(frozen=True)
class Rules:
    """What the steps of a run depend on besides arrays; static under ``jit``."""

    ensemble: EnsembleMaker
    timestep: float  # fs
    skin: float  # Å

    def equations(self, potential: Potential, masses: Array, made: SkinList) -> Ensemble:
        """The equations of motion with the forces of a potential."""
        return self.ensemble(partial(mechanics, potential, made), masses, self.timestep)


@partial(jax.jit, static_argnums=0)
def begun(
    rules: Rules, potential: Potential, masses, made: SkinList, positions, momenta, cell, key
) -> State:
    """The state before the first step."""
    at_start = mechanics(potential, made, positions, cell)
    count = jnp.zeros((), jnp.int32)
    state = State(positions, momenta, cell, at_start, None, None, key, count)
    return rules.equations(potential, masses, made).begin(state)


@partial(jax.jit, static_argnums=0)
def advanced(
    rules: Rules, potential: Potential, masses, made: SkinList, state: State, count: int
) -> tuple[State, Observed]:
    """The state ``count`` steps later, or where the list no longer holds, and what is looked at."""
    ensemble = rules.equations(potential, masses, made)
    until = state.steps + count

    def goes_on(carry):
        state, most = carry
        return (state.steps < until) & (most <= 1)

    def body(carry):
        before, most = carry
        state = ensemble.step(before)
        require_same_shapes(before, state)
        state = state._replace(steps=before.steps + 1)
        at = state.positions, state.cell
        here = moved(made, *at, potential.cutoff, rules.skin, ensemble.moves_cell)
        return state, jnp.maximum(most, here)  # NaN stays NaN

    start = state, jnp.zeros((), state.positions.dtype)
    state, most = jax.lax.while_loop(goes_on, body, start)
    return state, _observed(ensemble, state, masses, most)


def require_same_shapes(before: State, after: Any) -> None:
    """Raise InputError at a step that returns anything but a state with the same shapes."""
    if not isinstance(after, State):
        raise InputError(
            f"invalid ensemble: its step returned a {type(after).__name__}; expected a State"
        )
    for name, *values in zip(State._fields, before, after, strict=True):
        kinds = [jax.tree.map(lambda x: (jnp.shape(x), jnp.result_type(x)), v) for v in values]
        if kinds[0] != kinds[1]:
            raise InputError(
                f"invalid ensemble: state.{name} is {_shown(values[0])} before a step and "
                f"{_shown(values[1])} after it; expected the same shapes and dtypes"
            )


def _shown(tree: Any) -> str:
    leaves = jax.tree.leaves(tree)
    return ", ".join(f"{jnp.result_type(x)}{list(jnp.shape(x))}" for x in leaves) or "None"


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
