"""Liquid water from a fitted potential: structure, diffusion, spectrum and conservation.

    python -m experiments.md.run [--data DIR] [--minutes 20] [--picoseconds 20]

DIR holds water_train.xyz and water_test.xyz, periodic and labelled; without it the GFN2-xTB water
of the package is taken. Fit and trajectory go into the scratch folder, from which a second run goes
on.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read

from experiments.commands import run_command
from experiments.md.analysis import (
    pair_distribution,
    smoothed,
    squared_displacement,
    velocity_spectrum,
)
from tripletjax.data.sets import load_frames
from tripletjax.io import provenance, read_frames, save_json
from tripletjax.md import MDConfig, simulate
from tripletjax.plotting import drawing
from tripletjax.potentials.storage import load
from tripletjax.training import Dataset, TrainConfig, read_labels, train
from tripletjax.types import InputError

RESULTS = Path(__file__).parent / "results"
PAIRS = {"OO": (8, 8), "OH": (8, 1), "HH": (1, 1)}
COLORS = {"reference": "0.5", "simulation": "#2f5d8a"}
KELVIN, TIMESTEP, FRAME_EVERY = 300.0, 0.5, 8  # frames of 4 fs resolve the stretching of O-H
EQUILIBRATION = 0.2  # of the trajectory


def frames_of(data: Path | None) -> tuple[list[Atoms], list[Atoms]]:
    """Training and test structures."""
    if data is None:
        frames = load_frames("water")
        return [f for i, f in enumerate(frames) if i % 6], frames[::6]
    for name in ("water_train.xyz", "water_test.xyz"):
        if not (data / name).is_file():
            raise InputError(f"{data / name} does not exist; give the folder that holds it")
    return read_frames(data / "water_train.xyz"), read_frames(data / "water_test.xyz")


def fitted(train_frames, test_frames, minutes: float, folder: Path):
    """The potential, from an earlier run if there is one."""
    if not (folder / "metrics.json").is_file():
        parts = [Dataset(frames, read_labels(frames)) for frames in (train_frames, test_frames)]
        config = TrainConfig(max_minutes=minutes)
        train(parts[0], folder, config, test=parts[1], resume=folder.is_dir())
    return load(folder), json.loads((folder / "metrics.json").read_text())["test"]


def start_of(frames: list[Atoms]) -> Atoms:
    """The last structure, at the volume closest to the middle of all."""
    volumes = np.array([frame.get_volume() for frame in frames])
    atoms = frames[int(np.argmin(abs(volumes - np.median(volumes))))].copy()
    atoms.arrays.pop("momenta", None)  # to be drawn
    return atoms


def distributions(frames: list[Atoms], edges: np.ndarray) -> dict[str, list[float]]:
    """g(r) of every pair of species."""
    positions = np.stack([frame.positions for frame in frames])
    cells = np.stack([frame.cell.array for frame in frames])
    numbers = frames[0].numbers
    return {
        name: pair_distribution(
            positions, cells, (np.flatnonzero(numbers == a), np.flatnonzero(numbers == b)), edges
        ).tolist()
        for name, (a, b) in PAIRS.items()
    }


def analyse(folder: Path, reference: list[Atoms]) -> dict:
    """All numbers of the figure."""
    frames = read(folder / "trajectory.xyz", ":")
    frames = frames[int(EQUILIBRATION * len(frames)) :]
    step = TIMESTEP * FRAME_EVERY
    positions = np.stack([frame.positions for frame in frames])
    velocities = np.stack([frame.get_velocities() for frame in frames])
    oxygen = frames[0].numbers == 8
    centre = positions - positions.mean(1, keepdims=True)
    lags = len(frames) // 2
    displaced = squared_displacement(centre[:, oxygen], lags)
    times = step * np.arange(lags)
    late = slice(lags // 2, None)
    slope = np.polyfit(times[late], displaced[late], 1)[0]  # Å²/fs
    # The largest sphere within every cell.
    half = 0.5 / max(f.cell.reciprocal().lengths().max() for f in [frames[0], *reference])
    edges = np.linspace(0.5, half, 121)
    wavenumbers, power = velocity_spectrum(velocities, frames[0].get_masses(), step)
    shown = wavenumbers < 4500
    table = np.genfromtxt(folder / "thermo.csv", delimiter=",", names=True)
    conserved = table["conserved_eV"] / len(frames[0])
    picoseconds = table["time_fs"] / 1000
    return {
        "edges_A": edges.tolist(),
        "pair_distribution": {
            "simulation": distributions(frames, edges),
            "reference": distributions(reference, edges),
        },
        "times_fs": times.tolist(),
        "squared_displacement_A2": displaced.tolist(),
        "diffusion_cm2_s": float(slope / 6 * 0.1),
        "wavenumbers_1_cm": wavenumbers[shown].tolist(),
        "spectrum": smoothed(power, 9)[shown].tolist(),
        "picoseconds": picoseconds.tolist(),
        "conserved_eV_atom": (conserved - conserved[0]).tolist(),
        "drift_eV_atom_ps": float(np.polyfit(picoseconds, conserved, 1)[0]),
        "temperature_K": [
            float(table["temperature_K"].mean()),
            float(table["temperature_K"].std()),
        ],
    }


def draw(path: Path, found: dict) -> None:
    """Pair distributions, displacement, spectrum and conservation."""
    note = (
        f"Left: the simulation's pairs should lie on those of the reference. The slope of the "
        f"displacement is a diffusion of {found['diffusion_cm2_s']:.1e} cm²/s."
    )
    with drawing(path, (13, 8), note) as figure:
        axes = figure.subplots(2, 3)
        edges = np.array(found["edges_A"])
        middle = 0.5 * (edges[1:] + edges[:-1])
        for axis, pair in zip(axes[0], PAIRS, strict=True):
            for name, color in COLORS.items():
                axis.plot(middle, found["pair_distribution"][name][pair], color=color, label=name)
            axis.set(xlabel="r / Å", ylabel=f"g(r), {pair}", ylim=(0, 4), title=pair)
            axis.legend(frameon=False)
        axes[1, 0].plot(np.array(found["times_fs"]) / 1000, found["squared_displacement_A2"])
        axes[1, 0].set(xlabel="time / ps", ylabel="squared displacement of O / Å²")
        axes[1, 1].plot(found["wavenumbers_1_cm"], found["spectrum"])
        axes[1, 1].set(xlabel="wavenumber / cm⁻¹", ylabel="velocity spectrum / cm")
        axes[1, 2].plot(found["picoseconds"], 1e6 * np.array(found["conserved_eV_atom"]))
        axes[1, 2].set(xlabel="time / ps", ylabel="conserved quantity - start / µeV/atom")


def run(data: Path | None, minutes: float, picoseconds: float, scratch: Path, out: Path) -> dict:
    """The whole experiment; writes results.json and water.png."""
    train_frames, test_frames = frames_of(data)
    potential, errors = fitted(train_frames, test_frames, minutes, scratch / "fit")
    steps = round(1000 * picoseconds / TIMESTEP / FRAME_EVERY) * FRAME_EVERY
    config = MDConfig(
        ensemble="nvt", thermostat="nose-hoover", steps=steps, timestep=TIMESTEP,
        temperature=KELVIN, log_every=FRAME_EVERY, write_every=FRAME_EVERY,
    )  # fmt: skip
    simulate(potential, start_of(train_frames), scratch / "md", config, resume=True)
    found = analyse(scratch / "md", [*train_frames, *test_frames])
    md = json.loads((scratch / "md" / "md.json").read_text())
    record = {"errors_of_test": errors, "data": "package" if data is None else "given"}
    record |= {
        "length_ps": picoseconds,
        "minutes": minutes,
        "us_per_atom_step": md["us_per_atom_step"],
    }
    save_json(out / "results.json", record | found | provenance())
    draw(out / "water.png", found)
    return record | found


def main() -> None:
    """Fit, simulate, analyse."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, metavar="DIR")
    parser.add_argument("--minutes", type=float, default=20.0, help="of training")
    parser.add_argument("--picoseconds", type=float, default=20.0)
    parser.add_argument("--scratch", type=Path, default=Path("md-scratch"), metavar="DIR")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="DIR")
    found = run(**vars(parser.parse_args()))
    print(f"test: {found['errors_of_test']}")
    print(f"drift {found['drift_eV_atom_ps']:.2e} eV/atom/ps, {found['temperature_K']} K")


if __name__ == "__main__":
    run_command(main)
