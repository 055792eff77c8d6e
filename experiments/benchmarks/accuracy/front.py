"""Error against cost, of the sizes of tripletjax and of its peers.

    python -m experiments.benchmarks.accuracy.front ROW

ROW is one of ``results/ROW.json``, written by ``run``; costs are those of ``cost``. Writes
``results/ROW-front.png``.
"""

import argparse
import json
from pathlib import Path

from experiments.benchmarks.accuracy.peers import OWN, PEERS
from experiments.benchmarks.accuracy.run import RESULTS
from experiments.commands import run_command
from tripletjax.plotting import CONNECTED, POINTS, drawing
from tripletjax.types import InputError

NOTE = (
    "Lower left is better. Dots: sizes of tripletjax; crosses: other programs,\n"
    "trained on the same structures for the same minutes on one core each."
)


def points(name: str) -> dict[str, tuple[float, float]]:
    """µs per atom, and force error in meV/Å, of every program that has both."""
    for path in (RESULTS / f"{name}.json", RESULTS / "cost.json"):
        if not path.is_file():
            raise InputError(f"{path} does not exist; run and cost write these files")
    errors = json.loads((RESULTS / f"{name}.json").read_text())
    costs = json.loads((RESULTS / "cost.json").read_text())["medians"]
    known = [program for program in (*OWN, *PEERS) if program in errors and program in costs]
    if not known:
        raise InputError(f"no program has both a cost and an error in the row {name}")
    return {one: (costs[one], 1000 * errors[one]["force_mae_ev_per_A"]) for one in known}


def draw(path: Path, found: dict[str, tuple[float, float]], title: str) -> None:
    """Force error against cost, on logarithmic axes."""
    with drawing(path, (6, 4.5), NOTE) as figure:
        axis = figure.subplots()
        for name, place in found.items():
            marker, color = ("o", POINTS) if name in OWN else ("x", CONNECTED)
            axis.plot(*place, marker, color=color)
            axis.annotate(
                OWN.get(name, name), place, xytext=(4, 5), textcoords="offset points",
                rotation=40, rotation_mode="anchor", fontsize=9,
            )  # fmt: skip
        own = sorted(place for name, place in found.items() if name in OWN)
        axis.plot(*zip(*own, strict=True), color=POINTS, label="tripletjax")
        axis.legend(loc="upper left", frameon=False)
        axis.set(
            xscale="log", yscale="log", title=title,
            xlabel="energy and forces / µs per atom",
            ylabel="force MAE on other structures / meV/Å",
        )  # fmt: skip
        axis.margins(0.25, 0.35)


def main() -> None:
    """Draw one row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("row", metavar="ROW", help="such as malonaldehyde-1000-15")
    name = parser.parse_args().row
    found = points(name)
    kind, count, minutes = name.split("-")[:3]
    title = f"{kind}, {count} structures, {minutes} minutes of training"
    draw(RESULTS / f"{name}-front.png", found, title)
    for program, (cost, error) in found.items():
        print(f"{program:18s}{cost:8.1f} µs an atom{error:8.1f} meV/Å")


if __name__ == "__main__":
    run_command(main)
