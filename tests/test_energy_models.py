"""Energy models of any kind give potentials alike: springs, networks, kernels, committees."""

from dataclasses import dataclass, replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms

from tests.systems import SPECIES, methanol, slab
from tripletjax import InputError, descriptor
from tripletjax.kernels import (
    EnvironmentKernel,
    Noise,
    fit_full_potential,
    fit_sparse_potential,
    neighborhood_kernel,
)
from tripletjax.numerics import safe_norm, smooth_step
from tripletjax.potentials.base import Potential
from tripletjax.potentials.committee import committee_of
from tripletjax.potentials.local import local_model
from tripletjax.potentials.network import Architecture
from tripletjax.potentials.triplet import TripletModel
from tripletjax.testing import assert_close, random_rotation

CUTOFF = 3.0
SMALL = Architecture(cutoff=CUTOFF, l_max=1, n_radial=2, channels=2, tags=3, units=4, width=4)
REFERENCES = (-10.0, -100.0, -1000.0)


def springs(weights, vectors, species, mask, center):
    """Half of Σ_j k_ab (r_j - r_0)² f(r_j), with k_ab the product of the two species' stiffness."""
    r = safe_norm(jnp.where(mask[:, None], vectors, 1.0))
    stiffness = weights["stiffness"][center] * weights["stiffness"][species]
    stretched = stiffness * (r - weights["length"]) ** 2 * smooth_step(r / CUTOFF)
    return 0.5 * jnp.sum(jnp.where(mask, stretched, 0))


def spring_weights(seed):
    random = np.random.default_rng(seed)
    return {"stiffness": jnp.asarray(random.uniform(1, 2, 3)), "length": jnp.asarray(1.2)}


@dataclass(frozen=True)
class Messages:
    """E_i = tanh(w_i Σ_j f(r_ij) (d_i - d_j)²): it needs the neighbours' own density d."""

    cutoff: float = CUTOFF
    species: tuple[int, ...] = SPECIES

    def init(self, seed):
        return jnp.asarray(np.random.default_rng(seed).uniform(0.5, 1, len(self.species)))

    def energies(self, weights, environments):
        r = safe_norm(jnp.where(environments.mask[..., None], environments.vectors, 1.0))
        share = jnp.where(environments.mask, smooth_step(r / self.cutoff), 0)  # [C, K]
        weights = jnp.asarray(weights, r.dtype)
        density = jnp.sum(share * weights[environments.species], 1)
        apart = (density[:, None] - density[environments.neighbors]) ** 2
        return jnp.tanh(jnp.sum(share * apart, 1) * weights[environments.center])


SPRINGS = local_model(springs, spring_weights, CUTOFF, SPECIES)
MODELS = {
    "springs": SPRINGS,
    "network": TripletModel(SMALL, SPECIES),
    "messages": Messages(),
}


SOAP = descriptor(
    "power_spectrum", SPECIES, cutoff=CUTOFF, cutoff_function="smooth", cutoff_width=1.5,
    radial="chebyshev", n_max=2, l_max=1,
)  # fmt: skip
NOISE = Noise(energy=0.1, forces=0.2, stress=0.1)


def fitted_kernels(fit, **options) -> Potential:
    """A Gaussian process on the springs' labels of three molecules and a slab."""
    frames = [methanol(seed) for seed in (4, 5, 6)] + [slab()]
    found = potential("springs").predict(frames, "float64")
    labels = found.energy, found.forces
    return fit(frames, *labels, describer=SOAP, noise=NOISE, references=REFERENCES, **options)


def shared_bonds(first, second):
    """Overlap of the distances to neighbours of equal species, which fades at the cutoff."""
    sides = ((one, one.distances()) for one in (first, second))
    weights = [jnp.where(one.mask, smooth_step(r / CUTOFF), 0) for one, r in sides]
    apart = first.distances()[:, None] - second.distances()
    is_same = first.species[:, None] == second.species
    return 2 * weights[0] @ jnp.where(is_same, jnp.exp(-2 * apart**2), 0) @ weights[1]


