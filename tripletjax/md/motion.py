"""Atoms on their way: the state of a run, and the neighbour list that serves it.

A block of steps is one call of a compiled function. A block during which atoms moved further than
the skin allows is done again from its beginning with a new neighbour list; one that ends hotter
than allowed, or not in numbers, is not accepted.
"""

from typing import Any

import ase.units
import jax.numpy as jnp
import numpy as np
from ase import Atoms

from tripletjax.md import blocks
from tripletjax.md.blocks import Observed
from tripletjax.md.files import snapshot
from tripletjax.md.lists import Lists
from tripletjax.md.places import near_origin, unwrapped
from tripletjax.md.setup import Setup
from tripletjax.md.states import State
from tripletjax.types import Array, SimulationError


class Motion:
    """The state of a run and its neighbour list; nothing is written here.

    Args:
        setup: what the run is.
    """

    def __init__(self, setup: Setup):
        self.setup = setup
        config, dtype = setup.config, setup.masses.dtype
        self.lists = Lists(setup.potential, setup.atoms, config.skin, dtype, config.devices)
        positions, momenta, cell, key, self.turns, self.cell = setup.start()
        self.made = self.lists.at(positions, cell)
        self.start = *setup.fixed, self.made, positions, momenta, cell, key
        self.state: State
        self.used = self.used_before = 0.0  # of the skin, in the last blocks
        self.is_fresh = True  # the list was made where the atoms are

    @property
    def step(self) -> int:
        """Number of steps done."""
        return int(self.state.steps)

    def begin(self) -> Observed:
        """The state before the first step."""
        self.state = blocks.begun(*self.start)
        return self.advanced(0)[1]

    def block(self, count: int) -> Observed:
        """Go on by some steps; with a new list, or in parts, where the list does not hold.

        Raises:
            SimulationError: the steps blew up; the state is the one before them.
        """
        end, most = self.step + count, count
        while True:
            if 2 * self.used - self.used_before > 1:  # it will not hold for as much again
                self.renew()
            begun = self.step
            state, observed = self.advanced(min(most, end - begun))
            if not float(observed.moved) <= 1:
                if not self.is_fresh:
                    self.renew()
                    continue
                held = int(state.steps) - begun - 1
                if held:
                    most = held
                    continue
            self.require_sound(state, observed)
            self.state, self.is_fresh = state, False
            self.used_before, self.used = self.used, float(observed.moved)
            if self.step == end:
                return observed

    def advanced(self, count: int) -> tuple[State, Observed]:
        """The state after some steps, if the list holds."""
        return blocks.advanced(*self.setup.fixed, self.made, self.state, count)

    def renew(self) -> None:
        """Make the neighbour list where the atoms are, which come back near the origin."""
        positions, self.turns = near_origin(
            self.state.positions, self.cell_now(), self.setup.atoms.pbc, before := self.turns
        )
        if (self.turns != before).any():  # else they keep their bits
            positions = jnp.asarray(positions, self.state.positions.dtype)
            self.state = self.state._replace(positions=positions)
        self.made = self.lists.at(self.state.positions, self.state.cell)
        self.used = self.used_before = 0.0
        self.is_fresh = True

    def unsound(self, observed: Observed) -> str:
        """Why a state cannot be continued from; empty if it can."""
        kelvin, moved = float(observed.kelvin), float(observed.moved)
        bound = self.setup.config.bound
        if not np.isfinite([kelvin, float(observed.conserved), moved]).all():
            return "its energy or temperature is not a finite number"
        if kelvin > bound:
            return f"{kelvin:.0f} K are above {bound:.0f} K"
        return ""

    def require_sound(self, state: State, observed: Observed) -> None:
        """Raise SimulationError at a state that has blown up."""
        why, advice = self.unsound(observed), "try a shorter timestep or a better potential"
        if not why and float(observed.moved) > 1:
            why = "an atom moved further than half the skin in one step"
            advice = "give a larger skin or a shorter timestep"
        if why:
            raise SimulationError(
                f"the simulation blew up by step {int(state.steps)}: {why}; {advice}"
            )

    def deviations(self) -> tuple[Array, Array]:
        """Standard deviations of the energy [] and the forces [N, 3]."""
        return blocks.deviations(self.setup.bare, self.made, self.state)

    def cell_now(self) -> np.ndarray:
        """In float64; where it does not change, without the rounding of the state."""
        changes = self.setup.ensemble.moves_cell
        return np.asarray(self.state.cell, np.float64) if changes else self.cell

    def row(self, observed: Observed) -> dict[str, Any]:
        """A row of the table."""
        setup = self.setup
        return blocks.row_of(
            observed, self.state, setup.config.timestep, setup.reference, setup.is_bulk
        )

    def frame(self) -> Atoms:
        """The structure as it is."""
        state, cell = self.state, self.cell_now()
        energy = float(state.mechanics.energy) + self.setup.reference
        momenta = np.asarray(state.momenta, float) * ase.units.fs
        return snapshot(
            self.setup.atoms, unwrapped(state.positions, self.turns, cell), momenta, cell, energy,
            state.mechanics.forces,
            step=self.step, time_fs=self.step * self.setup.config.timestep,
        )  # fmt: skip
