"""From labelled structures to a kernel potential, and the folder of its fit."""

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from tripletjax.descriptors.base import Descriptor, descriptor
from tripletjax.io import atomic_folder, provenance, save_json, to_json
from tripletjax.kernels.conditioning import Iteration
from tripletjax.kernels.environments import EnvironmentKernel
from tripletjax.kernels.full import fit_full_potential
from tripletjax.kernels.many import best_for_many
from tripletjax.kernels.observations import Noise
from tripletjax.kernels.sparse import fit_sparse_potential
from tripletjax.kernels.tuning import tuned
from tripletjax.potentials.base import Potential
from tripletjax.potentials.precision import computing_in, precision_of
from tripletjax.training.calibration import errors_and_deviations, quality_of
from tripletjax.training.consistency import warn_of_units
from tripletjax.training.data import split_buckets
from tripletjax.training.figures import calibration_figure, parity_figure
from tripletjax.training.folder import CALIBRATION, CHECKPOINT, METRICS, OWN, PARITY, claimed
from tripletjax.training.kept_settings import write_settings
from tripletjax.training.kernel_config import (
    LENGTH_SCALE,
    KernelConfig,
    kernel_settings_text,
)
from tripletjax.training.labels import countable
from tripletjax.training.metrics import compare
from tripletjax.training.parts import Dataset, checked_parts
from tripletjax.training.references import reference_energies
from tripletjax.training.shortcomings import warn_of_shortcomings
from tripletjax.types import InputError

TRUNCATION = 2e-4  # of the principal axes of environments in sparse fits
SOLVERS = {None: None, "full": "dense", "iterative": "iterative"}  # by method
BISPECTRUM_CUTOFF = 5.0  # Å, at most
BISPECTRUM_CHANNELS = 4  # radial functions of all species, at least two of each
TRIPLETS_N_MAX, TRIPLETS_L_MAX = 6, 4  # at most
TRIPLETS_WEIGHTS = (0.1, 1.0, 3.0)
FEWEST = 20  # structures, with which kernels of sparse fits are compared on half of them
MANY = 30_000  # labels of periodic structures, beyond which a fit is sparse
log = logging.getLogger(__name__)


def fit_kernel_potential(
    data: Dataset,
    folder: str | Path | None = None,
    config: KernelConfig | None = None,
    *,
    valid: Dataset | None = None,
    test: Dataset | None = None,
    resume: bool = False,
    force: bool = False,
    show: bool = True,
) -> tuple[Potential, dict[str, Any]]:
    """Fit a Gaussian process and write it to a folder with its errors.

    The folder gets ``model/``, ``metrics.json``, ``parity.png``, ``calibration.png`` if there are
    deviations, and ``settings.yaml``, all at the end. An interrupted fit leaves nothing behind,
    except for the checkpoint of conjugate gradients, which ``resume`` continues.

    Args:
        data: training structures; without ``valid`` a tenth of them is set aside, which the fit
            does not need, but its errors and deviations are compared on.
        folder: to write; must be unused, unless ``force`` is given. None: nothing is written.
        config: settings; None: the defaults.
        valid, test: further structures.
        resume: resume from the checkpoint in the folder, if there is one.
        force: replace an earlier fit in the folder; all other files stay.
        show: a progress bar.

    Returns:
        The potential, with deviations, and the record that ``metrics.json`` holds.

    Raises:
        InputError: too few structures, species in ``valid`` or ``test`` that ``data`` lacks, a
            folder in use, or a checkpoint of other settings or structures.

    Example:
        >>> from tripletjax.data.sets import load_frames
        >>> from tripletjax.training import read_labels
        >>> frames = load_frames("ethanol")[:4]
        >>> config = KernelConfig(cutoff=3.0, n_max=2, l_max=1, n_inducing=5, method="sparse")
        >>> data = Dataset(frames, read_labels(frames))
        >>> potential, record = fit_kernel_potential(data, config=config, show=False)
        >>> potential.has_deviations, sorted(record["train"])[0]
        (True, 'energy_mae_mev_per_atom')
    """
    config = config or KernelConfig()
    with claimed(folder, force or resume) as place:
        iteration = _iteration(place, config, resume)
        potential, record, compared, checked = _fitted(data, config, valid, test, iteration, show)
        if place is not None:
            with atomic_folder(place, force=True, own=OWN) as new:
                potential.save(new / "model")
                save_json(new / METRICS, record)
                parity_figure(new / PARITY, compared)
                if checked:
                    calibration_figure(new / CALIBRATION, checked)
                write_settings(new, kernel_settings_text(config))
            log.info("the fit is in %s", place)
    return potential, record


