"""The evidence of Gaussian processes: its value, its slopes, and that the highest is found."""

import logging
from dataclasses import replace
from functools import cache, partial
from itertools import product

import jax
import numpy as np
import pytest
from ase.build import molecule
from scipy.linalg import block_diag, null_space
from scipy.stats import multivariate_normal

from tripletjax import InputError, descriptor
from tripletjax.data.sets import load_frames
from tripletjax.kernels import (
    EnvironmentKernel,
    Noise,
    choose_hyperparameters,
    fit_full_potential,
    fit_sparse_potential,
    gaussian_process,
    log_marginal_likelihood,
)
from tripletjax.kernels.covariances import covariance_block
from tripletjax.kernels.evidence import maximum, of_matrix, of_triangles
from tripletjax.kernels.factors import stable_root
from tripletjax.kernels.least_squares import Accumulator, evidence_gradient, posterior
from tripletjax.kernels.observations import check_observations, single_batches
from tripletjax.kernels.span import Inducing
from tripletjax.kernels.sparse import (
    chosen_rows,
    compiled,
    described_all,
    fit_factors,
    kernel_root,
    stream,
)
from tripletjax.kernels.tangents import structure_tangents
from tripletjax.md import MDConfig, simulate

pytestmark = pytest.mark.once("float64")

ETHANOL = descriptor(
    "power_spectrum",
    (1, 6, 8),
    cutoff=4.0,
    cutoff_function="smooth",
    cutoff_width=2.0,
    n_max=3,
    l_max=2,
)
KERNEL = EnvironmentKernel(length_scale=4.0)
SMALL = descriptor("power_spectrum", (1, 6, 8), cutoff=3.0, n_max=2, l_max=1)


@cache
def ethanol(n=6):
    """Structures, energies and forces: noise-free labels of a smooth function."""
    frames = list(load_frames("ethanol"))[:n]
    energies = np.array([frame.get_potential_energy() for frame in frames])
    return frames, energies, [frame.get_forces() for frame in frames]


@cache
def full():
    """Of environments as they are, without projection, which changes the kernel a little."""
    return fit_full_potential(*ethanol(), describer=ETHANOL, kernel=KERNEL, truncation=0.0)


def grid(size, energy, forces):
    """Variances and noises over orders of magnitude about those of the labels."""
    return product(
        size * 10.0 ** np.arange(-2, 4),
        energy * 10.0 ** np.arange(-4, 1),
        forces * 10.0 ** np.arange(-4, 1),
    )


def without_motions(frame):
    """Directions [27, 21] orthogonal to translations and rotations."""
    turned = []
    for axis in np.eye(3):
        turned += [np.tile(axis, (9, 1)), np.cross(axis, frame.positions)]
    return null_space(np.reshape(turned, (6, 27)))


def test_full_process_has_the_highest_evidence():
    """That of no point of a grid is higher, by the density of the labels as textbooks have it."""
    frames, energies, forces = ethanol()
    potential = full()
    record = potential.model.record
    with jax.enable_x64(True):
        block = jax.jit(partial(covariance_block, KERNEL))
        scale = float(potential.weights["scale"])
        tangents_of = jax.jit(partial(structure_tangents, ETHANOL, scale))
        structures = [tangents_of(b) for b in single_batches(frames, ETHANOL, np.dtype(float))]
        chosen = [block_diag(1, without_motions(frame)) for frame in frames]
        blocks = [
            [rows.T @ np.asarray(block(a, b))[:28, :28] @ columns for b, columns in pairs]
            for pairs in [list(zip(structures, chosen, strict=True))]
            for a, rows in pairs
        ]
    matrix = np.block(blocks)
    centred = energies - energies.mean()  # of one composition
    targets = np.concatenate(
        [np.append(e, f.ravel()) @ axes for e, f, axes in zip(centred, forces, chosen, strict=True)]
    )
    is_energy = np.tile(np.arange(22) == 0, len(frames))

    def density(variance, energy, forces):
        noise = np.where(is_energy, energy * np.sqrt(9), forces)
        root = np.linalg.cholesky(variance * matrix + np.diag(noise**2))
        scaled = np.linalg.solve(root, targets)
        value = -0.5 * scaled @ scaled - np.log(np.diag(root)).sum()
        return value - 0.5 * len(targets) * np.log(2 * np.pi)

    found = density(record["variance"], **record["noise"])
    assert abs(record["log_evidence"] - found) < 1e-3 * abs(found)
    sizes = [centred.std() / 3, np.std(forces)]
    best = max(density(*point) for point in grid(targets @ targets / np.trace(matrix), *sizes))
    assert record["log_evidence"] > best
    options = dict(noise=Noise(forces=0.02), variance=2.0, truncation=0.0)
    fixed = fit_full_potential(*ethanol(), describer=ETHANOL, kernel=KERNEL, **options).model.record
    assert fixed["noise"]["forces"] == pytest.approx(0.02)
    assert (
        record["log_evidence"] > fixed["log_evidence"] > density(2.0, 0.1 * sizes[0], 0.02) - 1e-3
    )


