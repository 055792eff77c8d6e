"""Small simulations for the tests of the driver."""

import csv

import jax.numpy as jnp
import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.md.velocitydistribution import thermalize_momenta

from tripletjax.md import MDConfig, simulate
from tripletjax.md.files import THERMO
from tripletjax.numerics import fill_padding
from tripletjax.potentials import Potential, local_model, untrained
from tripletjax.potentials.network import Architecture

SIZES = Architecture(
    cutoff=3.0,
    n_radial=3,
    l_max=1,
    channels=2,
    messages=0,
    order=2,
    tags=4,
    tag_channels=None,
    units=4,
    odd_units=2,
    width=4,
)
QUICK = MDConfig(steps=20, log_every=5, write_every=10)


def silicon() -> Atoms:
    atoms = bulk("Si", "diamond", a=5.43, cubic=True)
    atoms.rattle(0.02, seed=0)
    thermalize_momenta(atoms, 300, rng=np.random.default_rng(0))
    momenta = atoms.get_momenta()
    atoms.set_momenta(momenta - momenta.mean(0))
    return atoms


def wells(weights, vectors, species, mask, center):
    """Pairs with a well near 2.4 Å in place of a network: it compiles at once."""
    squares = jnp.sum(fill_padding(vectors, mask) ** 2, -1)
    falling = jnp.maximum(1 - squares / SIZES.cutoff**2, 0) ** 3
    well = (jnp.sqrt(squares) - 2.4) ** 2 - 0.5
    kinds = 1 + 0.2 * species.astype(well.dtype) + 0.1 * jnp.asarray(center, well.dtype)
    return weights["depth"] * jnp.sum(jnp.where(mask, kinds * falling * well, 0))


def depth(seed):
    """Members of a committee differ in the depth of their wells."""
    return {"depth": jnp.asarray(20.0 + seed, jnp.float32)}


def springs(species=(14,), seed=0, scale=1.0):
    model = local_model(wells, depth, SIZES.cutoff, {int(number) for number in species})
    return Potential(model, model.init(seed), (-100.0,) * len(model.species), scale)


def potential(seed=0):
    """A network."""
    return untrained([14], SIZES, references=[-100.0], scale=0.1, seed=seed)


def rows(folder):
    with (folder / THERMO).open() as file:
        return list(csv.DictReader(file))


def run(folder, config=QUICK, atoms=None, model=None, dtype="float64", **options):
    """A simulation in float64, of silicon unless told otherwise."""
    model, atoms = model or springs(), atoms or silicon()
    return simulate(model, atoms, folder, config, show=False, dtype=dtype, **options)
