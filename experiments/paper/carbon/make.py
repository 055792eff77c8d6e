"""Draw random carbon clusters and label them with GFN2-xTB. Needs ``tblite``; goes on where it was.

    python -m experiments.paper.carbon.make

A cluster grows atom by atom: places are drawn uniformly in a sphere and kept if the nearest atom
there is a bond length away. Every cluster has a random stream of its own, so that it does not
depend on the others; one whose SCF fails is drawn again, and how often is kept with the label. The
file that grows is replaced whole every few hundred clusters, so that a run can be stopped at any
time.
"""

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase.units import Bohr, Hartree
from tqdm import tqdm

from experiments.commands import run_command
from tripletjax.io import save_npz

LABELS = Path(__file__).parent / "data" / "carbon_gfn2.npz"
CARBON = 6
N_STRUCTURES, SEED = 10_000, 2024
ATOMS = (4, 24)  # inclusive
BOND = (1.25, 1.7)  # Å, from a new atom to the nearest one there
LOOSENESS = (1.1, 1.7)  # radius of the sphere over the cube root of the number of atoms, Å
PLACES, RESTARTS = 400, 100  # drawn for an atom, and clusters begun, before giving up
ELECTRONIC_TEMPERATURE = 0.01  # Ha: these clusters have nearly degenerate frontier orbitals
STRUCTURES_A_SAVE = 500


class Structure(NamedTuple):
    """One labelled cluster."""

    positions: np.ndarray  # [N, 3] Å, float32; the label is of these rounded positions
    energy: float  # eV, free energy
    failures: int  # clusters drawn before this one whose SCF did not converge


def clusters(index: int, seed: int = SEED) -> Iterator[np.ndarray]:
    """The clusters ``[N, 3]`` (Å, float32) drawn for one place of the set, first choice first.

    Args:
        index: the place.
        seed: of the set.

    Raises:
        RuntimeError: no cluster fits its sphere.
    """
    random = np.random.Generator(np.random.PCG64([seed, index]))
    while True:
        n_atoms = random.integers(ATOMS[0], ATOMS[1], endpoint=True)
        yield _cluster(int(n_atoms), random)


def _cluster(n_atoms: int, random: np.random.Generator) -> np.ndarray:
    for _ in range(RESTARTS):
        radius = random.uniform(*LOOSENESS) * n_atoms ** (1 / 3)
        placed = _in_sphere(1, radius, random)
        while len(placed) < n_atoms:
            drawn = _in_sphere(PLACES, radius, random)
            nearest = np.linalg.norm(drawn[:, None] - placed, axis=-1).min(1)
            fitting = np.flatnonzero((nearest > BOND[0]) & (nearest < BOND[1]))
            if not len(fitting):
                break
            placed = np.concatenate([placed, drawn[fitting[:1]]])
        else:
            return (placed - placed.mean(0)).astype(np.float32)
    raise RuntimeError(f"{RESTARTS} clusters of {n_atoms} atoms did not fit their spheres")


def _in_sphere(n: int, radius: float, random: np.random.Generator) -> np.ndarray:
    directions = random.normal(size=(n, 3))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    return radius * random.random((n, 1)) ** (1 / 3) * directions


def energy(positions: np.ndarray) -> float:
    """GFN2-xTB free energy (eV) of one cluster of carbon ``[N, 3]``."""
    from tblite.interface import Calculator  # pyright: ignore[reportMissingImports]

    calculator = Calculator(
        "GFN2-xTB", np.full(len(positions), CARBON), positions.astype(float) / Bohr
    )
    calculator.set("verbosity", 0)
    calculator.set("temperature", ELECTRONIC_TEMPERATURE)
    return calculator.singlepoint().get("energy") * Hartree


def label(index: int, seed: int = SEED) -> Structure:
    """The first cluster of a place whose SCF converges."""
    from tblite.exceptions import TBLiteRuntimeError  # pyright: ignore[reportMissingImports]

    for failures, positions in enumerate(clusters(index, seed)):
        try:
            return Structure(positions, energy(positions), failures)
        except TBLiteRuntimeError:
            continue
    raise AssertionError("clusters never end")


def read(path: Path = LABELS) -> list[Structure]:
    """The labelled clusters of a file, in the order of their places; none if it does not exist."""
    if not path.is_file():
        return []
    with np.load(path) as file:
        ends = np.cumsum(file["n_atoms"])
        positions = np.split(file["positions"], ends[:-1])
        rows = zip(positions, file["energies"].tolist(), file["failures"].tolist(), strict=True)
        return [Structure(*row) for row in rows]


def save(path: Path, structures: list[Structure]) -> None:
    """Replace the file."""
    positions, energies, failures = zip(*structures, strict=True)
    save_npz(
        path,
        n_atoms=np.array([len(p) for p in positions], np.int8),
        positions=np.concatenate(positions),
        energies=np.array(energies),
        failures=np.array(failures, np.int8),
    )


def run(n: int, workers: int, out: Path, seed: int = SEED) -> None:
    """Label what is missing of the first ``n`` places."""
    found = read(out)
    missing = range(len(found), n)
    with ProcessPoolExecutor(workers) as pool:
        labels = pool.map(partial(label, seed=seed), missing, chunksize=20)
        for new in tqdm(labels, total=len(missing), unit="cluster", mininterval=10):
            found.append(new)
            if len(found) % STRUCTURES_A_SAVE == 0 or len(found) == n:
                save(out, found)


def main() -> None:
    """Label the set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--structures", type=int, default=N_STRUCTURES)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=LABELS, metavar="NPZ")
    given = parser.parse_args()
    run(given.structures, given.workers, given.out, given.seed)


if __name__ == "__main__":
    run_command(main)
