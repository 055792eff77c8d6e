"""The loop over epochs: validation, schedules, checkpoints, early stopping."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tripletjax.progress import progress_bar
from tripletjax.training.checkpoints import Checkpoint
from tripletjax.training.config import ENDLESS, TrainConfig
from tripletjax.training.data import Bucket, epoch_order
from tripletjax.training.interruption import noted_interrupts
from tripletjax.training.step import State, initial_state
from tripletjax.types import Array, InputError

log = logging.getLogger(__name__)

DIVERGED = 10.0  # times the best score; NaN counts too


class Task(Protocol):
    """What the loop needs to know of a fit: model, data and loss."""

    @property
    def buckets(self) -> Sequence[Bucket]:
        """Training data, on the host."""
        ...

    def step(
        self, state: State, number: int, index: np.ndarray, present: np.ndarray, done: float
    ) -> tuple[State, Array]:
        """One step, which donates the state; returns the new state and the loss before the step.

        It uses the ``present`` rows ``index`` of the bucket with this number; the fraction ``done``
        of the run, 0 to 1, determines the learning rate.
        """
        ...

    def validate(self, weights: Any) -> tuple[float, dict[str, float]]:
        """Score of weights on the validation data (lower is better), and their errors."""
        ...

    def summary(self, row: dict[str, float]) -> str:
        """A short summary of the last row of the history."""
        ...


class Progress(NamedTuple):
    """The progress of a fit at the end of an epoch."""

    state: State
    best: State  # at the best validation; its averaged weights are the result
    best_score: float
    epoch: int  # completed epochs
    steps_of_epoch: int  # steps of the current epoch
    loss_of_epoch: float  # sum over these steps
    train_loss: float  # mean over the steps of the last epoch
    seconds: float  # of optimisation and validation so far, without compilation
    stale: int  # validations since the best one
    history: list[dict[str, float]]  # one row per validation

    def checkpoint(self, settings: dict[str, Any]) -> Checkpoint:
        """The checkpoint to save, with the settings of the run."""
        record = {"settings": settings} | self._asdict()
        return Checkpoint(record.pop("state"), record.pop("best"), record)

    @staticmethod
    def resumed(checkpoint: Checkpoint) -> "Progress":
        """The progress at the time of the checkpoint."""
        rest = {name: value for name, value in checkpoint.record.items() if name != "settings"}
        return Progress(state=checkpoint.state, best=checkpoint.best, **rest)


def at_start(weights: Any, optimizer: optax.GradientTransformation | None = None) -> Progress:
    """The progress before the first epoch."""
    state = initial_state(weights, optimizer)
    return Progress(state, _copy(state), math.inf, 0, 0, 0.0, 0.0, 0.0, 0, [])


def _copy(state: State) -> State:
    """A copy of a state: steps donate their state, so anything kept needs its own arrays."""
    return jax.tree.map(jnp.copy, state)


def run_epochs(
    task: Task,
    config: TrainConfig,
    progress: Progress,
    keep: Callable[[Progress], None],
    show: bool = True,
) -> Progress:
    """Optimise until the epochs or minutes are used up, or validation stops improving.

    Args:
        task: what is fitted.
        config: settings, resolved for the training data.
        progress: from ``at_start`` or ``Progress.resumed``.
        keep: called with the progress when a checkpoint is due, and at the end.
        show: whether to show a progress bar.

    Returns:
        The final progress; ``best`` contains the weights to use.

    Raises:
        KeyboardInterrupt: at Ctrl-C, after the step and a checkpoint.
    """
    form = "{percentage:3.0f}% |{bar:20}| {elapsed}, {remaining} left{postfix}"
    with noted_interrupts() as interrupted:
        loop = _Loop(task, config, interrupted)
        loop.compile(progress.state)
        loop.began(progress.seconds)
        saver = _Saver(keep, 60 * config.checkpoint_minutes)
        done = {"total": 100, "initial": loop.percent(progress.epoch)}
        with progress_bar(**done, bar_format=form, disable=not show) as bar:
            loop.tick = lambda epochs: bar.update(loop.percent(epochs) - bar.n)
            while progress.epoch < loop.epochs:
                progress, last = loop.epoch(progress, saver)
                last |= progress.epoch == loop.epochs
                stopped = interrupted()
                loop.tick(progress.epoch + progress.steps_of_epoch / loop.steps)
                before = progress.history[-1]["epoch"] if progress.history else 0
                is_due = last or progress.epoch - before >= loop.epochs_between_validations
                if is_due and not (stopped and progress.steps_of_epoch):
                    progress = loop.validated(progress)
                    bar.set_postfix_str(task.summary(progress.history[-1]))
                    last |= config.patience is not None and progress.stale >= config.patience
                    saver(progress, always=last)
                if stopped:
                    saver(progress, always=True)
                    steps = int(progress.state.steps)
                    raise KeyboardInterrupt(
                        f"interrupted after {steps} steps; a checkpoint was saved"
                    )
                if last:
                    break
    return progress


def _require_finite(loss: float) -> None:
    """Raise InputError if the initial loss is not finite."""
    if not math.isfinite(loss):
        raise InputError(
            f"invalid loss: {loss} at the start of the fit: expected a finite number; check the "
            "loss, the energy model and its initial weights"
        )


class _Saver:
    """Saves the progress at regular intervals."""

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
    """The constants of a run, and its clock."""

    def __init__(self, task: Task, config: TrainConfig, interrupted: Callable[[], bool]):
        assert config.batch_size and config.max_epochs, "settled by the caller"
        self.task, self.config, self.interrupted = task, config, interrupted
        lengths = [len(bucket.frames) for bucket in task.buckets]
        self.batch_size = min(config.batch_size, max(lengths))
        self.epochs = config.max_epochs
        self.limit = math.inf if config.max_minutes is None else 60 * config.max_minutes
        self.steps = sum(math.ceil(length / self.batch_size) for length in lengths)
        self.epochs_between_validations = math.ceil(config.steps_between_validations / self.steps)
        self.clock = 0.0
        self.tick: Callable[[float], Any] = lambda epochs: None  # called with the epochs done

    def compile(self, state: State) -> None:
        """Run one step of each size on copies, and one validation; the time is not counted."""
        count = len(self.task.buckets)
        log.info("compiling the training step (padded sizes: %d)", count)
        for number in range(count):
            if not self.interrupted():
                index = np.zeros(self.batch_size, np.int32)
                _, value = self.task.step(_copy(state), number, index, index == 0, 0.0)
                _require_finite(float(value))
        if not self.interrupted():
            self.task.validate(state.averaged)

    def began(self, seconds: float) -> None:
        """Start the clock of a run that has already taken some seconds."""
        self.clock = time.monotonic() - seconds
        minutes = "" if self.limit == math.inf else f" within {self.limit / 60:.3g} minutes"
        epochs = "" if self.epochs == ENDLESS else f" for {self.epochs} epochs"
        log.info("fitting%s%s, %d steps per epoch", epochs, minutes, self.steps)

    def elapsed(self) -> float:
        """Seconds of optimisation and validation so far."""
        return time.monotonic() - self.clock

    def done(self, epochs: float, elapsed: float) -> float:
        """Fraction of the run, 0 to 1, by epochs or by seconds."""
        return min(max(epochs / self.epochs, elapsed / self.limit), 1.0)

    def percent(self, epochs: float) -> float:
        """Current percentage of the run, for display."""
        return round(100 * self.done(epochs, self.elapsed()), 1)

    def epoch(self, progress: Progress, saver: _Saver) -> tuple[Progress, bool]:
        """Finish one epoch, or as much of it as time allows: at least one step of the run.

        Returns:
            The progress, and whether the time is used up.
        """
        state, values = progress.state, []
        order = epoch_order(self.task.buckets, self.batch_size, self.config.seed, progress.epoch)
        first = progress.steps_of_epoch

        def reached() -> Progress:
            """The progress so far; the losses are added one by one, as in a resumed run."""
            total, steps = progress.loss_of_epoch, first + len(values)
            for value in values:
                total += float(value)
            return progress._replace(
                state=state,
                steps_of_epoch=steps,
                loss_of_epoch=total,
                train_loss=total / steps if steps else progress.train_loss,
                seconds=self.elapsed(),
            )

        for number, index, present in order[first:]:
            elapsed, steps = self.elapsed(), first + len(values)
            is_late = elapsed >= self.limit and (progress.epoch or steps)
            if is_late or self.interrupted():
                return reached(), bool(is_late)
            epochs = progress.epoch + steps / self.steps
            done = self.done(epochs, elapsed)
            state, value = self.task.step(state, number, index, present, done)
            values.append(value)
            # Steps are dispatched asynchronously: without a limit the clock would be meaningless.
            jax.block_until_ready(values[-2:][0])
            self.tick(epochs)
            if saver.due():
                saver(reached())
        is_late = self.elapsed() >= self.limit
        whole = reached()._replace(epoch=progress.epoch + 1, steps_of_epoch=0, loss_of_epoch=0.0)
        return whole, is_late

    def validated(self, progress: Progress) -> Progress:
        """Evaluate the averaged weights, add a row to the history and update the best state.

        A fit that diverged returns to its best state, with half the learning rate.
        """
        score, metrics = self.task.validate(progress.state.averaged)
        seconds = self.elapsed()
        row = {
            "epoch": progress.epoch,
            "step": int(progress.state.steps),
            "seconds": round(seconds, 2),
            "train_loss": progress.train_loss,
            **{f"valid_{name}": value for name, value in metrics.items()},
        }
        progress = progress._replace(
            seconds=seconds, stale=progress.stale + 1, history=[*progress.history, row]
        )
        if score < progress.best_score:
            return progress._replace(best=_copy(progress.state), best_score=score, stale=0)
        if not score < DIVERGED * progress.best_score:
            factor, steps = 0.5 * progress.state.factor, progress.state.steps
            log.warning(
                "diverged at epoch %d: back to the best weights, with %g times the learning rate",
                progress.epoch,
                float(factor),
            )
            best = _copy(progress.best)
            return progress._replace(state=best._replace(factor=factor, steps=steps))
        return progress
