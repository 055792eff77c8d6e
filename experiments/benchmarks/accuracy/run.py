"""Errors of tripletjax and apax after the same minutes of training on the same structures.

    python -m experiments.benchmarks.accuracy.run --data DIR --apax PYTHON [--rows ethanol-50-5]

DIR holds ethanol_train.xyz, ethanol_test.xyz, water_train.xyz and water_test.xyz; PYTHON is the
interpreter of an environment of its own, made by

    python3 -m venv apax-env && apax-env/bin/pip install apax==0.14.0 jax==0.10.1 jaxlib==0.10.1

Both programs run with their defaults and their full schedule for the same time, compilation apart,
each on half of the cores at the same time (``--in-turn``: one after the other, on all cores). A
row, DATA-FRAMES-MINUTES, writes ``results/ROW.json`` and is not repeated; ``--table`` prints them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from ase.io import write

from tripletjax.io import provenance, read_frames, save_json
from tripletjax.types import InputError

HERE = Path(__file__).parent
RESULTS = HERE / "results"
ROWS = ("ethanol-50-5", "ethanol-200-5", "ethanol-1000-5", "ethanol-1000-20", "water-160-20")
ERRORS = ("force_mae_ev_per_A", "energy_mae_mev_per_atom")


def split(data: Path, name: str, count: int, folder: Path) -> tuple[Path, Path, Path]:
    """Write ``count`` structures evenly from the training file, a tenth of them to validate."""
    source, test = (data / f"{name}_{part}.xyz" for part in ("train", "test"))
    for path in (source, test):
        if not path.is_file():
            raise InputError(f"{path} does not exist; give the folder that holds it with --data")
    frames = read_frames(source)
    if len(frames) < count:
        raise InputError(f"{source} holds {len(frames)} structures, the row needs {count}")
    chosen = [frames[i] for i in np.linspace(0, len(frames) - 1, count).round().astype(int)]
    train, valid = folder / "train.xyz", folder / "valid.xyz"
    write(valid, chosen[::10])
    write(train, [frame for i, frame in enumerate(chosen) if i % 10])
    return train, valid, test.resolve()


def commands(files: tuple[Path, Path, Path], minutes: str, apax: str, folder: Path):
    """What trains and tests each program."""
    train, valid, test = map(str, files)
    ours = [sys.executable, "-m", "tripletjax.cli", "train", "--train", train, "--valid", valid]
    ours += ["--test", test, "--out", str(folder / "fit"), "--max-minutes", minutes]
    script = str(HERE / "apax_fit.py")
    peer = [apax, script, "fit", train, valid, test, str(folder / "apax"), minutes]
    return {"tripletjax": ours, "apax": peer}


def start(command: list[str], cores: list[int], log: Path) -> subprocess.Popen:
    """Start a program on some cores, its output in a file."""
    environment = dict(os.environ)
    if log.stem == "apax":
        environment.pop("PYTHONPATH", None)  # it has an environment of its own
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)  # what is started inherits it
    try:
        return subprocess.Popen(
            command, stdout=log.open("w"), stderr=subprocess.STDOUT, env=environment
        )
    finally:
        os.sched_setaffinity(0, ours)


def run_both(programs: dict[str, list[str]], folder: Path, in_turn: bool) -> None:
    """Run the programs, at once on half of the cores each, or one after the other on all."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2 and not in_turn:
        raise InputError("one core is too few to run both at once; give --in-turn")
    half = len(cores) // 2
    shares = [cores, cores] if in_turn else [cores[:half], cores[half : 2 * half]]
    running = {}
    for (name, command), share in zip(programs.items(), shares, strict=True):
        running[name] = start(command, share, folder / f"{name}.log")
        if in_turn:
            running[name].wait()
    failed = [name for name, process in running.items() if process.wait()]
    if failed:
        text = (folder / f"{failed[0]}.log").read_text()[-2000:]
        raise InputError(f"{' and '.join(failed)} failed; the end of the output:\n{text}")


def result(name: str, data: Path, apax: str, in_turn: bool) -> dict:
    """Both programs on one row."""
    kind, count, minutes = name.split("-")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        files = split(data, kind, int(count), folder)
        run_both(commands(files, minutes, apax, folder), folder, in_turn)
        ours = json.loads((folder / "fit" / "metrics.json").read_text())
        theirs = json.loads((folder / "apax.log").read_text().strip().splitlines()[-1])
    own = {key: ours["test"][key] for key in (*ERRORS, "force_rmse_ev_per_A")}
    own |= {"epochs": ours["epochs"], "steps": ours["steps"], "seconds": ours["seconds"]}
    return {
        "frames": int(count),
        "minutes": float(minutes),
        "cores_each": len(os.sched_getaffinity(0)) // (1 if in_turn else 2),
        "tripletjax": own,
        "apax": theirs,
        "force_ratio": own[ERRORS[0]] / theirs[ERRORS[0]],
    } | provenance()


def table() -> str:
    """All results."""
    lines = ["row                cores   force MAE / eV/Å      ratio   energy MAE / meV/atom"]
    lines += ["                          tripletjax    apax           tripletjax    apax"]
    for name in ROWS:
        for path in sorted(RESULTS.glob(f"{name}*.json")):
            found = json.loads(path.read_text())
            a, b = found["tripletjax"], found["apax"]
            lines.append(
                f"{path.stem:20s}{found['cores_each']:3d} {a[ERRORS[0]]:12.4f} {b[ERRORS[0]]:7.4f} "
                f"{found['force_ratio']:8.2f} {a[ERRORS[1]]:12.2f} {b[ERRORS[1]]:7.2f}"
            )
    return "\n".join(lines)


def main() -> None:
    """Run the rows that have no result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, metavar="DIR")
    parser.add_argument("--apax", metavar="PYTHON", help="interpreter that has apax")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--in-turn", action="store_true", help="one after the other, all cores")
    parser.add_argument("--table", action="store_true", help="only print the results")
    arguments = parser.parse_args()
    if not arguments.table:
        if arguments.data is None or arguments.apax is None:
            parser.error("give --data DIR and --apax PYTHON, or --table alone")
        for name in arguments.rows:
            path = RESULTS / f"{name}{'-in-turn' if arguments.in_turn else ''}.json"
            if not path.exists():
                print(
                    f"{name}: about {2 * (1 + arguments.in_turn)} minutes and training", flush=True
                )
                save_json(path, result(name, arguments.data, arguments.apax, arguments.in_turn))
    print(table())


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(str(error))
