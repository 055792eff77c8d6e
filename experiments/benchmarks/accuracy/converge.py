"""One long fit of tripletjax alone, to see where its errors end.

    python -m experiments.benchmarks.accuracy.converge --data DIR [--minutes 80] [--scratch DIR]

The same structures as in the row ethanol-1000 of ``run``, on one core. An interrupted
run resumes from the scratch folder; the errors are written to ``results/converged.json``.
"""

import argparse
import os
from pathlib import Path

from experiments.benchmarks.accuracy.run import RESULTS, data_row, split
from experiments.commands import run_command
from experiments.files import labelled
from tripletjax.io import provenance, save_json
from tripletjax.training import TrainConfig, train

ROW = "ethanol-1000-20"  # the same structures, for other minutes


def converge(data: Path, minutes: float, scratch: Path) -> dict:
    """Errors after this many minutes."""
    scratch.mkdir(parents=True, exist_ok=True)
    fitted, valid, test = map(labelled, split(data_row(ROW, data), scratch))
    config = TrainConfig(max_minutes=minutes)
    _, record = train(fitted, scratch / "fit", config, valid=valid, test=test, resume=True)
    kept = ("train", "valid", "test", "epochs", "steps", "seconds", "uncertainty", "settings")
    return {"minutes": minutes, "cores_used": 1} | {key: record[key] for key in kept} | provenance()


def main() -> None:
    """Fit, or resume, and write the errors."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, metavar="DIR", required=True)
    parser.add_argument("--minutes", type=float, default=80.0)
    parser.add_argument("--scratch", type=Path, default=Path("converge-scratch"), metavar="DIR")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    found = converge(arguments.data, arguments.minutes, arguments.scratch)
    save_json(RESULTS / "converged.json", found)
    print(found["test"])


if __name__ == "__main__":
    run_command(main)
