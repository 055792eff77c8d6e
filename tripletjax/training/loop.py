"""The loop over epochs: validation, schedules, checkpoints, early stopping."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from tripletjax.potential import Potential
from tripletjax.training.checkpoints import Checkpoint
from tripletjax.training.config import TrainConfig
from tripletjax.training.data import Bucket, epoch_order, take
from tripletjax.training.metrics import compare
from tripletjax.training.step import State, Weighting, initial_state, schedule, train_step

log = logging.getLogger(__name__)


class Progress(NamedTuple):
    """Where a fit stands at the end of an epoch."""

    state: State
    best: Any  # averaged weights of the best validation
    best_score: float
    epoch: int  # whole epochs done
    steps_of_epoch: int  # done since
    loss_of_epoch: float  # sum over these steps
    train_loss: float  # mean over the steps of the last epoch
    seconds: float  # of optimisation and validation so far, compilation apart
    stale: int  # validations since the best
    history: list[dict[str, float]]  # one row a validation

    def checkpoint(self, settings: dict[str, Any]) -> Checkpoint:
        """As it goes into a file, with the settings of the run."""
        record = {
            "settings": settings,
            "best_score": self.best_score,
            "epoch": self.epoch,
            "steps_of_epoch": self.steps_of_epoch,
            "loss_of_epoch": self.loss_of_epoch,
            "train_loss": self.train_loss,
            "seconds": self.seconds,
            "stale": self.stale,
            "history": self.history,
        }
        return Checkpoint(self.state, self.best, record)

    @staticmethod
    def resumed(checkpoint: Checkpoint) -> "Progress":
        """As it was when the checkpoint was written."""
        rest = {name: value for name, value in checkpoint.record.items() if name != "settings"}
        return Progress(state=checkpoint.state, best=checkpoint.best, **rest)


def at_start(potential: Potential) -> Progress:
    """Before the first epoch."""
    state = initial_state(potential.weights)
    best = jax.tree.map(jnp.copy, state.weights)
    return Progress(state, best, math.inf, 0, 0, 0.0, 0.0, 0.0, 0, [])


def run_epochs(
    potential: Potential,
    buckets: Sequence[Bucket],
    valid: Sequence[Bucket],
    config: TrainConfig,
    progress: Progress,
    keep: Callable[[Progress], None],
    show: bool = True,
) -> Progress:
    """Optimise until the epochs or minutes are over, or validation no longer improves.

    Args:
        potential: whose weights to fit.
        buckets: training data.
        valid: validation data.
        config: settings.
        progress: from ``at_start`` or ``Progress.resumed``.
        keep: called with the progress when a checkpoint is due, and at the end.
        show: a progress bar.

    Returns:
        The progress at the end; ``best`` holds the weights to use.
    """
    loop = _Loop(potential, buckets, valid, config)
    loop.compile(progress.state)
    clock = time.monotonic() - progress.seconds
    saver = _Saver(keep, 60 * config.checkpoint_minutes)
    form = "{percentage:3.0f}% |{bar:20}| {elapsed}, {remaining} left{postfix}"
    with tqdm(total=100, bar_format=form, disable=not show) as bar:
        while progress.epoch < loop.epochs:
            progress, in_time = loop.epoch(progress, clock, saver)
            bar.n = round(100 * loop.done(progress.epoch, time.monotonic() - clock), 1)
            bar.refresh()
            last = not in_time or progress.epoch == loop.epochs
            before = progress.history[-1]["epoch"] if progress.history else 0
            if last or progress.epoch - before >= loop.epochs_between_validations:
                progress = loop.validated(progress, clock)
                bar.set_postfix_str(_summary(progress.history[-1]))
                last |= config.patience is not None and progress.stale >= config.patience
                saver(progress, always=last)
            if last:
                break
    return progress


class _Saver:
    """Keeps the progress whenever the interval is over."""

    def __init__(self, keep: Callable[[Progress], None], interval: float):
        self.keep, self.interval = keep, interval
        self.saved = time.monotonic()

    def __call__(self, progress: Progress, always: bool = False) -> None:
        if always or self.due():
            self.keep(progress)
            self.saved = time.monotonic()

    def due(self) -> bool:
        return time.monotonic() - self.saved >= self.interval


class _Loop:
    """What stays the same during a run."""

    def __init__(self, potential, buckets, valid, config: TrainConfig):
        self.potential = potential
        self.static, (_, self.scale) = potential.split()
        n_structures = sum(len(b.energy) for b in buckets)
        config = config.settled(n_structures, sum(int(b.atom_mask.sum()) for b in buckets))
        self.host, self.valid, self.config = buckets, valid, config
        self.data = [jax.tree.map(jnp.asarray, bucket) for bucket in buckets]
        self.elements = jnp.asarray(potential.species, jnp.int32)
        assert config.batch_size and config.max_epochs, "settled above"
        self.batch_size = min(config.batch_size, max(len(b.energy) for b in buckets))
        self.epochs = config.max_epochs
        self.limit = math.inf if config.max_minutes is None else 60 * config.max_minutes
        self.steps = sum(math.ceil(len(b.energy) / self.batch_size) for b in buckets)
        self.epochs_between_validations = math.ceil(config.steps_between_validations / self.steps)

    def compile(self, state: State) -> None:
        """One step of each size on copies, and one validation: neither counts as time."""
        for number in range(len(self.data)):
            index = np.zeros(self.batch_size, np.int32)
            copies = jax.tree.map(jnp.copy, state)
            jax.block_until_ready(self.step(copies, number, index, index == 0, 0.0))
        compare(replace(self.potential, weights=state.averaged), self.valid)

    def done(self, epochs: float, elapsed: float) -> float:
        """How much of the run is over, 0 to 1, by epochs or by seconds."""
        return min(max(epochs / self.epochs, elapsed / self.limit), 1.0)

    def step(self, state, number: int, index, present, done: float):
        rate, energy_weight = schedule(self.config, done)
        return train_step(
            self.static,
            Weighting.of(self.config),
            state,
            self.scale,
            take(self.data[number], index),
            self.elements,
            present,
            np.float32(rate),
            np.float32(energy_weight),
        )

    def epoch(self, progress: Progress, clock: float, saver: _Saver) -> tuple[Progress, bool]:
        """The rest of one epoch, or as much as there is time for: at least one step of the run."""
        state, values = progress.state, []
        order = epoch_order(self.host, self.batch_size, self.config.seed, progress.epoch)
        first = progress.steps_of_epoch

        def reached() -> Progress:
            """After the steps so far; the losses are added one by one, as a resumed run does."""
            total, steps = progress.loss_of_epoch, first + len(values)
            for value in values:
                total += float(value)
            return progress._replace(
                state=state,
                steps_of_epoch=steps,
                loss_of_epoch=total,
                train_loss=total / max(steps, 1),
                seconds=time.monotonic() - clock,
            )

        for number, index, present in order[first:]:
            elapsed, steps = time.monotonic() - clock, first + len(values)
            if elapsed >= self.limit and (progress.epoch or steps):
                return reached(), False
            done = self.done(progress.epoch + steps / self.steps, elapsed)
            state, value = self.step(state, number, index, present, done)
            values.append(value)
            # Steps are dispatched ahead of time: without a limit the clock would mean nothing.
            jax.block_until_ready(values[-2:][0])
            if saver.due():
                saver(reached())
        in_time = time.monotonic() - clock < self.limit
        whole = reached()._replace(epoch=progress.epoch + 1, steps_of_epoch=0, loss_of_epoch=0.0)
        return whole, in_time

    def validated(self, progress: Progress, clock: float) -> Progress:
        """Errors of the averaged weights, a row of history, and the best so far."""
        found = compare(replace(self.potential, weights=progress.state.averaged), self.valid)
        metrics = found.metrics()
        score = metrics["energy_mae_mev_per_atom"] / 1000 * self.config.final_energy_weight
        score += metrics.get("force_mae_ev_per_A", 0.0) * self.config.forces_weight
        seconds = time.monotonic() - clock
        row = {
            "epoch": progress.epoch,
            "step": int(progress.state.steps),
            "seconds": round(seconds, 2),
            "train_loss": progress.train_loss,
            **{f"valid_{name}": value for name, value in metrics.items()},
        }
        history = [*progress.history, row]
        if math.isnan(score):
            log.warning("validation gave NaN at epoch %d", progress.epoch)
        if score < progress.best_score:
            best = jax.tree.map(jnp.copy, progress.state.averaged)
            return progress._replace(
                best=best, best_score=score, seconds=seconds, stale=0, history=history
            )
        return progress._replace(seconds=seconds, stale=progress.stale + 1, history=history)


def _summary(row: dict[str, float]) -> str:
    text = f"loss {row['train_loss']:.4f}, {row['valid_energy_mae_mev_per_atom']:.2f} meV/atom"
    if "valid_force_mae_ev_per_A" in row:
        text += f", {row['valid_force_mae_ev_per_A'] * 1000:.1f} meV/Å"
    return text
