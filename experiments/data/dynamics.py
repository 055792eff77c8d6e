"""Structures sampled by Langevin dynamics."""

import numpy as np
from ase import Atoms, units
from ase.constraints import FixCom
from ase.md.langevin import Langevin


def trajectory(
    atoms: Atoms,
    calculator,
    temperature: float,
    seed: int,
    *,
    equilibrate: int,
    every: int,
    frames: int,
    friction: float = 0.01,  # 1/fs
    timestep: float = 0.5,  # fs
) -> list[Atoms]:
    """Frames of a Langevin trajectory; ``equilibrate`` and ``every`` count its steps."""
    rng = np.random.default_rng(seed)
    atoms = atoms.copy()
    atoms.calc = calculator
    spread = np.sqrt(atoms.get_masses() * units.kB * temperature)[:, None]
    atoms.set_momenta(spread * rng.normal(size=(len(atoms), 3)))
    atoms.set_constraint(FixCom())
    dynamics = Langevin(
        atoms,
        timestep * units.fs,
        temperature_K=temperature,
        friction=friction / units.fs,
        fixcm=False,  # the constraint does it
        rng=rng,
    )
    dynamics.run(equilibrate)
    chosen = []
    for _ in range(frames):
        dynamics.run(every)
        chosen.append(Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc))
    return chosen
