"""Memory and time of contracted correlations of high order on the 8000 B8 clusters.

    python -m experiments.benchmarks.nice_memory [--nu 7] [--max-products 3000] [--out FILE.json]

Fits the contraction with the published numbers of components on a part of the clusters, evaluates
the invariants of all of them in blocks, in float64, and prints how far the members of the pairs,
equal up to order 3, lie apart. Peak memory is that of the whole process. On a machine that others
use too, OPENBLAS_NUM_THREADS=1 makes the fit several times faster.
"""

import argparse
import resource
import sys
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax import describe
from tripletjax.data.b8 import load_b8
from tripletjax.demo import PAPER, pair_distances
from tripletjax.invariants.nice import PAPER_COMPONENTS, Contraction, correlations, fit_contraction
from tripletjax.io import provenance, save_json
from tripletjax.types import InputError


def peak_gigabytes() -> float:
    """Largest resident memory of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def densities(n_structures: int) -> np.ndarray:
    """Density coefficients [N, a, n, lm] of the central atoms, as in the paper."""
    frames = load_b8().frames(slice(n_structures))
    described = describe(frames, "density", centers=[0], dtype="float64", **PAPER)
    return described.values.reshape(n_structures, 1, PAPER["n_max"], -1)


def evaluate(coefficients: np.ndarray, contraction: Contraction, nu: int, parity: int, size: int):
    """Invariants [N, columns] in blocks of ``size``; seconds to compile and to run; scratch GB."""
    start = time.perf_counter()
    contraction = jax.tree.map(jnp.asarray, contraction)
    one = partial(correlations, nu=nu, parity=parity)
    block = jax.ShapeDtypeStruct((size, *coefficients.shape[1:]), coefficients.dtype)
    program = jax.jit(jax.vmap(one, in_axes=(0, None))).lower(block, contraction).compile()
    compiled = time.perf_counter()
    memory = program.memory_analysis()
    padding = -len(coefficients) % size
    padded = np.concatenate([coefficients, np.zeros((padding, *coefficients.shape[1:]))])
    values = np.zeros((len(padded), program.out_info.shape[1]))
    for first in range(0, len(padded), size):
        values[first : first + size] = program(padded[first : first + size], contraction)
    row = {
        "columns": values.shape[1],
        "compile_s": round(compiled - start, 1),
        "evaluate_s": round(time.perf_counter() - compiled, 1),
        "scratch_gb": memory.temp_size_in_bytes / 1e9 if memory else None,
    }
    return values[: len(coefficients)], row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nu", type=int, default=7, help="highest order, 4 to 7")
    parser.add_argument("--structures", type=int, default=8000, help="how many, even")
    parser.add_argument("--fit", type=int, default=1000, help="structures to fit to")
    parser.add_argument("--max-products", type=int, default=3000, help="of a block; 0: all")
    parser.add_argument("--block", type=int, default=32, help="environments evaluated at once")
    parser.add_argument("--pseudoscalars", action="store_true", help="also parity -1")
    parser.add_argument("--orders", type=int, nargs="*", help="orders to evaluate; default: nu")
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    arguments = parser.parse_args()
    if not 4 <= arguments.nu <= 7:
        parser.error("--nu goes from 4 to 7: there are published numbers of components for these")

    with jax.enable_x64(True):
        coefficients = densities(arguments.structures)
        start = time.perf_counter()
        contraction = fit_contraction(
            coefficients,
            arguments.nu,
            PAPER_COMPONENTS[: arguments.nu - 2],
            max_products=arguments.max_products or None,
            n_fit=arguments.fit,
        )
        record = {
            "hypers": PAPER,
            "structures": arguments.structures,
            "fitted_to": arguments.fit,
            "max_products": arguments.max_products or None,
            "components": PAPER_COMPONENTS[: arguments.nu - 2],
            "fit_s": round(time.perf_counter() - start, 1),
            "fit_peak_gb": peak_gigabytes(),
            "contraction_gb": sum(leaf.nbytes for leaf in jax.tree.leaves(contraction)) / 1e9,
            "largest_discarded_share": [
                max(float(share) for share in step.values()) for step in contraction.discarded
            ],
        }
        print(f"fit: {record['fit_s']} s, peak {record['fit_peak_gb']:.2f} GB")
        record["orders"] = []
        for nu in arguments.orders or [arguments.nu]:
            for parity in (1, -1) if arguments.pseudoscalars else (1,):
                values, row = evaluate(coefficients, contraction, nu, parity, arguments.block)
                distances = pair_distances(values)
                row = {"nu": nu, "parity": parity, **row} | {
                    "pair_distance_smallest": float(distances.min()),
                    "pair_distance_median": float(np.median(distances)),
                    "pair_distance_largest": float(distances.max()),
                    "peak_gb": peak_gigabytes(),
                }
                record["orders"].append(row)
                print(row, flush=True)
    if arguments.out:
        save_json(arguments.out, record | provenance())


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"nice_memory: {error}")
