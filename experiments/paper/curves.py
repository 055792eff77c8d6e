"""Learning curves from the result files: errors over the number of training structures.

python -m experiments.paper.curves [--labels xtb]
"""

import argparse
from collections import defaultdict
from pathlib import Path

from experiments.commands import run_command
from experiments.paper.labels import KINDS
from experiments.paper.running import RESULTS
from experiments.paper.table import NAMES, n_known, results
from tripletjax.plotting import drawing
from tripletjax.types import InputError

NOTE = (
    "Bars: 95 % of bootstrap draws over test pairs. What cannot tell the members of a pair apart "
    "stays at a difference error of 1 whatever it learns from."
)


def curves(folder: Path, labels: str) -> dict[str, list[tuple[int, dict]]]:
    """Rows with more than one training size: sizes, and errors on the test structures.

    Raises:
        InputError: there are none.
    """
    found = defaultdict(list)
    for record in results(folder):
        settings = record["settings"]
        if settings["labels"] == labels and settings["clean"] and settings["seed"] == 0:
            found[settings["row"]].append((n_known(record), record["best_on_valid"]))
    several = {name: sorted(found[name], key=lambda entry: entry[0]) for name in NAMES
               if len(found[name]) > 1}  # fmt: skip
    if not several:
        raise InputError(
            f"{folder} holds no row with {labels} labels and several sizes; run python -m "
            "experiments.paper --train 500 1000 2000"
        )
    return several


def draw(path: Path, found: dict[str, list[tuple[int, dict]]]) -> None:
    """Errors of pair means, and of pair differences."""
    with drawing(path, (10, 4.6), NOTE) as figure:
        axes = figure.subplots(1, 2)
        for axis, name, label in zip(
            axes,
            ("mean", "delta"),
            ("error of pair means", "error of pair differences"),
            strict=True,
        ):
            for row, entries in found.items():
                sizes = [size for size, _ in entries]
                values = [entry["test"][name] for _, entry in entries]
                bounds = [entry["test_interval"][name] for _, entry in entries]
                bars = (
                    [max(v - low, 0) for v, (low, _) in zip(values, bounds, strict=True)],
                    [max(high - v, 0) for v, (_, high) in zip(values, bounds, strict=True)],
                )
                axis.errorbar(sizes, values, bars, marker="o", markersize=3, capsize=2, label=row)
            axis.set(xscale="log", yscale="log", xlabel="structures to train and validate on")
            ticks = sorted({size for entries in found.values() for size, _ in entries})
            axis.set_xticks(ticks, [str(size) for size in ticks])
            axis.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
            axis.set_ylabel(f"{label} / standard deviation")
        axes[0].legend(frameon=False, fontsize=8)


def main() -> None:
    """Draw learning-curves-LABELS.png."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", choices=KINDS, default="xtb")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR")
    given = parser.parse_args()
    path = given.results / f"learning-curves-{given.labels}.png"
    draw(path, curves(given.results, given.labels))
    print(path)


if __name__ == "__main__":
    run_command(main)
