"""Distorted B8 pairs in features of order 3, in complete features, and in models of the energy.

    python -m experiments.paper --rows A_rho_NL B_NL D_NL
    python -m experiments.paper.sensitivity

Pairs of the test set, whose members have equal bispectra, are distorted by Gaussian noise on all
positions: the same for both members, or other noise for each. The distance of the members in a
feature is drawn against that in correlations of all orders up to 7; each in units of the root mean
square distance between undistorted structures of different pairs. ``--quick`` takes the rows of
``python -m experiments.paper --quick``.
"""

import argparse
import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from scipy.stats import rankdata

from experiments.commands import add_result_options, run_command, show_progress
from experiments.paper import features
from experiments.paper.errors import errors
from experiments.paper.labels import KINDS
from experiments.paper.running import RESULTS, Runner, Settings, result_of
from tripletjax import describe
from tripletjax.data.b8 import load_b8
from tripletjax.demo import DESCRIPTORS, MODELS
from tripletjax.io import provenance, save_json
from tripletjax.kernels import gaussian_process
from tripletjax.plotting import drawing, pair_parity
from tripletjax.types import InputError

logger = logging.getLogger(__name__)
DEVIATIONS = (1e-4, 1e-3, 1e-2, 1e-1)  # Å
NOISES = {"same": 1, "independent": 2}  # and how many draws a pair has
UNDISTORTED = "undistorted"
ENCODER, ENERGY_ROWS = "A_rho_NL", ("D_NL", "B_NL")
REFERENCE = "correlations to order 7"
COMPARED = ("correlations to order 3", "fingerprint", "learned codes")
CLOSED_FORM = "fingerprint, Gaussian process"
SEED = 0
FLOOR = 1e-6  # of the figure
COLORS = ("0.75", "#fdbb84", "#ef6548", "#b30000", "#2b0a0a")


def distortions(positions: np.ndarray) -> dict[str, np.ndarray]:
    """All sets of pairs: undistorted, and each deviation with either noise, "same 0.001".

    Noise of different deviations is drawn anew.

    Args:
        positions: ``[2P, 8, 3]`` Å, members of a pair side by side.
    """
    random = np.random.Generator(np.random.PCG64(SEED))
    pairs = positions.reshape(-1, 2, *positions.shape[1:])
    found = {UNDISTORTED: positions}
    for noise, n_draws in NOISES.items():
        for deviation in DEVIATIONS:
            drawn = random.normal(size=(len(pairs), n_draws, *positions.shape[1:]))
            found[f"{noise} {deviation:g}"] = (pairs + deviation * drawn).reshape(positions.shape)
    return found


def pair_distances(blocks: Iterable[np.ndarray], n_sets: int) -> np.ndarray:
    """Distance of the members of every pair, ``[sets, P]``.

    In units of the root mean square distance between members of different pairs in the first set,
    which is undistorted.

    Args:
        blocks: columns of the feature in parts, ``[sets * 2P, columns]``.
        n_sets: how many sets follow one another in the rows.
    """
    squares, unit = 0.0, 0.0
    for block in blocks:
        members = np.asarray(block, np.float64).reshape(n_sets, -1, 2, block.shape[-1])
        within = ((members[:, :, 0] - members[:, :, 1]) ** 2).sum(-1)  # [sets, P]
        squares = squares + within
        # Mean over members of different pairs, from the sum over all: Σ_ij |x_i - x_j|² is 4 P
        # times the sum of squares about the mean.
        about_mean = ((members[0] - members[0].mean((0, 1))) ** 2).sum()
        unit += (about_mean - within[0].mean() / 2) / (members.shape[1] - 1)
    return np.sqrt(squares / unit)


