"""Energies from structures with scikit-learn: descriptors of this package and SOAP of DScribe.

.venv-compare/bin/python -m experiments.scikit_learn.run
"""

import argparse
import time
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np
from ase import Atoms

from experiments.commands import run_command
from tripletjax.data.sets import load_frames
from tripletjax.descriptors.structure_kernel import HYPERS, StructureKernelTransformer
from tripletjax.descriptors.transformer import DescriptorTransformer
from tripletjax.io import provenance, save_json

N_TRAIN, N_TEST, SPLITS = 200, 50, 5
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


MODELS = {
    "SOAP of DScribe, n_max=8, l_max=6": lambda: SummedSOAP(n_max=8, l_max=6),
    "SOAP of DScribe, n_max=4, l_max=8, sigma=0.3": lambda: SummedSOAP(n_max=4, l_max=8, sigma=0.3),
    "power spectrum": summed,
    "power spectrum, wide cutoff and radial scaling": lambda: summed(**HYPERS),
    "structure kernel": StructureKernelTransformer,
}


def error(make, frames: list[Atoms], energies: np.ndarray, seed: int) -> tuple[float, float]:
    """Mean absolute error of the energy of a structure in eV, and seconds to fit and predict."""
    from sklearn.linear_model import RidgeCV  # pyright: ignore[reportMissingImports]

    order = np.random.default_rng(seed).permutation(len(frames))
    parts = order[:N_TRAIN], order[N_TRAIN : N_TRAIN + N_TEST]
    elements = np.unique(np.concatenate([frame.numbers for frame in frames]))
    counts = np.array([[np.sum(f.numbers == e) for e in elements] for f in frames])
    train, test = ([frames[i] for i in part] for part in parts)
    start = time.perf_counter()
    references = np.linalg.lstsq(counts[parts[0]], energies[parts[0]], rcond=None)[0]
    target, transformer = energies - counts @ references, make()
    rows = transformer.fit_transform(train)
    scale = np.sqrt(np.mean(np.sum(rows**2, 1)))
    model = RidgeCV(ALPHAS, fit_intercept=False).fit(rows / scale, target[parts[0]])
    predicted = model.predict(transformer.transform(test) / scale)
    seconds = time.perf_counter() - start
    return float(np.abs(predicted - target[parts[1]]).mean()), seconds


def results() -> dict:
    """Errors in meV of all models on both sets, and seconds with and without compilation."""
    found: dict = {}
    for name in ("molecules", "ethanol"):
        frames = load_frames(name)
        energies = np.array([frame.get_potential_energy() for frame in frames])
        for label, make in MODELS.items():
            jax.clear_caches()
            runs = [error(make, frames, energies, seed) for seed in range(SPLITS)]
            errors, seconds = 1e3 * np.array([e for e, _ in runs]), [s for _, s in runs]
            found.setdefault(name, {})[label] = {
                "energy_mae_mev": round(float(errors.mean()), 1),
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
