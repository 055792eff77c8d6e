"""How much the PBE labels of silicon change with more k points and a higher cutoff.

ESPRESSO_PSEUDO=DIR python -m experiments.data.convergence
"""

import numpy as np

from experiments.data.parts import rounded
from experiments.data.pbe import CUTOFF, POINTS, TEMPERATURES, label, sample

GPA = 160.21766  # of 1 eV/Å³
FINER = {"k points": {"points": POINTS + 1}, "cutoff": {"cutoff": 1.2 * CUTOFF}}


def main() -> None:
    """Print the changes for a cold and a hot structure."""
    for part in (0, 3):
        atoms = rounded(sample(part)[0])
        first = label(atoms)
        for what, setting in FINER.items():
            changes = {key: value - first[key] for key, value in label(atoms, **setting).items()}
            force, stress = (np.sqrt(np.mean(changes[key] ** 2)) for key in ("forces", "stress"))
            print(
                f"{TEMPERATURES[part]:g} K, {what} to {setting}: energy "
                f"{1e3 * changes['energy'] / len(atoms):+.1f} meV/atom, forces {1e3 * force:.1f} "
                f"meV/Å, stress {GPA * stress:.2f} GPa",
                flush=True,
            )


if __name__ == "__main__":
    main()
