"""Ensembles of one's own: compiled once, resumed bit for bit, and never taken for another."""

import csv
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.md_runs import QUICK, rows, run, silicon
from tripletjax import InputError
from tripletjax.md import MDConfig, blocks
from tripletjax.md.ensembles import NVE, Langevin
from tripletjax.md.files import FINAL, SETTINGS, THERMO, TRAJECTORY
from tripletjax.md.integrators import nve
from tripletjax.md.states import KB, kinetic_energy

pytestmark = pytest.mark.once("float32")


@dataclass(frozen=True)
class Andersen:
    """Velocity Verlet, in which atoms collide with a bath at a rate."""

    kelvin: float
    rate: float  # 1/fs

    def __call__(self, force, masses, timestep):
        verlet = nve(force, masses, timestep)

        def begin(state):
            return state._replace(thermostat=jnp.zeros((), state.positions.dtype))  # heat, eV

        def step(state):
            state = verlet.step(state)
            key, now, which = jax.random.split(jax.random.wrap_key_data(state.key), 3)
            noise = jax.random.normal(now, state.momenta.shape, state.momenta.dtype)
            collides = jax.random.uniform(which, masses.shape) < self.rate * timestep
            thermal = jnp.sqrt(masses * KB * self.kelvin)[:, None] * noise
            momenta = jnp.where(collides[:, None], thermal, state.momenta)
            heat = kinetic_energy(momenta, masses) - kinetic_energy(state.momenta, masses)
            key = jax.random.key_data(key)
            return state._replace(momenta=momenta, thermostat=state.thermostat + heat, key=key)

        def conserved(state):
            return verlet.conserved(state) - state.thermostat

        return verlet._replace(
            begin=begin, step=step, conserved=conserved, degrees_of_freedom=3 * len(masses)
        )


def damped(force, masses, timestep):
    """A plain function is an ensemble too."""
    verlet = nve(force, masses, timestep)

    def step(state):
        state = verlet.step(state)
        return state._replace(momenta=0.99 * state.momenta)

    return verlet._replace(step=step)


BATH = Andersen(kelvin=1500.0, rate=0.3)


def test_it_runs_and_resumes_with_the_same_bits(tmp_path, float32):
    """Compiled once for any number of steps, and for equal settings."""
    before = blocks.advanced._cache_size()
    run(tmp_path / "whole", ensemble=BATH)
    run(tmp_path / "part", replace(QUICK, steps=10), ensemble=BATH)
    run(tmp_path / "part", ensemble=Andersen(1500.0, 0.3), resume=True)
    for name in (THERMO, TRAJECTORY, FINAL):
        assert (tmp_path / "part" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert blocks.advanced._cache_size() == before + 1
    found = rows(tmp_path / "whole")
    assert float(found[-1]["kinetic_eV"]) > 1.2 * float(found[0]["kinetic_eV"])  # it heats
    conserved = [float(row["conserved_eV"]) for row in found]
    assert np.ptp(conserved) < 0.02 * float(found[-1]["kinetic_eV"])
    assert not (tmp_path / "whole" / SETTINGS).exists()
    for other in (Andersen(1500.0, 0.2), damped, None):
        with pytest.raises(InputError, match=r"different settings \(.*ensemble"):
            run(tmp_path / "whole", ensemble=other, resume=True)


def test_ensembles_of_the_package_may_be_given(tmp_path, float32):
    """The same as by their names, bit for bit; a function cools."""
    settings = {"ensemble": "nvt", "friction": 0.02, "temperature": 400.0}
    run(tmp_path / "named", replace(QUICK, **settings))
    run(tmp_path / "given", ensemble=Langevin(400.0, 0.02))
    assert (tmp_path / "named" / THERMO).read_bytes() == (tmp_path / "given" / THERMO).read_bytes()
    run(tmp_path / "cooled", ensemble=damped)
    cold = rows(tmp_path / "cooled")
    assert float(cold[-1]["conserved_eV"]) < float(cold[0]["conserved_eV"]) - 0.02
    with (tmp_path / "cooled" / THERMO).open() as file:
        assert len(list(csv.reader(file))) == 6


@pytest.mark.parametrize("settings, ensemble, text", [
    ({"friction": 0.02}, NVE(), "friction=0.02 is not used by the ensemble NVE"),
    ({"ensemble": "nvt"}, BATH, "ensemble='nvt' is not used by the ensemble Andersen"),
    ({"tau": 50.0}, None, "tau=50.0 is not used by nve"),
    ({"ensemble": "nvt", "tau": 50.0}, None, "tau=50.0 is not used by nvt with langevin"),
    ({"ensemble": "npt", "thermostat": "nose-hoover"}, None, "thermostat=.* not used by npt"),
])  # fmt: skip
def test_settings_that_are_not_read(settings, ensemble, text, tmp_path, float32):
    with pytest.raises(InputError, match=text):
        run(tmp_path / "run", replace(QUICK, **settings), ensemble=ensemble)
    assert not (tmp_path / "run").exists()


def forceful(force, masses, timestep):
    force(jnp.zeros((len(masses), 3)), jnp.eye(3))
    return nve(force, masses, timestep)


def growing(force, masses, timestep):
    verlet = nve(force, masses, timestep)
    return verlet._replace(step=lambda s: verlet.step(s)._replace(thermostat=jnp.zeros(3)))


def stateless(force, masses, timestep):
    return nve(force, masses, timestep)._replace(step=lambda state: state.positions)


def pressing(force, masses, timestep):
    return nve(force, masses, timestep)._replace(moves_cell=True)


def closed():
    rate = 0.5
    return lambda force, masses, timestep: nve(force, masses, rate * timestep)


@dataclass(frozen=True)
class Listed(Andersen):
    tags: tuple = ([1],)


@pytest.mark.parametrize("ensemble, text", [
    ("nvt", "invalid ensemble='nvt': expected a function .* names go into MDConfig"),
    (Andersen, "invalid ensemble: .*Andersen.*; expected a function"),
    (closed(), "lambda.* cannot be told from others .* without a closure"),
    (Listed(300.0, 0.1), "Listed cannot be hashed"),
    (lambda: None, "cannot be told from others"),
    (forceful, "forceful evaluates forces before the first step"),
    (silicon, "silicon cannot be called"),
    (growing, r"state.thermostat is None before a step and float\d\d\[3\] after it"),
    (stateless, "its step returned a .*; expected a State"),
])  # fmt: skip
def test_what_is_no_ensemble(ensemble, text, tmp_path, float32):
    with pytest.raises(InputError, match=text):
        run(tmp_path / "run", ensemble=ensemble)
    assert not (tmp_path / "run").exists()


def test_an_ensemble_says_what_it_needs(tmp_path, float32):
    atoms = silicon()
    atoms.pbc = (True, True, False)
    with pytest.raises(InputError, match="periodic in all directions"):
        run(tmp_path / "run", MDConfig(steps=10), atoms, ensemble=pressing)
