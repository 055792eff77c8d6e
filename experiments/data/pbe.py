"""Sample silicon and copper with empirical potentials and label them with PBE.

ESPRESSO_PSEUDO=DIR python -m experiments.data.pbe silicon
ESPRESSO_PSEUDO=DIR python -m experiments.data.pbe copper

Needs ``pw.x`` of Quantum ESPRESSO 6.7, and its pseudopotentials in DIR.
"""

import os
from functools import partial
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.espresso import Espresso, EspressoProfile
from ase.calculators.tersoff import Tersoff, TersoffParameters

from experiments.data.dynamics import trajectory
from experiments.data.parts import frame_text, main, rounded

FRAMES = 5  # of a part: one strained cell at one temperature
VOLUMES, STRAIN = (0.92, 1.08), 0.02  # range of V/V₀; spread of the symmetric strain
SILICON = TersoffParameters(  # J. Tersoff, Phys. Rev. B 37, 6991 (1988)
    m=3.0, gamma=1.0, lambda3=1.3258, c=4.8381, d=2.0417, h=0.0, n=22.956, beta=0.33675,
    lambda2=1.3258, B=95.373, R=3.0, D=0.2, lambda1=3.2394, A=3264.7,
)  # fmt: skip


class Crystal(NamedTuple):
    """Where its structures come from, and how they are labelled."""

    cell: Atoms
    sampler: Calculator
    temperatures: tuple[float, ...]  # K; the last one melts it
    pseudopotential: str
    cutoff: float  # Ry, of the wave functions
    dual: float  # cutoff of the density over that of the wave functions
    smearing: float  # Ry, Marzari-Vanderbilt
    points: int  # k points along each axis
    parts: int
    seed: int


def crystals() -> dict[str, Crystal]:
    """The cubic cell of each element at equilibrium."""
    diamond = bulk("Si", a=5.47, cubic=True)
    fcc = bulk("Cu", a=3.65, cubic=True)
    tersoff = Tersoff({("Si", "Si", "Si"): SILICON})
    hot = 300.0, 800.0, 1400.0
    return {
        "silicon": Crystal(
            diamond, tersoff, (*hot, 4000.0), "Si.pbe-rrkj.UPF", 20.0, 4.0, 0.01, 3, 20, 4000
        ),
        "copper": Crystal(
            fcc, EMT(), (*hot, 2500.0), "Cu.pbe-kjpaw.UPF", 28.0, 8.0, 0.02, 4, 12, 5000
        ),
    }


def label(atoms: Atoms, crystal: Crystal) -> dict:
    """PBE labels: energy eV, forces eV/Å, stress eV/Å³."""
    with TemporaryDirectory() as folder:
        profile = EspressoProfile(command="pw.x", pseudo_dir=os.environ["ESPRESSO_PSEUDO"])
        calculator = Espresso(
            profile=profile,
            directory=folder,
            pseudopotentials={str(atoms.symbols[0]): crystal.pseudopotential},
            kpts=3 * (crystal.points,),
            input_data={
                "control": {"tprnfor": True, "tstress": True},
                "system": {
                    "ecutwfc": crystal.cutoff,
                    "ecutrho": crystal.cutoff * crystal.dual,
                    "occupations": "smearing",
                    "smearing": "mv",
                    "degauss": crystal.smearing,
                },
                "electrons": {"conv_thr": 1e-8},
            },
        )
        atoms = atoms.copy()
        atoms.calc = calculator
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        return {
            "energy": energy,
            "forces": forces - forces.mean(axis=0),
            "stress": atoms.get_stress(voigt=False),
        }


def sample(crystal: Crystal, part: int) -> list[Atoms]:
    """FRAMES of dynamics, 100 fs apart, in a cell that is strained at random."""
    seed = crystal.seed + part
    rng = np.random.default_rng(seed)
    volume = rng.uniform(*VOLUMES)
    strain = rng.normal(scale=STRAIN, size=(3, 3))
    deformation = volume ** (1 / 3) * (np.eye(3) + (strain + strain.T) / 2)
    atoms = crystal.cell.copy()
    atoms.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
    temperature = crystal.temperatures[part % len(crystal.temperatures)]
    run = {"equilibrate": 400, "every": 50, "frames": FRAMES, "timestep": 2.0}
    return trajectory(atoms, crystal.sampler, temperature, seed, **run)


def labelled(name: str, part: int) -> str:
    """One part of a set: FRAMES of extended xyz."""
    crystal = crystals()[name]
    frames = [rounded(atoms) for atoms in sample(crystal, part)]
    return "".join(frame_text(atoms, label(atoms, crystal)) for atoms in frames)


if __name__ == "__main__":
    sets = {name: (partial(labelled, name), crystal.parts) for name, crystal in crystals().items()}
    main(__doc__, "pbe", sets)
