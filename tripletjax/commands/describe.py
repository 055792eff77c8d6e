"""The command ``describe``."""

import argparse
from pathlib import Path

from tripletjax.checks import InputError
from tripletjax.commands.descriptor_options import (
    add_descriptor_options,
    chosen_contraction,
    chosen_hypers,
)
from tripletjax.commands.parsing import Command, Parser


def _add_options(parser: Parser) -> None:
    data = parser.add_argument_group("data and output")
    data.add_argument("input", type=Path, metavar="IN", help="structures, such as extended xyz")
    data.add_argument("output", type=Path, metavar="OUT.npz", help="file to write")
    add_descriptor_options(parser)


def _run(arguments: argparse.Namespace) -> None:
    import numpy as np

    from tripletjax.descriptors.description import describe
    from tripletjax.io import read_frames, require_writable, save_npz, to_json

    if arguments.output.suffix != ".npz":
        raise InputError(f"invalid output file {arguments.output}: expected a name ending in .npz")
    require_writable(arguments.output)
    hypers = chosen_hypers(arguments)
    description = describe(
        read_frames(arguments.input),
        arguments.kind,
        centers=arguments.centers,
        species=arguments.species,
        progress=True,
        contraction=chosen_contraction(arguments),
        **hypers,
    )
    extra = {} if description.neighbors is None else {"neighbors": description.neighbors}
    save_npz(
        arguments.output,
        values=description.values,
        structure=description.structure,
        atom=description.atom,
        names=np.array(description.names, dtype=np.str_),  # can be loaded without pickle
        hypers=to_json(description.hypers),
        **extra,
    )
    rows, columns = description.values.shape
    print(f"{arguments.output}: {rows} rows, {columns} columns of {arguments.kind}")


COMMAND = Command(
    "describe",
    "write the descriptors of the structures in a file to a .npz file",
    "tripletjax describe water.xyz water.npz --kind fingerprint --cutoff 4.0",
    _add_options,
    _run,
)
