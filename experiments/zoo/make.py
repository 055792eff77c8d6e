"""Fit the models that come with the package: ``python -m experiments.zoo.make ethanol_gfn2``.

The scratch folder keeps the whole fit, from which a second run goes on; what is needed to use the
model goes to ``tripletjax/zoo``.
"""

import argparse
import shutil
from pathlib import Path

import tripletjax
from tripletjax.data.sets import load_frames
from tripletjax.io import atomic_folder
from tripletjax.training import Dataset, TrainConfig, read_labels, train

ZOO = Path(tripletjax.__file__).parent / "zoo"
MODELS = {  # their sets, of which one structure in so many is for the errors alone
    "ethanol_gfn2": ("ethanol", 10),
    "water_gfn2": ("water", 10),
    "silicon_pbe": ("silicon", 5),  # of every trajectory the first
}
KEPT = ("model", "committee", "metrics.json", "parity.png")


def make(name: str, minutes: float, scratch: Path) -> dict:
    """Fit one model and put it into the zoo."""
    of, every = MODELS[name]
    frames = load_frames(of)
    data = Dataset(frames, read_labels(frames))
    tested = [i % every == 0 for i in range(len(frames))]
    parts = [data.chosen([i for i, t in enumerate(tested) if t == kind]) for kind in (False, True)]
    config = TrainConfig(max_minutes=minutes)
    _, record = train(parts[0], scratch / name, config, test=parts[1], resume=True)
    with atomic_folder(ZOO / name, force=True) as new:
        for kept in KEPT:
            source = scratch / name / kept
            (shutil.copytree if source.is_dir() else shutil.copy)(source, new / kept)
    return record["test"]


def main() -> None:
    """Fit the models named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", choices=list(MODELS))
    parser.add_argument("--minutes", type=float, default=20.0, help="for each model")
    parser.add_argument("--scratch", type=Path, default=Path("zoo-fits"), metavar="DIR")
    arguments = parser.parse_args()
    for name in arguments.models:
        print(name, make(name, arguments.minutes, arguments.scratch))


if __name__ == "__main__":
    main()
