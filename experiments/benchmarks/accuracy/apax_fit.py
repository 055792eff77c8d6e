"""What apax does: run by ``run.py`` and ``cost.py`` with the Python that has apax, on its own.

    python apax_fit.py fit TRAIN.xyz VALID.xyz TEST.xyz FOLDER MINUTES
    python apax_fit.py cost START.xyz

``fit`` trains the default model (GMNN, cutoff 5 Å, batches of 4) with its default schedule for so
many epochs as the minutes hold, compilation apart: a short fit measures them first. Both print
one line of JSON at the end.
"""

import csv
import json
import math
import sys
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import yaml
from apax.config.train_config import Config
from apax.md.ase_calc import ASECalculator
from apax.train.run import run
from ase.io import read
from peer_data import errors, median_seconds, total_seconds
from vesin import NeighborList

CALIBRATION_STEPS = 1000
MOST_VALIDATED_AT_ONCE = 20


def defaults() -> dict:
    """The settings of ``apax template train --full``."""
    template = files("apax.cli.templates").joinpath("train_config_full.yaml").read_text()
    return yaml.safe_load(template.replace("<NUMBER OF EPOCHS>", "1").replace("<PATH>", "none"))


def settings(train: str, valid: str, folder: Path, n_epochs: int) -> dict:
    """The defaults, for these files and epochs; the best of the validations is kept."""
    config = defaults()
    n_train, n_valid = len(read(train, ":")), len(read(valid, ":"))
    config["n_epochs"] = n_epochs
    config["ckpt_interval"] = max(1, n_epochs // 4)
    config["progress_bar"]["disable_epoch_pbar"] = True
    del config["transfer_learning"]  # it holds placeholders
    data = config["data"]
    del data["data_path"]
    data |= {
        "directory": str(folder),
        "experiment": "fit",
        "train_data_path": train,
        "val_data_path": valid,
        "n_train": n_train,
        "n_valid": n_valid,
        "batch_size": min(4, n_train),
        "valid_batch_size": math.gcd(n_valid, MOST_VALIDATED_AT_ONCE),
    }
    return config


def epoch_seconds(folder: Path) -> list[float]:
    """Of all epochs, training and validation."""
    with open(folder / "fit" / "log.csv") as file:
        return [float(row["epoch_time"]) for row in csv.DictReader(file)]


def fit(train: str, valid: str, test: str, folder: str, minutes: str) -> dict:
    """Train, then errors on the test set."""
    trial, final = Path(folder) / "trial", Path(folder) / "final"
    of_epoch = math.ceil(len(read(train, ":")) / 4)
    epochs = max(4, CALIBRATION_STEPS // of_epoch)
    run(settings(train, valid, trial, epochs))
    one = float(np.median(epoch_seconds(trial)[epochs // 2 :]))
    n_epochs = max(2, round(60 * float(minutes) / one))
    run(settings(train, valid, final, n_epochs))
    seconds = epoch_seconds(final)
    frames = read(test, ":")
    predicted = ASECalculator(final / "fit").batch_eval(frames, batch_size=10, silent=True)
    energies = np.array([one.get_potential_energy() for one in predicted])
    found = errors(energies, [one.get_forces() for one in predicted], frames)
    return found | {
        "epochs": n_epochs,
        "seconds": total_seconds(seconds),
        "version": version("apax"),
    }


def cost(start: str) -> dict:
    """Microseconds an atom for energy and forces, neighbours given."""
    frame = read(start)
    config = Config.model_validate(defaults())
    builder = config.model.get_builder()(config.model.model_dump())
    box = np.asarray(frame.cell.array)
    model = builder.build_energy_derivative_model(apply_mask=True, init_box=box)
    i, j, shifts = NeighborList(cutoff=config.model.basis.r_max, full_list=True).compute(
        points=frame.positions, box=box, periodic=True, quantities="ijS"
    )
    fractional = jnp.asarray(frame.get_scaled_positions(wrap=False))
    rest = (jnp.asarray(frame.numbers), jnp.asarray(np.array([i, j], np.int32)))
    rest += (jnp.asarray(box.T), jnp.asarray(shifts @ box))
    weights = model.init(jax.random.key(0), fractional, *rest)
    program = jax.jit(lambda positions: model.apply(weights, positions, *rest))
    seconds = median_seconds(lambda: jax.block_until_ready(program(fractional)))
    return {"us_per_atom": seconds / len(frame) * 1e6, "pairs": len(i)}


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    print(json.dumps({"fit": fit, "cost": cost}[command](*arguments)))
