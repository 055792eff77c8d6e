"""Which sizes and settings of the neural potential pay, for the same minutes of training.

    python -m experiments.architectures.run [--train XYZ --test XYZ] [--size N] [--rows NAME]

Every row changes the defaults, trains for the same time and is written to ``results/SET.json``;
rows that the file has are not repeated, and ``--table`` prints them. Without files the GFN2-xTB
ethanol of the package is used. Leave one core free for each run.
"""

import argparse
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import numpy as np
import optax
from ase.build import bulk

from experiments.benchmarks.timing import seconds
from experiments.commands import add_result_options, run_command
from experiments.files import labelled
from experiments.rows import complete_rows
from tripletjax.data.sets import load_frames
from tripletjax.potentials.architecture import SIZES
from tripletjax.potentials.base import Potential
from tripletjax.training import Dataset, TrainConfig, read_labels, step, train
from tripletjax.training.optimizer import bounded
from tripletjax.types import InputError

RESULTS = Path(__file__).parent / "results"
HEADER = "               train/meV/Å test/meV/Å  meV/atom    steps ms a step  µs an atom"
ROWS: dict[str, Mapping[str, Any]] = {
    "default": {},
    "small": SIZES["small"],
    "large": SIZES["large"],
    "local": {"messages": 0},
    "messages-32": {"messages": 32},
    "order-2": {"order": 2},
    "order-3": {"order": 3},
    "triplets": {"tags": 4},
    "triplets-64": {"tags": 4, "units": 64, "odd_units": 16},
    "before": {
        "order": 2, "channels": 16, "messages": 0, "tags": 4, "tag_channels": None, "units": 64,
        "odd_units": 16,
    },
    "l_max-2": {"l_max": 2},
    "l_max-4": {"l_max": 4},
    "channels-16": {"channels": 16},
    "channels-64": {"channels": 64},
    "width-128": {"width": 128},
    "radial-8": {"n_radial": 8},
    "cutoff-4": {"cutoff": 4.0},
    "cutoff-6": {"cutoff": 6.0},
    "amsgrad": {"learning_rate": 0.1},
    "rate-0.01": {"learning_rate": 0.01},
    "rate-0.05": {"learning_rate": 0.05},
    "rate-0.1": {"learning_rate": 0.1},
    "ema-0.99": {"ema": 0.99},
    "huber-0.1": {"huber": 0.1},
}  # fmt: skip
OPTIMIZERS = {"amsgrad": bounded(optax.scale_by_amsgrad())}  # of rows with another one


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
    settings = {**ROWS[name], "max_minutes": minutes}
    config = TrainConfig(laplace_members=0).with_settings(settings)
    with mock.patch.object(step, "OPTIMIZER", OPTIMIZERS.get(name, step.OPTIMIZER)):
        potential, record = train(data, None, config, test=test, show=False)
    cost = evaluation_cost(potential)
    return {
        "changes": dict(ROWS[name]),
        "train": record["train"],
        "test": record["test"],
        "steps": record["steps"],
        "wall_seconds": record["wall_seconds"],
        "step_ms": record["seconds"] / record["steps"] * 1000,
        "us_per_atom": cost,
        "weights": int(sum(np.size(a) for a in jax.tree.leaves(potential.weights))),
        "structures": record["structures"],
    }


def own_data() -> tuple[Dataset, Dataset]:
    """Three quarters of the ethanol of the package, and the rest."""
    frames = load_frames("ethanol")
    data = Dataset(frames, read_labels(frames))
    tests = np.arange(len(frames)) % 4 == 0
    return data.chosen(np.flatnonzero(~tests)), data.chosen(np.flatnonzero(tests))


def table(folder: Path) -> str:
    """All results, set by set, best first."""
    lines = []
    for path in sorted(folder.glob("*.json")):
        rows = json.loads(path.read_text())["rows"]
        lines += [path.stem, HEADER]
        for name in sorted(rows, key=lambda n: rows[n]["test"]["force_mae_ev_per_A"]):
            r = rows[name]
            forces = [1000 * r[part]["force_mae_ev_per_A"] for part in ("train", "test")]
            lines.append(
                f"{name:14s} {forces[0]:8.1f} {forces[1]:8.1f} "
                f"{r['test']['energy_mae_mev_per_atom']:12.2f} {r['steps']:8d} "
                f"{r['step_ms']:9.1f} {r['us_per_atom']:11.1f}"
            )
    return "\n".join(lines)


def run(arguments: argparse.Namespace) -> None:
    """Complete the rows of one set."""
    files = arguments.train, arguments.test
    if (files[0] is None) != (files[1] is None):
        raise InputError("give both --train and --test, or neither")
    if files[0] is None:
        (data, test), name, names = own_data(), "ethanol-gfn2", [None, None]
    else:
        data, test = labelled(files[0], arguments.size), labelled(files[1])
        name, names = f"{files[0].stem}-{len(data.frames)}", [path.name for path in files]
    settings = {"train": names[0], "test": names[1], "minutes": arguments.minutes}
    wanted = {one: partial(row, one, data, test, arguments.minutes) for one in arguments.rows}
    complete_rows(arguments.out / f"{name}.json", wanted, settings, arguments.force)


def main() -> None:
    """Run the rows that have no result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", type=Path, metavar="XYZ")
    parser.add_argument("--test", type=Path, metavar="XYZ")
    parser.add_argument("--size", type=int, metavar="N", help="the first N structures")
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--table", action="store_true", help="only print the results")
    add_result_options(parser, RESULTS)
    arguments = parser.parse_args()
    if not arguments.table:
        run(arguments)
    print(table(arguments.out))


if __name__ == "__main__":
    run_command(main)
