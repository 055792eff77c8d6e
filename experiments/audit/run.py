"""Audits of the B8 set and of 100 000 environments: what is found, how long it takes.

python -m experiments.audit.run --out experiments/audit/results
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

from ase.build import bulk
from ase.io import write

from tripletjax.data.b8 import load_b8
from tripletjax.io import provenance, save_json

B8 = ["--centers", "0", "--cutoff", "2.0", "--floor", "1e-4"]
LARGE = ["--cutoff", "5.3", "--tags", "4", "--n-features", "128", "--n-max", "3", "--l-max", "4"]
AUDITS = {
    "b8_bispectrum": ("b8", ["--kind", "bispectrum", "--n-max", "3", "--l-max", "3", *B8]),
    "b8_fingerprint": ("b8", ["--kind", "fingerprint", *B8]),
    "silicon": ("silicon", ["--kind", "fingerprint", "--dtype", "float32", *LARGE]),
}


def frames_of(name: str, n_environments: int):
    """The B8 set, or shaken silicon with about 30 neighbours within 5.3 Å."""
    if name == "b8":
        return load_b8().frames()
    crystal, frames = bulk("Si", cubic=True) * (4, 4, 4), []
    for seed in range(-(-n_environments // len(crystal))):
        frames.append(crystal.copy())
        frames[-1].rattle(0.1, seed=seed)
    return frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("experiments/audit/results"))
    parser.add_argument("--only", choices=AUDITS, nargs="+", default=list(AUDITS))
    parser.add_argument("--environments", type=int, default=100_000, help="of silicon")
    arguments = parser.parse_args()
    for name in arguments.only:
        source, options = AUDITS[name]
        structures = arguments.out / f"{source}.xyz"
        structures.parent.mkdir(parents=True, exist_ok=True)
        frames = frames_of(source, arguments.environments)
        write(structures, frames)
        folder = arguments.out / name
        command = ["tripletjax", "audit", str(structures), "--out", str(folder), "--force"]
        start = time.monotonic()
        subprocess.run([sys.executable, "-m", "tripletjax.cli", *command[1:], *options], check=True)
        seconds = time.monotonic() - start
        # The largest of all children so far: audits run from small to large.
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        found = json.loads((folder / "audit.json").read_text())
        record = {
            "command": " ".join([*command, *options]),
            "environments": found["environments"],
            "collisions": len(found["collisions"]),
            "collisions_further_than_0.1_A": found["collisions_further_than_0.1_A"],
            "environments_equal_to_another": found["environments_equal_to_another"],
            "seconds": round(seconds, 1),
            "peak_GiB": round(peak, 2),
        }
        save_json(arguments.out / f"{name}.json", record | provenance())
        structures.unlink()
        print(f"{name}: {record['seconds']} s, {record['peak_GiB']} GiB")


if __name__ == "__main__":
    main()