OWN = neighborhood_kernel(shared_bonds, SPECIES, CUTOFF)


FITS = {
    "own kernel": lambda: fitted_kernels(
        fit_full_potential, kernel=OWN + 0.5 * EnvironmentKernel(length_scale=2.0), variance=10.0
    ),
    "sparse": lambda: fitted_kernels(fit_sparse_potential, n_inducing=4),
    "full": lambda: fitted_kernels(fit_full_potential, variance=10.0),
    "committee": lambda: committee_of(
        [Potential(SPRINGS, SPRINGS.init(seed), REFERENCES, 0.5) for seed in (1, 2, 3)]
    ),
}
NAMES = (*MODELS, *FITS)


@cache
def potential(name: str) -> Potential:
    if name in FITS:
        return FITS[name]()
    return Potential(MODELS[name], MODELS[name].init(0), REFERENCES, 0.5)


@pytest.fixture(params=NAMES)
def fitted(request):
    return potential(request.param)


def total(fitted, frame):
    return float(fitted.energy_forces_stress(fitted.prepare(frame)).energy[0])


def differences(energy_of):
    """Slope of a function of a displacement, by differences of fourth order."""
    steps = ((-2, 1), (-1, -8), (1, 8), (2, -1))
    return sum(factor * energy_of(step * 1e-4) for step, factor in steps) / 12e-4


def test_forces_and_stress_are_slopes_of_the_energy(fitted, float64):
    for frame in (methanol(), slab()):
        found = fitted.energy_forces_stress(fitted.prepare(frame))

        def moved(step, frame=frame):
            changed = frame.copy()
            changed.positions[1, 2] += step
            return total(fitted, changed)

        assert abs(found.forces[1, 2] + differences(moved)) < 1e-7

        def strained(step, frame=frame):
            changed, strain = frame.copy(), np.eye(3)
            strain[0, 2] += step
            changed.set_cell(np.asarray(frame.cell) @ strain.T, scale_atoms=True)
            return total(fitted, changed)

        if frame.pbc.any():
            slope = differences(strained) / frame.get_volume()
            assert abs(found.stress[0, 0, 2] - slope) < 1e-7


def test_energies_are_invariant_and_extensive(fitted, dtype):
    frame, turn = methanol(), -random_rotation(5)
    tolerance = 1e-12 if dtype == np.float64 else 2e-6
    order = np.random.default_rng(1).permutation(len(frame))
    turned = frame[order]
    turned.positions = turned.positions @ turn.T + [1.0, -2.0, 3.0]
    found, other = (fitted.energy_forces_stress(fitted.prepare(f)) for f in (frame, turned))
    assert_close(other.energy, found.energy, tolerance)
    scale = float(abs(found.forces).max())
    error = abs(other.forces[: len(order)] - found.forces[order] @ turn.T).max()
    assert error < 10 * tolerance * max(scale, 1)
    twice = frame.copy()
    twice.positions += [50.0, 0.0, 0.0]
    both = Atoms(frame) + twice
    assert_close(total(fitted, both), 2 * float(found.energy[0]), tolerance)


def test_the_dtype_is_that_of_the_batch(fitted, float64):
    for name in ("float32", "float64"):
        found = fitted.energy_forces_stress(fitted.prepare(methanol(), name))
        assert {str(values.dtype) for values in found} == {name}


def test_padding_changes_nothing(fitted, dtype):
    frame = methanol()
    alone = fitted.energy_forces_stress(fitted.prepare(frame))
    padded = fitted.energy_forces_stress(fitted.prepare([frame, slab(), methanol(3)]))
    tolerance = 1e-13 if dtype == np.float64 else 1e-6
    assert_close(padded.energy[0], alone.energy[0], tolerance)
    assert_close(padded.forces[: len(frame)], alone.forces[: len(frame)], 10 * tolerance)


