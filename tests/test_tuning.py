"""Weights of species and length scales by the gradient of the evidence."""

from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from ase.neighborlist import neighbor_list

from tests.systems import SPECIES, methanol
from tripletjax import descriptor
from tripletjax.kernels import EnvironmentKernel, Noise
from tripletjax.kernels.dense import Targets
from tripletjax.kernels.many import best_for_many
from tripletjax.kernels.observations import check_observations
from tripletjax.kernels.tuning import Evidence, tuned

pytestmark = pytest.mark.once("float64")

POWER = descriptor("power_spectrum", SPECIES, cutoff=3.0, n_max=2, l_max=2)
KERNEL = EnvironmentKernel(length_scale=2.0)


def smooth_labels(n_frames):
    """Bonds as springs, for which hydrogen and the others differ."""
    frames = [methanol(seed) for seed in range(n_frames)]
    energies, forces = [], []
    for frame in frames:
        vectors = frame.positions[:, None] - frame.positions
        lengths = np.linalg.norm(vectors, axis=-1) + np.eye(6)
        strength = np.add.outer(frame.numbers, frame.numbers) * (lengths < 1.6)
        pulls = 0.1 * strength * (lengths - 1.2) * (1 - np.eye(6))
        energies.append(0.25 * np.sum(pulls * (lengths - 1.2)))
        forces.append(-np.sum((pulls / lengths)[..., None] * vectors, 1))
    return frames, np.array(energies), forces


@pytest.mark.parametrize("noise", [Noise(), Noise(energy=1e-3, forces=0.01)])
def test_gradient_is_that_of_differences(noise):
    frames, energies, forces = smooth_labels(3)
    some: list[Any] = [forces[0], None, forces[2]]
    evidence = Evidence(
        POWER, KERNEL, check_observations(frames, energies, some, None, POWER), noise
    )
    start, step = np.array([0.1, -0.2, 0.3, 0.1]), 3e-3
    _, slopes = evidence(start)
    for index in range(4):
        ends = [evidence(start + sign * step * np.eye(4)[index])[0] for sign in (1, -1)]
        assert slopes[index] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=5e-3, abs=1e-3)


def test_the_evidence_grows_and_predictions_improve():
    frames, energies, forces = smooth_labels(8)
    known = frames[:4], energies[:4], forces[:4]
    describer, kernel = tuned(POWER, KERNEL, *known)
    given = check_observations(*known, None, POWER)
    before = Evidence(POWER, KERNEL, given, Noise())(np.zeros(4))[0]
    after = Evidence(describer, kernel, given, Noise())(np.zeros(4))[0]
    assert after > before + 1
    mixing: Any = describer.parameters.mixing
    weights = np.diag(mixing.species)
    assert np.log(weights).sum() == pytest.approx(0, abs=1e-9)
    fixed = tuned(POWER, KERNEL, *known, is_scale_fixed=True)
    assert fixed[1].length_scale == KERNEL.length_scale


def atoms_that_interact_within(reach):
    """Six distorted crystals of argon, whose pairs have the energy (1 - r²/reach²)³."""
    frames, energies, forces = [], [], []
    for seed in range(6):
        frame = bulk("Ar", "fcc", a=5.2, cubic=True)
        frame.rattle(0.5, seed=seed)
        first, vectors, lengths = neighbor_list("iDd", frame, reach)
        inside = 1 - (lengths / reach) ** 2
        energies.append(0.5 * np.sum(inside**3))
        pulls = -6 * inside[:, None] ** 2 * vectors / reach**2
        forces.append(np.stack([np.bincount(first, x, 4) for x in pulls.T], 1))
        frames.append(frame)
    return frames, np.array(energies), forces


def test_forces_that_vanish_by_symmetry_are_no_labels():
    """Those on a perfect crystal: with them the evidence would grow with vanishing noise."""
    random = np.random.default_rng(0)
    root = random.normal(size=(6, 6))
    matrix = root @ root.T
    matrix[2:4], matrix[:, 2:4] = 0, 0
    kinds = np.array([0, 1, 1, 1, 1, 1])
    targets = Targets(random.normal(size=6), kinds, np.ones(6), ("energy", "forces"))
    evidence = object.__new__(Evidence)
    evidence._targets, evidence._noise = targets, Noise(energy=0.1, forces=0.1)
    value, slopes = evidence._slopes(matrix)
    kept = np.array([0, 1, 4, 5])
    evidence._targets = targets.of(kept)
    alone, expected = evidence._slopes(matrix[np.ix_(kept, kept)])
    assert value == pytest.approx(alone)
    np.testing.assert_allclose(slopes[np.ix_(kept, kept)], expected)
    np.testing.assert_allclose(slopes[2:4], 0, atol=1e-12 * abs(slopes).max())


def test_many_labels_choose_the_cutoff_by_sparse_processes():
    options = {"n_max": 6, "l_max": 0, "radial": "logarithmic", "cutoff_width": 1.0}
    several = [
        descriptor("power_spectrum", (18,), cutoff=cutoff, **options) for cutoff in (4.5, 6.0)
    ]
    for reach, expected in ((4.0, 4.5), (5.6, 6.0)):
        known = atoms_that_interact_within(reach)
        assert best_for_many(several, KERNEL, *known).describer.cutoff == expected
