"""Every family of degenerate structures against every kind of descriptor, in figures.

    python -m experiments.degeneracy.run [--quick] [--out FOLDER] [--families NAME ...]

For each pair the distance of the descriptors in float64, relative to their norm and to slope times
geometric distance (``separation``), and in float32; a table of the worst of each family.
"""

import argparse
import json
import logging
import time
from contextlib import nullcontext
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from experiments.commands import show_progress
from experiments.degeneracy.references import (
    COMPONENTS,
    CUTOFF,
    EXTENT,
    L_MAX,
    N_FEATURES,
    N_MAX,
    N_SPECIES,
    NICE,
    PERIODIC_SCALE,
    Reference,
    contraction_of,
    references,
    scaled,
    width_of,
)
from experiments.degeneracy.table import as_text, draw, worst
from tripletjax.completeness.families import FAMILIES, DegeneratePair, instances
from tripletjax.completeness.separations import pair_separation, structure_distance
from tripletjax.io import atomic_open, provenance, save_json
from tripletjax.testing import FAST_COMPILATION

logger = logging.getLogger(__name__)

QUICK_FAMILIES = ("two_neighbors", "b8", "rotated_polygon")
QUICK_REFERENCES = ("sorted distances", "power spectrum", "triplet sum", "fingerprint l=6")
N_DIRECTIONS = 24


class Evaluators:
    """Compiled functions (vectors, species, mask, center, displacements) -> values, changes."""

    def __init__(self, pairs: list[DegeneratePair], quick: bool):
        self.pairs = pairs
        self.options = FAST_COMPILATION if quick else None
        self.compiled = cache(self._compiled)

    def _compiled(self, reference: Reference):
        contraction = None
        if reference.nu:
            logger.info("fitting the contraction for order %d", reference.nu)
            with jax.enable_x64(True):
                contraction = contraction_of(reference.nu, self.pairs)
        function = reference.make(contraction)

        @partial(jax.jit, compiler_options=self.options)
        def evaluate(vectors, species, mask, center, displacements):
            apply = lambda v: function(v, species, mask, center)  # noqa: E731
            if not len(displacements):
                values = apply(vectors)
                return values, jnp.zeros((0, len(values)), values.dtype)
            change = lambda moves: jax.jvp(apply, (vectors,), (moves,))  # noqa: E731
            return jax.vmap(change, out_axes=(None, 0))(displacements)

        return evaluate

    def measure(self, reference: Reference, pair: DegeneratePair, distance: float) -> dict:
        """Separations of one pair by one descriptor, in both precisions."""
        compiled = self.compiled(reference)
        found = {}
        for dtype, n_directions in (("float64", N_DIRECTIONS), ("float32", 0)):

            def evaluate(vectors, species, mask, center, displacements, dtype=dtype):
                return compiled(
                    vectors.astype(dtype), species.astype(np.int32), mask,
                    np.asarray(center, np.int32), displacements.astype(dtype),
                )  # fmt: skip

            with jax.enable_x64(True) if dtype == "float64" else nullcontext():
                found[dtype] = pair_separation(
                    evaluate, pair, CUTOFF, distance, n_directions, width_of
                )
        record = {k: v for k, v in found["float64"]._asdict().items() if np.isfinite(v)}
        return record | {"relative_float32": found["float32"].relative}


def measure_family(
    name: str, evaluators: Evaluators, columns: list[Reference], bar: tqdm
) -> list[dict[str, Any]]:
    """All pairs of one family by all descriptors."""
    records = []
    for pair in instances([name]):
        pair, distance = scaled(pair), 0.0
        if pair.relation == "none":
            distance = structure_distance(pair)
        cells = {}
        for reference in columns:
            if reference.families is None or name in reference.families:
                bar.set_postfix_str(f"{pair.name}, {reference.name}")
                cells[reference.name] = evaluators.measure(reference, pair, distance)
        records.append(
            {
                "name": pair.name,
                "relation": pair.relation,
                "atoms": len(pair.species),
                "centers": len(pair.species) if pair.center is None else 1,
                "distance": distance,
                "defeats": list(pair.defeats),
                "separations": cells,
            }
        )
    return records


def run(out: Path, names: list[str], quick: bool = False) -> dict[str, Any]:
    """Measure the named families and write results.json, table.txt and separations.png.

    Families that results.json already holds, measured with the same settings, are not repeated.
    """
    columns = references(64 if quick else N_FEATURES)
    if quick:
        columns = [column for column in columns if column.name in QUICK_REFERENCES]
    settings = {
        "cutoff_A": CUTOFF, "extent_A": EXTENT, "periodic_scale": PERIODIC_SCALE,
        "n_species": N_SPECIES, "n_max": N_MAX, "l_max": L_MAX,
        "orders 4 and 7": NICE | {"components": {str(k): v for k, v in COMPONENTS.items()}},
        "n_features": 64 if quick else N_FEATURES, "directions": N_DIRECTIONS,
        "descriptors": [column.name for column in columns],
    }  # fmt: skip
    path = out / "results.json"
    record: dict[str, Any] = {"settings": settings, "families": {}}
    if path.is_file():
        found = json.loads(path.read_text())
        if found.get("settings") == settings:
            record["families"] = found["families"]
    evaluators = Evaluators([scaled(pair) for pair in instances()], quick)
    bar = tqdm([name for name in names if name not in record["families"]], unit="family")
    for name in bar:
        start = time.perf_counter()
        measured = record["families"] | {name: measure_family(name, evaluators, columns, bar)}
        record["families"] = {family: measured[family] for family in FAMILIES if family in measured}
        logger.info("%s: %.0f s", name, time.perf_counter() - start)
        save_json(path, record | provenance())
    rows = worst(record["families"], settings["descriptors"])
    text = as_text(rows, settings["descriptors"])
    with atomic_open(out / "table.txt", "w") as file:
        file.write(text)
    draw(out / "separations.png", rows, settings["descriptors"])
    save_json(path, record | {"worst": rows} | provenance())
    return record | {"worst": rows}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results"))
    parser.add_argument("--quick", action="store_true", help="three families, four descriptors")
    parser.add_argument("--families", nargs="+", choices=list(FAMILIES), metavar="NAME")
    chosen = parser.parse_args(arguments)
    show_progress()
    names = chosen.families or list(QUICK_FAMILIES if chosen.quick else FAMILIES)
    run(chosen.out, names, chosen.quick)
    print((chosen.out / "table.txt").read_text())


if __name__ == "__main__":
    main()
