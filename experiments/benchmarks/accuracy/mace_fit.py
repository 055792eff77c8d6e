"""Fits and times MACE; run by ``run.py`` and ``cost.py`` with a Python that has mace-torch.

    python mace_fit.py fit TRAIN.xyz VALID.xyz TEST.xyz FOLDER MINUTES small|large
    python mace_fit.py cost START.xyz small|large

``fit`` runs ``mace_run_train`` with cutoff 5 Å, two layers, float32 and batches of 5: ``small``
has 64 invariant channels, ``large`` the 256 channels up to L=2 of the paper's rMD17 models. The
schedule is the documented one (exponential average of the weights, stage two for the last quarter);
the number of epochs fits the minutes, and the patience of the learning rate is the same fraction of
it as by default. Both commands print one line of JSON at the end.
"""

import json
import logging
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.io import read, write
from mace import data, modules
from mace.calculators import MACECalculator
from mace.cli.run_train import run
from mace.tools import AtomicNumberTable, build_default_arg_parser, torch_geometric
from peer_data import epochs_within, errors, median_seconds, total_seconds, trial_files

SIZES = {"small": (64, 0), "large": (256, 2)}  # channels, highest order of the messages
CUTOFF = 5.0
DEFAULT_EPOCHS, DEFAULT_PATIENCE = 2048, 50


class EpochClock(logging.Handler):
    """Records when the training program logs the end of each epoch."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.times: list[float] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the times of the initial validation and of those after each epoch."""
        if record.getMessage().startswith(("Initial: head", "Epoch ")):
            self.times.append(record.created)


def composition(frames: list[Atoms], numbers: list[int]) -> np.ndarray:
    """Number of atoms of each element in each structure."""
    return np.array([[(frame.numbers == number).sum() for number in numbers] for frame in frames])


def write_labelled(path: Path, frames: list[Atoms], baseline: np.ndarray) -> str:
    """Write structures with labels under the names that MACE reads, energies above a baseline."""
    labelled = []
    for frame, energy in zip(frames, baseline, strict=True):
        copy = Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc)
        copy.info["REF_energy"] = frame.get_potential_energy() - energy
        copy.arrays["REF_forces"] = frame.get_forces()
        labelled.append(copy)
    write(path, labelled)
    return str(path)


def train_model(train: str, valid: str, folder: Path, size: str, epochs: int) -> list[float]:
    """Run the training program; returns the seconds of each epoch."""
    channels, highest = SIZES[size]
    patience = max(1, round(epochs * DEFAULT_PATIENCE / DEFAULT_EPOCHS))
    options = {
        "name": "fit",
        "work_dir": folder,
        "train_file": train,
        "valid_file": valid,
        "E0s": "average",
        "model": "MACE",
        "num_channels": channels,
        "max_L": highest,
        "r_max": CUTOFF,
        "batch_size": 5,
        "default_dtype": "float32",
        "device": "cpu",
        "max_num_epochs": epochs,
        "scheduler_patience": patience,
        "patience": epochs,
        "plot": False,
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    logging.getLogger().handlers.clear()  # those of an earlier run
    clock = EpochClock()
    logging.getLogger().addHandler(clock)
    run(build_default_arg_parser().parse_args([*arguments, "--ema", "--stage_two"]))
    return np.diff(clock.times).tolist()


def fit(train: str, valid: str, test: str, folder: str, minutes: str, size: str) -> dict:
    """Train, then compute the errors on the test set.

    Energies relative to a linear fit to the composition are used, as float32 is too coarse for
    total energies.
    """
    scratch = Path(folder)
    scratch.mkdir(parents=True, exist_ok=True)
    frames, others, tested = (read(path, ":") for path in (train, valid, test))
    numbers = sorted({int(number) for frame in frames for number in frame.numbers})
    energies = [frame.get_potential_energy() for frame in frames]
    per_element = np.linalg.lstsq(composition(frames, numbers), energies, rcond=None)[0]
    files = [
        write_labelled(scratch / name, part, composition(part, numbers) @ per_element)
        for name, part in (("train.xyz", frames), ("valid.xyz", others))
    ]
    short_train, short_valid, trial_epochs, scale = trial_files(*files, scratch / "trial")
    trial = train_model(short_train, short_valid, scratch / "trial", size, trial_epochs)
    epochs = epochs_within(float(minutes), trial, scale)
    seconds = train_model(*files, scratch / "final", size, epochs)
    model = str(scratch / "final" / "fit_stagetwo.model")
    calculator = MACECalculator(model_paths=model, device="cpu", default_dtype="float32")
    relative, forces = [], []
    for frame in tested:
        calculator.calculate(frame)
        relative.append(calculator.results["energy"])
        forces.append(calculator.results["forces"])
    predicted = np.array(relative) + composition(tested, numbers) @ per_element
    found = errors(predicted, forces, tested)
    return (
        found
        | {"epochs": epochs, "seconds": total_seconds(seconds)}
        | {"version": version("mace-torch")}
    )


def untrained(numbers: list[int], neighbours: float, size: str) -> torch.nn.Module:
    """The model that the training program starts from, without scaling to data."""
    from e3nn import o3  # after mace, without which recent versions of torch cannot load it

    channels, highest = SIZES[size]
    orders = " + ".join(f"{channels}x{order}{'oe'[order % 2 == 0]}" for order in range(highest + 1))
    return modules.ScaleShiftMACE(
        r_max=CUTOFF,
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=modules.interaction_classes["RealAgnosticInteractionBlock"],
        num_interactions=2,
        num_elements=len(numbers),
        hidden_irreps=o3.Irreps(orders),
        MLP_irreps=o3.Irreps("16x0e"),
        atomic_energies=np.zeros(len(numbers)),
        avg_num_neighbors=neighbours,
        atomic_numbers=numbers,
        correlation=3,
        gate=modules.gate_dict["silu"],
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    )


def cost(start: str, size: str) -> dict:
    """Time of energy and forces per atom, in µs, neighbours given."""
    torch.set_default_dtype(torch.float32)
    frame = read(start)
    numbers = sorted({int(number) for number in frame.numbers})
    graph = data.AtomicData.from_config(
        data.config_from_atoms(frame), z_table=AtomicNumberTable(numbers), cutoff=CUTOFF
    )
    batch = next(iter(torch_geometric.dataloader.DataLoader([graph], batch_size=1)))
    pairs = batch.edge_index.shape[1]
    model = untrained(numbers, pairs / len(frame), size)
    for weight in model.parameters():
        weight.requires_grad_(False)
    seconds = median_seconds(
        lambda: model(batch.clone().to_dict(), training=False, compute_force=True)
    )
    return {"us_per_atom": seconds / len(frame) * 1e6, "pairs": pairs}


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    print(json.dumps({"fit": fit, "cost": cost}[command](*arguments)))
