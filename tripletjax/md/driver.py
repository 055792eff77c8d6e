"""Runs a simulation in blocks of steps, each one call of a compiled function.

A block during which atoms moved further than the skin allows is done again from its beginning with
a new neighbour list; one that ends hotter than allowed, or not in numbers, ends the run.
"""

import json
import logging
import time
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import ase.units
import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms

from tripletjax.io import checksum, provenance, save_json, to_json
from tripletjax.md import blocks
from tripletjax.md.blocks import Observed
from tripletjax.md.clock import Clock
from tripletjax.md.config import MDConfig
from tripletjax.md.files import (
    FINAL,
    LAST_GOOD,
    RECORD,
    RESTART,
    UNCERTAIN,
    Output,
    save_frame,
    snapshot,
)
from tripletjax.md.lists import Lists
from tripletjax.md.places import near_origin, unwrapped
from tripletjax.md.states import State, masses_of, thermal_momenta, without_drift
from tripletjax.neighbors import full_cell
from tripletjax.potentials.base import Potential
from tripletjax.progress import progress_bar
from tripletjax.training.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from tripletjax.types import Array, InputError, SimulationError

log = logging.getLogger(__name__)
SECONDS_A_SAVE = 5.0
PLAIN = MDConfig()
# What no step depends on.
OUTSIDE = ("steps", "log_every", "write_every", "max_temperature", "max_force_std", "seed")
FREE = ("steps", "max_temperature", "max_force_std")  # may be others when a run goes on


