"""Covariances of labels by products, projected vectors, and factors of large matrices."""

from functools import partial
from typing import Any

import jax
import numpy as np
import pytest
from ase.build import bulk, molecule

from tests.systems import SPECIES, methanol
from tripletjax import InputError, descriptor
from tripletjax.kernels import EnvironmentKernel, fit_full_potential, memory, sampling
from tripletjax.kernels.algebra import KernelOf
from tripletjax.kernels.covariances import covariance_block, covariance_matrix
from tripletjax.kernels.dense import Targets, at_highest_evidence, deciding
from tripletjax.kernels.factors import factor_in_place, solved
from tripletjax.kernels.internal import internal_axes
from tripletjax.kernels.memory import available_bytes, full_bytes
from tripletjax.kernels.observations import Labelled, Noise
from tripletjax.kernels.projection import principal_axes
from tripletjax.kernels.spectra import CompressedSpectrum
from tripletjax.kernels.tangents import Tangents

pytestmark = pytest.mark.once("float64")

GAUSSIAN = EnvironmentKernel(length_scale=1.5)
CUBIC = EnvironmentKernel(kind="polynomial", degree=3)
LINEAR = EnvironmentKernel(kind="linear")
LEFT, RIGHT = (
    lambda kernel, block=block: KernelOf(kernel, block=block, columns=(2 * block, 2 * block + 2))
    for block in range(2)
)
COMPOSITES = {
    "linear": LINEAR,
    "sum": 0.3 * GAUSSIAN + LINEAR,
    "of blocks": 0.3 * LEFT(GAUSSIAN) + RIGHT(CUBIC) * (LEFT(LINEAR) + RIGHT(GAUSSIAN)),
}
POWER = descriptor("power_spectrum", SPECIES, cutoff=3.0, n_max=3, l_max=2)


def structure(n_atoms, n_moves, seed, width=4):
    random = np.random.default_rng(seed)
    vectors, moves = (
        random.normal(size=(n_atoms, width)),
        random.normal(size=(n_moves, n_atoms, width)),
    )
    return Tangents(vectors, random.integers(0, 2, n_atoms), moves)


class AsFunction:
    """A kernel without ``of_products``, which is differentiated as a function of the vectors."""

    def __init__(self, kernel):
        self.matrix = kernel.matrix


@pytest.mark.parametrize("kernel", [GAUSSIAN, CUBIC, *COMPOSITES.values()])
def test_products_are_derivatives_of_the_function(kernel):
    first, second = structure(3, 5, 0), structure(4, 2, 1)
    found = jax.jit(partial(covariance_block, kernel))(first, second)
    expected = jax.jit(partial(covariance_block, AsFunction(kernel)))(first, second)
    np.testing.assert_allclose(found, expected, atol=1e-12 * np.abs(expected).max())


def test_an_environment_of_zeros_has_finite_covariances():
    """Isolated atoms have no neighbours."""
    alone = Tangents(np.zeros((1, 4)), np.zeros(1, int), np.zeros((3, 1, 4)))
    for kernel in (GAUSSIAN, CUBIC):
        assert np.isfinite(covariance_block(kernel, alone, structure(3, 5, 0))).all()


def test_structures_of_any_size_in_one_matrix():
    """More sizes than programs: padded structures have the same covariances."""
    sizes = [(1, 0), (2, 3), (3, 5), (5, 1)]
    structures = [structure(*size, seed) for seed, size in enumerate(sizes)]
    blocks = [
        [np.asarray(covariance_block(GAUSSIAN, a, b)) for b in structures] for a in structures
    ]
    found = covariance_matrix(GAUSSIAN, structures)
    np.testing.assert_allclose(found, np.block(blocks), atol=1e-12)
    np.testing.assert_array_equal(found, found.T)


def test_internal_directions():
    for frame, n in ((molecule("CH4"), 9), (molecule("CO2"), 4), (molecule("O"), 0)):
        axes = internal_axes(frame)
        assert axes.shape == (3 * len(frame), n)
        turned = np.cross([0.3, -1.0, 2.0], frame.positions) + np.arange(3)
        np.testing.assert_allclose(axes.T @ turned.ravel(), 0, atol=1e-12)
        np.testing.assert_allclose(axes.T @ axes, np.eye(n), atol=1e-12)
    assert internal_axes(bulk("Si", cubic=True)).shape == (24, 21)