def _iteration(folder: Path | None, config: KernelConfig, resume: bool) -> Iteration:
    """Options of conjugate gradients; a checkpoint of an earlier fit is removed.

    Raises:
        InputError: there is nothing to resume in the folder.
    """
    if folder is None:
        return Iteration()
    path = folder / CHECKPOINT
    if not resume:
        path.unlink(missing_ok=True)
    elif not path.is_file() and (folder / METRICS).is_file():
        raise InputError(
            f"{folder} holds a finished fit: nothing to resume; start again with force"
        )
    return Iteration(checkpoint=path, settings=to_json(asdict(config)))


def _fitted(
    data: Dataset,
    config: KernelConfig,
    valid: Dataset | None,
    test: Dataset | None,
    iteration: Iteration,
    show: bool,
) -> tuple[Potential, dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The potential, the record of the fit, and its predictions and deviations by part."""
    parts = checked_parts(data, valid, test, config.seed)
    warn_of_units(*parts["train"])
    warn_of_shortcomings(*parts["train"])
    began = time.monotonic()
    potential = _conditioned(parts["train"], config, iteration, show)
    seconds = time.monotonic() - began
    log.info("fitted for %.0f s; evaluating the fit", seconds)
    dtype = precision_of(potential)
    with computing_in(dtype):
        counted = {name: (part.frames, countable(*part)) for name, part in parts.items()}
        buckets = split_buckets(counted, potential, dtype)
        compared = {name: compare(potential, rows) for name, rows in buckets.items()}
        checked = {
            name: errors_and_deviations(potential, rows)
            for name, rows in buckets.items()
            if potential.has_deviations and name != "train"
        }
    compared["train"].warn_of_units("the training data")
    record: dict[str, Any] = {name: found.metrics() for name, found in compared.items()}
    model: Any = potential.model
    record |= {
        "uncertainty": quality_of(checked),
        "process": dict(model.record) | {"points": len(model.kinds), "cutoff": model.cutoff},
        "seconds": seconds,
        "wall_seconds": time.monotonic() - began,
        "structures": {name: len(found.energy) for name, found in compared.items()},
        "settings": asdict(config),
    }
    return potential, record | provenance(), compared, checked


def _conditioned(
    data: Dataset, config: KernelConfig, iteration: Iteration, show: bool
) -> Potential:
    """The process of highest evidence, given the labels."""
    labels = countable(data.frames, data.labels)
    energies, forces, stress = zip(*labels, strict=True)
    species = np.unique(np.concatenate([frame.numbers for frame in data.frames]))
    given = config.reference_energies
    options: dict[str, Any] = {
        "noise": Noise(
            energy=config.energy_noise, forces=config.forces_noise, stress=config.stress_noise
        ),
        "references": reference_energies(data.frames, np.array(energies), species, given),
    }
    known = list(data.frames), energies, forces
    is_sparse = config.method == "sparse" or (config.method is None and _is_large(known[0], forces))
    describer, kernel = kernel_descriptor(config, tuple(species.tolist())), _kernel(config)
    sparse: dict[str, Any] = {"n_inducing": config.n_inducing, "truncation": TRUNCATION}
    if config.tune and config.kernel == "gaussian" and len(data.frames) > 1:
        is_scale_fixed = config.length_scale is not None
        describer, kernel = tuned(
            describer, kernel, *known, **options, is_scale_fixed=is_scale_fixed
        )
        if is_sparse and config.descriptor == "power_spectrum" and len(data.frames) >= FEWEST:
            several = [at_cutoff(config, describer, cutoff) for cutoff in config.cutoffs]
            more = partial(with_bispectrum, config, kernel)
            kernel = best_for_many(several, kernel, *known, more=more, **options, **sparse)
    kernels = with_triplets(config, kernel, describer) if config.triplets else kernel
    options |= {"describer": describer, "show": show}
    if not is_sparse:
        options |= {"kernel": kernels, "iteration": iteration}
        return fit_full_potential(*known, stress, solver=SOLVERS[config.method], **options)
    return fit_sparse_potential(*known, stress, kernels=kernels, **sparse, **options)


def _is_large(frames: Sequence[Atoms], forces: Sequence[Any]) -> bool:
    """Whether a sparse process in some of the environments is as good as a full one.

    Environments in crystals and liquids resemble each other, so that some of them describe all.
    Those of molecules are few for the directions in which they differ.
    """
    n_labels = len(frames) + sum(3 * len(one) for one in forces if one is not None)
    return n_labels > MANY and all(frame.pbc.any() for frame in frames)


def kernel_descriptor(
    config: KernelConfig, species: tuple[int, ...], cutoff: float | None = None
) -> Descriptor:
    """The descriptor of a fit's settings, before its search for weights.

    Args:
        config: the settings.
        species: atomic numbers, ascending.
        cutoff: Å; None: that of the settings, or the one at which the search begins.
    """
    options = density_options(config, config.cutoffs[0] if cutoff is None else cutoff)
    return descriptor(config.descriptor, species, n_max=config.n_max, l_max=config.l_max, **options)


def at_cutoff(config: KernelConfig, describer: Descriptor, cutoff: float) -> Descriptor:
    """A descriptor of a fit with another cutoff and the same weights of the species."""
    found = kernel_descriptor(config, describer.elements, cutoff)
    return replace(found, parameters=describer.parameters)


def with_bispectrum(
    config: KernelConfig, kernel: EnvironmentKernel, describer: Descriptor
) -> list[Any]:
    """Sums of the kernel of a power spectrum and that of a bispectrum of low resolution.

    What the four-body terms need is smooth; with them the power spectrum may be smoother too.
    """
    cutoff = min(BISPECTRUM_CUTOFF, describer.cutoff)
    n_max = max(2, BISPECTRUM_CHANNELS // len(describer.elements))
    options = density_options(config, cutoff)
    options |= {"mixing": describer.parameters.mixing}
    bispectrum = descriptor("bispectrum", describer.elements, n_max=n_max, l_max=3, **options)
    scales = [1.0] if config.length_scale is not None else [1.0, 2.0]
    kernels = [replace(kernel, length_scale=scale * kernel.length_scale) for scale in scales]
    return [kernel.of(describer) + kernel.of(bispectrum) for kernel in kernels]


def with_triplets(config: KernelConfig, kernel: Any, describer: Descriptor) -> list[Any]:
    """Sums of the kernel of a fit and that of triplets, of which the evidence chooses one."""
    options = density_options(config, describer.cutoff)
    options |= {"mixing": describer.parameters.mixing, "n_features": config.triplets}
    size = {"n_max": min(TRIPLETS_N_MAX, config.n_max), "l_max": min(TRIPLETS_L_MAX, config.l_max)}
    fingerprint = descriptor("fingerprint", describer.elements, **size, **options)
    scale = getattr(kernel, "length_scale", LENGTH_SCALE)
    triplets = EnvironmentKernel(length_scale=scale).of(fingerprint)
    return [kernel + weight * triplets for weight in TRIPLETS_WEIGHTS]


def density_options(config: KernelConfig, cutoff: float) -> dict[str, Any]:
    """Options of the density of a descriptor, apart from its resolution."""
    is_scaled = config.scaling_exponent > 0
    return {
        "cutoff": cutoff,
        "cutoff_function": config.cutoff_function,
        "cutoff_width": config.fall(cutoff),
        "radial": config.radial,
        "radial_scaling": (1.0, config.scaling_distance, config.scaling_exponent)
        if is_scaled
        else None,
    }


def _kernel(config: KernelConfig) -> EnvironmentKernel:
    if config.kernel == "polynomial":
        return EnvironmentKernel(kind="polynomial", degree=config.degree)
    return EnvironmentKernel(length_scale=config.length_scale or LENGTH_SCALE)
