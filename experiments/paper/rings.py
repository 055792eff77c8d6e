"""Energies of ring pairs from correlations of up to five neighbours, and from the fingerprint.

    python -m experiments.paper.rings [--quick] [--out DIR]

The pairs are those of ``experiments.paper.ring_pairs``, which no invariant of five neighbours can
tell apart.
"""

import argparse
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from experiments.commands import add_result_options, run_command, show_progress
from experiments.paper.errors import errors, intervals
from experiments.paper.ring_pairs import BORON, DATA, Rings, load_rings
from experiments.paper.running import RESULTS, result_of
from experiments.paper.selection import best_noise
from tripletjax.demo import pair_distances
from tripletjax.descriptors.description import describe
from tripletjax.invariants.nice import fit_contraction
from tripletjax.io import provenance, save_json
from tripletjax.kernels import gaussian_process, ridge
from tripletjax.plotting import CONNECTED, POINTS, drawing

logger = logging.getLogger(__name__)
HIGHEST = 5  # order of the correlations
TEST, VALIDATION = 0.2, 0.2  # of all pairs, and of those not tested
NOISES = 1e-13, 1e-12, 1e-11, 1e-10, 1e-8, 1e-6, 1e-4
BASIS = dict(
    cutoff=5.5, cutoff_width=0.5, radial="gaussian", radial_range=(1.5, 4.5), n_max=4
)  # fmt: skip
FULL = {
    "pairs": None, "l_max": 8, "n_features": 256, "length_scale": 0.5,
    "correlations_l_max": 4, "components": 12,
}  # fmt: skip
QUICK = FULL | {
    "pairs": 30, "l_max": 6, "n_features": 64, "correlations_l_max": 2, "components": 4
}  # fmt: skip
MODELS = {
    "nu <= 5, linear": ("correlations", ridge),
    "nu <= 5, Gaussian process": ("correlations", gaussian_process),
    "fingerprint, Gaussian process": ("fingerprint", gaussian_process),
}
NOTE = (
    "What to see: members of a pair differ in energy by far more than labels are worth (left), no\n"
    "model on orders up to 5 sees any of it (middle), one on the fingerprint does (right)."
)


