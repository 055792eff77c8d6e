"""Which sizes and settings of the neural potential pay, for the same minutes of training.

    python -m experiments.architectures.run [--train XYZ --test XYZ] [--minutes 1.5] [--rows NAME]

Every row changes the defaults in one way, trains for the same time and writes
``results/NAME.json``, which is not repeated; ``--table`` prints what there is. Without files the
GFN2-xTB ethanol of the package is used. Leave one core free for it.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np
from ase.build import bulk

from experiments.architectures.variants import variant
from experiments.benchmarks.timing import seconds
from tripletjax.data.sets import load_frames
from tripletjax.io import provenance, read_frames, save_json
from tripletjax.potentials.base import Potential
from tripletjax.training import Dataset, TrainConfig, read_labels, train
from tripletjax.types import InputError

RESULTS = Path(__file__).parent / "results"
ROWS = {
    "default": {},
    "tags-2": {"tags": 2},
    "tags-6": {"tags": 6},
    "tags-8": {"tags": 8, "n_pairs": 2.0},
    "l_max-2": {"l_max": 2},
    "l_max-4": {"l_max": 4},
    "channels-32": {"channels": 32},
    "units-32": {"units": 32},
    "units-128": {"units": 128},
    "odd-0": {"odd_units": 0},
    "width-128": {"width": 128},
    "radial-8": {"n_radial": 8},
    "rough": {},
    "rate-0.02": {"learning_rate": 0.02},
    "rate-0.05": {"learning_rate": 0.05},
    "rate-0.2": {"learning_rate": 0.2},
    "ema-0.99": {"ema": 0.99},
    "huber-0.1": {"huber": 0.1},
    "without-gates": {},
    "one-round": {},
    "plain-readout": {},
    "products": {},
    "batch-2": {"batch_size": 2},
    "batch-8": {"batch_size": 8},
}


def evaluation_cost(potential: Potential) -> float:
    """Microseconds an atom for energy and forces of 512 atoms of silicon, 28 neighbours each."""
    silicon = bulk("Si", cubic=True) * (4, 4, 4)
    silicon.rattle(0.05, seed=1)
    silicon.numbers[:] = potential.species[0]
    batch = potential.prepare(silicon)

    def program(positions):
        return potential.energy_forces_stress(batch._replace(positions=positions))[:2]

    return seconds(jax.jit(program), batch.positions) / len(silicon) * 1e6


def row(name: str, data: Dataset, test: Dataset, minutes: float) -> dict:
    """Train with these settings; errors on the test set and what it costs."""
    settings = ROWS[name] | {"max_minutes": minutes}
    with tempfile.TemporaryDirectory() as folder, variant(name):
        config = TrainConfig(laplace_members=0).with_settings(settings)
        potential, record = train(data, folder, config, test=test, force=True, show=False)
        cost = evaluation_cost(potential)
    return {
        "settings": ROWS[name],
        "minutes": minutes,
        "test": record["test"],
        "steps": record["steps"],
        "step_ms": record["seconds"] / record["steps"] * 1000,
        "us_per_atom": cost,
        "weights": int(sum(np.size(a) for a in jax.tree.leaves(potential.weights))),
        "structures": record["structures"],
    } | provenance()


def labelled(path: Path) -> Dataset:
    """Structures of a file with their labels."""
    frames = read_frames(path)
    return Dataset(frames, read_labels(frames, source=str(path)))


def own_data() -> tuple[Dataset, Dataset]:
    """Three quarters of the ethanol of the package, and the rest."""
    frames = load_frames("ethanol")
    data = Dataset(frames, read_labels(frames))
    tests = np.arange(len(frames)) % 4 == 0
    return data.chosen(np.flatnonzero(~tests)), data.chosen(np.flatnonzero(tests))


def table() -> str:
    """All results, best first."""
    found = {path.stem: json.loads(path.read_text()) for path in RESULTS.glob("*.json")}
    lines = ["row            force MAE/eV/Å  energy MAE/meV/atom  steps  ms a step  µs an atom"]
    for name in sorted(found, key=lambda n: found[n]["test"]["force_mae_ev_per_A"]):
        r = found[name]
        errors = r["test"]["force_mae_ev_per_A"], r["test"]["energy_mae_mev_per_atom"]
        lines.append(
            f"{name:14s} {errors[0]:14.4f} {errors[1]:20.2f} {r['steps']:6d} {r['step_ms']:10.1f} "
            f"{r['us_per_atom']:11.1f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the rows that have no result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--train", type=Path, metavar="XYZ")
    parser.add_argument("--test", type=Path, metavar="XYZ")
    parser.add_argument("--minutes", type=float, default=1.5)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--table", action="store_true", help="only print the results")
    arguments = parser.parse_args()
    if not arguments.table:
        if (arguments.train is None) != (arguments.test is None):
            raise InputError("give both --train and --test, or neither")
        data, test = (
            own_data()
            if arguments.train is None
            else (labelled(arguments.train), labelled(arguments.test))
        )
        for name in arguments.rows:
            path = RESULTS / f"{name}.json"
            if not path.exists():
                save_json(path, row(name, data, test, arguments.minutes))
                print(name, flush=True)
    print(table())


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"{error}")
