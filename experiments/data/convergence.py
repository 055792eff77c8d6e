"""How much PBE labels change with more k points and a higher cutoff.

ESPRESSO_PSEUDO=DIR python -m experiments.data.convergence silicon|copper
"""

import argparse

import numpy as np

from experiments.data.parts import rounded
from experiments.data.pbe import Crystal, crystals, label, sample

GPA = 160.21766  # of 1 eV/Å³


def compared(crystal: Crystal, better: Crystal) -> str:
    """RMS changes of the labels of a cold and a hot structure."""
    frames = [rounded(sample(crystal, part)[0]) for part in (0, 3)]
    labels = [[label(frame, c) for frame in frames] for c in (crystal, better)]
    pairs = list(zip(*labels, strict=True))
    energies = [(b["energy"] - a["energy"]) / len(a["forces"]) for a, b in pairs]
    forces = np.concatenate([b["forces"] - a["forces"] for a, b in pairs])
    stresses = np.array([b["stress"] - a["stress"] for a, b in pairs])
    return (
        f"difference of energies {1e3 * abs(energies[1] - energies[0]):.1f} meV/atom, forces "
        f"{1e3 * np.sqrt(np.mean(forces**2)):.1f} meV/Å, stress "
        f"{GPA * np.sqrt(np.mean(stresses**2)):.2f} GPa"
    )


def main() -> None:
    """Print the changes for one element."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=sorted(crystals()))
    crystal = crystals()[parser.parse_args().name]
    finer = crystal._replace(points=crystal.points + 1)
    print(f"k points {crystal.points} to {finer.points}:", compared(crystal, finer), flush=True)
    higher = crystal._replace(cutoff=1.2 * crystal.cutoff)
    print(f"cutoff {crystal.cutoff:g} to {higher.cutoff:g} Ry:", compared(crystal, higher))


if __name__ == "__main__":
    main()