def shuffled(rings: Rings, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Positions ``[2P, 25, 3]`` and energies ``[2P]``, which member comes first by chance.

    The atom on the axis would tell otherwise, and differences would not average to zero.
    """
    n_pairs = len(rings.parameters)
    swapped = np.random.Generator(np.random.PCG64(seed)).random(n_pairs) < 0.5
    place = np.arange(2 * n_pairs) ^ np.repeat(swapped, 2)
    return rings.positions[place], rings.energies[place]


def correlation_features(frames: list[Atoms], n_fit: int, settings: dict[str, Any]) -> np.ndarray:
    """Invariants of all orders up to 5, ``[2P, D]``, each order with a mean square of one.

    Orders 4 and 5 with a contraction fitted to the first structures. Invariants under reflections:
    pseudoscalars would be of one sign or the other by the hand of the axes, no property of a pair.
    """
    basis = BASIS | {"l_max": settings["correlations_l_max"]}
    options = {"centers": [0], "dtype": "float64"}
    density = describe(frames, "density", **options, **basis).values
    density = density.reshape(len(frames), 1, basis["n_max"], -1)
    contraction = fit_contraction(density[:n_fit], HIGHEST, settings["components"])
    parts = []
    for nu in range(1, HIGHEST + 1):
        rows = describe(
            frames, "correlations", nu=nu, contraction=contraction, **options, **basis
        ).values
        parts.append(rows / np.sqrt((rows[:n_fit] ** 2).sum(1).mean()))
        logger.info("order %d: %d columns", nu, rows.shape[1])
    return np.concatenate(parts, 1)


def fingerprint_features(frames: list[Atoms], settings: dict[str, Any]) -> np.ndarray:
    """Fingerprints of the centres, ``[2P, D]``."""
    names = ("l_max", "n_features", "length_scale")
    hypers = BASIS | {name: settings[name] for name in names}
    return describe(frames, "fingerprint", centers=[0], dtype="float64", **hypers).values


def sum_of_errors(predicted: np.ndarray, energies: np.ndarray) -> float:
    """Of pair means and of differences."""
    return sum(errors(predicted, energies).values())


def run(
    settings: dict[str, Any], out: Path, data: Path = DATA, force: bool = False
) -> dict[str, Any]:
    """Fit the models; writes rings.json and rings.png."""
    settings = settings | {"basis": BASIS}
    result_of(out / "rings.json", settings, force)
    rings = load_rings(data)
    positions, energies = shuffled(rings)
    if settings["pairs"] is not None:
        positions, energies = (a[: 2 * settings["pairs"]] for a in (positions, energies))
    n_train = 2 * round((1 - TEST) * len(energies) / 2)
    frames = [Atoms(np.full(len(one), BORON), one) for one in positions]
    start = time.process_time()
    values = {
        "correlations": correlation_features(frames, n_train, settings),
        "fingerprint": fingerprint_features(frames, settings),
    }
    record: dict[str, Any] = {
        "settings": settings,
        "train": n_train, "test": len(energies) - n_train,
        "labels": label_figures(rings),
        "blind": errors(energies[n_train:].reshape(-1, 2).mean(1).repeat(2), energies[n_train:]),
        "relative_distance_in_pairs": {
            kind: np.percentile(pair_distances(rows), (0, 50, 100)).tolist()
            for kind, rows in values.items()
        },
        "models": {},
    }  # fmt: skip
    predictions = {}
    for name, (kind, fit) in MODELS.items():
        rows = values[kind]
        noise = best_noise(
            fit, rows[:n_train], energies[:n_train], NOISES, VALIDATION, sum_of_errors
        )
        model = fit(rows[:n_train], energies[:n_train], noise=noise)
        predictions[name] = model.predict(rows[n_train:])
        record["models"][name] = {
            "noise": noise,
            "columns": rows.shape[1],
            "errors": errors(predictions[name], energies[n_train:]),
            "intervals": intervals(predictions[name], energies[n_train:]),
        }
    record["cpu_seconds"] = round(time.process_time() - start, 1)
    save_json(out / "rings.json", record | provenance())
    draw(out / "rings.png", rings, energies[n_train:], predictions)
    return record


def label_figures(rings: Rings) -> dict[str, Any]:
    """What the differences of the pairs are, and what labels are worth; meV."""
    differences = 1e3 * abs(rings.energies[0::2] - rings.energies[1::2])
    noise = 1e3 * abs(rings.turned - rings.energies[: len(rings.turned)])
    return {
        "pairs": len(differences),
        "std_meV": 1e3 * float(rings.energies.std()),
        "difference_percentiles_meV": dict(
            zip(("0", "5", "50", "95", "100"), np.percentile(differences, (0, 5, 50, 95, 100)),
                strict=True)
        ),
        "structures_turned": len(noise),
        "largest_change_when_turned_meV": float(noise.max()),
    }  # fmt: skip


def draw(path: Path, rings: Rings, energies: np.ndarray, predictions: dict) -> None:
    """The differences of all pairs, and those predicted for the test pairs."""
    differences = 1e3 * abs(rings.energies[0::2] - rings.energies[1::2])
    noise = 1e3 * abs(rings.turned - rings.energies[: len(rings.turned)]).max()
    shown = list(MODELS)[1:]
    with drawing(path, (12, 4.4), NOTE) as figure:
        axes = figure.subplots(1, 1 + len(shown))
        axes[0].hist(differences, bins=30, color=POINTS)
        axes[0].axvline(noise, color=CONNECTED, label=f"labels are worth {noise:.0e} meV")
        axes[0].set(xlabel="|energy difference| of a pair / meV", ylabel="pairs", title="labels")
        axes[0].legend(frameon=False, fontsize=8)
        reference = 1e3 * (energies[0::2] - energies[1::2])
        limits = np.array([-1.1, 1.1]) * abs(reference).max()
        for axis, name in zip(axes[1:], shown, strict=True):
            predicted = 1e3 * (predictions[name][0::2] - predictions[name][1::2])
            found = errors(predictions[name], energies)
            axis.plot(limits, limits, color="0.75", lw=0.8)
            axis.plot(reference, predicted, "o", ms=3, color=POINTS)
            axis.set(
                xlim=limits, ylim=limits, aspect="equal", xlabel="difference of a pair / meV",
                title=f"{name}\nmeans {found['mean']:.4f}, differences {found['delta']:.3f}",
            )  # fmt: skip
        axes[1].set_ylabel("predicted / meV")


def report(record: dict[str, Any]) -> str:
    """The models' errors as a table."""
    lines = ["| model | pair means | pair differences |", "|---|---|---|"]
    for name, model in record["models"].items():
        cells = []
        for part in ("mean", "delta"):
            low, high = model["intervals"][part]
            cells.append(f"{model['errors'][part]:.4f} ({low:.4f} to {high:.4f})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few pairs, low resolution")
    add_result_options(parser, RESULTS)
    given = parser.parse_args()
    show_progress()
    print(report(run(QUICK if given.quick else FULL, given.out, force=given.force)))


if __name__ == "__main__":
    run_command(main)
