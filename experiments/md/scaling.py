"""Time and memory of a step of dynamics against the number of atoms.

    python -m experiments.md.scaling [--sizes 64 216 512 1000 4096 8192]

Silicon at 300 K, whose atoms have 28 neighbours, with an untrained potential of the default sizes:
neither time nor memory depends on its weights. Every size runs in a process of its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk

from experiments.commands import run_command
from tripletjax.io import provenance, save_json
from tripletjax.md import MDConfig, simulate
from tripletjax.potentials.network import Architecture
from tripletjax.potentials.triplet import untrained

RESULTS = Path(__file__).parent / "results"
CELLS = {
    64: (2, 2, 2), 216: (3, 3, 3), 512: (4, 4, 4), 1000: (5, 5, 5), 4096: (8, 8, 8),
    8192: (8, 8, 16),
}  # fmt: skip
ATOM_STEPS = 200_000  # timed, but for the smallest and largest systems
SCALE = 1e-3  # eV: forces too small to move anything out of place


def silicon(n_atoms: int) -> Atoms:
    """A crystal, its atoms a little displaced."""
    atoms = bulk("Si", "diamond", a=5.43, cubic=True) * CELLS[n_atoms]
    atoms.rattle(0.02, seed=0)
    return atoms


def one(n_atoms: int) -> dict[str, float]:
    """A short run of so many atoms in this process."""
    blocks = int(np.clip(ATOM_STEPS / n_atoms / 20, 3, 50))
    config = MDConfig(steps=20 * blocks, timestep=0.5, log_every=20, write_every=20 * blocks)
    potential = untrained([14], Architecture(), scale=SCALE)
    with tempfile.TemporaryDirectory() as folder:
        simulate(potential, silicon(n_atoms), Path(folder) / "run", config, show=False)
        record = json.loads((Path(folder) / "run" / "md.json").read_text())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"atoms": n_atoms, "us_per_atom_step": record["us_per_atom_step"], "peak_MB": peak}


def exponent(sizes, values) -> float:
    """Power of the size that the values grow with, by least squares of the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def run(sizes: list[int], out: Path) -> dict:
    """All sizes, one after the other; writes scaling.json."""
    rows = []
    for size in sizes:
        command = [sys.executable, "-m", "experiments.md.scaling", "--one", str(size)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        rows.append(json.loads(output.strip().splitlines()[-1]))
        print(rows[-1], flush=True)
    atoms = np.array([found["atoms"] for found in rows])
    seconds = atoms * np.array([found["us_per_atom_step"] for found in rows])
    memory = np.array([found["peak_MB"] for found in rows])
    record = {"rows": rows, "time_exponent": exponent(atoms, seconds)}
    # The interpreter and the compiled program are there before the first atom.
    record["MB_per_atom"] = ((memory - memory[0])[1:] / (atoms - atoms[0])[1:]).tolist()
    save_json(out / "scaling.json", record | provenance())
    return record


def main() -> None:
    """Measure, and print the exponent."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", choices=list(CELLS), default=list(CELLS))
    parser.add_argument("--one", type=int, choices=list(CELLS), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="DIR")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one(arguments.one)))
        return
    record = run(sorted(arguments.sizes), arguments.out)
    print(f"time grows with the power {record['time_exponent']:.2f} of the number of atoms")


if __name__ == "__main__":
    run_command(main)
