"""The command ``md``."""

import argparse
import logging
from pathlib import Path

from tripletjax.checks import InputError
from tripletjax.commands.config_options import add_config, settled
from tripletjax.commands.outcomes import precision
from tripletjax.commands.parsing import Command, Parser, add_settings
from tripletjax.md.config import MDConfig, MDOptions, settings_text

log = logging.getLogger(__name__)


def _add_options(parser: Parser) -> None:
    data = parser.add_argument_group("model and start")
    data.add_argument("model", metavar="DIR", help="as tripletjax train wrote it, or zoo:NAME")
    data.add_argument("start", type=Path, metavar="XYZ", help="its last structure is the start")
    output = parser.add_argument_group("output")
    output.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    output.add_argument("--resume", action="store_true", help="continue from the state in --out")
    output.add_argument(
        "--restart", dest="resume", action="store_true", default=argparse.SUPPRESS,
        help=argparse.SUPPRESS,  # the former name of --resume, until release 0.3
    )  # fmt: skip
    output.add_argument("--force", action="store_true", help="replace an earlier run in --out")
    settings = parser.add_argument_group("settings")
    add_config(settings, lambda _: settings_text(MDConfig(), MDOptions()))
    add_settings(settings, [*MDConfig.entries(), *MDOptions.entries()])


def _run(arguments: argparse.Namespace) -> None:
    from tripletjax.io import require_unused, require_writable
    from tripletjax.md.files import RESTART, is_own

    options, config = settled(arguments, MDOptions(), MDConfig())
    out, start = arguments.out, arguments.start
    if arguments.resume:
        require_writable(out, folder=True)
    else:
        require_unused(out, arguments.force)
    goes_on = arguments.resume and (out / RESTART).is_file()
    if not goes_on and start.resolve().parent == out.resolve() and is_own(start.name):
        raise InputError(f"{start} would be written over; give another folder, or copy it first")
    with precision(options.x64):
        _simulate(arguments, options, config, goes_on)


def _simulate(
    arguments: argparse.Namespace, options: MDOptions, config: MDConfig, goes_on: bool
) -> None:
    from tripletjax.io import read_frames
    from tripletjax.md import minimize, simulate
    from tripletjax.md.ensembles import ensemble_of
    from tripletjax.md.starts import start_of
    from tripletjax.potentials.storage import load, load_uncertain

    ensemble_of(config, read=options.minimised)  # what is not read is refused before it takes time
    log.info("reading %s and %s", arguments.model, arguments.start)
    unsure = options.uncertainty or config.max_force_std is not None
    model = load_uncertain(arguments.model) if unsure else load(arguments.model)
    atoms = origin = start_of(read_frames(arguments.start)[-1], options.velocity_unit)
    if (options.minimize or options.minimize_cell) and not goes_on:
        log.info("minimising")
        moved = {"cell": options.minimize_cell, "pressure": config.pressure}
        atoms = minimize(model, atoms, **moved, show=True)
    choices = {"resume": arguments.resume, "force": arguments.force, "origin": origin}
    choices["uncertainty"] = unsure
    final = simulate(model, atoms, arguments.out, config, options=options, **choices)
    print(f"step {final.info['step']}: {final.get_potential_energy():.6f} eV, in {arguments.out}")


COMMAND = Command(
    "md",
    "molecular dynamics with a fitted potential",
    "tripletjax md fit start.xyz --ensemble nvt --temperature 300 --steps 10000 --out run",
    _add_options,
    _run,
)
