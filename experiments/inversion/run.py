"""Environments recovered from their descriptors alone, by Levenberg-Marquardt from random starts.

    python -m experiments.inversion.run [--samples N] [--starts N] [--kinds K ...] [--out FILE]

Every inversion is written as it ends; a second run with the same settings goes on from there.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from tripletjax import descriptor
from tripletjax.completeness.alignment import environment_distance
from tripletjax.completeness.families import instances
from tripletjax.completeness.inversion import invert, random_environment
from tripletjax.io import provenance, save_json

KINDS = ("fingerprint", "power_spectrum", "bispectrum")
BASIS = {"cutoff": 3.0, "n_max": 3, "l_max": 3}
FEATURES = {"n_features": 256, "length_scale": 4.0}
SIZES = range(2, 9)
MARGIN, SPACING = 0.5, 0.8  # Å: from the cutoff, and between atoms
RECOVERED = 1e-3  # Å


def random_cases(samples: int) -> dict[str, np.ndarray]:
    """Neighbours [n, 3] by name, n = 2 ... 8, evenly in the ball."""
    radius = BASIS["cutoff"] - MARGIN
    return {
        f"random n={n} {sample}": random_environment(
            n, radius, np.random.default_rng([n, sample]), SPACING
        )
        for sample in range(samples)
        for n in SIZES
    }


def degenerate_cases() -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Both members of the degenerate pairs with up to 8 neighbours of one species, and partners.

    They are scaled so that the furthest neighbour is 0.5 Å inside the cutoff; pairs whose atoms
    then come closer than the spacing are left out.
    """
    cases, partners = {}, {}
    for pair in instances():
        if pair.center is None or pair.cell is not None or pair.relation != "none":
            continue
        others = np.arange(len(pair.species)) != pair.center
        members = [(x - x[pair.center])[others] for x in (pair.first, pair.second)]
        if not 2 <= others.sum() <= SIZES[-1] or len(set(pair.species[others])) > 1:
            continue
        largest = max(np.linalg.norm(member, axis=1).max() for member in members)
        members = [member * (BASIS["cutoff"] - MARGIN) / largest for member in members]
        if min(closest(member) for member in members) < SPACING:
            continue
        names = [f"degenerate {pair.name} {place}" for place in ("first", "second")]
        cases |= dict(zip(names, members, strict=True))
        partners |= dict(zip(names, names[::-1], strict=True))
    return cases, partners


def closest(vectors: np.ndarray) -> float:
    """The least distance of two atoms, the centre included."""
    atoms = np.concatenate([np.zeros((1, 3)), vectors])
    one, other = np.triu_indices(len(atoms), 1)
    return float(np.linalg.norm(atoms[one] - atoms[other], axis=1).min())


def apart(first: np.ndarray, second: np.ndarray) -> float:
    """Å: root of the sum of squared displacements, best over O(3) and permutations."""
    one, other = np.ones(len(first), int), np.ones(len(second), int)
    return environment_distance(
        first, one, second, other, cutoff=BASIS["cutoff"], max_cells=1
    ).upper


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """All inversions that are not yet in the file."""
    settings = {
        "basis": BASIS, "fingerprint": FEATURES, "starts": arguments.starts, "steps": 60,
        "margin": MARGIN, "spacing": SPACING, "recovered": RECOVERED, "seed": 0,
    }  # fmt: skip
    record: dict[str, Any] = {"settings": settings, "inversions": {}}
    if arguments.out.exists():
        record = json.loads(arguments.out.read_text())
        if record["settings"] != settings:
            raise SystemExit(f"{arguments.out} has other settings; give another --out")
    degenerate, partners = degenerate_cases()
    cases = random_cases(arguments.samples) | degenerate
    for kind in arguments.kinds:
        hypers = BASIS | (FEATURES if kind == "fingerprint" else {})
        chosen = descriptor(kind, (1,), **hypers)
        evaluate = jax.jit(chosen.environment)
        for name, vectors in cases.items():
            key = f"{kind} {name}"
            if key in record["inversions"]:
                continue
            species = np.zeros(len(vectors), np.int32)
            values = np.asarray(evaluate(vectors, species, np.ones(len(vectors), bool)))
            start = time.perf_counter()
            found = invert(
                values, chosen, species, max_starts=arguments.starts, spacing=SPACING, n_steps=60
            )
            seconds = time.perf_counter() - start
            entry = {
                "residual": found.residual,
                "fits": found.success,
                "distance": apart(vectors, found.vectors),
                "starts": found.n_starts,
                "seconds": round(seconds, 2),
            }
            if name in partners:
                entry["to_partner"] = apart(degenerate[partners[name]], found.vectors)
            record["inversions"][key] = entry
            save_json(arguments.out, record | provenance())
    return record


def table(record: dict[str, Any], kinds: list[str]) -> list[str]:
    """Lines: of each set and kind how many are recovered, fit without being it, or do not fit."""
    groups = [f"random n={n}" for n in SIZES] + ["degenerate"]
    lines = [
        "| environments | kind | number | recovered | another fits | none found | starts | s |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|")
    for group in groups:
        for kind in kinds:
            entries = [
                entry
                for key, entry in record["inversions"].items()
                if key.startswith(f"{kind} {group} ")
            ]
            if not entries:
                continue
            recovered = sum(e["fits"] and e["distance"] < RECOVERED for e in entries)
            fits = sum(e["fits"] for e in entries)
            starts = np.mean([e["starts"] for e in entries])
            seconds = np.median([e["seconds"] for e in entries])
            lines.append(
                f"| {group} | {kind} | {len(entries)} | {recovered} | {fits - recovered} | "
                f"{len(entries) - fits} | {starts:.0f} | {seconds:.1f} |"
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).with_name("results") / "results.json"
    parser.add_argument("--out", type=Path, default=default)
    parser.add_argument("--samples", type=int, default=10, help="random environments of each size")
    parser.add_argument("--starts", type=int, default=128, help="random starts of an inversion")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    arguments = parser.parse_args()
    with jax.enable_x64(True):
        record = run(arguments)
    print("\n".join(table(record, arguments.kinds)))


if __name__ == "__main__":
    main()