def test_factors_in_place():
    random = np.random.default_rng(0)
    rows = random.normal(size=(1500, 1600))
    matrix = rows @ rows.T
    root = matrix.copy()
    assert factor_in_place(root, panel=400) == 0
    np.testing.assert_allclose(np.tril(root) @ np.tril(root).T, matrix, atol=1e-9 * matrix.max())
    np.testing.assert_allclose(
        solved(root, rows[:, 0], panel=400), np.linalg.solve(matrix, rows[:, 0]), rtol=1e-6
    )
    singular = rows[:, :40] @ rows[:, :40].T
    root = singular.copy()
    assert factor_in_place(root, panel=400) > 0
    root = np.tril(root)
    np.testing.assert_allclose(root @ root.T, singular, atol=1e-9 * singular.max())
    with pytest.raises(InputError, match="positive semidefinite"):
        factor_in_place(-np.eye(3))
    with pytest.raises(InputError, match="not finite"):
        factor_in_place(np.full((2, 2), np.nan))


def test_principal_axes_span_what_varies():
    random = np.random.default_rng(0)
    rows = random.normal(size=(3000, 3)) @ random.normal(size=(3, 50)) * [1] * 1.0
    axes = principal_axes([rows[:1000], rows[1000:]], 1e-6)
    assert axes.shape == (50, 3)
    np.testing.assert_allclose(rows @ axes @ axes.T, rows, atol=1e-9)


def test_projected_vectors_lose_no_accuracy(tmp_path):
    """Predictions differ by the truncation, forces are those of the energy, and files hold it."""
    frames = [methanol(seed) for seed in range(5)]
    random = np.random.default_rng(0)
    energies, forces = random.normal(size=5), [random.normal(size=(6, 3)) for _ in frames]
    fits = [
        fit_full_potential(frames, energies, forces, describer=POWER, truncation=truncation)
        for truncation in (0.0, 1e-4)
    ]
    model: Any = fits[1].model
    assert isinstance(model.describer, CompressedSpectrum) and model.describer.width < 135
    new = methanol(7)
    exact, short = (fit.predict([*frames, new]) for fit in fits)
    np.testing.assert_allclose(short.energy, exact.energy, atol=5e-3)
    step = np.zeros((6, 3))
    step[2, 1] = 1e-3
    ends = []
    for sign in (1, -1):
        moved = new.copy()
        moved.positions += sign * step
        ends.append(fits[1].predict(moved).energy[0])
    slope = (ends[0] - ends[1]) / 2e-3
    assert -short.forces[5][2, 1] == pytest.approx(slope, rel=1e-5, abs=1e-6)


def test_combinations_that_vanish_by_symmetry_decide_nothing():
    """In a chain of two atoms both forces are opposite; a third atom makes them independent."""
    random = np.random.default_rng(0)
    root = random.normal(size=(7, 6))
    root[2] = -root[1]  # symmetry
    root[5:] *= 1e-5  # almost perfect
    matrix, kinds = root @ root.T, np.array([0, 1, 1, 1, 0, 1, 1])
    values = random.normal(size=7)
    values[2] = -values[1]
    targets = Targets(values, kinds, np.ones(7), ("energy", "forces"))
    directions, some = deciding(matrix, targets)
    np.testing.assert_allclose(directions.T @ directions, np.eye(4), atol=1e-14)
    assert some.kinds.tolist() == [0, 1, 1, 0]
    assert not directions[5:].any()
    lost = values - directions @ some.values
    np.testing.assert_allclose(lost[:5], 0, atol=1e-12)
    found = at_highest_evidence(matrix, targets, Noise())
    alone = targets.of(np.array([0, 1, 3, 4]))._replace(values=some.values, kinds=some.kinds)
    part = directions.T @ matrix @ directions
    assert found.levels == at_highest_evidence(part, alone, Noise()).levels


def test_energies_are_not_given_up():
    """Many forces that contradict a few energies, with a noise of a tenth: σ_E <= 0.1 Å σ_F."""
    random = np.random.default_rng(0)
    kinds = np.array(([0] + [1] * 30) * 4)
    root = random.normal(size=(len(kinds), 40))
    root[kinds == 0] *= 3
    values = root @ random.normal(size=40) + 0.1 * random.normal(size=len(kinds))
    values[kinds == 0] += 2 * random.normal(size=4)
    targets = Targets(values, kinds, np.ones(len(kinds)), ("energy", "forces"))
    matrix = root @ root.T
    noise = at_highest_evidence(matrix, targets, Noise()).levels.noise
    assert noise["energy"] <= 0.1 * noise["forces"] * (1 + 1e-9)
    given = at_highest_evidence(matrix, targets, Noise(energy=2.0)).levels.noise
    assert given["energy"] == pytest.approx(2) and given["forces"] < noise["forces"] + 0.1


def test_many_labels_are_searched_by_some(monkeypatch):
    """Evenly spaced structures as they are, or more of them with some of their labels."""
    frames = [methanol(seed) for seed in range(4)]
    random = np.random.default_rng(0)
    energies, forces = random.normal(size=4), [random.normal(size=(6, 3)) for _ in frames]
    forces[1], forces[3] = 100 * forces[1], 100 * forces[3]  # noise that the others have not
    records = []
    for searched, structures in ((1000, 60), (30, 1), (30, 4)):
        monkeypatch.setattr(sampling, "SEARCHED", searched)
        monkeypatch.setattr(sampling, "STRUCTURES", structures)
        model: Any = fit_full_potential(frames, energies, forces, describer=POWER).model
        records.append(model.record)
        assert model.record["labels"] == {"energy": 4, "forces": 48}
    sizes = [record["noise"]["forces"] + record["variance"] for record in records]
    assert sizes[0] > 30 * sizes[1]
    assert sizes[0] == pytest.approx(sizes[2], rel=1)