class Run:
    """A run and where it stands.

    Args:
        model: as ``simulate`` has it.
        atoms: to start from, checked.
        origin: what they were minimised from.
        config: settings.
        folder: to write.
        dtype: of the state.
        uncertainty: write standard deviations.
    """

    def __init__(
        self,
        model: Potential,
        atoms: Atoms,
        origin: Atoms,
        config: MDConfig,
        folder: Path,
        dtype,
        uncertainty: bool,
    ):
        self.uncertainty = uncertainty
        self.model, self.template, self.origin = model, atoms, origin
        self.config, self.folder = config, folder
        self.output = Output(folder)
        self.bare = model.without_references
        self.reference = model.reference(atoms)
        masses = masses_of(atoms)
        self.masses = jnp.asarray(masses, dtype)
        self.lists = Lists(model, atoms, config.skin, dtype)
        momenta = atoms.get_momenta() / ase.units.fs
        if not atoms.has("momenta"):
            momenta = thermal_momenta(masses, config.temperature, config.seed)
        if config.keeps_momentum:
            momenta = without_drift(momenta, masses)
        self.cell = full_cell(atoms)  # in float64, for positions that are written
        at, self.turns = near_origin(atoms.positions, self.cell, atoms.pbc)
        positions, momenta, cell = (jnp.asarray(array, dtype) for array in (at, momenta, self.cell))
        self.made = self.lists.at(positions, cell)
        key = jax.random.key_data(jax.random.key(config.seed))
        self.start = *self.fixed, self.made, positions, momenta, cell, key
        self.state: State
        self.used = self.used_before = 0.0  # of the skin, in the last blocks
        self.is_fresh = True  # the list was made where the atoms are

    @cached_property
    def fixed(self) -> tuple:
        """The arguments that every compiled function has; one program for runs of any length."""
        config = replace(self.config, **{name: getattr(PLAIN, name) for name in OUTSIDE})
        return config, self.bare, self.masses

    def open(self) -> bool:
        """Begin in an empty folder; whether the model is sure enough to go on."""
        self.state = blocks.begun(*self.start)
        _, observed = self.advanced(0)
        why = self.unsound(observed)
        if why:
            raise InputError(
                f"the start cannot be used: {why}; minimise it, check the model, or give a larger "
                "max_temperature"
            )
        record = {"settings": self.settings} | provenance()
        self.output.begin()
        save_json(self.folder / RECORD, record)
        sure = self.write(observed)
        self.save()
        return sure

    def resume(self) -> bool:
        """Go on where the folder's run was saved, with the list that it had; as ``open``."""
        like = blocks.begun.eval_shape(*self.start), (*self.made[1:], self.turns)
        found = load_checkpoint(self.folder / RESTART, like, self.settings)
        self.state, (positions, cell, turns) = found.state, found.best
        self.turns, self.cell = np.asarray(turns), np.asarray(found.record["cell"])
        self.lists.width, self.used, self.used_before = found.record["list"]
        self.made, self.is_fresh = self.lists.at(positions, cell), False
        self.output.go_on(found.record["lengths"])
        self.mark()
        self.saved = int(self.state.steps)
        log.info("continuing from step %d", self.saved)
        return self.config.max_force_std is None or self.is_sure(self.deviations()[1])

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What must be equal for a run to be the same one; FREE settings may be others."""
        settings = {name: value for name, value in asdict(self.config).items() if name not in FREE}
        settings |= {
            "structure": str(self.template.symbols),
            "pbc": self.template.pbc.tolist(),
            "start's cell": checksum(self.origin.cell.array),
            "start's positions": checksum(self.origin.positions),
            "start's momenta": checksum(self.origin.get_momenta()),
            "masses": checksum(self.template.get_masses()),
            "model": checksum((self.model.weights, self.model.scale, self.model.references)),
            "uncertainty": self.uncertainty,
            "dtype": str(self.masses.dtype),
        }
        return json.loads(to_json(settings))

    def mark(self) -> None:
        """Remember what ``save`` writes: the list too, or sums would be in another order."""
        record = {
            "settings": self.settings,
            "lengths": self.output.lengths(),
            "list": (self.lists.width, self.used, self.used_before),
            "cell": self.cell.tolist(),
        }
        made = self.made.positions, self.made.cell, self.turns
        self.marked = Checkpoint(self.state, made, record)

    def save(self) -> None:
        """Write the state of the last mark, from which ``resume`` goes on."""
        save_checkpoint(self.folder / RESTART, self.marked)
        self.saved = int(self.marked.state.steps)

    def run(self, show: bool, sure: bool) -> Atoms:
        """Until the steps are done, or the model is too unsure."""
        try:
            clock = self.advance(show, sure)
        except KeyboardInterrupt:
            self.save()  # of the last row: the block that was interrupted is done again
            raise KeyboardInterrupt(
                f"interrupted at step {self.saved}; its state is in {self.folder / RESTART}: give "
                "the same command with resume to continue"
            ) from None
        except OSError as error:
            reason = f"{error.strerror or error}; resume continues from step {self.saved}"
            raise OSError(error.errno, reason, error.filename) from error
        final = self.frame()
        save_frame(self.folder / FINAL, final)
        record = {"settings": asdict(self.config) | self.settings, "steps": int(self.state.steps)}
        record |= {"us_per_atom_step": clock.cost() or self.earlier_cost()}
        save_json(self.folder / RECORD, record | provenance())
        return final

    def advance(self, show: bool, sure: bool) -> Clock:
        """The steps, a row at a time; their cost."""
        config = self.config
        done, saved, clock = int(self.state.steps), time.monotonic(), Clock(len(self.template))
        with progress_bar(total=config.steps, initial=done, unit="step", disable=not show) as bar:
            while sure and done < config.steps:
                count = min(config.log_every - done % config.log_every, config.steps - done)
                began = time.monotonic()
                observed = self.block(count)
                clock.add(time.monotonic() - began, count, self.lists.width)
                done = int(self.state.steps)
                sure = self.write(observed)
                if not sure or done == config.steps or time.monotonic() - saved > SECONDS_A_SAVE:
                    self.save()
                    saved = time.monotonic()
                bar.set_postfix_str(f"{float(observed.kelvin):.0f} K, {clock}", refresh=False)
                bar.update(count)
        return clock

    def block(self, count: int) -> Observed:
        """Go on by some steps; with a new list, or in parts, where the list does not hold."""
        end, most = int(self.state.steps) + count, count
        while True:
            if 2 * self.used - self.used_before > 1:  # it will not hold for as much again
                self.renew()
            begun = int(self.state.steps)
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
            if int(state.steps) == end:
                return observed

    def advanced(self, count: int) -> tuple[State, Observed]:
        """The state after some steps, if the list holds."""
        return blocks.advanced(*self.fixed, self.made, self.state, count)

    def renew(self) -> None:
        """Make the neighbour list where the atoms are, which come back near the origin."""
        positions, self.turns = near_origin(
            self.state.positions, self.cell_now(), self.template.pbc, before := self.turns
        )
        if (self.turns != before).any():  # else they keep their bits
            positions = jnp.asarray(positions, self.state.positions.dtype)
            self.state = self.state._replace(positions=positions)
        self.made = self.lists.at(self.state.positions, self.state.cell)
        self.used = self.used_before = 0.0
        self.is_fresh = True

    def unsound(self, observed: Observed) -> str:
        """Why a state cannot be gone on from; empty if it can."""
        kelvin, bound, moved = float(observed.kelvin), self.config.bound, float(observed.moved)
        if not np.isfinite([kelvin, float(observed.conserved), moved]).all():
            return "its energy or temperature is not a finite number"
        if kelvin > bound:
            return f"{kelvin:.0f} K are above {bound:.0f} K"
        return ""

    def require_sound(self, state: State, observed: Observed) -> None:
        """Stop, keeping the last good state, if the run has blown up."""
        why, advice = self.unsound(observed), "try a shorter timestep or a better potential"
        if not why and float(observed.moved) > 1:
            why = "an atom moved further than half the skin in one step"
            advice = "give a larger skin or a shorter timestep"
        if not why:
            return
        save_frame(self.folder / LAST_GOOD, self.frame())
        self.mark()
        self.save()
        raise SimulationError(
            f"the simulation blew up by step {int(state.steps)}: {why}; the state at step "
            f"{int(self.state.steps)} is in {self.folder / LAST_GOOD}; {advice}"
        )

    def write(self, observed: Observed) -> bool:
        """Append a row, and a frame when one is due; whether the model is sure enough to go on."""
        step = int(self.state.steps)
        row = blocks.row_of(
            observed,
            self.state,
            self.config.timestep,
            self.reference,
            bool(self.template.pbc.all()),
        )
        sure = True
        if self.uncertainty:
            energy, forces = map(np.asarray, self.deviations())
            row |= {"energy_std_eV": float(energy), "max_force_std_eV_per_A": float(forces.max())}
            sure = self.is_sure(forces)
        self.output.row(row)
        if step % self.config.write_every == 0:
            self.output.frame(self.frame())
        if not sure:
            save_frame(self.folder / UNCERTAIN, self.frame())
            log.warning(
                "stopped at step %d: standard deviation of a force %.3g eV/Å; the frame is in %s",
                step, row["max_force_std_eV_per_A"], self.folder / UNCERTAIN,
            )  # fmt: skip
        self.mark()
        return sure

    def is_sure(self, deviations: Array) -> bool:
        """Whether the standard deviations of the forces are within the limit, if there is one."""
        limit = self.config.max_force_std
        return limit is None or float(np.max(deviations)) <= limit

    def earlier_cost(self) -> float | None:
        """µs/atom/step of the run that was gone on with, if this one was too short to tell."""
        path = self.folder / RECORD
        return json.loads(path.read_text()).get("us_per_atom_step") if path.is_file() else None

    def deviations(self) -> tuple[Array, Array]:
        """Standard deviations of the energy [] and the forces [N, 3]."""
        return blocks.deviations(self.bare, self.made, self.state)

    def cell_now(self) -> np.ndarray:
        """In float64; where it does not change, without the rounding of the state."""
        changes = self.config.ensemble == "npt"
        return np.asarray(self.state.cell, np.float64) if changes else self.cell

    def frame(self) -> Atoms:
        """The structure as it is."""
        state, cell = self.state, self.cell_now()
        energy = float(state.mechanics.energy) + self.reference
        momenta = np.asarray(state.momenta, float) * ase.units.fs
        return snapshot(
            self.template, unwrapped(state.positions, self.turns, cell), momenta, cell, energy,
            state.mechanics.forces,
            step=int(state.steps), time_fs=int(state.steps) * self.config.timestep,
        )  # fmt: skip
