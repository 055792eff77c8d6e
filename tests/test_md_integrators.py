"""Integrators: order, reversal, conserved quantities, precision."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.md_systems import (
    KELVIN,
    MASSES,
    VOLUME,
    at_start,
    autodiff,
    cluster,
    crystal,
    trajectory,
)  # fmt: skip
from tripletjax.md.barostats import npt
from tripletjax.md.integrators import nve, nvt_langevin, nvt_nose_hoover
from tripletjax.md.states import Mechanics, pressure

pytestmark = pytest.mark.once("float32")


@pytest.fixture(autouse=True)
def float64_here():
    with jax.enable_x64(True):
        yield


ENSEMBLES = {
    "nve": lambda force, dt: nve(force, MASSES, dt),
    "nose-hoover": lambda force, dt: nvt_nose_hoover(force, MASSES, dt, KELVIN, 40.0),
    "langevin": lambda force, dt: nvt_langevin(force, MASSES, dt, KELVIN, 0.01),
    "npt": lambda force, dt: npt(force, MASSES, dt, KELVIN, 40.0, 0.01, 950.0),
    "npt-flexible": lambda force, dt: npt(force, MASSES, dt, KELVIN, 40.0, 0.01, 950.0, False),
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


def test_float32_keeps_what_does_not_move(float32):
    """A cell that hardly strains: no step rescales positions by the rounding of a factor."""
    with jax.enable_x64(False):
        still = lambda at, cell: Mechanics(jnp.zeros(()), 0 * at, 0 * cell)  # noqa: E731
        ensemble = npt(still, MASSES, 0.5, KELVIN, 1e6, 0.0, 1e3, isotropic=False)
        state = at_start(still, ensemble, side=20.0)
        strain = 1e-9 * np.random.default_rng(0).normal(size=(3, 3))
        barostat = state.barostat._replace(momenta=jnp.asarray(strain + strain.T, jnp.float32))
        state = state._replace(momenta=0 * state.momenta, barostat=barostat)
        there, _ = trajectory(ensemble, state, 1000)
        assert there.positions.dtype == jnp.float32
    np.testing.assert_array_equal(there.positions, state.positions)
    np.testing.assert_allclose(there.cell, state.cell, atol=1e-7)


@pytest.mark.parametrize("name", ["npt", "npt-flexible"])
def test_products_are_as_precise_as_the_dtype(name, float32):
    """None is left to a default that some devices round to ten bits."""
    force = lambda at, cell: Mechanics(jnp.zeros(()), 0 * at, 0 * cell)  # noqa: E731
    ensemble = ENSEMBLES[name](force, 0.5)
    state = at_start(force, ensemble, side=VOLUME ** (1 / 3))

    def all_of_it(state):
        state = ensemble.step(state)
        return state, ensemble.conserved(state), pressure(state, jnp.asarray(MASSES))

    program = str(jax.make_jaxpr(all_of_it)(state))
    products = re.findall(r"dot_general\[(.*?)\n\s*\]", program, re.DOTALL)
    assert len(products) == program.count("dot_general[") >= 8
    assert all("HIGHEST" in product.upper() for product in products)