def test_labels_are_sampled_from_many_structures(monkeypatch):
    """Each structure with its energy, and all labels of a kind that few structures have."""
    monkeypatch.setattr(sampling, "SEARCHED", 100)
    monkeypatch.setattr(sampling, "STRUCTURES", 5)
    random = np.random.default_rng(0)
    counts = [40, 0, 90, 40, 30, 60, 70, 80, 90, 0]
    structures = [
        Tangents(random.normal(size=(4, 3)), np.zeros(4, int), random.normal(size=(count, 4, 3)))
        for count in counts
    ]
    owner = np.repeat(np.arange(10), 1 + np.array(counts))
    kinds = np.where(np.diff(owner, prepend=-1) > 0, 0, 1)
    kinds[np.flatnonzero(owner == 7)[-6:]] = 2  # stress
    some, which = sampling.sampled(structures, kinds)
    chosen = np.unique(owner[which]).tolist()
    assert chosen == [0, 2, 4, 6, 7, 8]
    assert abs(which.sum() - 106) < 5 and which[kinds == 2].all()
    for index, found in zip(chosen, some, strict=True):
        rows = np.flatnonzero(which[owner == index])
        assert rows[0] == 0  # the energy
        np.testing.assert_array_equal(found.tangents, structures[index].tangents[rows[1:] - 1])


def test_rounded_derivatives_change_no_prediction(monkeypatch):
    """Those of many structures are kept in float32; energies and forces agree to 1e-5 eV(/Å)."""
    frames = [methanol(seed) for seed in range(4)]
    random = np.random.default_rng(0)
    labels = random.normal(size=4), [random.normal(size=(6, 3)) for _ in frames]
    noise = Noise(energy=1e-3, forces=1e-2)
    found = []
    for large in (memory.LARGE, 0):
        monkeypatch.setattr(memory, "LARGE", large)
        fit = fit_full_potential(frames, *labels, describer=POWER, noise=noise, variance=1.0)
        found.append(fit.predict([*frames, methanol(9)]))
    exact, rounded = found
    np.testing.assert_allclose(rounded.energy, exact.energy, atol=1e-5)
    np.testing.assert_allclose(rounded.forces[4], exact.forces[4], atol=1e-5)
    assert not np.array_equal(rounded.energy, exact.energy)


def test_more_labels_than_memory_are_refused(monkeypatch):
    frames = [methanol(seed) for seed in range(4)]
    labels = np.zeros(4), [np.zeros((6, 3)) for _ in frames]
    of_two = full_bytes([Labelled(6, 12, False)] * 2, 135)
    monkeypatch.setattr(memory, "available_bytes", lambda: of_two + 1e4)
    with pytest.raises(InputError, match=r"52 labels needs 0.5 GB.* about 2 structures .* of 4"):
        fit_full_potential(frames, *labels, describer=POWER, truncation=0, solver="dense")


def test_available_memory_heeds_the_limit_of_a_container(tmp_path, monkeypatch):
    of_machine = available_bytes()
    for name, content in {
        "max": "3000",
        "current": "1500",
        "stat": "file 9\ninactive_file 500",
    }.items():
        (tmp_path / f"memory.{name}").write_text(content)
    monkeypatch.setattr(memory, "GROUPS", str(tmp_path))
    assert available_bytes() == 2000 < of_machine
    (tmp_path / "memory.max").write_text("max")
    assert available_bytes() > 2000


def test_forces_that_vanish_by_symmetry_do_not_decide_the_noise():
    """Those on perfect crystals are zero for any weights."""
    silicon = descriptor("power_spectrum", (14,), cutoff=3.0, n_max=3, l_max=2)
    perfect = [bulk("Si", cubic=True, a=a) for a in (5.3, 5.4, 5.5)]
    rattled = [bulk("Si", cubic=True) for _ in range(3)]
    for seed, frame in enumerate(rattled):
        frame.rattle(0.1, seed=seed)
    random = np.random.default_rng(0)
    energies, forces = random.normal(size=6), [random.normal(size=(8, 3)) for _ in rattled]
    found = []
    for of_perfect in (None, np.zeros((8, 3))):
        labels = energies, [*forces, *[of_perfect] * 3]
        model: Any = fit_full_potential([*rattled, *perfect], *labels, describer=silicon).model
        found.append([model.record["variance"], *model.record["noise"].values()])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3)
