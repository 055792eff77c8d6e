"""Time of energies and forces of kernel potentials: in batches, in ASE, in the driver, in jax-md.

taskset -c 0 python -m experiments.kernels.speed --ethanol ethanol.xyz --copper copper.xyz

Potentials of 50 structures of ethanol are fitted with the defaults, as a full and as a sparse
process. Those of 1000 structures and of copper are not fitted: their points are the environments of
these structures, and their weights are random, on which the time does not depend.
"""

import argparse
import logging
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms

from experiments.commands import add_result_options, run_command, show_progress
from tripletjax.engines.ase import TripletCalculator
from tripletjax.engines.jaxmd import neighbor_list
from tripletjax.io import provenance, read_frames, save_json
from tripletjax.kernels import EnvironmentKernel, KernelModel
from tripletjax.kernels.compression import compressed
from tripletjax.kernels.observations import single_batches
from tripletjax.kernels.sparse import described_all
from tripletjax.md import MDConfig, simulate
from tripletjax.potentials.base import Potential
from tripletjax.potentials.precision import computing_in, in_precision
from tripletjax.training import Dataset, read_labels
from tripletjax.training.kernel_config import LENGTH_SCALE, KernelConfig
from tripletjax.training.kernels import TRUNCATION, fit_kernel_potential, kernel_descriptor
from tripletjax.types import InputError

log = logging.getLogger("experiments.kernels.speed")
RESULTS = Path(__file__).parent / "results"
FITTED, SYNTHETIC, COPPER = 50, 1000, 20  # structures
AT_ONCE = 16  # molecules in a batch
SIZE = 1000  # of the matrices whose product is the reference
STEPS = 50, 250  # of molecular dynamics; their difference is timed
ONE_CORE = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


def fitted(frames: Sequence[Atoms], method: str) -> Potential:
    """The potential of ``tripletjax train --model kernel`` with its defaults, of all structures."""
    data = Dataset(list(frames), read_labels(frames))
    options: Any = {"valid": data, "config": KernelConfig(method=method), "show": False}
    return fit_kernel_potential(data, **options)[0]


def synthetic(frames: Sequence[Atoms], describer: Any, kernel: Any) -> Potential:
    """Random weights at all environments of the structures, on their principal axes."""
    batches = single_batches(list(frames), describer, np.dtype(float))
    describer = compressed(describer, batches, TRUNCATION)
    describer, found = described_all(describer, batches)
    order = np.argsort(found.kinds, kind="stable")
    points, random = found.vectors[order], np.random.default_rng(0)
    weights = {
        "points": points,
        "scale": np.asarray(found.scale),
        "alpha": random.normal(size=len(order)),
        "tangents": 0.1 * random.normal(size=points.shape) * (points != 0),
    }
    kinds = tuple(found.kinds[order].tolist())
    return Potential(KernelModel(describer=describer, kernel=kernel, kinds=kinds), weights)


def shortest(call: Callable[[], Any], seconds: float = 2.0) -> float:
    """Seconds of a call by the clock, the least of many, without compilation."""
    call()
    end, found = time.perf_counter() + seconds, []
    while time.perf_counter() < end or len(found) < 3:
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    return min(found)


def of_batch(potential: Potential, frames: Sequence[Atoms], dtype: str) -> float:
    """Seconds of energy, forces and stress of a batch."""
    batch = jax.device_put(potential.prepare(frames, dtype))
    return shortest(lambda: jax.block_until_ready(potential.energy_forces_stress(batch)))


def in_ase(potential: Potential, frame: Atoms, dtype: str) -> float:
    """Seconds of the calculator's forces, with the list of neighbours."""
    atoms = frame.copy()
    atoms.calc = TripletCalculator(potential, dtype)
    random = np.random.default_rng(0)

    def step() -> None:
        atoms.positions = frame.positions + 0.01 * random.normal(size=frame.positions.shape)
        atoms.get_forces()

    return shortest(step)


def in_driver(potential: Potential, frame: Atoms, dtype: str) -> float:
    """Seconds of a step of molecular dynamics near 0 K, with what is written in between."""
    potential = Potential(potential.model, potential.weights, scale=1e-6)  # nothing moves far
    found = []
    for _ in range(3):
        seconds = []
        for steps in STEPS:
            every = {"log_every": steps, "write_every": steps}
            config = MDConfig(steps=steps, temperature=1.0, timestep=0.1, **every)
            with tempfile.TemporaryDirectory() as folder:
                began = time.perf_counter()
                simulate(
                    potential, frame, f"{folder}/run", config,
                    dtype=dtype, uncertainty=False, show=False,
                )  # fmt: skip
                seconds.append(time.perf_counter() - began)
        found.append((seconds[1] - seconds[0]) / (STEPS[1] - STEPS[0]))
    return min(found[1:])  # the first one compiles


