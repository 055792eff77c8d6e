"""What the scripts of several peers share; it needs only NumPy and ASE, which all of them have."""

import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read, write

TRIAL_STRUCTURES = 100
TRIAL_PASSES = 300


def trial_files(train: str, valid: str, folder: Path) -> tuple[str, str, int, float]:
    """Write smaller files to measure the cost of an epoch.

    Returns:
        The two paths, the number of epochs to run, and the size of the full training set relative
        to the smaller one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    frames, others = read(train, ":"), read(valid, ":")
    count = min(len(frames), TRIAL_STRUCTURES)
    write(folder / "train.xyz", frames[:count])
    write(folder / "valid.xyz", others[: math.ceil(len(others) * count / len(frames))])
    epochs = max(4, TRIAL_PASSES // count)
    return str(folder / "train.xyz"), str(folder / "valid.xyz"), epochs, len(frames) / count


def epochs_within(minutes: float, seconds: list[float], scale: float) -> int:
    """Number of epochs that fit into the minutes, from the seconds of the epochs of a trial."""
    one = float(np.median(seconds[len(seconds) // 2 :])) * scale
    return max(4, int(60 * minutes / one))


def total_seconds(seconds: list[float]) -> float:
    """Duration of all epochs; the first, which may include compilation, counts as average."""
    return float(np.mean(seconds[1:])) * len(seconds)


def median_seconds(function: Callable[[], object]) -> float:
    """Median duration of up to 20 calls, fewer if they are slow, after three others."""
    for _ in range(3):
        function()
    times: list[float] = []
    while len(times) < 3 or (len(times) < 20 and sum(times) < 20.0):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def errors(energies: np.ndarray, forces: list[np.ndarray], frames: list[Atoms]) -> dict[str, float]:
    """Errors of predictions for labelled structures."""
    labels = np.array([frame.get_potential_energy() for frame in frames])
    per_atom = (energies - labels) / [len(frame) for frame in frames] * 1000
    difference = np.concatenate(forces) - np.concatenate([frame.get_forces() for frame in frames])
    return {
        "energy_mae_mev_per_atom": float(np.abs(per_atom).mean()),
        "force_mae_ev_per_A": float(np.abs(difference).mean()),
        "force_rmse_ev_per_A": float(np.sqrt((difference**2).mean())),
    }
