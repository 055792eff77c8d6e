"""Runs a simulation: a block of steps a row, what is written after it, and where it stops."""

import json
import logging
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from ase import Atoms

from tripletjax.io import provenance, save_json
from tripletjax.md.blocks import Observed
from tripletjax.md.clock import Clock
from tripletjax.md.files import (
    FINAL,
    LAST_GOOD,
    RECORD,
    RESTART,
    UNCERTAIN,
    Output,
    save_frame,
)
from tripletjax.md.motion import Motion
from tripletjax.md.restarts import Restart
from tripletjax.md.setup import Setup
from tripletjax.progress import progress_bar
from tripletjax.types import Array, InputError, SimulationError

log = logging.getLogger(__name__)
SECONDS_A_SAVE = 5.0


class Run:
    """A run in its folder.

    Args:
        setup: what it is.
        folder: to write.
    """

    def __init__(self, setup: Setup, folder: Path):
        self.setup, self.config, self.folder = setup, setup.config, folder
        self.motion = Motion(setup)
        self.output = Output(folder)
        self.restart = Restart(folder / RESTART)

    def open(self) -> bool:
        """Begin in an empty folder; whether the model is sure enough to go on."""
        observed = self.motion.begin()
        why = self.motion.unsound(observed)
        if why:
            raise InputError(
                f"the start cannot be used: {why}; minimise it, check the model, or give a larger "
                "max_temperature"
            )
        self.output.begin()
        save_json(self.folder / RECORD, {"settings": self.setup.settings} | provenance())
        sure = self.write(observed)
        self.restart.save()
        return sure

    def resume(self) -> bool:
        """Go on where the folder's run was saved; as ``open``."""
        self.output.go_on(self.restart.load(self.motion))
        self.mark()
        log.info("continuing from step %d", self.motion.step)
        return self.config.max_force_std is None or self.is_sure(self.motion.deviations()[1])

    def mark(self) -> None:
        """Remember the state beside what is written so far."""
        self.restart.mark(self.motion, self.output.lengths())

    def run(self, show: bool, sure: bool) -> Atoms:
        """Until the steps are done, or the model is too unsure."""
        try:
            clock = self.advance(show, sure)
        except KeyboardInterrupt:
            self.restart.save()  # of the last row: the block that was interrupted is done again
            raise KeyboardInterrupt(
                f"interrupted at step {self.restart.step}; its state is in {self.restart.path}: "
                "give the same command with resume to continue"
            ) from None
        except OSError as error:
            reason = f"{error.strerror or error}; resume continues from step {self.restart.step}"
            raise OSError(error.errno, reason, error.filename) from error
        final = self.motion.frame()
        save_frame(self.folder / FINAL, final)
        settings = asdict(self.config) | self.setup.settings
        record = {"settings": settings, "steps": self.motion.step}
        record |= {"us_per_atom_step": clock.cost() or self.earlier_cost()}
        save_json(self.folder / RECORD, record | provenance())
        return final

    def advance(self, show: bool, sure: bool) -> Clock:
        """The steps, a row at a time; their cost."""
        config, motion = self.config, self.motion
        done, saved, clock = motion.step, time.monotonic(), Clock(len(self.setup.atoms))
        with progress_bar(total=config.steps, initial=done, unit="step", disable=not show) as bar:
            while sure and done < config.steps:
                count = min(config.log_every - done % config.log_every, config.steps - done)
                began = time.monotonic()
                observed = self.block(count)
                clock.add(time.monotonic() - began, count, motion.lists.width)
                done = motion.step
                sure = self.write(observed)
                if not sure or done == config.steps or time.monotonic() - saved > SECONDS_A_SAVE:
                    self.restart.save()
                    saved = time.monotonic()
                bar.set_postfix_str(f"{float(observed.kelvin):.0f} K, {clock}", refresh=False)
                bar.update(count)
        return clock

    def block(self, count: int) -> Observed:
        """Go on by some steps; keep the last good state if they blow up."""
        try:
            return self.motion.block(count)
        except SimulationError as error:
            good = self.folder / LAST_GOOD
            save_frame(good, self.motion.frame())
            self.mark()
            self.restart.save()
            raise SimulationError(
                f"{error}; the state at step {self.motion.step} is in {good}"
            ) from error

    def write(self, observed: Observed) -> bool:
        """Append a row, and a frame when one is due; whether the model is sure enough to go on."""
        row, sure = self.motion.row(observed), True
        if self.setup.uncertainty:
            energy, forces = map(np.asarray, self.motion.deviations())
            row |= {"energy_std_eV": float(energy), "max_force_std_eV_per_A": float(forces.max())}
            sure = self.is_sure(forces)
        self.output.row(row)
        if row["step"] % self.config.write_every == 0:
            self.output.frame(self.motion.frame())
        if not sure:
            save_frame(self.folder / UNCERTAIN, self.motion.frame())
            log.warning(
                "stopped at step %d: standard deviation of a force %.3g eV/Å; the frame is in %s",
                row["step"], row["max_force_std_eV_per_A"], self.folder / UNCERTAIN,
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