def distances(
    runner: Runner, index: np.ndarray, sets: dict[str, np.ndarray], correlated: str
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Distances within pairs in every feature, ``[sets, P]``, and how the encoder was trained.

    Args:
        runner: of the rows.
        index: places of the undistorted structures.
        sets: from ``distortions``.
        correlated: name of the resolution of the correlations.
    """
    positions, cache = np.concatenate(list(sets.values())), runner.scratch / "features"
    found = {}
    for name, feature in ((COMPARED[0], "nu3"), (REFERENCE, "nu7")):
        logger.info("%s", name)
        size = features.RESOLUTIONS[correlated]
        blocks = features.correlation_blocks(feature, positions, size, cache)
        found[name] = pair_distances(blocks, len(sets))
    logger.info("%s", COMPARED[1])
    found[COMPARED[1]] = pair_distances([_fingerprints(positions)], len(sets))
    logger.info("%s", COMPARED[2])
    fit = runner.fit(ENCODER)
    weights, record = runner.kept(ENCODER, fit)
    triplets = features.without_centre(features.triplets(positions, runner.size, cache))
    triplets = runner.scaled("triplets", triplets, runner.features("triplets"))
    _require_same_triplets(triplets, fit.inputs[index], cache)
    codes = replace(fit, inputs=triplets).predict(weights, np.arange(len(positions)), "encode")
    found[COMPARED[2]] = pair_distances([codes], len(sets))
    return found, record


def _fingerprints(positions: np.ndarray) -> np.ndarray:
    frames = [Atoms("B8", positions=p) for p in positions]
    return describe(
        frames, "fingerprint", centers=[0], dtype="float64", **DESCRIPTORS["fingerprint"]
    ).values


def _require_same_triplets(found: np.ndarray, expected: np.ndarray, cache: Path) -> None:
    """Principal components may differ in sign from machine to machine; the encoder's must not."""
    apart = np.abs(found[: len(expected)] - expected).max()
    if apart > 1e-4 * np.abs(expected).max():
        raise InputError(
            f"the triplets in {cache} were made with other principal components (they differ by "
            f"{apart:.1e}); make them and train {ENCODER} again in another --scratch"
        )


def drawn_pairs(runner: Runner, n_pairs: int) -> np.ndarray:
    """Places ``[2P]`` of pairs of the test set, in the order of the set.

    Raises:
        InputError: more pairs than the test set has, or fewer than 2.
    """
    first = runner.split.test[::2]
    if not 2 <= n_pairs <= len(first):
        raise InputError(f"pairs={n_pairs} is not usable; give 2 to {len(first)} of the test set")
    random = np.random.Generator(np.random.PCG64(SEED))
    chosen = np.sort(random.choice(first, n_pairs, replace=False))
    return np.stack([chosen, chosen + 1], 1).ravel()


def summary(found: dict[str, np.ndarray], names: list[str]) -> dict[str, Any]:
    """Of every set and feature: the distances' median, and how they go with the reference.

    "rank": their rank correlation with it; "spread": standard deviation of log10 of the ratio.
    """
    told = {}
    for i, name in enumerate(names):
        told[name] = {REFERENCE: {"median": float(np.median(found[REFERENCE][i]))}}
        for feature in COMPARED:
            ratio = np.maximum(found[feature][i], 1e-300) / found[REFERENCE][i]
            told[name][feature] = {
                "median": float(np.median(found[feature][i])),
                "largest": float(found[feature][i].max()),
                "rank": rank_correlation(found[feature][i], found[REFERENCE][i]),
                "spread": float(np.log10(ratio).std()),
            }
    return told


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's correlation."""
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


def predicted_energies(runner: Runner) -> dict[str, np.ndarray]:
    """Energies of the test set in eV, by both rows and by the model in closed form."""
    found = {name: runner.energies(name, runner.split.test) for name in ENERGY_ROWS}
    logger.info("%s", CLOSED_FORM)
    values = _fingerprints(load_b8().positions[runner.labels.index])
    noise = MODELS[CLOSED_FORM][2]
    model = gaussian_process(
        values[runner.split.known], runner.labels.energies[runner.split.known], noise=noise
    )
    return found | {CLOSED_FORM: model.predict(values[runner.split.test])}


def draw(path: Path, found: dict[str, np.ndarray], names: list[str]) -> None:
    """Distances in each feature against the reference; a row a kind of noise."""
    note = (
        "A point is a pair; distances are in units of those between different pairs. Correlations "
        "to order 3 see nothing but the noise:\nthey fall with it, however far the members are "
        "apart. Complete features keep them apart without noise too."
    )
    with drawing(path, (12.5, 8.6), note) as figure:
        axes = figure.subplots(len(NOISES), len(COMPARED), sharex=True, sharey=True)
        for row, noise in zip(axes, NOISES, strict=True):
            shown = [UNDISTORTED, *(name for name in names if name.startswith(noise))]
            for axis, feature in zip(row, COMPARED, strict=True):
                for name, color in zip(shown, COLORS, strict=True):
                    x, y = (found[f][names.index(name)] for f in (REFERENCE, feature))
                    label = name if name == UNDISTORTED else f"σ = {name.split()[1]} Å"
                    axis.plot(x, np.maximum(y, FLOOR), "o", ms=2.5, color=color, label=label)
                ends = [FLOOR, 3.0]
                axis.plot(ends, ends, color="0.5", lw=0.8, zorder=0)
                axis.set(xscale="log", yscale="log", title=f"{feature}, {noise} noise")
                axis.set_ylim(FLOOR / 1.5, 3)
            row[0].set_ylabel("distance of the members in the feature")
        lowest = min(found[REFERENCE].min(), 1e-2)
        axes[0, 0].set_xlim(max(FLOOR, lowest / 2), 3)
        for axis in axes[-1]:
            axis.set_xlabel(f"distance in {REFERENCE}")
        axes[0, 0].legend(loc="upper left", frameon=False, markerscale=2)


def run(
    runner: Runner, n_pairs: int, n_predicted: int, correlated: str, force: bool = False
) -> dict[str, Any]:
    """The experiment; writes sensitivity.json, sensitivity.png and sensitivity_energies.png.

    Args:
        runner: whose scratch folder has the rows, and whose ``out`` gets the results.
        n_pairs: of the test set, to distort.
        n_predicted: pairs of the test set in the figure of energies.
        correlated: name of the resolution of the correlations.
        force: replace a result of other settings.

    Raises:
        InputError: a row has not been trained, or the test set has fewer pairs.
    """
    settings = vars(runner.settings) | {"pairs": n_pairs, "noise_seed": SEED}
    result_of(runner.out / "sensitivity.json", settings, force)
    for name in (ENCODER, *ENERGY_ROWS):
        runner.require(name)
    index, shown = drawn_pairs(runner, n_pairs), drawn_pairs(runner, n_predicted)
    sets = distortions(load_b8().positions[runner.labels.index[index]])
    names = list(sets)
    found, encoder = distances(runner, index, sets, correlated)
    # The same pairs in the correlations that the encoder was trained on: with all components, and
    # with the scales of structures without noise.
    full = pair_distances([runner.features("nu7")[index]], 1)[0]
    energies = predicted_energies(runner)
    test, reference = runner.split.test, runner.labels.energies[runner.split.test]
    record = {
        "settings": settings,
        "structures": runner.labels.index[index].tolist(),
        "correlations": {
            "resolution": correlated,
            "ratio_to_those_of_the_rows": np.percentile(
                found[REFERENCE][0] / full, (0, 50, 100)
            ).tolist(),
            "rank_with_those_of_the_rows": rank_correlation(found[REFERENCE][0], full),
        },
        "encoder": encoder,
        "summary": summary(found, names),
        "energies": {name: errors(values, reference) for name, values in energies.items()},
        "distances": {
            feature: {
                name: [float(f"{x:.4g}") for x in row]
                for name, row in zip(names, rows, strict=True)
            }
            for feature, rows in found.items()
        },
    }
    draw(runner.out / "sensitivity.png", found, names)
    kept = np.isin(test, shown)
    titles = {
        name: f"{name}\nmean {told['mean']:.3f}, difference {told['delta']:.3f}"
        for name, told in record["energies"].items()
    }
    pair_parity(
        runner.out / "sensitivity_energies.png",
        reference[kept],
        {titles[name]: values[kept] for name, values in energies.items()},
        f"{n_predicted} pairs of the test set, members joined by a line. A model of order 3 gives "
        "both one energy: flat lines.\nThe others tell them apart: the better, the closer to the "
        "diagonal their lines are.",
    )
    save_json(runner.out / "sensitivity.json", record | provenance())
    return record


def report(record: dict[str, Any]) -> str:
    """The summary as text."""
    lines = [f"{'median distance':20}{REFERENCE:>26}"]
    lines[0] += "".join(f"{name:>26}" for name in COMPARED) + "   (rank correlation)"
    for name, told in record["summary"].items():
        line = f"{name:20}{told[REFERENCE]['median']:26.2e}"
        for feature in COMPARED:
            line += f"{told[feature]['median']:18.2e} ({told[feature]['rank']:5.2f})"
        lines.append(line)
    lines += ["", f"{'energies of the test set':34}{'mean':>8}{'delta':>8}"]
    for name, told in record["energies"].items():
        lines.append(f"{name:34}{told['mean']:8.3f}{told['delta']:8.3f}")
    return "\n".join(lines)


def main() -> None:
    """Distort, compare, predict, draw."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.paper.sensitivity",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--labels", choices=KINDS, default="xtb")
    parser.add_argument("--pairs", type=int, help="to distort; default: 100, quick 20")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--scratch", type=Path, default=Path("paper-scratch"), metavar="DIR",
                        help="where the rows were trained")  # fmt: skip
    add_result_options(parser, RESULTS)
    given = parser.parse_args()
    show_progress()
    resolution, correlated, n_pairs, scratch, out = (
        "paper", "distorted", 100, given.scratch, given.out,
    )  # fmt: skip
    n_predicted = 250
    if given.quick:
        resolution = correlated = "quick"
        n_pairs, n_predicted = 20, 50
        scratch = out = scratch / "quick"
    runner = Runner(Settings(given.labels, resolution=resolution), 1.0, scratch, out)
    print(report(run(runner, given.pairs or n_pairs, n_predicted, correlated, given.force)))


if __name__ == "__main__":
    run_command(main)
