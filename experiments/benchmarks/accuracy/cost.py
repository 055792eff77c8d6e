"""Time of energy and forces per atom, of tripletjax and its peers.

    python -m experiments.benchmarks.accuracy.cost --apax PYTHON --mace PYTHON --nequip PYTHON

512 atoms of silicon with 28 neighbours each within 5 Å, neighbours given, one core, float32; three
runs of each in turn (``run.py`` tells how to install the peers). Writes ``results/cost.json``, with
ratios to tripletjax-medium, or to the first of its sizes.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from ase.build import bulk

from experiments.benchmarks.accuracy.peers import (
    OURS,
    OWN,
    add_peer_options,
    chosen_peers,
    own_names,
    peer_command,
    peer_environment,
)
from experiments.commands import run_command
from tripletjax.io import provenance, save_json
from tripletjax.types import InputError

HERE = Path(__file__).parent
SCRIPT = """
import json, sys, jax
from ase.io import read
from experiments.benchmarks.timing import seconds
from tripletjax.potentials.architecture import SIZES, Architecture
from tripletjax.potentials.triplet import untrained
frame = read(sys.argv[1])
potential = untrained([14], Architecture(**SIZES[sys.argv[2]]))
batch = potential.prepare(frame)
program = jax.jit(lambda x: potential.energy_forces_stress(batch._replace(positions=x)))
print(json.dumps({"us_per_atom": seconds(program, batch.positions, 20) / len(frame) * 1e6}))
"""
ONE_CORE = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "OMP_NUM_THREADS": "1"}


def measured(name: str, command: list[str], environment: dict[str, str]) -> float:
    """Time per atom in µs, as the command prints it last."""
    done = subprocess.run(command, env=environment | ONE_CORE, capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"{name} failed; the end of the output:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])["us_per_atom"]


def measure_all(own: list[str], pythons: dict[str, str]) -> dict[str, list[float]]:
    """Times per atom in µs, of three runs of each program."""
    silicon = bulk("Si", cubic=True) * (4, 4, 4)
    silicon.rattle(0.05, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        start = f"{folder}/silicon.xyz"
        silicon.write(start)
        command = [sys.executable, "-c", SCRIPT, start]
        ours = {name: ([*command, OWN[name]], dict(os.environ)) for name in own}
        programs = ours | {
            name: (peer_command(name, python, "cost", start), peer_environment(1))
            for name, python in pythons.items()
        }
        times: dict[str, list[float]] = {name: [] for name in programs}
        for _ in range(3):
            for name, program in programs.items():
                times[name].append(measured(name, *program))
    return times


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_peer_options(parser)
    arguments = parser.parse_args()
    own, pythons = own_names(arguments), chosen_peers(arguments)
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])  # what is started inherits it
    times = measure_all(own, pythons)
    medians = {name: statistics.median(values) for name, values in times.items()}
    unit = medians.get(OURS, medians[own[0]])
    ratios = {name: median / unit for name, median in medians.items()}
    record = {"us_per_atom": times, "medians": medians, "ratios": ratios}
    save_json(HERE / "results" / "cost.json", record | provenance())
    for name, median in medians.items():
        print(f"{name:18s}{median:10.1f} µs/atom, ratio {ratios[name]:.2f}")


if __name__ == "__main__":
    run_command(main)
