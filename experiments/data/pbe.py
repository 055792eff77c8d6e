"""Sample silicon with an empirical potential and label it with PBE.

ESPRESSO_PSEUDO=DIR python -m experiments.data.pbe silicon

Needs ``pw.x`` of Quantum ESPRESSO 6.7, and its pseudopotentials in DIR.
"""

import os
from tempfile import TemporaryDirectory

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.espresso import Espresso, EspressoProfile
from ase.calculators.tersoff import Tersoff, TersoffParameters

from experiments.data.dynamics import trajectory
from experiments.data.parts import frame_text, main, rounded

PARTS, FRAMES = 12, 5  # FRAMES of one strained cell at one temperature
TEMPERATURES = 300.0, 800.0, 1400.0, 4000.0  # K; the last one melts it
VOLUMES, STRAIN = (0.92, 1.08), 0.02  # range of V/V₀; spread of the symmetric strain
LATTICE = 5.47  # Å, equilibrium
TERSOFF = TersoffParameters(  # J. Tersoff, Phys. Rev. B 37, 6991 (1988)
    m=3.0, gamma=1.0, lambda3=1.3258, c=4.8381, d=2.0417, h=0.0, n=22.956, beta=0.33675,
    lambda2=1.3258, B=95.373, R=3.0, D=0.2, lambda1=3.2394, A=3264.7,
)  # fmt: skip
CUTOFF, POINTS = 20.0, 4  # Ry, of the wave functions; k points along each axis


def label(atoms: Atoms, cutoff: float = CUTOFF, points: int = POINTS) -> dict:
    """PBE labels: free energy eV, forces eV/Å, stress eV/Å³."""
    with TemporaryDirectory() as folder:
        atoms = atoms.copy()
        atoms.calc = Espresso(
            profile=EspressoProfile(command="pw.x", pseudo_dir=os.environ["ESPRESSO_PSEUDO"]),
            directory=folder,
            pseudopotentials={"Si": "Si.pbe-rrkj.UPF"},
            kpts=(points, points, points),
            input_data={
                "control": {"tprnfor": True, "tstress": True},
                "system": {
                    "ecutwfc": cutoff,
                    "occupations": "smearing",
                    "smearing": "mv",
                    "degauss": 0.01,
                },
                "electrons": {"conv_thr": 1e-8},
            },
        )
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        return {
            "energy": energy,
            "forces": forces - forces.mean(axis=0),
            "stress": atoms.get_stress(voigt=False),
        }


def sample(part: int) -> list[Atoms]:
    """FRAMES of dynamics, 100 fs apart, in a cell that is strained at random."""
    seed = 4000 + part
    rng = np.random.default_rng(seed)
    volume = rng.uniform(*VOLUMES)
    strain = rng.normal(scale=STRAIN, size=(3, 3))
    deformation = volume ** (1 / 3) * (np.eye(3) + (strain + strain.T) / 2)
    atoms = bulk("Si", a=LATTICE, cubic=True)
    atoms.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
    temperature = TEMPERATURES[part % len(TEMPERATURES)]
    sampler = Tersoff({("Si", "Si", "Si"): TERSOFF})
    run = {"equilibrate": 400, "every": 50, "frames": FRAMES, "timestep": 2.0}
    return trajectory(atoms, sampler, temperature, seed, **run)


def silicon(part: int) -> str:
    """One part: FRAMES of extended xyz."""
    frames = [rounded(atoms) for atoms in sample(part)]
    return "".join(frame_text(atoms, label(atoms)) for atoms in frames)


if __name__ == "__main__":
    main(__doc__, "pbe", {"silicon": (silicon, PARTS)})
