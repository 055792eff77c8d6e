"""Serve a potential to i-PI: ``python -m experiments.ipi.client`` beside ``i-pi input.xml``.

``--prepare`` writes the structure that input.xml starts from, and ends.
"""

import argparse

from ase import Atoms
from ase.calculators.socketio import SocketClient

from experiments.commands import run_command
from tripletjax.calculator import TripletCalculator
from tripletjax.data.sets import load_frames

SOCKET = "tripletjax"  # <address> in input.xml


def start() -> Atoms:
    """Ethanol in a box that i-PI needs to have, without labels."""
    atoms = load_frames("ethanol")[0]
    atoms.calc = None
    atoms.cell = [20.0, 20.0, 20.0]
    return atoms


def main() -> None:
    """Answer i-PI until it ends."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="zoo:ethanol_gfn2", help="folder of a fit")
    parser.add_argument("--prepare", action="store_true", help="write start.xyz, and end")
    arguments = parser.parse_args()
    if arguments.prepare:
        start().write("start.xyz")
        return
    atoms = start()
    atoms.calc = TripletCalculator(arguments.model, dtype="float64")
    SocketClient(unixsocket=SOCKET).run(atoms)


if __name__ == "__main__":
    run_command(main)
