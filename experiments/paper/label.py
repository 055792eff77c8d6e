"""Label B8 structures with PBE free energies. Needs the package ``pyscf``; goes on where it was.

    python -m experiments.paper.label --first 2180 --last 3500

PBE/cc-pVDZ with density fitting, grids of level 1 and Fermi smearing of 0.01 Ha: what the paper
used, up to a constant of 1e-4 Ha. One structure takes about half a minute of one core; a file that
grows is replaced whole every few structures, so that a run can be stopped at any time.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from experiments.commands import run_command
from experiments.paper.labels import N_STRUCTURES, PBE
from tripletjax.data.b8 import load_b8
from tripletjax.io import save_npz
from tripletjax.types import InputError

BASIS, FUNCTIONAL, SMEARING, GRID_LEVEL = "cc-pvdz", "pbe", 0.01, 1  # smearing in Ha
STRUCTURES_A_SAVE = 8


class Label(NamedTuple):
    """What the file holds of one structure."""

    idx: int
    e_free: float  # Ha, energy less temperature times entropy
    e_tot: float  # Ha
    conv: bool


def label(index: int, positions: np.ndarray) -> Label:
    """PBE energies of one cluster of boron, positions [N, 3] in Å."""
    from pyscf import dft, gto, scf  # pyright: ignore[reportMissingImports]

    cluster = gto.M(
        atom=[("B", position) for position in positions], basis=BASIS, unit="Angstrom", verbose=0
    )
    field = dft.RKS(cluster, xc=FUNCTIONAL).density_fit()
    field.grids.level = GRID_LEVEL
    field = scf.addons.smearing_(field, sigma=SMEARING, method="fermi")
    total = field.kernel()
    return Label(index, float(field.e_free), float(total), bool(field.converged))


def read(path: Path) -> dict[int, Label]:
    """The labels that a file holds, by index; none if it does not exist."""
    if not path.is_file():
        return {}
    with np.load(path) as file:
        columns = [file[name].tolist() for name in Label._fields]
    return {found[0]: Label(*found) for found in zip(*columns, strict=True)}


def save(path: Path, labels: dict[int, Label]) -> None:
    """Replace the file, its rows by ascending index."""
    rows = [labels[index] for index in sorted(labels)]
    save_npz(
        path,
        **{
            name: np.array(column)
            for name, column in zip(Label._fields, zip(*rows, strict=True), strict=True)
        },
    )


def run(first: int, last: int, workers: int, out: Path) -> None:
    """Label what is missing of a range of structures."""
    if not 0 <= first < last <= N_STRUCTURES:
        raise InputError(f"{first} to {last} is no range; give 0 <= first < last <= {N_STRUCTURES}")
    found, positions = read(out), load_b8().positions
    missing = [index for index in range(first, last) if index not in found]
    with ProcessPoolExecutor(workers) as pool:
        labels = pool.map(label, missing, positions[missing])
        for done, new in enumerate(tqdm(labels, total=len(missing), unit="cluster"), 1):
            found[new.idx] = new
            if done % STRUCTURES_A_SAVE == 0 or done == len(missing):
                save(out, found)


def main() -> None:
    """Label a range of structures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--first", type=int, default=0, help="index, inclusive")
    parser.add_argument("--last", type=int, default=N_STRUCTURES, help="index, exclusive")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=PBE, metavar="NPZ")
    arguments = parser.parse_args()
    run(arguments.first, arguments.last, arguments.workers, arguments.out)


if __name__ == "__main__":
    run_command(main)
