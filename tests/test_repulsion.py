"""The repulsion of nuclei closer than a bond."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.data import covalent_radii

from tripletjax.potentials.architecture import Architecture
from tripletjax.potentials.committee import committee_of
from tripletjax.potentials.repulsion import repulsion_energies
from tripletjax.potentials.triplet import untrained
from tripletjax.types import Environments

SMALL = Architecture(cutoff=4.0, channels=4, units=4, width=4)
CLOSE = (0.02, 0.05, 0.1, 0.2, 0.3)  # Å


def dimers(first, second, distances):
    return [Atoms([first, second], [[0, 0, 0], [0, 0, r]]) for r in distances]


def energies(potential, frames):
    return np.array([potential.predict(frame).energy[0] for frame in frames])


def formula(first, second, r):
    """Ziegler, Biersack and Littmark, eV, with the smooth step to the sum of the radii."""
    z, other = (Atoms([symbol]).numbers[0] for symbol in (first, second))
    x = r * (z**0.23 + other**0.23) / (0.8854 * 0.529177)
    phi = 0.1818 * np.exp(-3.2 * x) + 0.5099 * np.exp(-0.9423 * x)
    phi += 0.2802 * np.exp(-0.4029 * x) + 0.02817 * np.exp(-0.2016 * x)
    s = r / (covalent_radii[z] + covalent_radii[other])
    return 14.39964 * z * other / r * phi * (1 - s**4 * (35 - 84 * s + 70 * s**2 - 20 * s**3))


@pytest.mark.once("float64")
@pytest.mark.parametrize("pair", [("Si", "Si"), ("O", "H"), ("U", "C")])
def test_dimers_have_the_energy_of_the_formula(pair):
    """The difference to the same weights without it."""
    frames = dimers(*pair, (0.3, 0.6, 0.9))
    numbers = set(frames[0].numbers.tolist())
    without = SMALL.with_settings({"repulsion": False})
    found, plain = (energies(untrained(numbers, sizes), frames) for sizes in (SMALL, without))
    expected = [formula(*pair, r) for r in (0.3, 0.6, 0.9)]
    np.testing.assert_allclose(found - plain, expected, rtol=1e-3)


@pytest.mark.once("float64")
def test_beyond_the_radii_nothing_is_added():
    frames = dimers("O", "H", (0.98, 1.5, 3.0))
    without = SMALL.with_settings({"repulsion": False})
    found, plain = (energies(untrained({1, 8}, sizes), frames) for sizes in (SMALL, without))
    np.testing.assert_array_equal(found, plain)


@pytest.mark.parametrize("seed", range(3))
def test_close_dimers_repel_whatever_the_weights(seed):
    potential = untrained({1, 8}, SMALL, seed=seed)
    for pair in (("O", "O"), ("O", "H"), ("H", "H")):
        frames = dimers(*pair, CLOSE)
        assert (np.diff(energies(potential, frames)) < 0).all()


def test_coinciding_nuclei_have_finite_energies_and_derivatives():
    places = [np.array(part) for part in ([[0]], [[True]], [0], [[0]])]

    def energy(r):
        vectors = jnp.stack([r, jnp.zeros_like(r), jnp.zeros_like(r)]).reshape(1, 1, 3)
        return repulsion_energies(Environments(vectors, *places), (8,))[0]

    for function in (energy, jax.grad(energy), jax.grad(jax.grad(energy))):
        assert np.isfinite(function(jnp.zeros(())))


@pytest.mark.once("float64")
def test_a_committee_has_the_repulsion_once():
    members = [untrained({8}, SMALL, seed=seed) for seed in range(2)]
    frames = dimers("O", "O", (0.3, 0.9))
    each = [energies(member, frames) for member in members]
    np.testing.assert_allclose(energies(committee_of(members), frames), np.mean(each, 0))
