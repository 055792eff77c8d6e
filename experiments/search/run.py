"""Search for pairs that a descriptor cannot tell apart: power spectrum against fingerprint.

Can be stopped, and goes on with the searches that its results do not hold yet.

python -m experiments.search.run --out experiments/search/results
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from tripletjax import descriptor
from tripletjax.completeness.search import search_pairs
from tripletjax.descriptors.kinds import read_by
from tripletjax.io import provenance, save_json

HYPERS: dict[str, Any] = {"cutoff": 3.0, "n_max": 3, "l_max": 4, "n_features": 256}
FINER: dict[str, Any] = {"cutoff": 3.0, "n_max": 6, "l_max": 9}
STILL_EQUAL = 1e-7  # at the finer resolution, where the pair was found to 1e-9


def run(kind: str, n_neighbors: int, n_starts: int, n_steps: int) -> dict[str, Any]:
    """One search; pairs of the power spectrum are tried at a finer resolution too."""
    start = time.monotonic()
    chosen = descriptor(kind, (1,), **read_by(kind, HYPERS))
    found = search_pairs(chosen, n_neighbors, n_starts=n_starts, n_steps=n_steps, progress=True)
    seconds = time.monotonic() - start
    pairs = found.pairs[found.found]
    return {
        "kind": kind,
        "neighbors": n_neighbors,
        "starts": found.n_starts,
        "steps": n_steps,
        "found": found.n_found,
        "equal_at_finer_resolution": still_equal(kind, pairs),
        "nearest": float(found.descriptor_distance[0]),
        "geometric_distance_A": [float(x) for x in found.geometric_distance[found.found]],
        "pairs": pairs.tolist(),
        "seconds": round(seconds, 1),
    }


def still_equal(kind: str, pairs: np.ndarray) -> int:
    """How many of the pairs a finer basis cannot tell apart either: blind, not just coarse."""
    if not len(pairs):
        return 0
    fine = descriptor(kind, (1,), **read_by(kind, HYPERS | FINER))
    n = pairs.shape[2]
    with jax.enable_x64(True):
        of = jax.jit(jax.vmap(lambda x: fine.environment(x, np.zeros(n, int), np.ones(n, bool))))
        first, second = np.asarray(of(pairs[:, 0])), np.asarray(of(pairs[:, 1]))
    apart = np.linalg.norm(first - second, axis=1) / np.linalg.norm(first, axis=1)
    return int((apart < STILL_EQUAL).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--starts", type=int, default=48)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--neighbors", type=int, nargs="+", default=[4, 5])
    parser.add_argument("--out", type=Path, default=Path("experiments/search/results"))
    arguments = parser.parse_args()
    path = arguments.out / "results.json"
    runs = json.loads(path.read_text())["runs"] if path.exists() else []
    settings = {"starts": arguments.starts, "steps": arguments.steps}
    for n_neighbors in arguments.neighbors:
        for kind in ("power_spectrum", "fingerprint"):
            asked = {"kind": kind, "neighbors": n_neighbors, **settings}
            if any(
                asked.items() <= {k: v for k, v in r.items() if k in asked}.items() for r in runs
            ):
                continue
            row = run(kind, n_neighbors, arguments.starts, arguments.steps)
            runs.append(row)
            shown = {name: value for name, value in row.items() if name != "pairs"}
            print({k: v for k, v in shown.items() if k != "geometric_distance_A"}, flush=True)
            save_json(path, {"hypers": HYPERS, "finer": FINER, "runs": runs, **provenance()})


if __name__ == "__main__":
    main()
