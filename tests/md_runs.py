"""Small simulations for the tests of the driver."""

import csv

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.md.velocitydistribution import thermalize_momenta

from tripletjax.md import MDConfig, simulate
from tripletjax.md.files import THERMO
from tripletjax.models import Architecture
from tripletjax.potential import untrained

SIZES = Architecture(cutoff=3.0, n_radial=3, l_max=1, channels=2, units=4, odd_units=2, width=4)
QUICK = MDConfig(steps=20, log_every=5, write_every=10)


def silicon() -> Atoms:
    atoms = bulk("Si", "diamond", a=5.43, cubic=True)
    atoms.rattle(0.02, seed=0)
    thermalize_momenta(atoms, 300, rng=np.random.default_rng(0))
    momenta = atoms.get_momenta()
    atoms.set_momenta(momenta - momenta.mean(0))
    return atoms


def potential(seed=0):
    return untrained([14], SIZES, references=[-100.0], scale=0.1, seed=seed)


def rows(folder):
    with (folder / THERMO).open() as file:
        return list(csv.DictReader(file))


def run(folder, config=QUICK, atoms=None, model=None, dtype="float64", **options):
    """A simulation in float64, of silicon unless told otherwise."""
    model, atoms = model or potential(), atoms or silicon()
    return simulate(model, atoms, folder, config, show=False, dtype=dtype, **options)
