"""Time of energy and forces an atom, of tripletjax and apax with their defaults.

    python -m experiments.benchmarks.accuracy.cost --apax PYTHON

512 atoms of silicon with 28 neighbours each, neighbours given, one core, float32; three runs of
each in turn. Writes ``results/cost.json``. PYTHON: see ``run.py``.
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

from tripletjax.io import provenance, save_json

HERE = Path(__file__).parent
OURS = """
import json, sys, jax
from ase.io import read
from experiments.benchmarks.timing import seconds
from tripletjax.potentials.triplet import untrained
frame = read(sys.argv[1])
potential = untrained([14])
batch = potential.prepare(frame)
program = jax.jit(lambda x: potential.energy_forces_stress(batch._replace(positions=x)))
print(json.dumps({"us_per_atom": seconds(program, batch.positions, 20) / len(frame) * 1e6}))
"""
ONE_CORE = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "OMP_NUM_THREADS": "1"}


def measured(command: list[str], environment: dict[str, str]) -> float:
    """Microseconds an atom, as the command prints it last."""
    found = subprocess.run(
        command, env=environment | ONE_CORE, capture_output=True, text=True, check=True
    )
    return json.loads(found.stdout.strip().splitlines()[-1])["us_per_atom"]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--apax", required=True, metavar="PYTHON")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])  # what is started inherits it
    silicon = bulk("Si", cubic=True) * (4, 4, 4)
    silicon.rattle(0.05, seed=1)
    environment = dict(os.environ)
    alone = {name: value for name, value in environment.items() if name != "PYTHONPATH"}
    times: dict[str, list[float]] = {"tripletjax": [], "apax": []}
    with tempfile.TemporaryDirectory() as folder:
        start = f"{folder}/silicon.xyz"
        silicon.write(start)
        for _ in range(3):
            times["tripletjax"].append(measured([sys.executable, "-c", OURS, start], environment))
            script = str(HERE / "apax_fit.py")
            times["apax"].append(measured([arguments.apax, script, "cost", start], alone))
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratio = medians["tripletjax"] / medians["apax"]
    record = {"us_per_atom": times, "medians": medians, "ratio": ratio}
    save_json(HERE / "results" / "cost.json", record | provenance())
    print(f"µs an atom: {medians}; ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
