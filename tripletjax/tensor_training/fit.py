"""From labelled molecules to a model of their dipoles or polarisabilities, and its folder."""

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms
from tqdm import tqdm

from tripletjax.io import atomic_folder, provenance, require_unused, save_csv, save_json
from tripletjax.neighbors import bucket as padded_size
from tripletjax.neighbors import check_frames
from tripletjax.tensor_properties import (
    UNITS,
    TensorModel,
    require_molecules,
    untrained_tensor,
)
from tripletjax.tensor_training.labels import TensorData
from tripletjax.tensor_training.metrics import tensor_metrics, tensor_parity
from tripletjax.training import Dataset, TrainConfig, fit_references
from tripletjax.training.data import Bucket, as_batch, chunks, epoch_order, make_buckets, take
from tripletjax.training.labels import Labels
from tripletjax.training.metrics import ATOMS_A_CHUNK
from tripletjax.training.run import split_dataset
from tripletjax.training.step import State, initial_state, schedule, updated
from tripletjax.types import Array

log = logging.getLogger(__name__)


def fit_tensors(
    data: TensorData,
    target: str,
    folder: str | Path | None = None,
    config: TrainConfig | None = None,
    *,
    valid: TensorData | None = None,
    test: TensorData | None = None,
    charges: bool = True,
    force: bool = False,
    show: bool = True,
) -> tuple[TensorModel, dict[str, Any]]:
    """Fit a model of dipoles or polarisabilities, and write it with its errors.

    The loss is the mean pseudo-Huber norm of the error of a molecule over the model's scale;
    optimiser, schedule and averaging are those of potentials. The weights of the best validation
    are kept.

    Args:
        data: training structures; without ``valid`` a tenth of them is set aside.
        target: "dipole" or "polarizability".
        folder: gets ``model/``, ``metrics.json``, ``history.csv`` and ``parity.png`` when the fit
            is done; None: nothing is written.
        config: settings; those of energy, forces and stress mean nothing here.
        valid, test: further structures.
        charges: whether a dipole has charges besides atomic dipoles.
        force: replace what the folder holds.
        show: a progress bar.

    Returns:
        The model, and the record that ``metrics.json`` holds.

    Raises:
        InputError: too few structures, unknown species, or a folder in use.
    """
    config = config or TrainConfig()
    if folder is not None:
        require_unused(folder, force)
    for part in (data, valid, test):
        if part is not None:
            check_frames(part.frames)
    data, valid = _split(data, valid, config.seed)
    start = _starting_point(data, target, config, charges)
    parts = {"train": data, "valid": valid} | ({"test": test} if test is not None else {})
    for part in parts.values():
        start.without_energy.require_known(part.frames)
    config = config.settled(len(data.frames), sum(map(len, data.frames)))
    fit = _Fit(start, data, valid, config)
    model, history, seconds = fit.run(show)
    compared = {
        name: (part.tensors, predict_tensors(model, part.frames)) for name, part in parts.items()
    }
    record: dict[str, Any] = {
        name: tensor_metrics(target, *pair) for name, pair in compared.items()
    }
    record |= {
        "target": target,
        "unit": UNITS[target],
        "seconds": seconds,
        "epochs": history[-1]["epoch"],
        "structures": {name: len(part.frames) for name, part in parts.items()},
        "settings": asdict(config) | {"charges": model.charges},
    } | provenance()
    if folder is not None:
        with atomic_folder(folder, force) as new:
            model.save(new / "model")
            save_json(new / "metrics.json", record)
            save_csv(new / "history.csv", history)
            tensor_parity(new / "parity.png", target, compared)
    return model, record


def evaluate_tensors(model: TensorModel, data: TensorData) -> dict[str, float]:
    """Errors of a model on labelled structures, as ``tensor_metrics`` names them."""
    return tensor_metrics(model.target, data.tensors, predict_tensors(model, data.frames))


def predict_tensors(model: TensorModel, frames: Sequence[Atoms]) -> np.ndarray:
    """``model.predict`` for many structures: one compiled program for each padded size."""
    require_molecules(frames, model.target)
    model.without_energy.require_known(frames)
    return _predict(model, _buckets(model, frames))


