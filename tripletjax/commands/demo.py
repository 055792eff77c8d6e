"""The command ``demo``."""

import argparse
from pathlib import Path

from tripletjax.commands.parsing import Command, Parser, add_x64


def _add_options(parser: Parser) -> None:
    data = parser.add_argument_group("data")
    for name, meaning, count in (("train", "training", 2000), ("test", "test", 1000)):
        data.add_argument(
            f"--n-{name}", type=int, default=count, metavar="N",
            help=f"number of {meaning} structures (default: {count})",
        )  # fmt: skip
        data.add_argument(  # the former name, until release 0.3
            f"--{name}", type=int, dest=f"n_{name}", default=argparse.SUPPRESS,
            help=argparse.SUPPRESS,
        )  # fmt: skip
    output = parser.add_argument_group("output")
    output.add_argument(
        "--out", type=Path, default=Path("demo-output"), metavar="DIR",
        help="folder to write (default: demo-output)",
    )  # fmt: skip
    add_x64(parser.add_argument_group("settings"))


def _run(arguments: argparse.Namespace) -> None:
    from tripletjax.demo import report, run_b8
    from tripletjax.io import require_writable

    require_writable(arguments.out, folder=True)
    record = run_b8(arguments.n_train, arguments.n_test, arguments.out)
    print(f"\n{report(record)}\n")
    print(f"Figure:  {arguments.out / 'b8.png'}\nRecord:  {arguments.out / 'results.json'}")


COMMAND = Command(
    "demo",
    "distinguish B8 clusters with equal bispectra, and learn their energies",
    "tripletjax demo --out demo-output",
    _add_options,
    _run,
)
