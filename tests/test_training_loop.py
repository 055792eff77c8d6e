"""The loop over epochs: a fit that diverges goes back and takes smaller steps."""

import logging
import math
import os
import signal
import time
from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tripletjax.progress import Lines
from tripletjax.training import TrainConfig
from tripletjax.training.checkpoints import load_checkpoint, save_checkpoint
from tripletjax.training.loop import Progress, at_start, run_epochs

pytestmark = pytest.mark.once("float32")

CONFIG = TrainConfig(batch_size=1, max_epochs=30, steps_between_validations=1)


class Cliff:
    """One weight that should reach zero, and a place on the way where large steps blow up."""

    def __init__(self, blown_up: float):
        self.buckets = [SimpleNamespace(frames=np.arange(2), energy=np.zeros(2))]
        self.blown_up = blown_up

    def step(self, state, number, index, present, done):
        """Towards zero in proportion to the rate, which below 0.6 must not exceed a third."""
        value = state.weights["w"]
        value = value * (1 - 0.2 * state.factor)
        value = jnp.where((value < 0.6) & (state.factor > 1 / 3), self.blown_up, value)
        weights = {"w": value}
        new = state._replace(weights=weights, averaged={"w": value}, steps=state.steps + 1)
        new = jax.tree.map(jnp.copy, new)
        jax.tree.map(lambda array: array.delete(), state)  # as donated buffers are
        return new, value

    def validate(self, weights):
        return abs(float(weights["w"])), {"w": float(weights["w"])}

    def summary(self, row):
        return f"{row['valid_w']:.3f}"


@pytest.mark.parametrize("blown_up", [1e6, math.nan, math.inf])
def test_a_fit_that_diverges_goes_back_at_half_the_rate(blown_up, caplog):
    start = at_start({"w": jnp.ones(())})
    progress = run_epochs(Cliff(blown_up), CONFIG, start, lambda _: None, show=False)
    assert float(progress.state.factor) == 0.25
    assert float(progress.best.averaged["w"]) == progress.best_score < 0.1
    assert int(progress.state.steps) == 60  # none is forgotten
    assert [row["step"] for row in progress.history] == list(range(2, 61, 2))
    assert caplog.text.count("back to the best weights") == 2
    assert "0.25 times the learning rate" in caplog.text


def test_the_smaller_rate_lasts_when_a_run_goes_on(tmp_path):
    start = at_start({"w": jnp.ones(())})
    whole = run_epochs(Cliff(1e6), CONFIG, start, lambda _: None, show=False)

    half = replace(CONFIG, max_epochs=10)
    start = at_start({"w": jnp.ones(())})
    progress = run_epochs(Cliff(1e6), half, start, lambda _: None, show=False)
    assert float(progress.state.factor) == 0.25
    save_checkpoint(tmp_path / "state", progress.checkpoint({}))
    like = at_start({"w": jnp.zeros(())})
    found = load_checkpoint(tmp_path / "state", (like.state, like.best), {})
    progress = Progress.resumed(found)
    progress = run_epochs(Cliff(1e6), CONFIG, progress, lambda _: None, show=False)
    assert progress.state == whole.state
    assert progress.best == whole.best


class Interrupting(Cliff):
    """Presses Ctrl-C in a step of this number."""

    def __init__(self, at: int):
        super().__init__(1e6)
        self.at = at

    def step(self, state, number, index, present, done):
        steps = int(state.steps)
        found = super().step(state, number, index, present, done)
        if steps == self.at:
            os.kill(os.getpid(), signal.SIGINT)
        return found


@pytest.fixture
def interruptible():
    """Python as it starts in a terminal: processes in the background ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("at", [0, 5, 12])
@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_fit_is_kept_and_goes_on_to_the_same_weights(at, tmp_path):
    start = at_start({"w": jnp.ones(())})
    whole = run_epochs(Cliff(1e6), CONFIG, start, lambda _: None, show=False)

    def keep(progress):
        save_checkpoint(tmp_path / "state", progress.checkpoint({}))

    with pytest.raises(KeyboardInterrupt, match="interrupted after"):
        run_epochs(Interrupting(at), CONFIG, at_start({"w": jnp.ones(())}), keep, show=False)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    like = at_start({"w": jnp.zeros(())})
    found = load_checkpoint(tmp_path / "state", (like.state, like.best), {})
    assert int(found.state.steps) == (at + 1 if at else 0)  # step 0 is also that of compiling
    progress = run_epochs(Cliff(1e6), CONFIG, Progress.resumed(found), keep, show=False)
    assert progress.state == whole.state and progress.best == whole.best


def test_a_log_file_has_a_line_a_validation(capsys, caplog):
    caplog.set_level(logging.INFO)
    config = replace(CONFIG, max_epochs=10, steps_between_validations=4)
    run_epochs(Cliff(1e6), config, at_start({"w": jnp.ones(())}), lambda _: None)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5 and all(line[2] == ":" for line in lines)
    assert [int(line[9:12]) for line in lines] == [20, 40, 60, 80, 100]
    assert caplog.messages[:2] == [
        "compiling the training step (padded sizes: 1)",
        "fitting for 10 epochs, 2 steps per epoch",
    ]


def test_a_long_epoch_has_lines_of_its_own(capsys, monkeypatch):
    monkeypatch.setattr(Lines, "__init__", _impatient(Lines.__init__))
    config = replace(CONFIG, max_epochs=1)
    run_epochs(Cliff(1e6), config, at_start({"w": jnp.ones(())}), lambda _: None)
    assert len(capsys.readouterr().err.splitlines()) == 4  # two steps, the epoch, the validation


def _impatient(init):
    def changed(self, *arguments, **options):
        init(self, *arguments, **options)
        self.mininterval = 0

    return changed


class Slow(Cliff):
    """Counts validations, the first of which takes all the time that is left."""

    def __init__(self, seconds: float):
        super().__init__(1.0)
        self.seconds, self.count = seconds, 0

    def validate(self, weights):
        self.count += 1
        if self.count == 2:  # the first one is compiled
            time.sleep(self.seconds)
        return super().validate(weights)


def test_an_epoch_without_steps_keeps_the_loss_of_the_one_before():
    config = replace(CONFIG, max_epochs=1000, max_minutes=0.3 / 60)
    start = at_start({"w": jnp.ones(())})
    progress = run_epochs(Slow(0.4), config, start, lambda _: None, show=False)
    assert len(progress.history) == 2  # after the first epoch, and at the end
    assert progress.history[1]["step"] == progress.history[0]["step"]
    assert progress.history[1]["train_loss"] == progress.history[0]["train_loss"] > 0
