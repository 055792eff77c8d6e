"""The command ``tripletjax``: every usage error is one line and exit status 2."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

from tripletjax.commands.md import add_md
from tripletjax.commands.outcomes import STATUS, settings, status_of
from tripletjax.commands.tensor import add_evaluate_tensor, add_train_tensor
from tripletjax.commands.train import add_evaluate, add_train
from tripletjax.descriptors.kinds import KINDS, checked_hypers
from tripletjax.types import Hypers, InputError

HYPER_HELP = {
    "cutoff": "Å; atoms strictly inside are neighbours",
    "cutoff_function": "shifted_cosine, smooth (three times differentiable) or bump (infinitely)",
    "cutoff_width": "Å over which the cutoff function falls",
    "radial": "gto, laplacian, chebyshev or gaussian",
    "radial_range": "LO,HI in Å: centres of the gaussian functions",
    "gaussian_width": "Å; smearing of the density or width of the gaussian functions",
    "n_max": "number of radial functions",
    "l_max": "highest degree of the harmonics, inclusive",
    "tags": "number of nearest neighbours to tag, with the whole shell of the last",
    "n_features": "columns of level 2 of the fingerprint",
    "length_scale": "width of the fingerprint's kernel",
    "seed": "of the fingerprint's random directions; of an audit's random choices",
    "chiral": "tell mirror images apart",
    "form": "edge or stretched: form of the triplet invariants",
    "coupling": "minimal or coupled: basis of kind triplets",
    "nu": "order of kind correlations; from 4 on give --contraction too",
    "center_species": "one block of columns for each species of the centre",
}


class _Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Names the defaults that say something."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False):
            return action.help
        return super()._get_help_string(action)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and that takes no abbreviations."""

    def __init__(self, **options: Any):
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        line = " ".join(message.split())
        self.exit(2, f"tripletjax: {line}; see '{self.prog} --help'\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status, and leaves Python's settings as they were."""
    parsed = _build_parser().parse_args(arguments)
    with settings(parsed.x64):
        return status_of(parsed.run, parsed)


def _build_parser() -> _Parser:
    import tripletjax

    parser = _Parser(
        prog="tripletjax",
        description="Complete representations of atomic structures in JAX.",
        epilog=STATUS,
    )
    parser.add_argument("--version", action="version", version=tripletjax.__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)
    _add_demo(commands)
    _add_describe(commands)
    _add_audit(commands)
    add_train(commands, _add_command)
    add_evaluate(commands, _add_command)
    add_train_tensor(commands, _add_command)
    add_evaluate_tensor(commands, _add_command)
    add_md(commands, _add_command)
    return parser


def _add_command(commands, name: str, run, summary: str, example: str) -> _Parser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"Example: {example}",
        formatter_class=_Formatter,
    )
    parser.add_argument("--x64", action="store_true", help="compute in float64")
    parser.set_defaults(run=run)
    return parser


def _add_demo(commands) -> None:
    parser = _add_command(
        commands,
        "demo",
        _demo,
        "tell B8 clusters with equal bispectra apart, and learn their energies",
        "tripletjax demo --out demo-output",
    )
    parser.add_argument("--train", type=int, default=2000, help="training structures")
    parser.add_argument("--test", type=int, default=1000, help="test structures")
    parser.add_argument("--out", type=Path, default=Path("demo-output"), help="folder to write")


def _demo(arguments: argparse.Namespace) -> None:
    from tripletjax.demo import report, run_b8
    from tripletjax.io import require_writable

    require_writable(arguments.out, folder=True)
    record = run_b8(arguments.train, arguments.test, arguments.out)
    print(f"\n{report(record)}\n")
    print(f"Figure:  {arguments.out / 'b8.png'}\nRecord:  {arguments.out / 'results.json'}")


def _add_describe(commands) -> None:
    parser = _add_command(
        commands,
        "describe",
        _describe,
        "write the descriptors of a file's structures to a .npz file",
        "tripletjax describe water.xyz water.npz --kind fingerprint --cutoff 4.0",
    )
    parser.add_argument("input", type=Path, metavar="IN", help="structures, such as extended xyz")
    parser.add_argument("output", type=Path, metavar="OUT.npz", help="file to write")
    _add_kind(parser)
    _add_hypers(parser)


def _add_kind(parser: _Parser) -> None:
    parser.add_argument("--kind", default="fingerprint", help=", ".join(KINDS))
    parser.add_argument(
        "--centers", type=int, nargs="+", metavar="ATOM", help="atoms to describe, in every frame"
    )
    parser.add_argument(
        "--species", nargs="+", metavar="SYMBOL", help="species channels, if not those that occur"
    )
    parser.add_argument(
        "--contraction", type=Path, metavar="FILE", help="of kind correlations, as saved by Python"
    )


