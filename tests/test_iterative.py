"""Conjugate gradients on labels: products without the matrix, the preconditioner, resuming."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from tests.systems import methanol
from tests.test_covariances import CUBIC, GAUSSIAN, POWER, structure
from tripletjax import InputError
from tripletjax.kernels import conditioning, fit_full_potential, iterative
from tripletjax.kernels import products as of_products
from tripletjax.kernels.conditioning import Iteration
from tripletjax.kernels.covariances import covariance_matrix
from tripletjax.kernels.iterative import covariance_of, solve
from tripletjax.kernels.preconditioner import nystrom_preconditioner, some_labels
from tripletjax.kernels.products import Products
from tripletjax.training import Labels
from tripletjax.training.kernel_config import KernelConfig
from tripletjax.training.kernels import fit_kernel_potential
from tripletjax.training.parts import Dataset

pytestmark = pytest.mark.once("float64")

SIZES = [(3, 5), (2, 3), (4, 0), (3, 5), (5, 8)]
STRUCTURES = [structure(*size, seed) for seed, size in enumerate(SIZES)]
RANDOM = np.random.default_rng(0)
WEIGHTS = RANDOM.normal(size=26)
DEVIATIONS = 0.1 * (1 + RANDOM.random(26))


@pytest.mark.parametrize("kernel", [GAUSSIAN, CUBIC])
def test_products_are_those_of_the_matrix(kernel, monkeypatch):
    """Also if the environments are in several blocks, of which the last ones are padded."""
    matrix = covariance_matrix(kernel, STRUCTURES)
    for sizes in ((256, 1024), (2, 3)):
        monkeypatch.setattr(of_products, "OWN", sizes[0])
        monkeypatch.setattr(of_products, "OTHERS", sizes[1])
        found = Products(kernel, STRUCTURES)
        expected = matrix @ WEIGHTS
        np.testing.assert_allclose(found(WEIGHTS), expected, atol=1e-12 * abs(expected).max())
        columns = found.columns(4, np.array([0, 2, 7]))
        np.testing.assert_allclose(columns, matrix[:, 17 + np.array([0, 2, 7])], atol=1e-11)


def test_a_preconditioner_of_all_labels_is_the_inverse():
    matrix = 2.0 * covariance_matrix(GAUSSIAN, STRUCTURES) + np.diag(DEVIATIONS**2)
    expected = np.linalg.solve(matrix, WEIGHTS)
    found = nystrom_preconditioner(Products(GAUSSIAN, STRUCTURES), 2.0, DEVIATIONS, 1000)
    np.testing.assert_allclose(found(WEIGHTS), expected, atol=1e-6 * abs(expected).max())


def test_some_labels_of_each_structure():
    counts = np.array([5, 1, 9, 9])
    chosen = some_labels(counts, 8)
    assert sum(map(len, chosen)) == 8
    assert [0 in rows for rows in chosen] == [True, False, True, False]
    for rows, count in zip(chosen, counts, strict=True):
        assert len(set(rows.tolist())) == len(rows) and (rows < count).all()


def problem(most):
    products = Products(GAUSSIAN, STRUCTURES)
    multiply = covariance_of(products, 2.0, DEVIATIONS)
    return multiply, nystrom_preconditioner(products, 2.0, DEVIATIONS, most), WEIGHTS, DEVIATIONS


def test_solutions_are_those_of_the_matrix_and_resumes_bit_by_bit():
    matrix = 2.0 * covariance_matrix(GAUSSIAN, STRUCTURES) + np.diag(DEVIATIONS**2)
    expected = np.linalg.solve(matrix, WEIGHTS)
    states = []
    found = solve(*problem(8), tolerance=1e-9, keep=states.append)
    np.testing.assert_allclose(found.weights, expected, rtol=1e-6, atol=1e-7 * abs(expected).max())
    assert found.reached == [] and 3 < found.iterations == len(states)
    resumed = solve(*problem(8), tolerance=1e-9, start=states[2])
    np.testing.assert_array_equal(resumed.weights, found.weights)
    with_fewer = solve(*problem(16), tolerance=1e-9)
    assert with_fewer.iterations < found.iterations


def test_what_did_not_converge_says_so():
    found = solve(*problem(4), tolerance=1e-9, most=2)
    assert found.iterations == 2 and found.residual > 1e-3
    assert "did not converge" in found.reached[0] and "expected 1e-09" in found.reached[0]
    with pytest.raises(InputError, match="not finite"):
        solve(lambda w: np.nan * w, lambda r: r, WEIGHTS, DEVIATIONS)


def frames_and_labels():
    frames = [methanol(seed) for seed in range(4)]
    return frames, RANDOM.normal(size=4), [RANDOM.normal(size=(6, 3)) for _ in frames]


def test_potentials_are_those_of_all_pairs_in_memory():
    given = frames_and_labels()
    dense, iterated = (
        fit_full_potential(*given, describer=POWER, solver=solver, iteration=iteration)
        for solver, iteration in (("dense", None), ("iterative", Iteration(tolerance=1e-9)))
    )
    assert dense.has_deviations and not iterated.has_deviations
    model: Any = iterated.model
    assert model.record["residual"] < 2e-9
    new = [*given[0], methanol(9)]
    for one, other in zip(dense.predict(new)[:2], iterated.predict(new)[:2], strict=True):
        for found, expected in zip(one, other, strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-6)
    with pytest.raises(InputError, match="expected solver='dense'"):
        fit_full_potential(*given, describer=POWER, solver="iterative", deviations=True)


CONFIG = KernelConfig(
    cutoff=3.0, n_max=2, l_max=1, tune=False, method="iterative", energy_noise=0.1, forces_noise=0.1
)


def test_an_interrupted_fit_is_resumed(tmp_path, monkeypatch):
    """It leaves a checkpoint alone, which other settings do not continue."""
    frames, energies, forces = frames_and_labels()
    labels = [Labels(*pair, None) for pair in zip(energies, forces, strict=True)]
    data = Dataset(frames, labels)
    run = partial(fit_kernel_potential, data, valid=data, show=False)
    folder, following, calls = tmp_path / "fit", iterative._next, []

    def interrupted(*problem):
        calls.append(None)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return following(*problem)

    monkeypatch.setattr(iterative, "_next", interrupted)
    monkeypatch.setattr(conditioning, "PRECONDITIONED", 8)
    with pytest.raises(KeyboardInterrupt):
        run(folder, CONFIG)
    assert [path.name for path in folder.iterdir()] == ["checkpoint.safetensors"]
    with pytest.raises(InputError, match="different settings or structures"):
        run(folder, replace(CONFIG, forces_noise=0.2), resume=True)
    found = run(folder, CONFIG, resume=True)[0]
    model: Any = found.model
    assert len(calls) - 1 == model.record["iterations"] > 4
    assert model.record["residual"] < 0.02 and model.record["search"] == []
    assert not (folder / "checkpoint.safetensors").exists() and (folder / "model").is_dir()
    with pytest.raises(InputError, match="a finished fit: nothing to resume"):
        run(folder, CONFIG, resume=True)
