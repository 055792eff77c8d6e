"""Fits and times NequIP; run by ``run.py`` and ``cost.py`` with a Python that has nequip.

    python nequip_fit.py fit TRAIN.xyz VALID.xyz TEST.xyz FOLDER MINUTES small|large
    python nequip_fit.py cost START.xyz small|large

``fit`` runs ``nequip-train`` with the settings of the package's tutorial (cutoff 5 Å, four layers,
float32, batches of 5) without its optional ZBL term and early stopping: ``small`` has its 32
features up to l=1, ``large`` 64 features up to l=2. The number of epochs fits the minutes, and the
patience is such that the learning rate can decay to 2e-5 within them. Models are not compiled, as
the package advises on CPUs. Both commands print one line of JSON at the end.
"""

import csv
import json
import os
import subprocess
import sys
import time
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ase.data import chemical_symbols
from ase.io import read
from lightning import Callback
from nequip.data import AtomicDataDict, from_ase
from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform
from nequip.model import NequIPGNNModel
from nequip.utils.global_state import set_global_state
from peer_data import epochs_within, median_seconds, total_seconds, trial_files

SIZES = {"small": (32, 1), "large": (64, 2)}  # features, their highest order
CUTOFF = 5.0
MONITORED = "val0_epoch/weighted_sum"
REDUCTIONS = 12  # of the learning rate, by 0.6 each: from 1e-2 to 2e-5


