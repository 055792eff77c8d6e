"""The command ``audit``."""

import argparse
from pathlib import Path

from tripletjax.commands.descriptor_options import (
    add_descriptor_options,
    chosen_contraction,
    chosen_hypers,
)
from tripletjax.commands.parsing import Command, Parser


def _add_options(parser: Parser) -> None:
    data = parser.add_argument_group("data")
    data.add_argument("input", type=Path, metavar="IN", help="structures, such as extended xyz")
    output = parser.add_argument_group("output")
    output.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    output.add_argument("--force", action="store_true", help="replace DIR if it holds files")
    group = parser.add_argument_group("audit")
    group.add_argument(
        "--floor", type=float, default=1e-3, metavar="X",
        help="environments nearer than this are considered equal (Å; default: 0.001)",
    )  # fmt: skip
    group.add_argument(
        "--precision", type=float, default=3e-8, metavar="X",
        help="rows are equal up to the change due to this displacement (Å; default: 3e-08)",
    )  # fmt: skip
    group.add_argument(
        "--max-pairs", type=int, default=10_000, metavar="N",
        help="maximum number of pairs to compare in geometry, nearest rows first "
        "(default: 10000)",
    )  # fmt: skip
    group.add_argument(
        "--dtype", default="float64", choices=("float64", "float32"),
        help="precision of the descriptor (default: float64)",
    )  # fmt: skip
    add_descriptor_options(parser)


def _run(arguments: argparse.Namespace) -> None:
    from tripletjax.completeness.auditing import audit
    from tripletjax.completeness.reports import verdict, write_audit
    from tripletjax.io import read_frames, require_unused

    require_unused(arguments.out, arguments.force)
    chosen = chosen_hypers(arguments, others=["seed"])  # of the audit itself too
    found = audit(
        read_frames(arguments.input),
        arguments.kind,
        centers=arguments.centers,
        species=arguments.species,
        dtype=arguments.dtype,
        floor=arguments.floor,
        precision=arguments.precision,
        max_pairs=arguments.max_pairs,
        progress=True,
        contraction=chosen_contraction(arguments),
        **chosen,
    )
    write_audit(found, arguments.out, arguments.force)
    print(f"{verdict(found)}\nReport:  {arguments.out / 'report.md'}")


COMMAND = Command(
    "audit",
    "report different environments that a descriptor cannot distinguish",
    "tripletjax audit data.xyz --kind bispectrum --cutoff 4.0 --out audit",
    _add_options,
    _run,
)