class _Fit:
    """What stays the same during a fit."""

    def __init__(self, start: TensorModel, data: TensorData, valid: TensorData, config):
        self.start, self.config = start, config
        self.static, (_, self.scale) = start.split()
        self.buckets = _buckets(start, data.frames)
        self.valid, self.valid_labels = _buckets(start, valid.frames), valid.tensors
        dtype = self.buckets[0].positions.dtype
        self.labels = [jnp.asarray(data.tensors[b.frames], dtype) for b in self.buckets]
        self.data = [jax.tree.map(jnp.asarray, bucket) for bucket in self.buckets]
        self.elements = jnp.asarray(start.species, jnp.int32)
        self.size = min(config.batch_size, max(len(b.frames) for b in self.buckets))
        self.steps = sum(math.ceil(len(b.frames) / self.size) for b in self.buckets)
        self.limit = math.inf if config.max_minutes is None else 60 * config.max_minutes

    def run(self, show: bool) -> tuple[TensorModel, list[dict[str, float]], float]:
        """The model of the best validation, a row of history for each, and the seconds taken."""
        config, state = self.config, initial_state(self.start.weights)
        best, best_score, stale, history = state.averaged, math.inf, 0, []
        every = math.ceil(config.steps_between_validations / self.steps)
        self._compile(state)
        clock = time.monotonic()
        form = "{percentage:3.0f}% |{bar:20}| {elapsed}, {remaining} left{postfix}"
        with tqdm(total=100, bar_format=form, disable=not show) as bar:
            for epoch in range(config.max_epochs):
                state, loss = self._epoch(state, epoch, clock)
                elapsed = time.monotonic() - clock
                bar.n = round(100 * self._done(epoch + 1, elapsed), 1)
                bar.refresh()
                last = elapsed >= self.limit or epoch + 1 == config.max_epochs
                if not last and (epoch + 1) % every:
                    continue
                found = _predict(replace(self.start, weights=state.averaged), self.valid)
                errors = tensor_metrics(self.start.target, self.valid_labels, found)
                row = {"epoch": epoch + 1, "step": int(state.steps), "seconds": round(elapsed, 2)}
                row |= {"train_loss": loss} | {f"valid_{k}": v for k, v in errors.items()}
                history.append(row)
                bar.set_postfix_str(f"loss {loss:.4f}, validation MAE {errors['mae']:.4f}")
                stale += 1
                if errors["mae"] < best_score:
                    best, best_score, stale = _copied(state.averaged), errors["mae"], 0
                if last or (config.patience is not None and stale >= config.patience):
                    break
        seconds = time.monotonic() - clock
        log.info("fitted for %.0f s, compilation apart", seconds)
        return replace(self.start, weights=best), history, seconds

    def _compile(self, state: State) -> None:
        """One step of each size on copies, and one validation: neither counts as time."""
        for number in range(len(self.data)):
            index = np.zeros(self.size, np.int32)
            jax.block_until_ready(self._step(_copied(state), number, index, index == 0, 0.0))
        _predict(self.start, self.valid)

    def _done(self, epochs: float, elapsed: float) -> float:
        return min(max(epochs / (self.config.max_epochs or 1), elapsed / self.limit), 1.0)

    def _epoch(self, state: State, epoch: int, clock: float) -> tuple[State, float]:
        """All steps of one epoch, or those for which there is time: at least one."""
        losses = []
        for count, (number, index, present) in enumerate(
            epoch_order(self.buckets, self.size, self.config.seed, epoch)
        ):
            elapsed = time.monotonic() - clock
            if elapsed >= self.limit and count:
                break
            done = self._done(epoch + count / self.steps, elapsed)
            state, value = self._step(state, number, index, present, done)
            losses.append(value)
            # Steps are dispatched ahead of time: without a limit the clock would mean nothing.
            jax.block_until_ready(losses[-2:][0])
        return state, float(np.mean([float(value) for value in losses]))

    def _step(self, state: State, number: int, index, present, done: float):
        rate, _ = schedule(self.config, done)
        rows, labels = take(self.data[number], index), self.labels[number][index]
        settings = (self.config.huber, self.config.ema)
        return _train_step(
            self.static, settings, state, self.scale, rows, labels, self.elements, present,
            np.float32(rate),
        )  # fmt: skip


