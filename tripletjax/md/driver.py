"""Runs a simulation in blocks of steps, each one call of a compiled function.

A block during which atoms moved further than the skin allows is done again from its beginning with
a new neighbour list; one that ends hotter than allowed, or not in numbers, ends the run.
"""

import json
import logging
import time
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import ase.units
import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms

from tripletjax.io import checksum, provenance, require_unused, save_json, to_json
from tripletjax.md import blocks
from tripletjax.md.blocks import Observed
from tripletjax.md.clock import Clock
from tripletjax.md.config import MDConfig, check_overlap, check_start
from tripletjax.md.files import (
    FINAL,
    LAST_GOOD,
    RECORD,
    RESTART,
    UNCERTAIN,
    Output,
    killed_at_once,
    save_frame,
    snapshot,
)
from tripletjax.md.lists import Lists
from tripletjax.md.states import GPA, State, masses_of, thermal_momenta, without_drift
from tripletjax.neighbors import float_type, full_cell
from tripletjax.potential import Potential
from tripletjax.progress import progress_bar
from tripletjax.training.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from tripletjax.types import Array, InputError
from tripletjax.uncertainty import Committee, potential_of

log = logging.getLogger(__name__)
SECONDS_A_SAVE = 5.0
PLAIN = MDConfig()
# What no step depends on.
OUTSIDE = ("steps", "log_every", "write_every", "max_temperature", "max_force_std", "seed")
FREE = ("steps", "max_temperature", "max_force_std")  # may be others when a run goes on


def simulate(
    model: Potential | Committee,
    atoms: Atoms,
    folder: str | Path,
    config: MDConfig | None = None,
    *,
    restart: bool = False,
    force: bool = False,
    show: bool = True,
    dtype=None,
) -> Atoms:
    """Run molecular dynamics and write it to a folder.

    The folder gets ``thermo.csv``, ``trajectory.xyz`` (with momenta, energies and forces),
    ``final.xyz``, ``md.json`` and the state from which ``restart`` goes on.

    Args:
        model: the potential; with a committee ``thermo.csv`` has standard deviations too. Forces
            are those of its ``potential``, once a step: with a committee of several fits that is
            the first one, and the deviations are about the mean of all.
        atoms: to start from; its momenta are used if it has any, and else drawn.
        folder: to write; must be unused, unless ``restart`` or ``force`` is given.
        config: settings; None: the defaults.
        restart: go on from the state in the folder, if there is one.
        force: replace an earlier run in the folder; other files in it stay.
        show: a progress bar.
        dtype: float32 or float64; None: JAX's default float.

    Returns:
        The last frame.

    Raises:
        InputError: a structure or folder that cannot be used, or a simulation that blew up.

    Example:
        >>> import tempfile
        >>> from tripletjax.models import Architecture
        >>> from tripletjax.potential import untrained
        >>> sizes = Architecture(cutoff=3.0, l_max=1, n_radial=2, channels=2, units=4, width=4)
        >>> hydrogen = Atoms("H2", [[0, 0, 0], [0, 0, 0.74]])
        >>> config = MDConfig(steps=2, timestep=0.1, log_every=1, write_every=1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model = untrained([1], sizes, scale=0.01)
        ...     final = simulate(model, hydrogen, f"{folder}/run", config, show=False)
        >>> final.info["step"]
        2
    """
    folder, config = Path(folder), config or MDConfig()
    if restart and force:
        raise InputError("restart goes on with a run, force replaces it; give one of them")
    if config.max_force_std is not None and isinstance(model, Potential):
        raise InputError("max_force_std needs a model with uncertainties; give a committee")
    potential_of(model).require_known([atoms])
    check_start(atoms, config)
    resumes = restart and (folder / RESTART).is_file()
    if not resumes:
        check_overlap(atoms)
        require_unused(folder, force or (restart and killed_at_once(folder)))
    dtype = float_type(dtype)
    with jax.enable_x64(True) if dtype == np.float64 else nullcontext():
        run = _Run(model, atoms, config, folder, dtype)
        with run.output:
            sure = run.resume() if resumes else run.open()
            return run.run(show, sure)