class EpochClock(Callback):
    """Writes the seconds of each epoch, validation included, to a file."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.times: list[float] = []

    def on_train_start(self, trainer: Any, module: Any) -> None:
        """Start the clock."""
        self.times.append(time.monotonic())

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        """Note the end of an epoch."""
        self.times.append(time.monotonic())

    def on_train_end(self, trainer: Any, module: Any) -> None:
        """Write the file."""
        self.path.write_text(json.dumps(np.diff(self.times).tolist()))


def symbols(path: str) -> list[str]:
    """Elements of all structures of a file."""
    return [
        chemical_symbols[number]
        for number in sorted({int(n) for frame in read(path, ":") for n in frame.numbers})
    ]


def model_settings(elements: list[str], size: str) -> dict:
    """The model, apart from what depends on statistics of the data."""
    features, highest = SIZES[size]
    return {
        "seed": 456,
        "model_dtype": "float32",
        "type_names": elements,
        "r_max": CUTOFF,
        "num_bessels": 8,
        "polynomial_cutoff_p": 6,
        "num_layers": 4,
        "l_max": highest,
        "parity": True,
        "num_features": features,
        "radial_mlp_depth": 2,
        "radial_mlp_width": 64,
    }


def data_settings(files: tuple[str, str, str], elements: list[str]) -> dict:
    """Files, their neighbour lists and batches."""
    loader = {"_target_": "torch.utils.data.DataLoader", "num_workers": 0}
    transforms = "nequip.data.transforms"
    return {
        "_target_": "nequip.data.datamodule.ASEDataModule",
        "seed": 456,
        "train_file_path": files[0],
        "val_file_path": files[1],
        "test_file_path": files[2],
        "transforms": [
            {
                "_target_": f"{transforms}.ChemicalSpeciesToAtomTypeMapper",
                "model_type_names": elements,
            },
            {"_target_": f"{transforms}.NeighborListTransform", "r_max": CUTOFF},
        ],
        "train_dataloader": loader | {"batch_size": 5, "shuffle": True},
        "val_dataloader": loader | {"batch_size": 10},
        "test_dataloader": loader | {"batch_size": 10},
        "stats_manager": {
            "_target_": "nequip.data.CommonDataStatisticsManager",
            "dataloader_kwargs": {"batch_size": 10},
            "type_names": elements,
        },
    }


def trainer_settings(folder: Path, epochs: int, minutes: float) -> dict:
    """Length of the training, and what is written."""
    callbacks = "lightning.pytorch.callbacks"
    limit = timedelta(minutes=minutes)
    hours, seconds = divmod(limit.seconds, 3600)
    return {
        "_target_": "lightning.Trainer",
        "accelerator": "cpu",
        "max_epochs": epochs,
        "max_time": f"{limit.days:02}:{hours:02}:{seconds // 60:02}:{seconds % 60:02}",
        "enable_progress_bar": False,
        "logger": {
            "_target_": "lightning.pytorch.loggers.CSVLogger",
            "save_dir": str(folder),
            "name": "log",
            "version": "fit",
        },
        "callbacks": [
            {
                "_target_": f"{callbacks}.ModelCheckpoint",
                "monitor": MONITORED,
                "dirpath": str(folder),
                "filename": "best",
            },
            {"_target_": "nequip_fit.EpochClock", "path": str(folder / "seconds.json")},
        ],
    }


def module_settings(elements: list[str], size: str, epochs: int) -> dict:
    """Model, loss and schedule."""
    metrics = {
        "_target_": "nequip.train.EnergyForceMetrics",
        "coeffs": {"total_energy_mae": 1.0, "forces_mae": 1.0},
    }
    return {
        "_target_": "nequip.train.EMALightningModule",
        "ema_decay": 0.999,
        "loss": {
            "_target_": "nequip.train.EnergyForceLoss",
            "per_atom_energy": True,
            "coeffs": {"total_energy": 1.0, "forces": 1.0},
        },
        "val_metrics": metrics,
        "train_metrics": metrics,
        "test_metrics": metrics,
        "optimizer": {"_target_": "torch.optim.Adam", "lr": 0.01},
        "lr_scheduler": {
            "scheduler": {
                "_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau",
                "factor": 0.6,
                "patience": max(1, epochs // REDUCTIONS - 1),
                "threshold": 0.2,
                "min_lr": 1e-6,
            },
            "monitor": MONITORED,
            "interval": "epoch",
            "frequency": 1,
        },
        "model": model_settings(elements, size)
        | {
            "_target_": "nequip.model.NequIPGNNModel",
            "avg_num_neighbors": "${training_data_stats:num_neighbors_mean}",
            "per_type_energy_scales": "${training_data_stats:per_type_forces_rms}",
            "per_type_energy_shifts": "${training_data_stats:per_atom_energy_mean}",
        },
    }


def train_model(
    files: tuple[str, str, str], folder: Path, size: str, epochs: int, minutes: float, runs: list
) -> list[float]:
    """Run the training program; returns the seconds of each epoch."""
    folder.mkdir(parents=True, exist_ok=True)
    elements = symbols(files[0])
    config = {
        "run": runs,
        "data": data_settings(files, elements),
        "trainer": trainer_settings(folder, epochs, minutes),
        "training_module": module_settings(elements, size, epochs),
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "nequip.scripts.train", "-cp", str(folder), "-cn", "config"]
    search = {"PYTHONPATH": str(Path(__file__).parent)}  # where it finds the clock
    subprocess.run(
        [*command, f"hydra.run.dir={folder / 'run'}"], env=os.environ | search, check=True
    )
    return json.loads((folder / "seconds.json").read_text())


def fit(train: str, valid: str, test: str, folder: str, minutes: str, size: str) -> dict:
    """Train, then read the errors on the test set from the log."""
    scratch, limit = Path(folder).resolve(), float(minutes)
    files = [str(Path(path).resolve()) for path in (train, valid, test)]
    *short, trial_epochs, scale = trial_files(files[0], files[1], scratch / "trial")
    short_files = (short[0], short[1], files[2])
    trial = train_model(short_files, scratch / "trial", size, trial_epochs, 60.0, ["train"])
    epochs = epochs_within(limit, trial, scale)
    seconds = train_model(tuple(files), scratch / "final", size, epochs, limit, ["train", "test"])
    with open(scratch / "final" / "log" / "fit" / "metrics.csv") as file:
        logged = list(csv.DictReader(file))[-1]
    return {
        "energy_mae_mev_per_atom": float(logged["test0_epoch/per_atom_energy_mae"]) * 1000,
        "force_mae_ev_per_A": float(logged["test0_epoch/forces_mae"]),
        "force_rmse_ev_per_A": float(logged["test0_epoch/forces_rmse"]),
        "epochs": len(seconds),
        "seconds": total_seconds(seconds),
        "version": version("nequip"),
    }


def cost(start: str, size: str) -> dict:
    """Time of energy, forces and stress per atom, in µs, neighbours given."""
    set_global_state()
    frame, elements = read(start), symbols(start)
    batch = AtomicDataDict.batched_from_list([from_ase(frame)])
    for transform in (ChemicalSpeciesToAtomTypeMapper(elements), NeighborListTransform(CUTOFF)):
        batch = transform(batch)
    pairs = batch[AtomicDataDict.EDGE_INDEX_KEY].shape[1]
    model = NequIPGNNModel(
        **model_settings(elements, size),
        avg_num_neighbors=pairs / len(frame),
        per_type_energy_scales=1.0,
        per_type_energy_shifts=0.0,
    ).eval()
    for weight in model.parameters():
        weight.requires_grad_(False)
    seconds = median_seconds(lambda: model({name: value.clone() for name, value in batch.items()}))
    return {"us_per_atom": seconds / len(frame) * 1e6, "pairs": pairs}


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    print(json.dumps({"fit": fit, "cost": cost}[command](*arguments)))
