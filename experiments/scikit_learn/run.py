"""Energies from structures with scikit-learn: descriptors of this package and SOAP of DScribe.

.venv-compare/bin/python -m experiments.scikit_learn.run
"""

import argparse
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ase import Atoms

from experiments.commands import run_command
from tripletjax.data.b8 import load_b8
from tripletjax.data.sets import load_frames
from tripletjax.descriptors.structure_kernel import StructureKernelTransformer
from tripletjax.descriptors.structure_regression import StructureKernelRegressor
from tripletjax.descriptors.transformer import DescriptorTransformer
from tripletjax.io import provenance, save_json

N_TRAIN, N_TEST, SPLITS = 200, 50, 8
DECAYING = {"cutoff_width": 5.0, "radial_scaling": (1.0, 2.0, 4.0), "n_max": 6, "l_max": 4}
ALPHAS = np.logspace(-8, 0, 17)


class SummedSOAP:
    """DScribe's SOAP, summed over the atoms."""

    def __init__(self, **hypers):
        self.hypers = hypers

    def fit_transform(self, frames: list[Atoms]) -> np.ndarray:
        from dscribe.descriptors import SOAP  # pyright: ignore[reportMissingImports]

        species = np.unique(np.concatenate([frame.numbers for frame in frames])).tolist()
        periodic = bool(frames[0].pbc.any())
        self.soap = SOAP(species=species, r_cut=5.0, periodic=periodic, **self.hypers)
        return self.transform(frames)

    def transform(self, frames: list[Atoms]) -> np.ndarray:
        return np.array([rows.sum(0) for rows in self.soap.create(frames)])


def summed(**hypers):
    return DescriptorTransformer("power_spectrum", pooling="sum", dtype="float64", **hypers)


ROWS = {
    "SOAP of DScribe, n_max=8, l_max=6": lambda: SummedSOAP(n_max=8, l_max=6),
    "SOAP of DScribe, n_max=4, l_max=8, sigma=0.3": lambda: SummedSOAP(n_max=4, l_max=8, sigma=0.3),
    "SOAP of DScribe, n_max=6, l_max=4, sigma=0.3": lambda: SummedSOAP(n_max=6, l_max=4, sigma=0.3),
    "power spectrum": summed,
    "power spectrum, wide cutoff and radial scaling": lambda: summed(**DECAYING),
    "power spectrum, the same with the centre": lambda: summed(center_weight=1.0, **DECAYING),
    "structure kernel": StructureKernelTransformer,
}
REGRESSORS = {"regressor, energies": False, "regressor, energies and forces": True}  # forces or not


class Labelled(NamedTuple):
    """Structures with energies in eV and forces in eV/Å."""

    frames: list[Atoms]
    energies: np.ndarray
    forces: list[np.ndarray]

    def split(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Structures to fit and to test, at random."""
        order = np.random.default_rng(seed).permutation(len(self.frames))
        return order[:N_TRAIN], order[N_TRAIN : N_TRAIN + N_TEST]


def labelled(name: str) -> Labelled:
    """A set of the package."""
    if name == "b8":
        data = load_b8()
        some = np.random.default_rng(0).choice(len(data.energies), 1000, replace=False)
        return Labelled(data.frames(some), data.energies[some], list(data.forces[some]))
    frames = load_frames(name)
    energies = np.array([frame.get_potential_energy() for frame in frames])
    return Labelled(frames, energies, [frame.get_forces() for frame in frames])


def error(label: str, data: Labelled, seed: int) -> tuple[float, float]:
    """Mean absolute error of the energy of a structure in eV, and seconds to fit and predict."""
    fit, test = data.split(seed)
    start = time.perf_counter()
    if label in REGRESSORS:
        forces = [data.forces[i] for i in fit] if REGRESSORS[label] else None
        model = StructureKernelRegressor()
        model.fit([data.frames[i] for i in fit], data.energies[fit], forces=forces)
        predicted = model.predict([data.frames[i] for i in test])
    else:
        predicted = ridge(ROWS[label](), data, fit, test)
    seconds = time.perf_counter() - start
    return float(np.abs(predicted - data.energies[test]).mean()), seconds


def ridge(transformer: Any, data: Labelled, fit: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Energies of the structures to test by RidgeCV on rows, with energies of atoms subtracted."""
    from sklearn.linear_model import RidgeCV  # pyright: ignore[reportMissingImports]

    elements = np.unique(np.concatenate([frame.numbers for frame in data.frames]))
    counts = np.array([[np.sum(f.numbers == e) for e in elements] for f in data.frames])
    references = np.linalg.lstsq(counts[fit], data.energies[fit], rcond=None)[0]
    rows = transformer.fit_transform([data.frames[i] for i in fit])
    scale = np.sqrt(np.mean(np.sum(rows**2, 1)))
    model = RidgeCV(ALPHAS, fit_intercept=False)
    model.fit(rows / scale, data.energies[fit] - counts[fit] @ references)
    others = transformer.transform([data.frames[i] for i in test])
    return model.predict(others / scale) + counts[test] @ references


def results() -> dict:
    """Errors in meV of all models on all sets, and seconds with and without compilation."""
    found: dict = {}
    for name in ("molecules", "ethanol", "b8"):
        data = labelled(name)
        for label in [*ROWS, *REGRESSORS]:
            jax.clear_caches()
            runs = [error(label, data, seed) for seed in range(SPLITS)]
            errors, seconds = 1e3 * np.array([e for e, _ in runs]), [s for _, s in runs]
            found.setdefault(name, {})[label] = {
                "energy_mae_mev": round(float(errors.mean()), 1),
                "standard_deviation": round(float(errors.std(ddof=1)), 1),
                "of_each_split": errors.round(1).tolist(),
                "seconds_with_compilation": round(seconds[0], 2),
                "seconds": round(min(seconds), 2),
            }
            print(name, label, found[name][label], flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(__file__).parent / "results/results.json"
    parser.add_argument("--out", type=Path, default=default, metavar="FILE")
    out = parser.parse_args().out
    packages = {name: version(name) for name in ("scikit-learn", "dscribe")}
    record = {"energies": results()} | provenance()
    record["versions"] |= packages
    save_json(out, record)


if __name__ == "__main__":
    run_command(main)
