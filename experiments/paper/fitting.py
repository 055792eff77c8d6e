"""Fitting a network to energies or features: Adam, a plateau schedule, batches of 250.

Two epochs are remembered: the best on the validation structures, and the best on the test set,
which the paper chose.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from experiments.paper.labels import Split
from tripletjax.training.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from tripletjax.types import Array, InputError

LEARNING_RATE, FACTOR, PATIENCE, BATCH = 1e-3, 0.8, 20, 250
SECONDS_A_SAVE = 60.0
CHECKPOINT = "checkpoint.safetensors"
PART = 250  # structures evaluated at once


class State(NamedTuple):
    """What an epoch changes; a pytree."""

    weights: Any
    optimizer: Any


class Best(NamedTuple):
    """Weights at the lowest loss, on the validation and on the test structures."""

    valid: Any
    test: Any


@dataclass(frozen=True)
class Fit:
    """A network and its data, in units in which the targets have mean 0 and variance 1."""

    network: nn.Module
    inputs: np.ndarray  # [S, ...] float32
    targets: np.ndarray  # [S, D] float32
    split: Split
    seed: int = 0

    def __post_init__(self):
        if len(self.split.train) < 2:
            raise InputError(f"{len(self.split.train)} structures are too few to train on")

    @property
    def batch(self) -> int:
        """Structures a step."""
        return min(BATCH, len(self.split.train))

    @property
    def optimizer(self) -> optax.GradientTransformationExtraArgs:
        """Adam, whose rate falls when the mean loss of an epoch does not."""
        plateau = optax.contrib.reduce_on_plateau(
            factor=FACTOR,
            patience=PATIENCE,
            accumulation_size=len(self.split.train) // self.batch,
            min_scale=1e-4,
        )
        return optax.chain(optax.adam(LEARNING_RATE), plateau)

    def start(self) -> State:
        """Random weights."""
        with jax.numpy_dtype_promotion("standard"):
            weights = self.network.init(jax.random.key(self.seed), jnp.asarray(self.inputs[0]))
            return State(weights, self.optimizer.init(weights))

    def predict(self, weights: Any, index: np.ndarray, method: str | None = None) -> np.ndarray:
        """Predictions [len(index), D], in the units of the targets; or another method's."""
        return np.concatenate([
            np.asarray(_apply(self.network, method, weights, self.inputs[index[i : i + PART]]))
            for i in range(0, len(index), PART)
        ])  # fmt: skip

    def loss(self, weights: Any, index: np.ndarray) -> float:
        """Mean squared error; infinite without structures."""
        if not len(index):
            return np.inf
        return float(np.mean((self.predict(weights, index) - self.targets[index]) ** 2))


@partial(jax.jit, static_argnums=(0, 1))
def _apply(network: nn.Module, method: str | None, weights: Any, inputs: Array) -> Array:
    with jax.numpy_dtype_promotion("standard"):
        return jax.vmap(partial(network.apply, weights, method=method))(inputs)


def epoch_function(fit: Fit) -> Callable[[State, int], tuple[State, Array]]:
    """A compiled epoch: the state after all batches, and their mean loss."""
    optimizer, train = fit.optimizer, jnp.asarray(fit.split.train)
    inputs, targets = jnp.asarray(fit.inputs), jnp.asarray(fit.targets)
    n_steps = len(train) // fit.batch

    @partial(jax.jit, donate_argnums=0)
    def epoch(state, key, inputs, targets):
        order = jax.random.permutation(key, train)[: n_steps * fit.batch]

        def step(state, rows):
            def objective(weights):
                found = jax.vmap(partial(fit.network.apply, weights))(inputs[rows])
                return jnp.mean((found - targets[rows]) ** 2)

            value, slopes = jax.value_and_grad(objective)(state.weights)
            updates, changed = optimizer.update(slopes, state.optimizer, state.weights, value=value)
            return State(optax.apply_updates(state.weights, updates), changed), value

        state, values = jax.lax.scan(step, state, order.reshape(n_steps, fit.batch))
        return state, jnp.mean(values)

    def run(state: State, number: int) -> tuple[State, Array]:
        key = jax.random.fold_in(jax.random.key(fit.seed), number)
        with jax.numpy_dtype_promotion("standard"):
            return epoch(state, key, inputs, targets)

    return run


def run(
    fit: Fit, minutes: float, folder: Path, settings: dict[str, Any], label: str
) -> tuple[Best, dict[str, Any]]:
    """Train for some minutes in all, compilation apart, going on where the folder's run was.

    Returns:
        The weights at both best epochs, and what is told of the run.

    Raises:
        InputError: the folder's checkpoint is of other settings, or there was no time for an epoch.
    """
    epoch, state = epoch_function(fit), fit.start()
    best = Best(*(jax.tree.map(jnp.copy, state.weights) for _ in Best._fields))  # of their own
    record = {"epochs": 0, "seconds": 0.0, "best_valid": None, "best_test": None}
    path = folder / CHECKPOINT
    if path.is_file():
        found = load_checkpoint(path, (state, best), settings)
        state, best, record = found.state, found.best, found.record["run"]
    state = _compiled(epoch, fit, state)
    folder.mkdir(parents=True, exist_ok=True)

    def save() -> None:
        content = {"settings": settings, "run": record}
        save_checkpoint(path, Checkpoint(state, best, content))

    clock = time.monotonic() - record["seconds"]
    saved, limit = time.monotonic(), 60 * minutes
    form = "{desc} {percentage:3.0f}% |{bar:20}| {elapsed}, {remaining} left{postfix}"
    with tqdm(total=limit, desc=label, bar_format=form) as bar:
        while time.monotonic() - clock < limit:
            state, train_loss = epoch(state, record["epochs"])
            record["epochs"] += 1
            for name, index in (("valid", fit.split.valid), ("test", fit.split.test)):
                value, lowest = fit.loss(state.weights, index), record[f"best_{name}"]
                if np.isfinite(value) and (lowest is None or value < lowest["loss"]):
                    record[f"best_{name}"] = {"loss": value, "epoch": record["epochs"]}
                    best = best._replace(**{name: jax.tree.map(jnp.copy, state.weights)})
            record["seconds"] = time.monotonic() - clock
            bar.n = min(record["seconds"], limit)
            bar.set_postfix_str(f"epoch {record['epochs']}, loss {float(train_loss):.2e}")
            if time.monotonic() - saved > SECONDS_A_SAVE:
                save()
                saved = time.monotonic()
    if not record["epochs"]:
        raise InputError(f"{label}: {minutes} minutes are not enough for one epoch; give more")
    save()
    return best, record


def load(fit: Fit, folder: Path, settings: dict[str, Any]) -> tuple[Best, dict[str, Any]]:
    """What ``run`` left in a folder, without further training.

    Raises:
        InputError: there is no checkpoint, or it is of other settings.
    """
    state = fit.start()
    like = (state, Best(state.weights, state.weights))
    found = load_checkpoint(folder / CHECKPOINT, like, settings)
    return found.best, found.record["run"]


def _compiled(epoch, fit: Fit, state: State) -> State:
    """One epoch and one evaluation on a copy, so that compiling does not count."""
    copy = jax.tree.map(jnp.copy, state)
    jax.block_until_ready(epoch(copy, 0))
    fit.predict(state.weights, fit.split.test)
    return state
