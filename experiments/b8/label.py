"""Sample B8 pairs and label them with GFN2-xTB energies and forces. Needs the package ``tblite``.

python -m experiments.b8.label --out tripletjax/data/b8_gfn2.npz
python -m experiments.b8.label --pairs 1000 --seed 1 --out other.npz
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from ase.units import Bohr, Hartree
from tqdm import tqdm

from experiments.b8.sample import sample_b8
from tripletjax.data.b8 import b8_positions
from tripletjax.io import save_npz

BORON = 5
ELECTRONIC_TEMPERATURE = 0.01  # Ha: these clusters have nearly degenerate frontier orbitals


def label(positions: np.ndarray) -> tuple[float, np.ndarray]:
    """GFN2-xTB free energy (eV) and forces (eV/Å) of one cluster [8, 3]."""
    from tblite.interface import Calculator

    calculator = Calculator("GFN2-xTB", np.full(len(positions), BORON), positions / Bohr)
    calculator.set("verbosity", 0)
    calculator.set("temperature", ELECTRONIC_TEMPERATURE)
    result = calculator.singlepoint()
    return result.get("energy") * Hartree, -result.get("gradient") * Hartree / Bohr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=12345)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()

    parameters = sample_b8(arguments.pairs, arguments.seed)
    structures = b8_positions(parameters).reshape(-1, 8, 3)
    with ProcessPoolExecutor(arguments.workers) as pool:
        labels = pool.map(label, structures, chunksize=50)
        energies, forces = zip(*tqdm(labels, total=len(structures), unit="cluster"), strict=True)
    # Forces in float32 keep the file small; their rounding, 1e-6 eV/Å, is below the SCF's.
    save_npz(
        arguments.out,
        parameters=parameters,
        energies=np.array(energies),
        forces=np.array(forces, dtype=np.float32),
    )


if __name__ == "__main__":
    main()
