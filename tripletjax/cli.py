"""The command ``tripletjax``: every usage error is one line and exit status 2."""

import sys
from collections.abc import Sequence

from tripletjax.commands import audit, demo, describe, evaluate, md, tensors, train
from tripletjax.commands.compiled import kept_programs
from tripletjax.commands.outcomes import STATUS, settings, status_of
from tripletjax.commands.parsing import Parser

COMMANDS = (
    demo.COMMAND,
    describe.COMMAND,
    audit.COMMAND,
    train.COMMAND,
    evaluate.COMMAND,
    tensors.TRAIN,
    tensors.EVALUATE,
    md.COMMAND,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status, without changing Python's settings."""
    with kept_programs():
        parsed = _build_parser().parse_args(arguments)
        with settings(getattr(parsed, "x64", False)):
            return status_of(parsed.run, parsed)


def _build_parser() -> Parser:
    import tripletjax

    parser = Parser(
        prog="tripletjax",
        description="Complete representations of atomic structures in JAX.",
        epilog=STATUS,
    )
    parser.add_argument("--version", action="version", version=tripletjax.__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    for command in COMMANDS:
        commands.add_parser(command.name, help=command.summary, command=command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
