"""Kernels with x64 off, as users run them: descriptors in float32, the algebra in float64."""

from functools import cache

import jax
import numpy as np
import pytest
from ase.build import molecule

from tripletjax import describe, descriptor
from tripletjax.kernels import (
    EnvironmentKernel,
    Noise,
    choose_hyperparameters,
    fit_full_potential,
    fit_sparse_potential,
    gaussian_process,
    ridge,
)

pytestmark = pytest.mark.once("float32")

HYPERS = {"cutoff": 3.0, "cutoff_function": "smooth", "cutoff_width": 1.5, "n_max": 2, "l_max": 1}
SOAP = descriptor("power_spectrum", (1, 8), **HYPERS)
LENGTH, STIFFNESS = 0.96, 8.0  # Å, eV/Å²


@cache
def waters(n=24):
    """Water, shaken, with the energies and forces of springs along its bonds."""
    frames, energies, forces = [], [], []
    for seed in range(n):
        frame = molecule("H2O")
        frame.rattle(0.05, seed=seed)
        bonds = frame.positions[1:] - frame.positions[0]
        lengths = np.linalg.norm(bonds, axis=1)
        pull = (STIFFNESS * (lengths - LENGTH) / lengths)[:, None] * bonds
        frames.append(frame)
        energies.append(0.5 * STIFFNESS * np.sum((lengths - LENGTH) ** 2))
        forces.append(np.concatenate([pull.sum(0)[None], -pull]))
    return frames, np.array(energies), forces


def rows(dtype):
    """Descriptors of the oxygen atoms."""
    found = describe(waters()[0], "power_spectrum", centers=[0], dtype=dtype, **HYPERS).values
    assert found.dtype == (dtype or "float32")
    return found


@pytest.mark.parametrize("fit", [ridge, gaussian_process])
def test_regression_on_rows_in_float32(fit):
    """With a noise above their rounding, as with rows in float64."""
    energies = waters()[1]
    single, double = (fit(r[:16], energies[:16], noise=1e-4) for r in (rows(None), rows("float64")))
    found, expected = single.predict(rows(None)[16:]), double.predict(rows("float64")[16:])
    np.testing.assert_allclose(found, expected, atol=1e-3 * energies.std())
    assert np.abs(expected - energies[16:]).mean() < 0.3 * energies.std()


def test_hyperparameters_chosen_on_rows_in_float32():
    """Their evidence, with rows in float64, is as high as that of those chosen there."""
    energies = waters()[1]
    single, double = (choose_hyperparameters(r, energies) for r in (rows(None), rows("float64")))
    assert abs(single.length_scale / double.length_scale - 1) < 0.2
    assert abs(single.log_evidence - double.log_evidence) < 1


@pytest.mark.parametrize("fit", [fit_sparse_potential, fit_full_potential])
def test_potentials_are_evaluated_in_float32(fit):
    frames, energies, forces = waters()
    setup = {"noise": Noise(energy=3e-3, forces=3e-2), "references": [0.0, 0.0]}
    kernel = EnvironmentKernel(length_scale=2.0)
    is_sparse = fit is fit_sparse_potential
    setup |= {"kernels": kernel, "n_inducing": 20} if is_sparse else {"kernel": kernel}
    potential = fit(frames[:8], energies[:8], forces[:8], describer=SOAP, **setup)
    potential = getattr(potential, "potential", potential)
    found = potential.energy_forces_stress(potential.prepare(frames[:4]))
    assert found.energy.dtype == found.forces.dtype == np.float32
    np.testing.assert_allclose(found.energy, energies[:4], atol=0.02)
    np.testing.assert_allclose(found.forces[:12], np.concatenate(forces[:4]), atol=0.1)
    with jax.enable_x64(True):
        double = potential.energy_forces_stress(potential.prepare(frames[:4], "float64"))
    np.testing.assert_allclose(found.forces, double.forces, atol=2e-3)
