"""The demo: B8 clusters that the bispectrum cannot distinguish, but the fingerprint can.

Each pair of clusters has equal four-body correlations about its centre but different energies. A
model on the power spectrum or the bispectrum must give both members the same energy; one on the
fingerprint need not.
"""

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np

from tripletjax.data.b8 import load_b8
from tripletjax.descriptors.description import describe
from tripletjax.io import provenance, save_json
from tripletjax.kernels import gaussian_process, ridge
from tripletjax.plotting import pair_parity
from tripletjax.types import InputError

logger = logging.getLogger(__name__)

N_STRUCTURES = 8000
# The settings of the paper for correlations, and settings adapted to these distances for triplets.
PAPER = dict(
    cutoff=2.0, cutoff_width=0.1, radial="gto", gaussian_width=0.2, n_max=6, l_max=3
)  # fmt: skip
SHELLS = dict(
    cutoff=2.0, cutoff_width=0.1, radial="gaussian", radial_range=(1.5, 1.9), n_max=2, l_max=6
)  # fmt: skip
DESCRIPTORS: dict[str, dict[str, Any]] = {
    "power_spectrum": PAPER,
    "bispectrum": PAPER,
    "triplet_sum": SHELLS,
    "fingerprint": SHELLS | {"length_scale": 1.5, "n_features": 2048, "seed": 0},
}
# Features, regression and its noise. The noise is the value of 1e-8, 1e-6, 1e-4 and 1e-2 with the
# lowest error on the last tenth of the 7000 training structures, after a fit to the others.
MODELS = {
    "power spectrum, ridge": ("power_spectrum", ridge, 1e-8),
    "power spectrum, Gaussian process": ("power_spectrum", gaussian_process, 1e-6),
    "bispectrum, ridge": ("bispectrum", ridge, 1e-4),
    "bispectrum, Gaussian process": ("bispectrum", gaussian_process, 1e-6),
    "fingerprint, Gaussian process": ("fingerprint", gaussian_process, 1e-8),
}
FIGURE_MODELS = ("bispectrum, Gaussian process", "fingerprint, Gaussian process")


def pair_distances(values: np.ndarray) -> np.ndarray:
    """|F₊ - F₋| / |F₊| of each pair [P], for rows ordered +, -, +, - ..."""
    plus, minus = values[0::2].astype(float), values[1::2].astype(float)
    return np.linalg.norm(plus - minus, axis=1) / np.linalg.norm(plus, axis=1)


def pair_errors(predicted: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """The paper's two error measures, for energies ordered +, -, +, - ...

    "mean": RMSE of pair means divided by the standard deviation of the energies; "difference":
    RMSE of pair differences divided by the standard deviation of the differences.
    """
    error = (predicted - reference).reshape(-1, 2)
    difference = reference[0::2] - reference[1::2]
    return {
        "mean": float(np.sqrt((error.mean(1) ** 2).mean()) / reference.std()),
        "difference": float(np.sqrt(((error[:, 0] - error[:, 1]) ** 2).mean()) / difference.std()),
    }


def run_b8(n_train: int, n_test: int, out: str | Path) -> dict[str, Any]:
    """Separate the pairs and fit the models; write results.json and b8.png to ``out``.

    Args:
        n_train: number of training structures, the first ones; even.
        n_test: number of test structures, the last ones; even.
        out: folder for the results, created if needed; existing files are replaced atomically.

    Returns:
        The record saved in results.json: hyperparameters, distances, errors, seconds, versions.

    Raises:
        InputError: the sizes are odd or too small, or the two sets overlap.
    """
    _check_sizes(n_train, n_test)
    data = load_b8()
    keep = np.r_[0:n_train, N_STRUCTURES - n_test : N_STRUCTURES]
    frames, energies = data.frames(keep), data.energies[keep]
    values, separation, seconds = {}, {}, {}
    for kind, hypers in DESCRIPTORS.items():
        start = time.perf_counter()
        description = describe(
            frames, kind, centers=[0], dtype="float64", progress=True, **hypers
        )  # fmt: skip
        seconds[f"describe {kind}"] = time.perf_counter() - start
        values[kind] = description.values
        distances = pair_distances(description.values)
        separation[kind] = {
            "columns": description.values.shape[1],
            "largest": float(distances.max()),
            "median": float(np.median(distances)),
            "smallest": float(distances.min()),
        }

    train, test = slice(0, n_train), slice(n_train, None)
    errors, predictions = {}, {}
    for name, (kind, fit, noise) in MODELS.items():
        start = time.perf_counter()
        logger.info("fitting %s on %d structures", name, n_train)
        model = fit(values[kind][train], energies[train], noise=noise)
        predictions[name] = model.predict(values[kind][test])
        errors[name] = pair_errors(predictions[name], energies[test])
        seconds[f"fit {name}"] = time.perf_counter() - start

    record = {
        "data": "B8, GFN2-xTB free energies (eV), centre: atom 0",
        "train": n_train,
        "test": n_test,
        "hypers": DESCRIPTORS,
        "relative_distance_in_pairs": separation,
        "noise": {name: noise for name, (_, _, noise) in MODELS.items()},
        "errors": errors,
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        **provenance(),
    }
    out = Path(out)
    save_json(out / "results.json", record)
    pair_parity(
        out / "b8.png",
        energies[test],
        {_title(name, errors[name]): predictions[name] for name in FIGURE_MODELS},
        "The members of a pair, connected by a line, have equal bispectra. Left: flat lines, the\n"
        "same energy for both. Right: lines along the diagonal, a different energy for each.",
    )
    return record


def _title(name: str, error: dict[str, float]) -> str:
    return f"{name}\nmean {error['mean']:.3f}, difference {error['difference']:.3f}"


def report(record: dict[str, Any]) -> str:
    """The two tables of a record as text."""
    lines = ["Relative distance between the members of a pair", ""]
    lines.append(f"  {'descriptor':34}{'columns':>9}{'smallest':>11}{'median':>11}{'largest':>11}")
    for kind, row in record["relative_distance_in_pairs"].items():
        figures = "".join(f"{row[key]:11.1e}" for key in ("smallest", "median", "largest"))
        lines.append(f"  {kind:34}{row['columns']:9d}{figures}")
    lines += ["", f"Errors on {record['test']} test structures ({record['train']} in training)", ""]
    lines.append(f"  {'model':34}{'pair means':>11}{'differences':>13}")
    for name, row in record["errors"].items():
        lines.append(f"  {name:34}{row['mean']:11.3f}{row['difference']:13.3f}")
    lines += ["", "Errors are RMSE / standard deviation of the energies, or of the differences:"]
    lines.append("1.000 for differences means that pairs are not distinguished at all.")
    return "\n".join(lines)


def _check_sizes(n_train: int, n_test: int) -> None:
    for name, size in (("train", n_train), ("test", n_test)):
        if size < 4 or size % 2:
            raise InputError(f"invalid {name}={size}: expected an even number of at least 4")
    if n_train + n_test > N_STRUCTURES:
        raise InputError(
            f"train={n_train} and test={n_test} overlap: expected at most {N_STRUCTURES} in total"
        )