@pytest.mark.once("float32")
def test_a_potential_is_a_pytree(fitted):
    """Under jit, vmap and grad as an argument; the program serves all weights."""
    batch, traces = fitted.prepare(methanol()), []

    @jax.jit
    def energy(one):
        traces.append(1)
        return one.energy(batch)[0]

    others = [replace(fitted, weights=fitted.model.init(seed)) for seed in (1, 2)]
    values = [energy(one) for one in others]
    assert len(traces) == 1 and abs(values[0] - values[1]) > 0
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(one.weights for one in others))
    mapped = jax.vmap(lambda weights: energy(replace(fitted, weights=weights)))(stacked)
    np.testing.assert_allclose(mapped, values, rtol=1e-6)
    slopes = jax.grad(energy)(fitted)
    assert jax.tree.structure(slopes) == jax.tree.structure(fitted)
    finite = [bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(slopes)]
    assert all(finite) and any(jnp.any(leaf != 0) for leaf in jax.tree.leaves(slopes.weights))


def test_slopes_of_forces_with_respect_to_weights(float64):
    """As a loss of forces needs them: reverse over reverse, against differences."""
    fitted = potential("springs")
    batch = fitted.prepare(methanol())

    def loss(length):
        one = replace(fitted, weights=fitted.weights | {"length": length})
        return jnp.sum(one.energy_forces_stress(batch).forces ** 2)

    slope = jax.grad(loss)(jnp.asarray(1.2))
    assert abs(slope - differences(lambda step: float(loss(jnp.asarray(1.2 + step))))) < 1e-6


def test_second_derivatives_by_forward_over_reverse(float64):
    fitted = potential("network")
    batch = fitted.prepare(methanol())

    def energy(positions):
        return fitted.interaction(batch._replace(positions=positions))[0]

    at = jnp.asarray(batch.positions)
    direction = jnp.zeros_like(at).at[2, 1].set(1.0)
    along = jax.jit(lambda x: jax.jvp(jax.grad(energy), (x,), (direction,))[1])(at)
    slope = jax.jit(jax.grad(energy))
    expected = (slope(at + 1e-5 * direction) - slope(at - 1e-5 * direction)) / 2e-5
    assert abs(along - expected).max() < 1e-6 * abs(expected).max()


def test_the_network_sorts_neighbours_itself(dtype):
    fitted = potential("network")
    batch = fitted.prepare(methanol())
    places = np.random.default_rng(0).random(batch.neighbor_mask.shape) + ~batch.neighbor_mask
    order = np.argsort(places, 1)
    shuffled = batch._replace(
        neighbors=np.take_along_axis(batch.neighbors, order, 1),
        shifts=np.take_along_axis(batch.shifts, order[..., None], 1),
        neighbor_mask=np.take_along_axis(batch.neighbor_mask, order, 1),
    )
    tolerance = 1e-12 if dtype == np.float64 else 2e-6
    expected, found = (fitted.energy_forces_stress(b) for b in (batch, shuffled))
    assert_close(found.forces, expected.forces, 10 * tolerance)


@dataclass(frozen=True)
class Headless:
    cutoff: float = 3.0


class Summed(Messages):
    def energies(self, weights, environments):
        return jnp.sum(super().energies(weights, environments))


def test_bad_input():
    with pytest.raises(InputError, match=r"invalid model: Headless has no 'species'"):
        Potential(Headless(), None)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match=r"invalid references: 2 for the species \[1, 6, 8\]"):
        Potential(Messages(), Messages().init(0), (1.0, 2.0))
    summed = Potential(Summed(), Summed().init(0))
    with pytest.raises(InputError, match=r"invalid model: its energies have shape \(\)"):
        summed.energy(summed.prepare(methanol()))
    with pytest.raises(InputError, match=r"invalid cutoff=-1"):
        local_model(springs, spring_weights, -1, [1])