def test_sparse_process_has_the_highest_evidence():
    frames, energies, forces = ethanol()
    observations = check_observations(frames, energies, forces, None, ETHANOL)
    with jax.enable_x64(True):
        batches = single_batches(observations.frames, ETHANOL, np.dtype(float))
        environments = described_all(ETHANOL, batches)[1]
        inducing = environments.inducing(chosen_rows(environments, KERNEL, 30))
        root = kernel_root(KERNEL, inducing, 1e-10)
        design = compiled(ETHANOL, observations)
        factors = stream(observations, batches, design, KERNEL, inducing, root)
    found, triangles = fit_factors(factors, Noise()), list(factors.values())
    sizes = [np.linalg.norm(f.triangle[:, -1]) / np.sqrt(f.n_rows) for f in triangles]
    ratio = [
        np.linalg.norm(f.triangle[:, columns]) for f in triangles for columns in (-1, slice(-1))
    ]
    points = grid((ratio[2] / ratio[3]) ** 2, *sizes)  # that of the forces
    best = max(posterior(triangles, v, noise).log_evidence for v, *noise in points)
    assert found.log_evidence > best
    slopes = evidence_gradient(triangles, found.variance, found.noise)[1]
    assert abs(slopes).max() < 0.01


@pytest.mark.parametrize("counts", [(3, 40), (3, 2, 40), (9, 12, 11), (5,), (20, 3)])
def test_evidence_and_slopes_equal_the_dense_formula(counts):
    """Of fewer rows than columns and of more, with columns of zeros and equal rows."""
    random = np.random.default_rng(0)
    parts, factors = [], []
    for count in counts:
        rows, targets = random.normal(size=(count, 8)), random.normal(size=count)
        rows[:, :3] = 0
        rows[-1] = rows[0]
        stream_of = Accumulator(8)
        stream_of.add(rows, targets)
        factors.append(stream_of.factor())
        parts.append((rows, targets))
    noise = (0.3, 0.05, 0.8)[: len(counts)]
    evidence = of_triangles([f.triangle for f in factors], counts)
    rows, targets = (np.concatenate(part) for part in zip(*parts, strict=True))
    kinds = np.repeat(np.arange(len(counts)), counts)
    total = 0.7 * rows @ rows.T + np.diag(np.array(noise)[kinds] ** 2)
    density = multivariate_normal(np.zeros(len(targets)), total).logpdf(targets)
    logs = np.log([0.7, *noise])
    value, slopes = evidence(logs)
    assert abs(value - density) < 1e-9 * abs(density)
    np.testing.assert_allclose(slopes, evidence_gradient(factors, 0.7, noise)[1], atol=1e-8)

    order = np.argsort(kinds != np.argmax(counts), kind="stable")
    matrix = (rows @ rows.T)[np.ix_(order, order)]
    root, jitter = stable_root(matrix)  # singular
    matrix = matrix + jitter * np.eye(len(matrix))
    other = of_matrix(matrix, root, targets[order], kinds[order], len(counts))(logs)
    assert abs(other[0] - density) < 1e-8 * abs(density)
    np.testing.assert_allclose(other[1], slopes, atol=1e-6)


def test_no_choice_of_noise_is_out_of_reach():
    """Finite far below rounding errors, where a factor of the covariance itself would fail."""
    rows = np.outer(np.linspace(1, 2, 12), np.ones(3)) * 1e3
    parts = [Accumulator(3) for _ in range(2)]
    for part in parts:
        part.add(rows, np.zeros(12))
    evidence = of_triangles([part.factor().triangle for part in parts], (12, 12))
    value, slopes = evidence(np.log([1e4, 1e-12, 1e-12]))
    assert np.isfinite(value) and np.isfinite(slopes).all()


def test_search_finds_the_higher_of_two_maxima():
    def two(logs):
        heights, places = np.array([1.0, 3.0]), np.array([0.0, -7.0])
        bumps = heights * np.exp(-0.5 * (logs[0] - places) ** 2)
        return bumps.sum(), np.array([-(bumps * (logs[0] - places)).sum()])

    found = maximum(two, np.zeros(1), np.full(1, -14.0), np.full(1, 14.0), [(-3, 0, 3)])
    assert found.logs[0] == pytest.approx(-7, abs=1e-3) and not found.at_bounds.any()
    found = maximum(two, np.zeros(1), np.full(1, -4.0), np.full(1, 14.0), [(-3, 0, 3)])
    assert found.value == pytest.approx(1, abs=0.1)


