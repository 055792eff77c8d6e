"""Time of energies and forces of kernel potentials, for numbers of training structures.

taskset -c 0 python -m experiments.kernels.speed --train train.xyz --sizes 50 1000

The points are environments of the structures of a file, in the descriptor that fits use by default;
the weights are random. The time does not depend on them, and no fit is needed.
"""

import argparse
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ase import Atoms

from experiments.commands import add_result_options, run_command, show_progress
from tripletjax.engines.ase import TripletCalculator
from tripletjax.io import provenance, read_frames, save_json
from tripletjax.kernels import EnvironmentKernel, KernelModel
from tripletjax.kernels.compression import compressed
from tripletjax.kernels.model import with_means
from tripletjax.kernels.observations import single_batches
from tripletjax.kernels.projection import on_principal_axes
from tripletjax.kernels.sparse import described_all
from tripletjax.potentials.base import Potential
from tripletjax.training.kernel_config import LENGTH_SCALE, KernelConfig
from tripletjax.training.kernels import TRUNCATION, kernel_descriptor
from tripletjax.types import InputError

log = logging.getLogger("experiments.kernels.speed")
RESULTS = Path(__file__).parent / "results"
AT_ONCE = 16  # structures in a batch
CALLS = 20
ONE_CORE = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


def potential_of(frames: Sequence[Atoms], config: KernelConfig, project: Callable) -> Potential:
    """Random weights at all environments of the structures, in a projected descriptor."""
    species = np.unique(np.concatenate([frame.numbers for frame in frames])).tolist()
    describer = kernel_descriptor(config, tuple(species))
    batches = single_batches(list(frames), describer, np.dtype(float))
    describer = project(describer, batches, TRUNCATION)
    describer, found = described_all(describer, batches)
    random = np.random.default_rng(0)
    weights = {
        "points": found.vectors,
        "scale": np.asarray(found.scale),
        "alpha": random.normal(size=len(found.kinds)),
        "tangents": 0.1 * random.normal(size=found.vectors.shape) * (found.vectors != 0),
    }
    kernel = EnvironmentKernel(length_scale=config.length_scale or LENGTH_SCALE)
    model = KernelModel(describer=describer, kernel=kernel, kinds=tuple(found.kinds.tolist()))
    return Potential(model, weights)


def shortest(call: Callable[[], Any]) -> dict[str, float]:
    """Seconds of a call, by the clock and of the processor, without compilation."""
    call()
    clock, processor = [], []
    for _ in range(CALLS):
        began = time.perf_counter(), time.process_time()
        call()
        clock.append(time.perf_counter() - began[0])
        processor.append(time.process_time() - began[1])
    return {"clock": min(clock), "processor": min(processor)}


def of_batches(potential: Potential, frames: Sequence[Atoms]) -> dict[str, float]:
    """Microseconds an atom of energy, forces and stress of a batch."""
    batch = jax.device_put(potential.prepare(frames))
    found = shortest(lambda: jax.block_until_ready(potential.energy_forces_stress(batch)))
    return {name: 1e6 * seconds / sum(map(len, frames)) for name, seconds in found.items()}


def in_ase(potential: Potential, frame: Atoms) -> dict[str, float]:
    """Microseconds an atom of the calculator's forces, with the list of neighbours."""
    atoms = frame.copy()
    atoms.calc = TripletCalculator(potential)
    random = np.random.default_rng(0)

    def step() -> None:
        atoms.positions = frame.positions + 0.01 * random.normal(size=frame.positions.shape)
        atoms.get_forces()

    return {name: 1e6 * seconds / len(frame) for name, seconds in shortest(step).items()}


def row(frames: Sequence[Atoms], size: int, config: KernelConfig, before: bool) -> dict[str, Any]:
    """Times for a number of training structures."""
    ways = {"now": (compressed, with_means)}
    if before:
        ways["atom by atom"] = on_principal_axes, lambda potential: potential
    found: dict[str, Any] = {"structures": size}
    for name, (project, arranged) in ways.items():
        potential = arranged(potential_of(frames[:size], config, project))
        potential = potential.with_weights(jax.device_put(potential.weights))
        tested = frames[-AT_ONCE:]
        times = {
            f"batch of {AT_ONCE}": of_batches(potential, tested),
            "batch of 1": of_batches(potential, tested[:1]),
            "ASE": in_ase(potential, tested[0]),
        }
        found[name] = times | {"columns": potential.weights["points"].shape[1]}
        for what, seconds in times.items():
            log.info(
                "%d structures, %s, %s: %.0f µs an atom (%.0f of the processor)",
                *(size, name, what, seconds["clock"], seconds["processor"]),
            )
    return found


def main() -> None:
    """Times on a file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", type=Path, required=True, metavar="XYZ")
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 1000], metavar="N")
    parser.add_argument("--before", action="store_true", help="also atom by atom, for comparison")
    add_result_options(parser, RESULTS)
    arguments = parser.parse_args()
    show_progress()
    frames = read_frames(arguments.train)
    if max(arguments.sizes) > len(frames):
        raise InputError(f"{arguments.train} has {len(frames)} structures; expected more")
    path = arguments.out / f"speed-{arguments.train.stem}.json"
    if path.is_file() and not arguments.force:
        raise InputError(f"{path} exists; --force replaces it")
    config = KernelConfig()
    with jax.enable_x64(True):
        rows = [row(frames, size, config, arguments.before) for size in arguments.sizes]
    settings = {"settings": asdict(config), "data": arguments.train.name}
    save_json(path, {"microseconds": rows} | settings | provenance())


if __name__ == "__main__":
    os.environ.setdefault("XLA_FLAGS", ONE_CORE)  # read when JAX first computes
    run_command(main)