class _Run:
    """A run and where it stands."""

    def __init__(self, model, atoms: Atoms, config: MDConfig, folder: Path, dtype):
        self.model, self.template, self.config, self.folder = model, atoms, config, folder
        self.output = Output(folder)
        potential = potential_of(model)
        self.static, self.fitted = potential.split()
        self.references = np.asarray(potential.references)
        self.reference = potential.reference(atoms)
        masses = masses_of(atoms)
        self.masses = jnp.asarray(masses, dtype)
        self.lists = Lists(potential, atoms, config.skin, dtype)
        momenta = atoms.get_momenta() / ase.units.fs
        if not atoms.has("momenta"):
            momenta = thermal_momenta(masses, config.temperature, config.seed)
        if config.keeps_momentum:
            momenta = without_drift(momenta, masses)
        positions, momenta, cell = (
            jnp.asarray(array, dtype) for array in (atoms.positions, momenta, full_cell(atoms))
        )
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
        return self.static, config, self.fitted, self.masses

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
        like = blocks.begun.eval_shape(*self.start), (self.made.positions, self.made.cell)
        found = load_checkpoint(self.folder / RESTART, like, self.settings)
        self.state, (positions, cell) = found.state, found.best
        self.lists.width, self.used, self.used_before = found.record["list"]
        self.made, self.is_fresh = self.lists.at(positions, cell), False
        self.output.go_on(found.record["lengths"])
        return self.config.max_force_std is None or self.is_sure(self.deviations()[1])

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What must be equal for a run to be the same one; FREE settings may be others."""
        settings = {name: value for name, value in asdict(self.config).items() if name not in FREE}
        settings |= {
            "structure": str(self.template.symbols),
            "pbc": self.template.pbc.tolist(),
            "start's cell": checksum(self.template.cell.array),
            "masses": checksum(self.template.get_masses()),
            "model": checksum((self.model.split()[1], self.references)),
            "uncertainty": isinstance(self.model, Committee),
            "dtype": str(self.masses.dtype),
        }
        return json.loads(to_json(settings))

    def save(self) -> None:
        """What ``resume`` reads: the list too, without which sums would be in another order."""
        record = {
            "settings": self.settings,
            "lengths": self.output.lengths(),
            "list": (self.lists.width, self.used, self.used_before),
        }
        made = self.made.positions, self.made.cell
        save_checkpoint(self.folder / RESTART, Checkpoint(self.state, made, record))

    def run(self, show: bool, sure: bool) -> Atoms:
        """Until the steps are done, or the model is too unsure."""
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
                bar.update(count)
                bar.set_postfix_str(f"{float(observed.kelvin):.0f} K, {clock}")
        final = self.frame()
        save_frame(self.folder / FINAL, final)
        record = {"settings": asdict(config) | self.settings, "steps": done}
        record |= {"us_per_atom_step": clock.cost() or self.earlier_cost()}
        save_json(self.folder / RECORD, record | provenance())
        return final

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
        """Make the neighbour list where the atoms are."""
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
        self.save()
        raise InputError(
            f"the simulation blew up by step {int(state.steps)}: {why}; the state at step "
            f"{int(self.state.steps)} is in {self.folder / LAST_GOOD}; {advice}"
        )

    def write(self, observed: Observed) -> bool:
        """Append a row, and a frame when one is due; whether the model is sure enough to go on."""
        state, step = self.state, int(self.state.steps)
        pressures, is_bulk = np.asarray(observed.pressure, float), self.template.pbc.all()
        row: dict[str, Any] = {
            "step": step,
            "time_fs": step * self.config.timestep,
            "potential_eV": float(state.mechanics.energy) + self.reference,
            "kinetic_eV": float(observed.kinetic),
            "conserved_eV": float(observed.conserved) + self.reference,
            "temperature_K": float(observed.kelvin),
            "pressure_GPa": float(np.trace(pressures) / 3 / GPA) if is_bulk else np.nan,
            "volume_A3": float(observed.volume) if is_bulk else np.nan,
        }
        sure = True
        if isinstance(self.model, Committee):
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
        assert isinstance(self.model, Committee)
        static, arrays = self.model.split()
        return blocks.deviations(static, arrays, self.made, self.state.positions, self.state.cell)

    def frame(self) -> Atoms:
        """The structure as it is."""
        state = self.state
        energy = float(state.mechanics.energy) + self.reference
        arrays = state.positions, np.asarray(state.momenta, float) * ase.units.fs, state.cell
        return snapshot(
            self.template, *arrays, energy, state.mechanics.forces,
            step=int(state.steps), time_fs=int(state.steps) * self.config.timestep,
        )  # fmt: skip
