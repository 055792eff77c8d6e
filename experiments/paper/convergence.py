"""Resolution as the convergence parameter: of a model's errors, and of structures recovered.

    python -m experiments.paper.convergence [--quick] [--out DIR]

The target is analytic, so that no noise of labels sets a floor. Every resolution is written as it
ends; a second run with the same settings goes on from there.
"""

import argparse
import logging
import time
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.commands import add_result_options, run_command, show_progress
from experiments.paper.errors import errors, intervals
from experiments.paper.recovery import fingerprint_errors, triplet_errors
from experiments.paper.running import RESULTS, result_of
from experiments.paper.selection import best_noise
from tripletjax import descriptor
from tripletjax.data.b8 import load_b8
from tripletjax.demo import SHELLS
from tripletjax.descriptors.description import describe
from tripletjax.io import provenance, save_json
from tripletjax.kernels import gaussian_process
from tripletjax.plotting import CONNECTED, POINTS, drawing

logger = logging.getLogger(__name__)
N_STRUCTURES, BORON = 8000, 5
RING, WIDTH = 5, 1.0  # neighbours in a ring, Å
NOISES, VALIDATION = (1e-12, 1e-10, 1e-8, 1e-6), 0.2
NOTE = (
    "What to see: atoms recovered converge with resolution alone (below). A model's errors\n"
    "(above; 1: blind) fall until the structures to train on set them: more of these lower all.\n"
    "Bars: 95 % over pairs, or quartiles over environments."
)
FULL = {
    "resolutions": [[n, l] for n in (2,) for l in (1, 2, 3, 4, 6, 8)] + [[1, 6], [3, 6], [4, 6]],
    "train": 1200, "fewer": 300, "test": 400, "n_features": 1024,
    "recovered": 12, "noise": 1e-6,
}  # fmt: skip
QUICK = FULL | {
    "resolutions": [[1, 1], [2, 3]], "train": 200, "fewer": 100, "test": 60, "n_features": 128,
    "recovered": 1,
}  # fmt: skip


def target(neighbors: np.ndarray) -> np.ndarray:
    """log Σ exp(-(d12² + d23² + d34² + d45² + d51²) / 2 w²), over all rings of five neighbours.

    A function of six bodies, the centre included, analytic where no two neighbours meet. Rings
    close only after five steps, so that no correlation of lower order determines it.

    Args:
        neighbors: ``[S, K, 3]`` Å, K at least 5.

    Returns:
        ``[S]``.
    """
    n = neighbors.shape[1]
    squares = ((neighbors[:, :, None] - neighbors[:, None]) ** 2).sum(-1)
    rings = np.array([
        (some[0], *order)
        for some in combinations(range(n), RING)
        for order in permutations(some[1:])
        if order[0] < order[-1]
    ])  # fmt: skip
    lengths = squares[:, rings, np.roll(rings, -1, 1)].sum(-1)  # [S, ring]
    return np.log(np.exp(-lengths / (2 * WIDTH**2)).sum(1))


def hypers_of(n_max: int, l_max: int, n_features: int) -> dict[str, Any]:
    """The fingerprint of the demo at another resolution."""
    return SHELLS | {
        "n_max": n_max, "l_max": l_max, "length_scale": 1.5, "n_features": n_features, "seed": 0
    }  # fmt: skip


