"""The ensembles that integrators sample, against exact distributions.

Many trajectories run at once, from different noise and momenta; the mean over all must lie within
five standard errors of the exact one (a fair run fails one in a million).
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from tests.md_systems import (
    BULK,
    KELVIN,
    KT,
    MASSES,
    VOLUME,
    N,
    assert_mean,
    at_start,
    autodiff,
    cluster,
    crystal,
    replicas,
)  # fmt: skip
from tripletjax.md.barostats import npt
from tripletjax.md.integrators import freedom, nvt_langevin, nvt_nose_hoover
from tripletjax.md.states import kinetic_energy, temperature, thermal_momenta, volume

pytestmark = pytest.mark.once("float32")

REPLICAS = 48


@pytest.fixture(autouse=True)
def float64_here():
    with jax.enable_x64(True):
        yield


def starts(force, ensemble, side=None):
    """States that differ in positions, momenta and key."""
    return [at_start(force, ensemble, seed, side) for seed in range(REPLICAS)]


@pytest.mark.parametrize("name", ["nose-hoover", "langevin"])
def test_kinetic_energy_is_canonical(name, float32):
    """Mean, variance and shape of a Gamma distribution with half the degrees of freedom."""
    force = autodiff(cluster)
    if name == "langevin":
        ensemble = nvt_langevin(force, MASSES, 1.0, KELVIN, 0.02)
    else:
        ensemble = nvt_nose_hoover(force, MASSES, 1.0, KELVIN, 40.0)
    look = lambda state: kinetic_energy(state.momenta, MASSES)  # noqa: E731
    first = at_start(force, ensemble)
    states = [
        first._replace(
            momenta=jnp.asarray(thermal_momenta(MASSES, KELVIN, seed)),
            key=jax.random.key_data(jax.random.key(seed)),
        )
        for seed in range(REPLICAS)
    ]
    values = replicas(ensemble, states, 1_000, 3_000, 10, look) / KT
    half = ensemble.degrees_of_freedom / 2
    assert_mean(values, half)
    assert_mean((values - half) ** 2, half)
    independent = values[:, ::100].ravel()
    assert scipy.stats.kstest(independent, scipy.stats.gamma(half).cdf).pvalue > 1e-6


def test_langevin_positions_are_canonical(float32):
    """A spring at every atom: ⟨x²⟩ = kT / k, each of its own mass, for any time step."""
    stiffness = 2.0
    force = autodiff(lambda positions, cell: 0.5 * stiffness * jnp.sum(positions**2))
    ensemble = nvt_langevin(force, MASSES, 1.0, KELVIN, 0.02)
    first = at_start(force, ensemble)
    states = [
        first._replace(key=jax.random.key_data(jax.random.key(seed))) for seed in range(REPLICAS)
    ]
    look = lambda state: jnp.mean(state.positions**2)  # noqa: E731
    assert_mean(replicas(ensemble, states, 2_000, 4_000, 10, look) * stiffness / KT, 1.0)


@pytest.mark.long
@pytest.mark.parametrize("target", [0.0, 0.03])
def test_volume_at_constant_pressure(target, float32):
    """p(V) ∝ V^(N-1) exp(-β (K (V - V0)² / 2 V0 + P V)), by quadrature."""
    force = autodiff(crystal)
    ensemble = npt(force, MASSES, 1.0, KELVIN, 40.0, target, 3800.0)
    states = starts(force, ensemble, (VOLUME * (1 - target / BULK)) ** (1 / 3))
    volumes = replicas(ensemble, states, 2_000, 4_000, 10, lambda state: volume(state.cell))
    grid = np.linspace(0.5, 1.5, 20_001) * VOLUME
    exponent = (N - 1) * np.log(grid)
    exponent -= (BULK / (2 * VOLUME) * (grid - VOLUME) ** 2 + target * grid) / KT
    weights = np.exp(exponent - exponent.max())
    mean = np.average(grid, weights=weights)
    variance = np.average((grid - mean) ** 2, weights=weights)
    assert variance == pytest.approx(KT * VOLUME / BULK, rel=2e-2)
    assert_mean(volumes, mean)
    assert_mean((volumes - mean) ** 2, variance)


@pytest.mark.long
def test_shape_at_constant_pressure(float32):
    """A flexible cell: p(h) ∝ V^(N-3) exp(-β (U(h) + P V)), by quadrature over the stretches.

    The stretches σ of a matrix have the measure Π_{i<j} |σ_i² - σ_j²|.
    """
    shear, target = 2.0, 0.01
    force = autodiff(partial(crystal, shear=shear))
    ensemble = npt(force, MASSES, 1.0, KELVIN, 40.0, target, 3800.0, isotropic=False)

    def look(state):
        metric = state.cell @ state.cell.T / volume(state.cell) ** (2 / 3)
        return jnp.stack([volume(state.cell), jnp.sum(metric**2) - 3])

    states = starts(force, ensemble, VOLUME ** (1 / 3))
    found = replicas(ensemble, states, 2_000, 6_000, 10, look)
    axis = np.linspace(0.8, 1.2, 121) * VOLUME ** (1 / 3)
    a, b, c = np.meshgrid(axis, axis, axis, indexing="ij")
    volumes = a * b * c
    shape = (a**4 + b**4 + c**4) / volumes ** (4 / 3) - 3
    elastic = BULK / (2 * VOLUME) * (volumes - VOLUME) ** 2
    exponent = (N - 3) * np.log(volumes) - (elastic + shear * shape + target * volumes) / KT
    weights = np.exp(exponent - exponent.max())
    weights *= np.abs((a**2 - b**2) * (b**2 - c**2) * (a**2 - c**2))
    for values, exact in zip(np.moveaxis(found, -1, 0), (volumes, shape), strict=True):
        assert_mean(values, np.average(exact, weights=weights))


def test_temperature_of_drawn_momenta(float32):
    """Over many draws the temperature is as asked, without a total momentum."""
    drawn = [
        [temperature(jnp.asarray(thermal_momenta(MASSES, KELVIN, seed)), MASSES, freedom(N))]
        for seed in range(200)
    ]
    assert_mean(np.asarray(drawn, float), KELVIN)
