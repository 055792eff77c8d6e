"""The table of arXiv 2302.14770 from this package, row by row.

    python -m experiments.paper --rows all --labels xtb --budget 10
    python -m experiments.paper --table

Every row trains for the budget in minutes and writes results/ROW-LABELS.json; what is there is not
repeated, and a row that was stopped goes on. ``--quick`` runs every row on 400 structures at a low
resolution, in two minutes, into a folder of its own.
"""

import argparse
from pathlib import Path

from experiments.commands import add_result_options, run_command, show_progress
from experiments.paper.labels import KINDS
from experiments.paper.ours import OURS
from experiments.paper.running import RESULTS, Runner, Settings
from experiments.paper.table import NAMES, table

QUICK_MINUTES = 0.05


def names_for(labels: str) -> list[str]:
    """Rows that learn from what these labels have."""
    return [
        name for name in NAMES if labels == "xtb" or not (name in OURS and OURS[name].gradients)
    ]


def main(arguments: list[str] | None = None) -> None:
    """Run the rows asked for, then print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.paper",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", nargs="+", choices=["all", *NAMES], default=["all"],
                        metavar="ROW", help=f"all, or some of {', '.join(NAMES)}")  # fmt: skip
    parser.add_argument("--labels", choices=KINDS, default="xtb")
    parser.add_argument("--budget", type=float, default=10.0, metavar="MINUTES", help="of each row")
    parser.add_argument("--train", type=int, nargs="+", metavar="N",
                        help="structures to train and validate on; default: all")  # fmt: skip
    parser.add_argument("--all-train", action="store_true",
                        help="validate on nothing; choose the epoch on the test set")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--table", action="store_true", help="only print what there is")
    parser.add_argument("--scratch", type=Path, default=Path("paper-scratch"), metavar="DIR")
    add_result_options(parser, RESULTS)
    given = parser.parse_args(arguments)
    show_progress()
    resolution, minutes, out, scratch = "paper", given.budget, given.out, given.scratch
    if given.quick:
        resolution, minutes, out = "quick", QUICK_MINUTES, scratch / "quick"
        scratch = out
    if not given.table:
        for size in given.train or [None]:
            settings = Settings(given.labels, size, not given.all_train, given.seed, resolution)
            runner = Runner(settings, minutes, scratch, out)
            for name in names_for(given.labels) if "all" in given.rows else given.rows:
                runner.row(name, given.force)
    print(table(out))


if __name__ == "__main__":
    run_command(main)
