"""Errors of tripletjax in its sizes, apax, MACE and NequIP after the same minutes of training.

    python -m experiments.benchmarks.accuracy.run --data DIR --apax PYTHON --mace PYTHON \\
        --nequip PYTHON [--rows ethanol-50-5]
    python -m experiments.benchmarks.accuracy.run --train XYZ --test XYZ --size N --minutes M \\
        --mace PYTHON [--peers mace-small]

DIR holds ethanol_train.xyz, ethanol_test.xyz, water_train.xyz and water_test.xyz.
{install}
All programs train on the same structures with a schedule that ends with the minutes, compilation
not included, each on half of the cores: two of them at the same time, more than two one after the
other (``--in-turn``: one after the other, on all cores). The row DATA-STRUCTURES-MINUTES is
written to ``results/ROW.json``, and only programs that it lacks are run; ``--table`` prints all
rows.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase.io import write

from experiments.benchmarks.accuracy.peers import (
    INSTALL,
    OURS,
    OWN,
    PEERS,
    add_peer_options,
    chosen_peers,
    own_names,
    peer_command,
    peer_environment,
)
from experiments.commands import run_command
from tripletjax.io import provenance, read_frames, save_json
from tripletjax.types import InputError

HERE = Path(__file__).parent
RESULTS = HERE / "results"
ROWS = ("ethanol-50-5", "ethanol-200-5", "ethanol-1000-5", "ethanol-1000-20", "water-160-20")
ERRORS = ("force_mae_ev_per_A", "energy_mae_mev_per_atom")


class Row(NamedTuple):
    """What is trained on, and for how long."""

    name: str
    train: Path
    test: Path
    count: int
    minutes: float


def data_row(name: str, data: Path) -> Row:
    """The row DATA-STRUCTURES-MINUTES of the files in a folder."""
    kind, count, minutes = name.split("-")
    train, test = (data / f"{kind}_{part}.xyz" for part in ("train", "test"))
    return Row(name, train, test, int(count), float(minutes))


def split(row: Row, folder: Path) -> tuple[Path, Path, Path]:
    """Write structures evenly spaced in the training file, a tenth of them for validation."""
    for path in (row.train, row.test):
        if not path.is_file():
            raise InputError(f"{path} does not exist")
    frames = read_frames(row.train)
    if not 2 <= row.count <= len(frames):
        raise InputError(f"{row.train} has {len(frames)} structures; cannot choose {row.count}")
    indices = np.linspace(0, len(frames) - 1, row.count).round().astype(int)
    chosen = [frames[i] for i in indices]
    train, valid = folder / "train.xyz", folder / "valid.xyz"
    write(valid, chosen[::10])
    write(train, [frame for i, frame in enumerate(chosen) if i % 10])
    return train, valid, row.test.resolve()


def commands(
    row: Row, folder: Path, own: list[str], pythons: dict[str, str]
) -> dict[str, list[str]]:
    """What trains and tests each program."""
    train, valid, test = map(str, split(row, folder))
    minutes = f"{row.minutes:g}"
    command = [sys.executable, "-m", "tripletjax.cli", "train", "--train", train, "--valid", valid]
    command += ["--test", test, "--max-minutes", minutes]
    ours = {name: [*command, "--size", OWN[name], "--out", str(folder / name)] for name in own}
    files = (train, valid, test)
    peers = {
        name: peer_command(name, python, "fit", *files, str(folder / name), minutes)
        for name, python in pythons.items()
    }
    return ours | peers


def start(name: str, command: list[str], cores: list[int], log: Path) -> subprocess.Popen:
    """Start a program on some cores, its output in a file."""
    environment = dict(os.environ) if name in OWN else peer_environment(len(cores))
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)  # what is started inherits it
    try:
        return subprocess.Popen(
            command, stdout=log.open("w"), stderr=subprocess.STDOUT, env=environment
        )
    finally:
        os.sched_setaffinity(0, before)


def run_together(programs: dict[str, list[str]], shares: list[list[int]], folder: Path) -> None:
    """Run programs at the same time, each on its share of the cores."""
    running = {
        name: start(name, command, share, folder / f"{name}.log")
        for (name, command), share in zip(programs.items(), shares, strict=True)
    }
    failed = [name for name, process in running.items() if process.wait()]
    if failed:
        text = (folder / f"{failed[0]}.log").read_text()[-2000:]
        raise InputError(f"{' and '.join(failed)} failed; the end of the output:\n{text}")


def outcome(name: str, folder: Path) -> dict:
    """Errors and length of the fit of one program."""
    if name not in OWN:
        return json.loads((folder / f"{name}.log").read_text().strip().splitlines()[-1])
    metrics = json.loads((folder / name / "metrics.json").read_text())
    errors = {key: metrics["test"][key] for key in (*ERRORS, "force_rmse_ev_per_A")}
    return errors | {key: metrics[key] for key in ("epochs", "steps", "seconds")}


def complete_row(
    row: Row, path: Path, own: list[str], pythons: dict[str, str], in_turn: bool
) -> None:
    """Run the programs that the file of the row lacks; it is written whenever some have ended."""
    cores = sorted(os.sched_getaffinity(0))
    half = max(1, len(cores) // 2)
    settings = {
        "frames": row.count,
        "minutes": row.minutes,
        "cores_each": len(cores) if in_turn else half,
    }
    record = json.loads(path.read_text()) if path.is_file() else settings | provenance()
    if any(record[key] != value for key, value in settings.items()):
        raise InputError(f"{path} has other settings than {settings}; move it away to repeat it")
    missing = [name for name in (*own, *pythons) if name not in record]
    together = len(missing) == 2 and len(cores) > 1 and not in_turn
    groups = [missing] if together else [[name] for name in missing]
    shares = [cores] if in_turn else [cores[:half], cores[half : 2 * half]]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        programs = commands(row, folder, own, pythons)
        for group in groups:
            print(f"{row.name}: {' and '.join(group)}, {row.minutes:g} minutes", flush=True)
            run_together({name: programs[name] for name in group}, shares[: len(group)], folder)
            record |= {name: outcome(name, folder) for name in group}
            save_json(path, record)


def table() -> str:
    """All results, force errors also relative to those of tripletjax."""
    lines = [f"{'row':28s}cores  {'program':18s}force MAE / eV/Å   ratio   energy MAE / meV/atom"]
    for path in sorted(RESULTS.glob("*.json")):
        record = json.loads(path.read_text())
        ours = record.get(OURS)
        for name in (*OWN, *PEERS) if ours and "cores_each" in record else ():
            if name in record:
                force, energy = (record[name][key] for key in ERRORS)
                lines.append(
                    f"{path.stem:28s}{record['cores_each']:5d}  {name:18s}{force:16.4f} "
                    f"{force / ours[ERRORS[0]]:7.2f} {energy:23.2f}"
                )
    return "\n".join(lines)


def rows_to_run(arguments: argparse.Namespace) -> list[Row]:
    """Those of the data folder, or the one of the files given."""
    one = (arguments.train, arguments.test, arguments.size, arguments.minutes)
    if all(value is None for value in one) and arguments.data is not None:
        return [data_row(name, arguments.data) for name in arguments.rows]
    if any(value is None for value in one) or arguments.data is not None:
        raise InputError("give either --data, or all of --train, --test, --size and --minutes")
    name = f"{arguments.train.stem}-{arguments.size}-{arguments.minutes:g}"
    return [Row(name, *one)]


def main() -> None:
    """Complete the rows and print all results."""
    parser = argparse.ArgumentParser(
        description=__doc__.replace("{install}", INSTALL),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, metavar="DIR")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--train", type=Path, metavar="XYZ", help="instead of --data")
    parser.add_argument("--test", type=Path, metavar="XYZ")
    parser.add_argument("--size", type=int, metavar="N", help="number of training structures")
    parser.add_argument("--minutes", type=float, metavar="M")
    add_peer_options(parser)
    parser.add_argument("--in-turn", action="store_true", help="one after the other, all cores")
    parser.add_argument("--table", action="store_true", help="only print the results")
    arguments = parser.parse_args()
    if not arguments.table:
        pythons = chosen_peers(arguments)
        suffix = "-in-turn" if arguments.in_turn else ""
        for row in rows_to_run(arguments):
            path = RESULTS / f"{row.name}{suffix}.json"
            complete_row(row, path, own_names(arguments), pythons, arguments.in_turn)
    print(table())


if __name__ == "__main__":
    run_command(main)