@partial(jax.jit, static_argnums=(0, 1), donate_argnums=2)
def _train_step(
    static: TensorModel,
    settings: tuple[float, float],
    state: State,
    scale: Array,
    rows: Bucket,
    labels: Array,
    elements: Array,
    present: Array,
    rate: Array,
) -> tuple[State, Array]:
    """One step on the structures that are ``present``; the new state and the loss."""
    huber, ema = settings

    def loss(weights):
        predicted = static.joined((weights, scale)).tensors(as_batch(rows, elements, present))
        errors = (predicted - labels).reshape(len(labels), -1) / scale.astype(labels.dtype)
        lengths = jnp.sqrt(jnp.sum(errors**2, -1) + huber**2) - huber
        return jnp.sum(jnp.where(present, lengths, 0)) / jnp.sum(present).astype(lengths.dtype)

    value, slopes = jax.value_and_grad(loss)(state.weights)
    return updated(state, slopes, rate, ema), value


@partial(jax.jit, static_argnums=0)
def _batch_tensors(static: TensorModel, arrays, rows: Bucket, elements, present):
    return static.joined(arrays).tensors(as_batch(rows, elements, present))


def _predict(model: TensorModel, buckets: Sequence[Bucket]) -> np.ndarray:
    """Tensors of all structures of some buckets, in the order of the data."""
    elements = np.array(model.species, np.int32)
    static, arrays = model.split()
    found = {}
    for bucket in buckets:
        size = min(padded_size(len(bucket.frames)), ATOMS_A_CHUNK // bucket.species.shape[1])
        for index, present in chunks(len(bucket.frames), max(1, size)):
            rows = jax.tree.map(lambda array, index=index: array[index], bucket)
            tensors = np.asarray(_batch_tensors(static, arrays, rows, elements, present), float)
            found |= dict(zip(rows.frames[present].tolist(), tensors[present], strict=True))
    return np.stack([found[frame] for frame in sorted(found)])


def _buckets(model: TensorModel, frames: Sequence[Atoms]) -> list[Bucket]:
    nothing = [Labels(0.0, None, None)] * len(frames)
    return make_buckets(frames, nothing, model.without_energy)


def _split(data: TensorData, valid: TensorData | None, seed: int) -> tuple[TensorData, TensorData]:
    if valid is not None:
        return data, valid
    labels: Any = list(data.tensors)
    first, second = split_dataset(Dataset(data.frames, labels), None, seed)
    return (
        TensorData(first.frames, np.array(first.labels)),
        TensorData(second.frames, np.array(second.labels)),
    )


def _starting_point(data: TensorData, target: str, config, charges: bool) -> TensorModel:
    """Random weights; references by least squares; the scale is what is left, per √atom."""
    species = np.unique(np.concatenate([frame.numbers for frame in data.frames]))
    references, left = np.zeros(len(species)), data.tensors
    if target == "polarizability":
        mean = np.trace(data.tensors, axis1=1, axis2=2) / 3
        references = fit_references(data.frames, mean, species)
        counts = np.stack([(frame.numbers[:, None] == species).sum(0) for frame in data.frames])
        left = data.tensors - (counts @ references)[:, None, None] * np.eye(3)
    atoms = np.mean([len(frame) for frame in data.frames])
    squared = np.mean(np.sum(left.reshape(len(left), -1) ** 2, -1))
    scale = float(np.sqrt(squared / atoms)) or 1.0
    architecture, seed = config.architecture, config.seed
    return untrained_tensor(target, species, architecture, references, scale, charges, seed)


def _copied(tree: Any) -> Any:
    return jax.tree.map(jnp.copy, tree)
