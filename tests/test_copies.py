"""Structures that occur twice in a training set, and functions that are no kernels."""

import logging
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import molecule

from tests.systems import methanol
from tripletjax import InputError, descriptor
from tripletjax.kernels import Noise, fit_full_potential, fit_sparse_potential
from tripletjax.kernels.copies import without_copies
from tripletjax.kernels.environments import as_kernel
from tripletjax.kernels.positivity import require_positive

pytestmark = pytest.mark.once("float64")

FRAMES = [methanol(seed) for seed in range(3)]
RANDOM = np.random.default_rng(0)
ENERGIES = RANDOM.normal(size=3)
FORCES = [RANDOM.normal(size=(len(frame), 3)) for frame in FRAMES]
SOAP = descriptor("power_spectrum", (1, 6, 8), cutoff=3.0, n_max=2, l_max=1)
VECTORS = RANDOM.normal(size=(50, 4))


def fitted(fit: Any, chosen: list[int], **options) -> Any:
    frames, forces = [FRAMES[i] for i in chosen], [FORCES[i] for i in chosen]
    return fit(frames, ENERGIES[chosen], forces, describer=SOAP, **options)


@pytest.mark.parametrize("fit", [fit_full_potential, fit_sparse_potential])
def test_copies_with_equal_labels_count_once(fit, caplog):
    once = fitted(fit, [0, 1, 2], references=np.zeros(3)).model.record
    with caplog.at_level(logging.WARNING):
        twice = fitted(fit, [0, 1, 0, 2, 1, 0], references=np.zeros(3)).model.record
    assert twice["labels"] == once["labels"]
    assert twice["noise"] == once["noise"]
    assert "3 of 6 structures are copies of others with the same labels" in caplog.text
    assert "the first is structure 2, a copy of 0" in caplog.text


def test_copies_with_other_labels_show_the_noise(caplog):
    frames = [molecule("H2O"), molecule("H2O"), molecule("CO2")]
    with caplog.at_level(logging.WARNING):
        kept = without_copies(frames, [[np.array(energy)] for energy in (1.0, 1.1, 1.0)])
    assert kept == [0, 1, 2]
    assert "1 of 3 structures are copies of others with other labels" in caplog.text


def test_structures_that_differ_in_one_atom_are_no_copies():
    moved = molecule("H2O")
    moved.positions[2, 0] += 1e-4
    periodic = molecule("H2O", vacuum=3.0)
    periodic.pbc = True
    frames = [molecule("H2O"), moved, periodic]
    assert without_copies(frames, [[np.array(1.0), None]] * 3) == [0, 1, 2]


def test_labels_of_one_copy_alone_are_kept():
    water = [molecule("H2O")] * 2
    assert without_copies(water, [[np.array(1.0), None], [np.array(1.0), np.zeros(9)]]) == [0, 1]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda a, b: -jnp.exp(-(((a[:, None] - b) ** 2).sum(-1))), "eigenvalue -"),
        (lambda a, b: jnp.tanh(a @ b.T - 3), "expected a positive semidefinite kernel"),
        (lambda a, b: jnp.sqrt(((a[:, None] - b) ** 2).sum(-1)), "derivatives that are not finite"),
        (lambda a, b: jnp.exp(-((a[:, None] - 2 * b) ** 2).sum(-1)), "is not symmetric"),
        (lambda a, b: (a[:, None] - b) ** 2, r"of shape \(25, 25, 4\): expected \(25, 25\)"),
        (lambda a, b: a @ b, "failed: "),
        (lambda a, b: (a @ b.T) * jnp.nan, "gives nan: expected finite numbers"),
    ],
)
def test_functions_that_are_no_kernels_are_refused(function, message):
    with pytest.raises(InputError, match=message):
        require_positive(as_kernel(function), VECTORS)


@pytest.mark.parametrize(
    "function", [lambda a, b: (a @ b.T) ** 2, lambda a, b: jnp.ones((len(a), len(b)), a.dtype)]
)
def test_kernels_are_accepted(function):
    require_positive(as_kernel(function), VECTORS)


@pytest.mark.parametrize("fit", [fit_full_potential, fit_sparse_potential])
def test_fits_refuse_them(fit):
    name = "kernel" if fit is fit_full_potential else "kernels"
    with pytest.raises(InputError, match="expected a positive semidefinite kernel"):
        fitted(fit, [0], noise=Noise(energy=1.0, forces=1.0), **{name: lambda a, b: -(a @ b.T)})