def learned(n_max: int, l_max: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Test errors of a Gaussian process on the target, with many and with fewer structures."""
    data = load_b8()
    n_train, n_test = settings["train"], settings["test"]
    chosen = np.r_[:n_train, N_STRUCTURES - n_test : N_STRUCTURES]
    values = describe(
        data.frames(chosen), "fingerprint", centers=[0], dtype="float64",
        **hypers_of(n_max, l_max, settings["n_features"]),
    ).values  # fmt: skip
    labels = target(data.positions[chosen, 1:])
    found = {}
    for size in (settings["fewer"], n_train):
        noise = best_noise(
            gaussian_process, values[:size], labels[:size], NOISES, VALIDATION, mean_square
        )
        predicted = gaussian_process(values[:size], labels[:size], noise=noise).predict(
            values[n_train:]
        )
        found[str(size)] = {
            "noise": noise,
            "errors": errors(predicted, labels[n_train:]),
            "intervals": intervals(predicted, labels[n_train:]),
        }
    return found


def mean_square(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Of the errors."""
    return float(((predicted - labels) ** 2).mean())


def recovered_from(kind: str):
    """Å, the error of every environment recovered from its fingerprint or from one triplet."""

    def recovered(n_max: int, l_max: int, settings: dict[str, Any]) -> list[float]:
        positions = load_b8().positions[-settings["recovered"] :, 1:]
        hypers = hypers_of(n_max, l_max, 256) | {"length_scale": 4.0}  # wide: a smooth way down
        chosen = descriptor("fingerprint", (BORON,), **hypers)
        with jax.enable_x64(True):
            if kind == "triplet":
                return triplet_errors(positions, chosen.hypers.basis, settings["noise"])
            return fingerprint_errors(positions, chosen, settings["noise"])

    return recovered


PARTS = {
    "learned": learned,
    "triplet": recovered_from("triplet"),
    "fingerprint": recovered_from("fingerprint"),
}


def run(settings: dict[str, Any], out: Path, force: bool = False) -> dict[str, Any]:
    """All parts and resolutions that convergence.json does not hold yet; then the figure."""
    path = out / "convergence.json"
    record: dict[str, Any] = {"settings": settings, "resolutions": {}}
    if found := result_of(path, settings, force):
        record["resolutions"] = found["resolutions"]
    for part, measure in PARTS.items():
        for n_max, l_max in settings["resolutions"]:
            name = f"n_max={n_max} l_max={l_max}"
            entry = record["resolutions"].setdefault(name, {"n_max": n_max, "l_max": l_max})
            if part in entry:
                continue
            start = time.process_time()
            entry[part] = measure(n_max, l_max, settings)
            entry[f"{part}_cpu_seconds"] = round(time.process_time() - start, 1)
            logger.info("%s: %s, %.0f s", name, part, entry[f"{part}_cpu_seconds"])
            save_json(path, record | provenance())
    draw(out / "convergence.png", record)
    return record


def line(entry: dict[str, Any], settings: dict[str, Any]) -> str:
    """One resolution in one line."""
    found = entry["learned"][str(settings["train"])]["errors"]
    atoms = (f"{np.median(entry[kind]):.1e}" for kind in ("triplet", "fingerprint"))
    seconds = sum(entry[f"{part}_cpu_seconds"] for part in PARTS)
    return (
        f"| {entry['n_max']} | {entry['l_max']} | {found['mean']:.4f} | {found['delta']:.4f} "
        f"| {' | '.join(atoms)} | {seconds:.0f} |"
    )


def draw(path: Path, record: dict[str, Any]) -> None:
    """Errors against l_max and against n_max: learned above, recovered below."""
    settings, entries = record["settings"], list(record["resolutions"].values())
    n_fixed, l_fixed = held(settings["resolutions"])
    with drawing(path, (9, 7.4), NOTE) as figure:
        axes = figure.subplots(2, 2, sharex="col", sharey="row")
        for column, (name, other, fixed) in enumerate(
            (("l_max", "n_max", n_fixed), ("n_max", "l_max", l_fixed))
        ):
            some = sorted((e for e in entries if e[other] == fixed), key=lambda e: e[name])
            x = [entry[name] for entry in some]
            draw_learned(axes[0, column], x, some, settings)
            draw_recovered(axes[1, column], x, some)
            axes[0, column].set_title(f"{other} = {fixed}")
            axes[1, column].set(xlabel=name, xticks=x)
        axes[0, 0].set_ylabel("relative error on test pairs")
        axes[1, 0].set_ylabel("error of recovered environments / Å")
        for axis in axes[:, 0]:
            axis.legend(frameon=False, fontsize=8)


def held(resolutions: list[list[int]]) -> tuple[int, int]:
    """The n_max and l_max that most resolutions have."""
    columns = list(zip(*resolutions, strict=True))
    n, l = (max(sorted(set(values)), key=values.count) for values in columns)
    return n, l


def draw_learned(axis, x, some, settings) -> None:
    for size, line_style in ((settings["fewer"], "--"), (settings["train"], "-")):
        fits = [entry["learned"][str(size)] for entry in some]
        for part, title, color in (
            ("delta", "pair differences", CONNECTED), ("mean", "pair means", POINTS)
        ):  # fmt: skip
            y = np.array([fit["errors"][part] for fit in fits])
            bars = abs(np.array([fit["intervals"][part] for fit in fits]).T - y)
            label = f"{title}, {size} to train"
            axis.errorbar(x, y, bars, fmt="o", ls=line_style, ms=3, lw=1, color=color, label=label)
    axis.set_yscale("log")
    axis.axhline(1, color="0.6", lw=0.8, ls=":")


def draw_recovered(axis, x, some) -> None:
    for kind, title, color in (
        ("fingerprint", "from the fingerprint", CONNECTED),
        ("triplet", "from one triplet", POINTS),
    ):  # fmt: skip
        values = np.array([entry[kind] for entry in some])  # [resolution, environment]
        low, middle, high = np.percentile(values, (25, 50, 75), 1)
        bars = [middle - low, high - middle]
        axis.errorbar(x, middle, bars, fmt="o-", ms=3, lw=1, color=color, label=title)
    axis.set_yscale("log")


def main() -> None:
    """Run, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two resolutions, few structures")
    add_result_options(parser, RESULTS)
    given = parser.parse_args()
    show_progress()
    settings = QUICK if given.quick else FULL
    record = run(settings, given.out, given.force)
    print("| n_max | l_max | means | differences | triplet / Å | fingerprint / Å | s |")
    print("|---|---|---|---|---|---|---|")
    for entry in record["resolutions"].values():
        print(line(entry, settings))


if __name__ == "__main__":
    run_command(main)
