"""Integrators: order, reversal, conserved quantities and the ensembles that they sample.

Statistical tests compare with exact distributions: a mean over a trajectory, cut into blocks much
longer than its memory, must lie within five standard errors of the exact one (a fair run fails one
in a million).
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from tripletjax.md.barostats import npt
from tripletjax.md.integrators import freedom, nve, nvt_langevin, nvt_nose_hoover
from tripletjax.md.states import (
    KB,
    MASS_UNIT,
    Mechanics,
    State,
    kinetic_energy,
    temperature,
    thermal_momenta,
)

N = 8
KELVIN = 300.0
KT = KB * KELVIN
MASSES = np.array([1.0, 12.0, 16.0, 1.0, 1.0, 28.0, 12.0, 1.0]) * MASS_UNIT
SIGMAS = 5
BULK, VOLUME = 0.6, 500.0  # eV/Å³, Å³
SPRING = 40.0  # eV, of fractional coordinates


def autodiff(energy):
    """Mechanics of an energy of positions and cell: the stress as a slope along strains."""

    def force(positions, cell):
        def strained(positions, strain):
            deformation = jnp.eye(3, dtype=cell.dtype) + 0.5 * (strain + strain.T)
            return energy(positions @ deformation, cell @ deformation)

        zero = jnp.zeros((3, 3), cell.dtype)
        value, (slope, virial) = jax.value_and_grad(strained, (0, 1))(positions, zero)
        return Mechanics(value, -slope, virial / jnp.abs(jnp.linalg.det(cell)))

    return force


def cluster(positions, cell):
    """Soft anharmonic pairs: chaotic, bound, without a preferred place."""
    i, j = np.triu_indices(N, 1)
    r2 = jnp.sum((positions[i] - positions[j]) ** 2, -1)
    return jnp.sum(0.02 * (r2 - 4.0) ** 2 / (1 + 0.05 * r2))


def crystal(positions, cell, shear=0.0):
    """K (V - V0)² / 2 V0 + shape + pairs of springs in fractional coordinates."""
    fractional = jnp.linalg.solve(cell.T, positions.T).T
    i, j = np.triu_indices(N, 1)
    apart = fractional[i] - fractional[j] - (SITES[i] - SITES[j]).astype(cell.dtype)
    volume = jnp.abs(jnp.linalg.det(cell))
    metric = cell @ cell.T / volume ** (2 / 3)
    shape = jnp.sum(metric**2) - 3
    elastic = 0.5 * BULK / VOLUME * (volume - VOLUME) ** 2 + shear * shape
    return elastic + 0.5 * SPRING / N * jnp.sum(apart**2)


SITES = np.random.default_rng(5).uniform(0.1, 0.9, size=(N, 3))


def at_start(force, ensemble, seed=0, side=None):
    cell = jnp.eye(3) * (side or 3.0)
    positions = jnp.asarray(SITES) @ cell
    if side is None:  # downhill, into the well
        downhill = jax.jit(lambda _, at: at + 0.5 * force(at, cell).forces)
        positions = jax.lax.fori_loop(0, 100, downhill, positions)
    momenta = jnp.asarray(thermal_momenta(MASSES, KELVIN, seed))
    key = jax.random.key_data(jax.random.key(seed))
    nothing = jnp.zeros((), jnp.int32)
    state = State(positions, momenta, cell, force(positions, cell), None, None, key, nothing)
    return ensemble.begin(state)


def trajectory(ensemble, state, steps, every=1, look=lambda state: state.positions):
    """What is looked at, every so many steps."""

    @jax.jit
    def run(state):
        def record(state, _):
            state = jax.lax.fori_loop(0, every, lambda _, s: ensemble.step(s), state)
            return state, look(state)

        return jax.lax.scan(record, state, None, steps // every)

    return run(state)


def standard_error(values, blocks=40):
    means = values[: len(values) // blocks * blocks].reshape(blocks, -1).mean(1)
    return means.std(ddof=1) / np.sqrt(blocks)


@pytest.fixture(autouse=True)
def float64_here():
    with jax.enable_x64(True):
        yield


ENSEMBLES = {
    "nve": lambda force, dt: nve(force, MASSES, dt),
    "nose-hoover": lambda force, dt: nvt_nose_hoover(force, MASSES, dt, KELVIN, 40.0),
    "langevin": lambda force, dt: nvt_langevin(force, MASSES, dt, KELVIN, 0.01),
    "npt": lambda force, dt: npt(force, MASSES, dt, KELVIN, 40.0, 0.01, 150.0),
    "npt-flexible": lambda force, dt: npt(force, MASSES, dt, KELVIN, 40.0, 0.01, 150.0, False),
}


def system(name):
    """Force function and side of the cell that suit an ensemble."""
    if name.startswith("npt"):
        return autodiff(partial(crystal, shear=5.0)), VOLUME ** (1 / 3)
    return autodiff(cluster), None


@pytest.mark.parametrize("name", ENSEMBLES)
def test_conserved_quantity_fluctuates_as_the_step_squared(name, float32):
    force, side = system(name)
    spread = []
    for dt in (0.5, 0.25, 0.125):
        ensemble = ENSEMBLES[name](force, dt)
        state = at_start(force, ensemble, side=side)
        steps = round(100 / dt)
        _, conserved = trajectory(ensemble, state, steps, round(0.5 / dt), ensemble.conserved)
        spread.append(float(jnp.std(conserved)))
    ratios = np.array(spread[:-1]) / spread[1:]
    if name == "langevin":  # the noise differs from one step length to the next
        assert spread[2] < spread[0] / 4
    else:
        np.testing.assert_allclose(ratios, 4, rtol=0.15)


@pytest.mark.parametrize("name", [name for name in ENSEMBLES if name != "langevin"])
def test_backwards_in_time_to_the_start(name, float32):
    """With every momentum turned round, those of the thermostats and the cell too."""
    force, side = system(name)
    ensemble = ENSEMBLES[name](force, 0.5)
    state = at_start(force, ensemble, side=side)
    there, _ = trajectory(ensemble, state, 200)

    def turned(part):
        if part is None:
            return None
        negated = {"momenta": -part.momenta}
        if hasattr(part, "chain"):
            negated["chain"] = turned(part.chain)
        return part._replace(**negated)

    back = there._replace(
        momenta=-there.momenta, thermostat=turned(there.thermostat), barostat=turned(there.barostat)
    )
    back, _ = trajectory(ensemble, back, 200)
    assert float(jnp.abs(there.positions - state.positions).max()) > 0.1
    np.testing.assert_allclose(back.positions, state.positions, atol=1e-9)
    np.testing.assert_allclose(back.cell, state.cell, atol=1e-10)
    np.testing.assert_allclose(-back.momenta, state.momenta, atol=1e-8)


@pytest.mark.parametrize("name", ["nve", "nose-hoover", "npt", "npt-flexible"])
def test_total_momentum_stays_zero(name, float32):
    force, side = system(name)
    ensemble = ENSEMBLES[name](force, 0.5)
    state, _ = trajectory(ensemble, at_start(force, ensemble, side=side), 200)
    assert float(jnp.abs(state.momenta.sum(0)).max()) < 1e-10 * float(jnp.abs(state.momenta).max())


@pytest.mark.parametrize("name", ["nose-hoover", "langevin"])
def test_kinetic_energy_is_canonical(name, float32):
    """Mean and variance of a Gamma distribution with half the degrees of freedom."""
    force, _ = system(name)
    ensemble = ENSEMBLES[name](force, 1.0)
    look = lambda state: kinetic_energy(state.momenta, MASSES)  # noqa: E731
    state, _ = trajectory(ensemble, at_start(force, ensemble), 4_000)
    _, kinetic = trajectory(ensemble, state, 400_000, 10, look)
    values = np.asarray(kinetic) / KT
    half = ensemble.degrees_of_freedom / 2
    assert abs(values.mean() - half) < SIGMAS * standard_error(values)
    squares = (values - half) ** 2
    assert abs(squares.mean() - half) < SIGMAS * standard_error(squares)
    independent = values[::100]
    assert scipy.stats.kstest(independent, scipy.stats.gamma(half).cdf).pvalue > 1e-6


def test_langevin_positions_are_canonical(float32):
    """A spring at every atom: ⟨x²⟩ = kT / k, each of its own mass."""
    stiffness = 2.0
    force = autodiff(lambda positions, cell: 0.5 * stiffness * jnp.sum(positions**2))
    ensemble = nvt_langevin(force, MASSES, 1.0, KELVIN, 0.02)
    state, _ = trajectory(ensemble, at_start(force, ensemble), 4_000)
    _, squares = trajectory(
        ensemble, state, 400_000, 10, lambda state: jnp.mean(state.positions**2)
    )
    squares = np.asarray(squares) * stiffness / KT
    # B A O A B has no error in positions of a spring.
    assert abs(squares.mean() - 1) < SIGMAS * standard_error(squares)


PRESSURES = [0.0, 0.03]


@pytest.mark.parametrize("target", PRESSURES)
def test_volume_at_constant_pressure(target, float32):
    """p(V) ∝ V^(N-1) exp(-β (K (V - V0)² / 2 V0 + P V)), by quadrature."""
    force = autodiff(crystal)
    ensemble = npt(force, MASSES, 1.0, KELVIN, 40.0, target, 150.0)
    state = at_start(force, ensemble, side=(VOLUME * (1 - target / BULK)) ** (1 / 3))
    state, _ = trajectory(ensemble, state, 10_000)
    _, volumes = trajectory(
        ensemble, state, 600_000, 10, lambda state: jnp.abs(jnp.linalg.det(state.cell))
    )
    volumes = np.asarray(volumes)
    grid = np.linspace(0.5, 1.5, 20_001) * VOLUME
    exponent = (N - 1) * np.log(grid)
    exponent -= (BULK / (2 * VOLUME) * (grid - VOLUME) ** 2 + target * grid) / KT
    weights = np.exp(exponent - exponent.max())
    mean = np.average(grid, weights=weights)
    variance = np.average((grid - mean) ** 2, weights=weights)
    assert mean == pytest.approx(VOLUME * (1 - target / BULK), rel=2e-3)
    assert variance == pytest.approx(KT * VOLUME / BULK, rel=2e-2)
    assert abs(volumes.mean() - mean) < SIGMAS * standard_error(volumes)
    squares = (volumes - mean) ** 2
    assert abs(squares.mean() - variance) < SIGMAS * standard_error(squares)


def test_shape_at_constant_pressure(float32):
    """A flexible cell: p(h) ∝ V^(N-3) exp(-β (U(h) + P V)), by quadrature over the stretches.

    The stretches σ of a matrix have the measure Π_{i<j} |σ_i² - σ_j²|.
    """
    shear, target = 2.0, 0.01
    force = autodiff(partial(crystal, shear=shear))
    ensemble = npt(force, MASSES, 1.0, KELVIN, 40.0, target, 150.0, isotropic=False)
    state = at_start(force, ensemble, side=VOLUME ** (1 / 3))
    state, _ = trajectory(ensemble, state, 10_000)

    def look(state):
        volume = jnp.abs(jnp.linalg.det(state.cell))
        metric = state.cell @ state.cell.T / volume ** (2 / 3)
        return jnp.stack([volume, jnp.sum(metric**2) - 3])

    _, found = trajectory(ensemble, state, 600_000, 10, look)
    found = np.asarray(found)

    def expected():
        side = VOLUME ** (1 / 3)
        axis = np.linspace(0.8, 1.2, 121) * side
        a, b, c = np.meshgrid(axis, axis, axis, indexing="ij")
        volume = a * b * c
        shape = (a**4 + b**4 + c**4) / volume ** (4 / 3) - 3
        exponent = (N - 3) * np.log(volume)
        exponent -= (
            BULK / (2 * VOLUME) * (volume - VOLUME) ** 2 + shear * shape + target * volume
        ) / KT
        weights = np.exp(exponent - exponent.max())
        weights *= np.abs((a**2 - b**2) * (b**2 - c**2) * (a**2 - c**2))
        return [np.average(x, weights=weights) for x in (volume, shape)]

    for values, mean in zip(found.T, expected(), strict=True):
        assert abs(values.mean() - mean) < SIGMAS * standard_error(values)


def test_temperature_of_drawn_momenta():
    """Over many draws the temperature is as asked, without a total momentum."""
    drawn = [
        float(temperature(jnp.asarray(thermal_momenta(MASSES, KELVIN, seed)), MASSES, freedom(N)))
        for seed in range(400)
    ]
    error = np.std(drawn) / np.sqrt(len(drawn))
    assert abs(np.mean(drawn) - KELVIN) < SIGMAS * error
