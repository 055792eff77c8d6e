"""A sparse Gaussian process on ethanol: errors against training size, and its error bars.

python -m experiments.kernels.run --data frames.xyz
"""

import argparse
import logging
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from tripletjax import Potential, descriptor
from tripletjax.data.sets import load_frames
from tripletjax.io import provenance, read_frames, save_json
from tripletjax.kernels import (
    EnvironmentKernel,
    calibration,
    fit_sparse_potential,
    recalibration_factor,
)
from tripletjax.plotting import drawing
from tripletjax.training import read_labels
from tripletjax.training.metrics import Comparison

logger = logging.getLogger("experiments.kernels")
HYPERS: dict[str, Any] = {
    "cutoff": 4.0,
    "cutoff_function": "smooth",
    "cutoff_width": 1.5,
    "n_max": 4,
    "l_max": 4,
    "n_features": 256,
    "length_scale": 3.0,
}
KERNELS = [
    EnvironmentKernel(length_scale=4.0),
    EnvironmentKernel(kind="polynomial", degree=2),
    EnvironmentKernel(kind="polynomial", degree=3),
    EnvironmentKernel(kind="polynomial", degree=4),
]


def split(frames, n_train: int, n_valid: int, n_test: int, seed: int = 0):
    """Training, validation and test frames, drawn once; smaller training sets are its beginning."""
    if len(frames) < n_train + n_valid + n_test:
        raise SystemExit(f"{len(frames)} frames are too few for {n_train}, {n_valid}, {n_test}")
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(frames))
    shuffled = [frames[i] for i in order]
    test, valid = shuffled[:n_test], shuffled[n_test : n_test + n_valid]
    return shuffled[n_test + n_valid :][:n_train], valid, test


def targets(frames) -> tuple[np.ndarray, list[Any]]:
    """Energies and forces of the frames."""
    labels = read_labels(frames)
    return np.array([label.energy for label in labels]), [label.forces for label in labels]


def predict(potential: Potential, frames) -> tuple[Comparison, dict[str, np.ndarray]]:
    """Predictions beside labels, and standard deviations in eV and eV/Å, shaped like them."""
    means, sigmas = [], []
    with jax.enable_x64(True):
        found = potential.energy_forces_stress
        deviations = potential.deviations
        for frame in frames:
            batch = potential.prepare(frame, "float64")
            mean, sigma = jax.device_get((found(batch), deviations(batch)))
            means.append((mean.energy[0], mean.forces[: len(frame)]))
            sigmas.append((sigma.energy[0], sigma.forces[: len(frame)]))
    energies, forces = targets(frames)
    compared = Comparison(
        n_atoms=np.array([len(frame) for frame in frames]),
        energy=energies,
        predicted_energy=np.array([energy for energy, _ in means]),
        forces=np.concatenate(forces),
        predicted_forces=np.concatenate([part for _, part in means]),
        stress=np.zeros((0, 3, 3)),
        predicted_stress=np.zeros((0, 3, 3)),
        volumes_per_atom=np.zeros(0),
    )
    return compared, {
        "energy": np.array([energy for energy, _ in sigmas]),
        "forces": np.concatenate([part for _, part in sigmas]),
    }


