"""Densities and power spectra beside featomic: times on one core, alternating, in one process.

    taskset -c 0 .venv-compare/bin/python -m experiments.benchmarks.featomic [--repeats 9]

The same basis of Gaussian-type orbitals, in float64, for 64 atoms of silicon with 28 neighbours.
The ratio is the time of featomic over ours, with quartiles over pairs of runs. Neighbour lists
count on both sides in ``describe``; other rows of ours are compiled functions of a prepared batch.
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("RAYON_NUM_THREADS", "1")  # of featomic
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms
from ase.build import bulk
from featomic import SoapPowerSpectrum, SphericalExpansion

from experiments.commands import add_result_options, run_command
from tripletjax import describe, descriptor, prepare
from tripletjax.io import provenance, save_json

RESULTS = Path(__file__).parent / "results"
CUTOFF, N_MAX, L_MAX = 5.0, 8, 6
OURS = {
    "cutoff": CUTOFF, "n_max": N_MAX, "l_max": L_MAX, "radial": "gto", "gaussian_width": 0.3,
    "cutoff_function": "shifted_cosine", "cutoff_width": 0.5,
}  # fmt: skip
THEIRS = {
    "cutoff": {"radius": CUTOFF, "smoothing": {"type": "ShiftedCosine", "width": 0.5}},
    "density": {"type": "Gaussian", "width": 0.3},
    "basis": {
        "type": "TensorProduct",
        "max_angular": L_MAX,
        "radial": {"type": "Gto", "max_radial": N_MAX - 1},
    },
}
Case = tuple[Callable[[], object], Callable[[], object]]  # ours, theirs


def crystals(count: int) -> list[Atoms]:
    """Cells of 64 atoms, displaced at random."""
    frames = [bulk("Si", cubic=True) * (2, 2, 2) for _ in range(count)]
    for seed, frame in enumerate(frames):
        frame.rattle(0.05, seed=seed)
    return frames


def cases(structures: int) -> dict[str, Case]:
    """What is timed, by name."""
    frame = crystals(1)[0]
    batch = prepare(frame, CUTOFF, dtype="float64")
    density, spectrum = (descriptor(kind, (14,), **OURS) for kind in ("density", "power_spectrum"))
    expansion, soap = SphericalExpansion(**THEIRS), SoapPowerSpectrum(**THEIRS)
    random = np.random.default_rng(0)
    weights = random.normal(size=len(spectrum.names))
    of_all_pairs = random.normal(
        size=N_MAX**2 * (L_MAX + 1)
    )  # featomic has both (n, n') and (n', n)

    def of(chosen) -> Callable[[], object]:
        function = jax.jit(lambda positions: chosen.batch(batch._replace(positions=positions)))
        return lambda: jax.block_until_ready(function(batch.positions))

    def energy(positions):
        return jnp.sum(spectrum.batch(batch._replace(positions=positions)) @ weights)

    slopes = jax.jit(jax.value_and_grad(energy))

    def their_slopes() -> np.ndarray:
        gradient = soap.compute([frame], gradients=["positions"]).block().gradient("positions")
        forces = np.zeros((len(frame), 3))
        rows = np.asarray(gradient.samples["atom"])
        np.add.at(forces, rows, np.asarray(gradient.values) @ of_all_pairs)
        return forces

    several = crystals(structures)
    return {
        "density": (of(density), lambda: expansion.compute([frame])),
        "power spectrum": (of(spectrum), lambda: soap.compute([frame])),
        "energy and forces, linear in it": (
            lambda: jax.block_until_ready(slopes(batch.positions)),
            their_slopes,
        ),
        f"describe, {structures} structures": (
            lambda: describe(several, "power_spectrum", dtype="float64", **OURS),
            lambda: soap.compute(several),
        ),
    }


def timed(case: Case, repeats: int) -> dict[str, float]:
    """Medians in milliseconds and the ratio of pairs of runs; the first runs are left out."""
    times = np.empty((repeats, 2))
    for number in range(-1, repeats):
        for place, function in enumerate(case):
            begin = time.perf_counter()
            function()
            times[number, place] = 1e3 * (time.perf_counter() - begin)
    low, middle, high = np.percentile(times[:, 1] / times[:, 0], [25, 50, 75])
    ours, theirs = np.median(times, axis=0)
    return {
        "ours_ms": ours, "featomic_ms": theirs,
        "ratio": middle, "lower_quartile": low, "upper_quartile": high,
    }  # fmt: skip


def main() -> None:
    """Time all cases and write featomic.json."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--structures", type=int, default=100, help="for describe")
    add_result_options(parser, RESULTS)
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    rows = {}
    print(f"{'':36}{'ours / ms':>10}{'featomic':>10}{'ratio':>8}")
    for name, case in cases(arguments.structures).items():
        row = rows[name] = timed(case, arguments.repeats)
        spread = f"{row['lower_quartile']:.1f} to {row['upper_quartile']:.1f}"
        print(
            f"{name:36}{row['ours_ms']:10.2f}{row['featomic_ms']:10.2f}{row['ratio']:8.1f} "
            f"({spread})",
            flush=True,
        )
    save_json(arguments.out / "featomic.json", {"rows": rows, "hypers": OURS} | provenance())


if __name__ == "__main__":
    run_command(main)
