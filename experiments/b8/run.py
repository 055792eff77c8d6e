"""The B8 experiment on all 8000 structures, and the same features on sets of other seeds.

python -m experiments.b8.run --out experiments/b8/results
"""

import argparse
import logging
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from experiments.b8.sample import sample_b8
from tripletjax import describe
from tripletjax.data.b8 import b8_positions
from tripletjax.demo import DESCRIPTORS, pair_errors, report, run_b8
from tripletjax.io import provenance, save_json
from tripletjax.kernels import gaussian_process

OTHER_SEEDS = Path(__file__).with_name("other_seeds_gfn2.npz")
SETTINGS: dict[str, dict[str, Any]] = {
    "chosen for B8": DESCRIPTORS["fingerprint"],
    "defaults": {"cutoff": 2.0},
}


def run_other_seed(seed: int, n_train: int = 1600, n_test: int = 400) -> dict[str, Any]:
    """Errors of a Gaussian process on the fingerprint, for a set drawn with another seed."""
    energies = np.load(OTHER_SEEDS)[f"seed_{seed}"]
    structures = b8_positions(sample_b8(len(energies) // 2, seed)).reshape(-1, 8, 3)
    frames = [Atoms("B8", positions=positions) for positions in structures]
    train, test = slice(0, n_train), slice(n_train, n_train + n_test)
    errors = {}
    for name, hypers in SETTINGS.items():
        values = describe(frames, "fingerprint", centers=[0], **hypers).values
        model = gaussian_process(values[train], energies[train])
        errors[name] = pair_errors(model.predict(values[test]), energies[test])
    return {"seed": seed, "train": n_train, "test": n_test, "errors": errors}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=int, default=7000)
    parser.add_argument("--test", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("experiments/b8/results"))
    arguments = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("tripletjax").setLevel(logging.INFO)

    print(report(run_b8(arguments.train, arguments.test, arguments.out)))
    others = [run_other_seed(seed) for seed in (1, 2)]
    save_json(
        arguments.out / "other_seeds.json",
        {"settings": SETTINGS, "runs": others, **provenance()},
    )
    print("\nFingerprint and Gaussian process on sets of other seeds (1600 train, 400 test)\n")
    for other in others:
        for name, row in other["errors"].items():
            figures = f"means {row['mean']:.3f}, differences {row['difference']:.3f}"
            print(f"  seed {other['seed']}, {name:16} {figures}")


if __name__ == "__main__":
    main()