def test_roots_of_singular_and_of_hopeless_matrices():
    points = np.zeros((4, 5))  # four times the same environment
    inducing = Inducing(points, np.zeros(4, np.int32), np.ones(()))
    root = kernel_root(KERNEL, inducing, 0.0)
    np.testing.assert_allclose(root @ root.T, np.ones((4, 4)), atol=1e-9)
    copies = gaussian_process(
        np.repeat([[0.0], [1.0]], 3, axis=0), np.repeat([0.0, 1.0], 3), noise=0
    )
    np.testing.assert_allclose(copies.predict([[0.0], [1.0]]), [0, 1], atol=1e-6)
    with pytest.raises(InputError, match="positive semidefinite") as caught:
        stable_root(-np.eye(3))
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="not finite"):
        stable_root(np.full((2, 2), np.nan))
    with pytest.raises(InputError, match="jitter"):
        fit_sparse_potential(molecule("H2O"), [1.0], describer=SMALL, jitter=-1.0)


def test_deviations_compile_once(caplog):
    potential, frames = full(), ethanol(8)[0]
    first = potential.predict(frames[6])
    with caplog.at_level(logging.WARNING), jax.log_compiles():
        second = potential.predict(frames[7])
        assert not [line for line in caplog.messages if "Compiling" in line]
        jax.jit(lambda x: x + 1)(np.zeros(3))  # what would have been seen
        assert [line for line in caplog.messages if "Compiling" in line]
    assert second.forces_std is not None and second.energy_std is not None
    assert second.forces_std[0].shape == (9, 3) and (second.energy_std > 0).all()
    assert second.energy_std != first.energy_std


def test_what_ends_at_a_bound_is_said(caplog):
    with caplog.at_level(logging.WARNING):
        process = fit_full_potential(*ethanol(), describer=ETHANOL, kernel=KERNEL)
    lines = process.model.record["search"]
    assert any("lower bound of the noise of the energy" in line for line in lines)
    assert lines == caplog.messages


@pytest.mark.parametrize("kernel", ["gaussian", "linear"])
def test_chosen_hyperparameters_have_the_highest_evidence(kernel):
    """Of noise-free and noisy targets, with copies among the inputs: none on a grid is higher."""
    random = np.random.default_rng(0)
    inputs = random.normal(size=(60, 2))
    inputs[30:40] = inputs[:10]
    smooth = np.sin(2 * inputs[:, 0]) + inputs[:, 1]
    scales = [None] if kernel == "linear" else 10.0 ** np.arange(-1, 1.6, 0.5)
    for targets in (smooth, smooth + 0.3 * random.normal(size=60), random.normal(size=60)):
        found = choose_hyperparameters(inputs, targets, kernel)
        for scale, noise in product(scales, 10.0 ** np.arange(-11, 1)):
            at = log_marginal_likelihood(inputs, targets, scale, noise)
            assert found.log_evidence > at - 1e-6 * abs(at)


@pytest.mark.parametrize("fit", [fit_full_potential, fit_sparse_potential])
def test_copies_and_species_in_one_structure_only(fit):
    """Two equal structures with other energies get their mean; a species may occur only once."""
    frames = [molecule("H2O"), molecule("H2O"), molecule("OH"), molecule("CH3")]
    forces = [np.zeros((len(frame), 3)) for frame in frames]
    labels = forces if fit is fit_full_potential else None  # energies alone
    potential = fit(frames, [1.0, 1.2, 2.0, 3.0], labels, describer=SMALL)
    predicted = potential.predict(frames).energy
    np.testing.assert_allclose(predicted, [1.1, 1.1, 2.0, 3.0], atol=0.11)


def test_simulations_run_with_uncertainty_until_it_is_too_high(tmp_path):
    """In float64; the trajectory ends where the deviations reach the limit."""
    frames, energies, forces = ethanol()
    potential = fit_sparse_potential(frames, energies, forces, describer=SMALL, n_inducing=4)
    config = MDConfig(steps=6, timestep=0.1, log_every=2, write_every=6)
    simulate(potential, frames[0], tmp_path / "run", config, show=False)
    rows = (tmp_path / "run/thermo.csv").read_text().splitlines()
    column = rows[0].split(",").index("max_force_std_eV_per_A")
    deviations = [float(row.split(",")[column]) for row in rows[1:]]
    assert len(deviations) == 4 and min(deviations) > 0
    expected = potential.predict(frames[0]).forces_std
    assert expected is not None and deviations[0] == pytest.approx(expected[0].max(), rel=1e-6)
    limited = replace(config, max_force_std=0.9 * deviations[0])
    final = simulate(potential, frames[0], tmp_path / "limited", limited, show=False)
    assert final.info["step"] == 0
    assert (tmp_path / "limited/uncertain.xyz").is_file()