def errors_and_deviations(
    found: tuple[Comparison, dict[str, np.ndarray]],
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Errors of the labels, flat, and their predicted deviations."""
    compared, sigmas = found
    return {
        "energy": (compared.predicted_energy - compared.energy, sigmas["energy"]),
        "forces": (
            (compared.predicted_forces - compared.forces).ravel(),
            sigmas["forces"].ravel(),
        ),
    }


def draw(path: Path, panels: dict[str, dict[str, Any]], note: str) -> None:
    """Root mean square error against predicted deviation, one panel a kind of label."""
    with drawing(path, (9.5, 5.4), note) as figure:
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for axis, (unit, rows) in zip(axes, panels.items(), strict=True):
            for (name, row), marker in zip(rows.items(), ("o", "s"), strict=True):
                axis.plot(row["predicted"], row["actual"], marker, ms=5, label=name)
            values = np.concatenate(
                [row[k] for row in rows.values() for k in ("predicted", "actual")]
            )
            limits = np.array([values.min() / 1.3, values.max() * 1.3])
            axis.plot(limits, limits, color="0.5", lw=0.8, label="calibrated")
            axis.set(xscale="log", yscale="log", xlim=limits, ylim=limits, box_aspect=1)
            axis.set(xlabel=f"predicted standard deviation / {unit}")
            axis.set(ylabel=f"root mean square error / {unit}")
            axis.legend(loc="upper left", frameon=False)
        axes[0].set_title("energy of the molecule")
        axes[-1].set_title("force components")


def run(data: Path | None, sizes: list[int], n_inducing: int, n_valid: int, n_test: int, out: Path):
    """The whole experiment; writes results.json and calibration.png."""
    frames = load_frames("ethanol") if data is None else read_frames(data)
    elements = tuple(int(z) for z in np.unique(np.concatenate([f.numbers for f in frames])))
    train, valid, test = split(frames, max(sizes), n_valid, n_test)
    describer = descriptor("fingerprint", elements, **HYPERS)
    fit = partial(fit_sparse_potential, describer=describer, n_inducing=n_inducing)

    some = train[: sizes[len(sizes) // 2]]
    evidences = {}
    for kernel in KERNELS:
        record = fit(some, *targets(some), kernels=kernel).model.record
        evidences[kernel.label()] = record["log_evidence"]
        logger.info("%s: log evidence %.1f", kernel.label(), evidences[kernel.label()])
    chosen = max(KERNELS, key=lambda kernel: evidences[kernel.label()])

    curve, potential = [], None
    for size in sizes:
        started = time.perf_counter()
        potential = fit(train[:size], *targets(train[:size]), kernels=chosen)
        seconds = time.perf_counter() - started
        found = predict(potential, test)
        curve.append({"frames": size, "seconds": round(seconds, 1), **found[0].metrics()})
        curve[-1] |= {
            "inducing": len(potential.model.kinds),
            "noise": potential.model.record["noise"],
        }
        logger.info("%s", curve[-1])
    assert potential is not None

    checked = errors_and_deviations(predict(potential, valid))
    tested = errors_and_deviations(found)
    panels, record = {}, {}
    for kind, unit in (("energy", "eV"), ("forces", "eV/Å")):
        factor = recalibration_factor(*checked[kind])
        bins = 8 if kind == "energy" else 20
        errors, sigmas = tested[kind]
        raw = calibration(errors, sigmas, bins)
        scaled = calibration(errors, factor * sigmas, bins)
        panels[unit] = {
            "as predicted": {"predicted": raw.predicted, "actual": raw.actual},
            f"times {factor:.2f}, from validation": {
                "predicted": scaled.predicted,
                "actual": scaled.actual,
            },
        }
        record[kind] = {
            "factor_from_validation": factor,
            "as_predicted": _plain(raw),
            "recalibrated": _plain(scaled),
        }
    note = (
        "Each point: test errors of one bin of predicted deviations. On the line, error bars are "
        "right;\nabove it they are too small, below too large."
    )
    draw(out / "calibration.png", panels, note)
    save_json(
        out / "results.json",
        {
            "data": "ethanol of the package" if data is None else data.name,
            "frames": {"valid": n_valid, "test": n_test},
            "hypers": asdict(describer.hypers),
            "log_evidence_of_kernels": evidences,
            "kernel": chosen.label(),
            "learning_curve": curve,
            "calibration": record,
            **provenance(),
        },
    )


def _plain(found) -> dict[str, Any]:
    plain = found._asdict()
    return plain | {name: plain[name].tolist() for name in ("predicted", "actual")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, metavar="XYZ", help="default: GFN2-xTB ethanol")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 20, 40, 80])
    parser.add_argument("--inducing", type=int, default=60, help="of each species")
    parser.add_argument("--valid", type=int, default=30)
    parser.add_argument("--test", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    # Fits of one shape share their programs, which take most of the time.
    jax.config.update("jax_compilation_cache_dir", str(Path(".cache/jax").absolute()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    logging.basicConfig(format="%(message)s")
    logger.setLevel(logging.INFO)
    run(
        arguments.data,
        sorted(arguments.sizes),
        arguments.inducing,
        arguments.valid,
        arguments.test,
        arguments.out,
    )


if __name__ == "__main__":
    main()
