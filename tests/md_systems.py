"""Model systems for integrators, whose ensembles are known exactly."""

import jax
import jax.numpy as jnp
import numpy as np

from tests.systems import quick_jit
from tripletjax.md.states import KB, MASS_UNIT, Mechanics, State, thermal_momenta

N = 8
KELVIN = 300.0
KT = KB * KELVIN
MASSES = np.array([1.0, 12.0, 16.0, 1.0, 1.0, 28.0, 12.0, 1.0]) * MASS_UNIT
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
    a, b, c = cell
    volume = jnp.dot(a, jnp.cross(b, c))
    inverse = jnp.stack([jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b)], axis=1) / volume
    fractional = positions @ inverse
    i, j = np.triu_indices(N, 1)
    apart = fractional[i] - fractional[j] - (SITES[i] - SITES[j]).astype(cell.dtype)
    metric = cell @ cell.T / volume ** (2 / 3)
    shape = jnp.sum(metric**2) - 3
    elastic = 0.5 * BULK / VOLUME * (volume - VOLUME) ** 2 + shear * shape
    return elastic + 0.5 * SPRING / N * jnp.sum(apart**2)


SITES = np.random.default_rng(5).uniform(0.1, 0.9, size=(N, 3))


def at_start(force, ensemble, seed=0, side=None):
    """Thermal momenta; positions downhill in the well, or thermal in a crystal of this side."""
    cell = jnp.eye(3) * (side or 3.0)
    random = np.random.default_rng(seed)
    if side is None:
        downhill = quick_jit(lambda at: jax.lax.fori_loop(
            0, 100, lambda _, at: at + 0.5 * force(at, cell).forces, at
        ))  # fmt: skip
        positions = downhill(jnp.asarray(SITES) @ cell)
    else:
        apart = np.sqrt(KT / SPRING) * random.normal(size=(N, 3))
        positions = jnp.asarray(SITES + apart - apart.mean(0)) @ cell
    momenta = jnp.asarray(thermal_momenta(MASSES, KELVIN, seed))
    key = jax.random.key_data(jax.random.key(seed))
    nothing = jnp.zeros((), jnp.int32)
    state = State(positions, momenta, cell, force(positions, cell), None, None, key, nothing)
    return ensemble.begin(state)


def trajectory(ensemble, state, steps, every=1, look=lambda state: state.positions):
    """What is looked at, every so many steps."""

    def run(state):
        def record(state, _):
            state = jax.lax.fori_loop(0, every, lambda _, s: ensemble.step(s), state)
            return state, look(state)

        return jax.lax.scan(record, state, None, steps // every)

    return quick_jit(run)(state)


def replicas(ensemble, states, rest, steps, every, look):
    """What is looked at along many trajectories at once, after a rest: [R, T, ...]."""

    def run(state):
        state = jax.lax.fori_loop(0, rest, lambda _, s: ensemble.step(s), state)

        def record(state, _):
            state = jax.lax.fori_loop(0, every, lambda _, s: ensemble.step(s), state)
            return state, look(state)

        return jax.lax.scan(record, state, None, steps // every)[1]

    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    return np.asarray(jax.jit(jax.vmap(run))(stacked))


def assert_mean(values, expected, sigmas=5):
    """Means of independent trajectories [R, T] about the exact one."""
    means = np.asarray(values).mean(1)
    error = means.std(ddof=1) / np.sqrt(len(means))
    assert abs(means.mean() - expected) < sigmas * error, (means.mean(), expected, error)
