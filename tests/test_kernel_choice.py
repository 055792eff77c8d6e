"""Which kernels the command for kernel potentials chooses between."""

from functools import cache

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

import tripletjax
from tests.systems import methanol
from tripletjax.kernels import EnvironmentKernel
from tripletjax.training import Dataset, Labels
from tripletjax.training.kernel_config import KernelConfig
from tripletjax.training.kernels import (
    at_cutoff,
    fit_kernel_potential,
    kernel_descriptor,
    with_bispectrum,
    with_triplets,
)

pytestmark = pytest.mark.once("float64")
SMALL = {"n_max": 3, "l_max": 2, "cutoff": 4.0, "n_inducing": 20}


@cache
def copper(count: int) -> Dataset:
    frames = [bulk("Cu", cubic=True) for _ in range(count)]
    for seed, frame in enumerate(frames):
        frame.rattle(0.1, seed=seed)
    return labelled(frames)


def labelled(frames) -> Dataset:
    """With energies alone: the choice is the same as with forces, and fast."""
    for frame in frames:
        frame.calc = EMT()
    return Dataset(frames, [Labels(frame.get_potential_energy(), None, None) for frame in frames])


@pytest.mark.parametrize("count", [24, 6])
def test_a_sparse_fit_compares_kernels_on_other_structures(count, caplog):
    """If there are enough of them."""
    caplog.set_level("INFO", "tripletjax.kernels.many")
    config = KernelConfig(method="sparse", **SMALL)
    _, record = fit_kernel_potential(copper(count), config=config, show=False)
    lines = [line for line in caplog.messages if "on other structures" in line]
    assert len(lines) == (3 if count == 24 else 0)
    if lines:
        errors = [float(line.split("error ")[1].split()[0]) for line in lines]
        best = lines[int(np.argmin(errors))].split(", ", 1)[1].split(": error")[0]
        assert record["process"]["kernel"] == best
        assert sum("bispectrum" in line for line in lines) == 2


def test_a_bispectrum_has_the_weights_of_the_species_and_few_channels():
    config = KernelConfig(cutoff=6.0)
    describer, kernel = kernel_descriptor(config, (1, 6, 8)), EnvironmentKernel(length_scale=2.0)
    first, second = with_bispectrum(config, kernel, describer)
    bispectrum = first.kernels[1].describer
    assert bispectrum.hypers.n_max == 2 and bispectrum.cutoff == 5.0
    assert [part.kernel.length_scale for part in first.kernels] == [2.0, 2.0]
    assert [part.kernel.length_scale for part in second.kernels] == [4.0, 4.0]
    fixed = KernelConfig(cutoff=6.0, length_scale=2.0)
    assert len(with_bispectrum(fixed, kernel, describer)) == 1


def test_the_cutoff_changes_alone():
    config = KernelConfig()
    describer = kernel_descriptor(config, (6,), 5.0)
    assert at_cutoff(config, describer, 6.0).hypers == kernel_descriptor(config, (6,), 6.0).hypers


def test_triplets_are_added_and_kept_in_files(tmp_path):
    data = labelled([methanol(seed) for seed in range(6)])
    config = KernelConfig(triplets=16, tune=False, **SMALL)
    potential, record = fit_kernel_potential(data, tmp_path / "fit", config, show=False)
    assert "of power_spectrum + " in record["process"]["kernel"]
    assert record["process"]["kernel"].endswith("of fingerprint")
    kernels = with_triplets(config, EnvironmentKernel(), kernel_descriptor(config, (1, 6, 8)))
    assert [kernel.weights[1] for kernel in kernels] == [0.1, 1.0, 3.0]
    again = tripletjax.load(tmp_path / "fit")
    expected = potential.predict(data.frames[:2])
    np.testing.assert_allclose(again.predict(data.frames[:2]).energy, expected.energy)