def _add_hypers(parser: _Parser) -> None:
    group = parser.add_argument_group("hyperparameters")
    for field in fields(Hypers):
        flag, text = "--" + field.name.replace("_", "-"), HYPER_HELP[field.name]
        is_flag = field.type is bool
        given: Any = {"action": "store_true"} if is_flag else {"type": _converter(field)}
        if field.default not in (None, False):
            text = f"{text} (default: {field.default})"
        group.add_argument(flag, default=argparse.SUPPRESS, help=text, **given)


def _converter(field):
    """What turns a word of the command line into the type of a hyperparameter."""
    if field.name == "radial_range":
        return _two_numbers
    for kind in (int, float, str):
        if field.type in (kind, kind | None):
            return kind
    raise TypeError(f"no converter for {field.name}: {field.type}")


def _two_numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


_two_numbers.__name__ = "LO,HI"  # argparse names the type in its message


def _describe(arguments: argparse.Namespace) -> None:
    from tripletjax.descriptors.description import describe
    from tripletjax.io import read_frames, require_writable, save_npz, to_json

    if arguments.output.suffix != ".npz":
        raise InputError(f"{arguments.output} does not end in .npz; give an output file that does")
    require_writable(arguments.output)
    hypers = _chosen_hypers(arguments)
    description = describe(
        read_frames(arguments.input),
        arguments.kind,
        centers=arguments.centers,
        species=arguments.species,
        progress=True,
        contraction=_contraction(arguments),
        **hypers,
    )
    extra = {} if description.neighbors is None else {"neighbors": description.neighbors}
    save_npz(
        arguments.output,
        values=description.values,
        structure=description.structure,
        atom=description.atom,
        names=np_strings(description.names),
        hypers=to_json(description.hypers),
        **extra,
    )
    rows, columns = description.values.shape
    print(f"{arguments.output}: {rows} rows, {columns} columns of {arguments.kind}")


def _add_audit(commands) -> None:
    parser = _add_command(
        commands,
        "audit",
        _audit,
        "report different environments that a descriptor cannot tell apart",
        "tripletjax audit data.xyz --kind bispectrum --cutoff 4.0 --out audit",
    )
    parser.add_argument("input", type=Path, metavar="IN", help="structures, such as extended xyz")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    _add_kind(parser)
    parser.add_argument("--force", action="store_true", help="replace DIR if it holds files")
    group = parser.add_argument_group("audit")
    group.add_argument("--floor", type=float, default=1e-3, help="Å; nearer environments are equal")
    group.add_argument(
        "--precision", type=float, default=3e-8, help="Å; rows are equal if this explains them"
    )
    group.add_argument(
        "--max-pairs", type=int, default=10_000,
        help="pairs to compare in geometry, at most; those with the nearest rows come first",
    )  # fmt: skip
    group.add_argument(
        "--dtype", default="float64", choices=("float64", "float32"), help="of the descriptor"
    )
    _add_hypers(parser)


def _audit(arguments: argparse.Namespace) -> None:
    from tripletjax.completeness.auditing import audit
    from tripletjax.completeness.reports import verdict, write_audit
    from tripletjax.io import read_frames, require_unused

    require_unused(arguments.out, arguments.force)
    chosen = _chosen_hypers(arguments, others=["seed"])  # of the audit itself too
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
        contraction=_contraction(arguments),
        **chosen,
    )
    write_audit(found, arguments.out, arguments.force)
    print(f"{verdict(found)}\nReport:  {arguments.out / 'report.md'}")


def _chosen_hypers(arguments: argparse.Namespace, others: Sequence[str] = ()) -> dict[str, Any]:
    """Those on the command line, checked before any file is read, but for ``others``."""
    known = {field.name for field in fields(Hypers)}
    given = {name: value for name, value in vars(arguments).items() if name in known}
    checked_hypers(arguments.kind, {k: v for k, v in given.items() if k not in others})
    return given


def _contraction(arguments: argparse.Namespace):
    from tripletjax.invariants.nice import load_contraction

    return arguments.contraction and load_contraction(arguments.contraction)


def np_strings(names: Sequence[str]):
    """Strings as a NumPy array that loads without pickle."""
    import numpy as np

    return np.array(names, dtype=np.str_)


if __name__ == "__main__":
    sys.exit(main())
