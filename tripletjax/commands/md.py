"""The command ``md``; what is heavy is imported when it runs."""

import argparse
import logging
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from tripletjax.types import InputError

log = logging.getLogger(__name__)
HELP = {
    "ensemble": "nve, nvt or npt",
    "steps": "number of steps",
    "timestep": "fs",
    "temperature": "K, of nvt and npt, and of momenta that are drawn",
    "thermostat": "langevin or nose-hoover, of nvt",
    "friction": "1/fs, of langevin",
    "tau": "fs, period of nose-hoover",
    "pressure": "GPa, of npt",
    "cell": "isotropic or flexible, in npt",
    "tau_cell": "fs, period of the barostat",
    "skin": "Å beyond the cutoff in neighbour lists",
    "log_every": "interval, in steps, between rows of thermo.csv",
    "write_every": "interval, in steps, between frames of trajectory.xyz",
    "max_temperature": "K at which to stop; default: ten times the temperature, at least 5000 K",
    "max_force_std": "eV/Å: stop, and keep the frame, where the model is less certain than this",
    "seed": "of momenta and noise",
}


def add_md(commands, add_command: Callable) -> None:
    """``tripletjax md``."""
    from tripletjax.md.config import CELLS, ENSEMBLES, THERMOSTATS, MDConfig
    from tripletjax.md.starts import VELOCITY_UNITS

    parser = add_command(
        commands,
        "md",
        _md,
        "molecular dynamics with a fitted potential",
        "tripletjax md fit start.xyz --ensemble nvt --temperature 300 --steps 10000 --out run",
    )
    parser.add_argument("model", metavar="DIR", help="as tripletjax train wrote it, or zoo:NAME")
    parser.add_argument("start", type=Path, metavar="XYZ", help="its last structure is the start")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    choices = {"ensemble": ENSEMBLES, "thermostat": THERMOSTATS, "cell": CELLS}
    for field in fields(MDConfig):
        kind = field.type if field.type in (int, str) else float
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=kind,
            default=field.default,
            choices=choices.get(field.name),
            help=HELP[field.name],
        )
    parser.add_argument(
        "--velocity-unit",
        choices=tuple(VELOCITY_UNITS),
        help="of columns such as velocities or vx, vy, vz; default: angstrom/fs, unless that is "
        "hotter than 5000 K",
    )
    parser.add_argument("--minimize", action="store_true", help="first minimise the energy")
    parser.add_argument("--minimize-cell", action="store_true", help="and the cell, at --pressure")
    parser.add_argument("--uncertainty", action="store_true", help="standard deviations too")
    parser.add_argument(
        "--restart", "--resume", action="store_true", help="continue from the state in --out"
    )
    parser.add_argument("--force", action="store_true", help="replace an earlier run in --out")


def _md(arguments: argparse.Namespace) -> None:
    from tripletjax.io import read_frames, require_unused, require_writable
    from tripletjax.md import MDConfig, minimize, simulate
    from tripletjax.md.files import RESTART, is_own
    from tripletjax.md.starts import start_of
    from tripletjax.potentials.storage import load, load_uncertain

    config = MDConfig(**{f.name: getattr(arguments, f.name) for f in fields(MDConfig)})
    out, start = arguments.out, arguments.start
    resumes = arguments.restart and (out / RESTART).is_file()
    if arguments.restart:
        require_writable(out, folder=True)
    else:
        require_unused(out, arguments.force)
    if not resumes and start.resolve().parent == out.resolve() and is_own(start.name):
        raise InputError(f"{start} would be written over; give another folder, or copy it first")
    log.info("reading %s and %s", arguments.model, start)
    unsure = arguments.uncertainty or config.max_force_std is not None
    model = load_uncertain(arguments.model) if unsure else load(arguments.model)
    atoms = origin = start_of(read_frames(start)[-1], arguments.velocity_unit)
    if (arguments.minimize or arguments.minimize_cell) and not resumes:
        log.info("minimising")
        moved = {"cell": arguments.minimize_cell, "pressure": config.pressure}
        atoms = minimize(model, atoms, **moved, show=True)
    choices = {"restart": arguments.restart, "force": arguments.force, "origin": origin}
    choices["uncertainty"] = unsure
    final = simulate(model, atoms, out, config, **choices)
    print(f"step {final.info['step']}: {final.get_potential_energy():.6f} eV, in {out}")
