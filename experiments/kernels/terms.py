"""What pairs, bispectra and triplets add to the kernel of power spectra.

python -m experiments.kernels.terms --train train.xyz --test test.xyz --structures 50
python -m experiments.kernels.terms --b8 100
"""

import argparse
import logging
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.commands import add_result_options, run_command, show_progress
from experiments.files import labelled
from experiments.rows import complete_rows
from tripletjax.data.b8 import load_b8
from tripletjax.demo import pair_errors
from tripletjax.descriptors.base import descriptor
from tripletjax.kernels import EnvironmentKernel, fit_full_potential
from tripletjax.kernels.tuning import tuned
from tripletjax.training import Dataset
from tripletjax.training.kernel_config import LENGTH_SCALE, KernelConfig
from tripletjax.training.kernels import density_options, kernel_descriptor
from tripletjax.training.labels import Labels, countable
from tripletjax.training.metrics import evaluate

log = logging.getLogger("experiments.kernels.terms")
RESULTS = Path(__file__).parent / "results"
WEIGHTS = (0.01, 0.1, 1.0)  # of what is added, between which the evidence decides
LINEAR = EnvironmentKernel(kind="linear")


def terms(train: Dataset, cutoff: float) -> dict[str, list[Any]]:
    """Kernels by name; of several, those that differ in a weight, the evidence chooses one.

    Weights of the species and the length scale are those of the highest evidence for the spectrum.
    """
    config = KernelConfig(cutoff=cutoff)
    species = tuple(np.unique(np.concatenate([f.numbers for f in train.frames])).tolist())
    energies, forces, _ = zip(*countable(*train), strict=True)
    start = EnvironmentKernel(length_scale=LENGTH_SCALE)
    describer, gaussian = tuned(
        kernel_descriptor(config, species), start, train.frames, energies, forces
    )
    common = density_options(config, cutoff)
    common |= {"mixing": describer.parameters.mixing}
    spectrum = gaussian.of(describer)
    pairs = LINEAR.of(descriptor("radial_spectrum", species, n_max=config.n_max, l_max=0, **common))
    bispectrum = gaussian.of(descriptor("bispectrum", species, n_max=3, l_max=3, **common))
    triplets = gaussian.of(descriptor("fingerprint", species, n_max=6, l_max=4, **common))
    added = {"pairs": pairs, "triplets": triplets, "bispectrum": bispectrum}
    sums = {
        f"spectrum + {name}": [spectrum + weight * one for weight in WEIGHTS]
        for name, one in added.items()
    }
    return {"spectrum": [spectrum], "triplets": [triplets], **sums}


def of_b8(pairs: range) -> Dataset:
    """Both members of some pairs of the clusters whose centres have equal bispectra."""
    data = load_b8()
    rows = np.array([2 * pair + member for pair in pairs for member in (0, 1)])
    labels = zip(data.energies[rows].tolist(), data.forces[rows], strict=True)
    return Dataset(data.frames(rows), [Labels(*label, None) for label in labels])


def row(
    term: str, kernels: list[Any], train: Dataset, test: Dataset, paired: bool
) -> dict[str, Any]:
    """Errors of one kernel."""
    energies, forces, _ = zip(*countable(*train), strict=True)
    began = time.monotonic()
    potential = fit_full_potential(train.frames, energies, forces, kernel=kernels)
    seconds = time.monotonic() - began
    record: Any = potential.model.record
    result = evaluate(potential, *test) | {
        "log_evidence": record["log_evidence"],
        "kernel": record["kernel"],
        "seconds": seconds,
    }
    if paired:
        reference = np.array([label.energy for label in test.labels])
        result |= pair_errors(np.array(potential.predict(test.frames).energy), reference)
    log.info("%s: %s", term, result)
    return result


def run(name: str, train: Dataset, test: Dataset, cutoff: float, out: Path, force: bool) -> None:
    """All kernels on one set; those that are in the results are skipped."""
    wanted = {
        term: partial(row, term, kernels, train, test, name == "b8")
        for term, kernels in terms(train, cutoff).items()
    }
    settings = {"structures": len(train.frames), "cutoff": cutoff}
    complete_rows(out / f"terms-{name}.json", wanted, settings, force)


def main() -> None:
    """Errors with each kernel."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", type=Path, metavar="XYZ")
    parser.add_argument("--test", type=Path, metavar="XYZ")
    parser.add_argument("--structures", type=int, default=50, metavar="N", help="of the first file")
    parser.add_argument("--cutoff", type=float, default=5.0, metavar="Å")
    parser.add_argument(
        "--b8", type=int, metavar="N", help="train on N pairs of the B8 clusters, test on 50 others"
    )
    add_result_options(parser, RESULTS)
    arguments = parser.parse_args()
    if (arguments.train is None or arguments.test is None) == (arguments.b8 is None):
        parser.error("expected --train and --test, or --b8")
    show_progress()
    if arguments.b8 is None:
        name, train = arguments.train.stem, labelled(arguments.train, arguments.structures)
        test = labelled(arguments.test)
    else:
        name, train = "b8", of_b8(range(arguments.b8))
        test = of_b8(range(arguments.b8, arguments.b8 + 50))
    run(name, train, test, arguments.cutoff, arguments.out, arguments.force)


if __name__ == "__main__":
    run_command(main)
