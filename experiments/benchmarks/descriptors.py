"""Time of every descriptor and of its gradient, per environment, relative to the power spectrum.

    python -m experiments.benchmarks.descriptors [--repeats 7] [--out FILE.json]

All environments of a silicon crystal, 28 neighbours within 5 Å. Compilation is excluded: each
program runs once before it is timed, and the median of the repeats counts. Only the ratios of one
run mean anything: machines differ.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from ase.build import bulk

from experiments.benchmarks.timing import seconds
from tripletjax import descriptor, prepare
from tripletjax.io import provenance, save_json

HYPERS = {"cutoff": 5.0, "n_max": 4, "l_max": 4}
CASES = {
    "density": {},
    "power_spectrum": {},
    "bispectrum": {},
    "triplet_sum": {},
    "fingerprint, all tags": {"n_features": 256},
    "fingerprint, 8 tags": {"n_features": 256, "tags": 8},
}


def measure(case: str, hypers: dict, repeats: int) -> dict[str, float]:
    """Microseconds per environment of the values and of values with the gradient of their sum."""
    crystal = bulk("Si", cubic=True) * (2, 2, 2)
    crystal.rattle(0.05, seed=0)
    batch = prepare(crystal, cutoff=HYPERS["cutoff"])
    chosen = descriptor(case.split(",")[0], (14,), **HYPERS, **hypers)

    def total(positions):
        values = chosen.batch(batch._replace(positions=positions))
        return jnp.sum(jnp.where(batch.center_mask[:, None], values, 0) ** 2)

    values = jax.jit(lambda positions: chosen.batch(batch._replace(positions=positions)))
    gradient = jax.jit(jax.value_and_grad(total))
    per_environment = 1e6 / int(np.sum(batch.center_mask))
    return {
        "values_us": seconds(values, batch.positions, repeats) * per_environment,
        "gradient_us": seconds(gradient, batch.positions, repeats) * per_environment,
        "columns": len(chosen.names),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    arguments = parser.parse_args()

    rows = {}
    print(f"{'descriptor':24}{'columns':>8}{'values':>9}{'gradient':>10}   (power spectrum = 1)")
    for case, hypers in CASES.items():
        rows[case] = measure(case, hypers, arguments.repeats)
    unit = rows["power_spectrum"]["values_us"]
    for case, row in rows.items():
        row["values_ratio"], row["gradient_ratio"] = (
            row["values_us"] / unit,
            row["gradient_us"] / unit,
        )
        ratios = f"{row['values_ratio']:9.2f}{row['gradient_ratio']:10.2f}"
        print(f"{case:24}{row['columns']:8d}{ratios}")
    print(f"power spectrum: {unit:.1f} µs per environment in {jnp.zeros(()).dtype} on this machine")
    if arguments.out:
        save_json(arguments.out, {"hypers": HYPERS, "rows": rows, **provenance()})


if __name__ == "__main__":
    main()