def in_jax_md(potential: Potential, frame: Atoms, dtype: str) -> float:
    """Seconds of energy and forces by jax-md's list of neighbours, of a molecule."""
    displacement = lambda a, b, **kwargs: a - b  # noqa: E731
    neighbor_fn, init_fn, energy_fn = neighbor_list(displacement, None, potential, frame.numbers)
    positions = jnp.asarray(frame.positions, dtype)
    neighbor = neighbor_fn.allocate(positions)
    params = init_fn(jax.random.key(0), positions, neighbor)
    both = jax.jit(jax.value_and_grad(energy_fn, 1))
    return shortest(lambda: jax.block_until_ready(both(params, positions, neighbor)))


def row(name: str, potential: Potential, frames: Sequence[Atoms], dtype: str) -> dict[str, Any]:
    """Microseconds an atom in all ways of use, and in units of the reference."""
    with computing_in(dtype):
        potential = in_precision(potential, dtype)
        matrix = jnp.ones((SIZE, SIZE), dtype)
        product = jax.jit(lambda a: jnp.matmul(a, a, precision="highest"))
        reference = shortest(lambda: jax.block_until_ready(product(matrix)))
        one, n_atoms = frames[-1], len(frames[-1])
        seconds = {"batch of 1": of_batch(potential, frames[-1:], dtype) / n_atoms}
        if not one.pbc.any():
            some = frames[-AT_ONCE:]
            seconds[f"batch of {AT_ONCE}"] = of_batch(potential, some, dtype) / sum(map(len, some))
            seconds["jax-md"] = in_jax_md(potential, one, dtype) / n_atoms
        seconds["ASE"] = in_ase(potential, one, dtype) / n_atoms
        seconds["MD driver"] = in_driver(potential, one, dtype) / n_atoms
    model: Any = potential.model
    log.info("%s, %s: %s", name, dtype, {way: f"{1e6 * t:.0f}" for way, t in seconds.items()})
    return {
        "potential": name,
        "dtype": dtype,
        "atoms": n_atoms,
        "points": len(model.kinds),
        "columns": list(model.describer.widths),
        "has_tangents": "tangents" in potential.weights,
        "microseconds_an_atom": {way: round(1e6 * t, 1) for way, t in seconds.items()},
        "matrix_products_an_atom": {way: t / reference for way, t in seconds.items()},
        "matrix_product_milliseconds": 1e3 * reference,
    }


def potentials(
    ethanol: Sequence[Atoms], copper: Sequence[Atoms], is_random: bool
) -> dict[str, tuple[Any, Any]]:
    """The potentials by what they are, and structures to evaluate them for."""
    kernel = EnvironmentKernel(length_scale=LENGTH_SCALE)
    describer: Any = kernel_descriptor(KernelConfig(), (1, 6, 8))
    of_copper = kernel_descriptor(KernelConfig(), (29,))
    metal = synthetic(copper[:COPPER], of_copper, kernel)
    found: dict[str, tuple[Any, Any]] = {}
    if is_random:
        few = synthetic(ethanol[:FITTED], describer, kernel)
        found[f"full, {FITTED} ethanol, random weights"] = few, ethanol
    else:
        log.info("fitting %d structures", FITTED)
        full, sparse = (fitted(ethanol[:FITTED], method) for method in ("full", "sparse"))
        model: Any = full.model
        describer, kernel = model.describer.describer, model.kernel
        found[f"full, {FITTED} ethanol, fitted"] = full, ethanol
        found[f"sparse, {FITTED} ethanol, fitted"] = sparse, ethanol
    many = synthetic(ethanol[:SYNTHETIC], describer, kernel)
    return found | {
        f"full, {SYNTHETIC} ethanol, random weights": (many, ethanol),
        f"full, {COPPER} copper, random weights": (metal, copper[:COPPER]),
    }


def main() -> None:
    """Times on files of ethanol and copper."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ethanol", type=Path, required=True, metavar="XYZ")
    parser.add_argument("--copper", type=Path, required=True, metavar="XYZ")
    parser.add_argument("--random", action="store_true", help="random weights instead of fits")
    parser.add_argument("--dtypes", nargs="+", default=["float64", "float32"], metavar="DTYPE")
    add_result_options(parser, RESULTS)
    arguments = parser.parse_args()
    show_progress()
    path = arguments.out / "speed.json"
    if path.is_file() and not arguments.force:
        raise InputError(f"{path} exists; --force replaces it")
    ethanol, copper = read_frames(arguments.ethanol), read_frames(arguments.copper)
    if len(ethanol) < SYNTHETIC or len(copper) < COPPER:
        raise InputError(f"expected {SYNTHETIC} structures of ethanol and {COPPER} of copper")
    with jax.enable_x64(True):
        found = potentials(ethanol, copper, arguments.random)
        rows = [row(name, *one, dtype) for name, one in found.items() for dtype in arguments.dtypes]
    settings = {
        "settings": asdict(KernelConfig()),
        "data": [arguments.ethanol.name, arguments.copper.name],
    }
    save_json(path, {"rows": rows} | settings | provenance())


if __name__ == "__main__":
    os.environ.setdefault("XLA_FLAGS", ONE_CORE)  # read when JAX first computes
    run_command(main)
