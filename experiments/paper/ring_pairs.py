"""Pairs of boron clusters that no invariant of up to five neighbours can tell apart.

About the centre and the z axis, on 21 equally spaced directions x = 0 ... 20:

- seven atoms at x = 0 modulo 3, at height +h, and seven at x = 1 modulo 3, at -h, one radius;
- nine atoms at x = 0, 1 and 3 modulo 7, in the plane of the centre;
- one atom on the axis, at +z in the first member and at -z in the second.

The members differ in a product of three signs: above or below, of the atom on the axis; the sense
in which the upper heptagon is turned against the lower one, which takes two of its atoms to see;
and the sense of the gaps 1, 2 and 4 of the outer ring, which takes three. Because 3 and 7 are
coprime, outer atoms are turned against inner ones by all 21 angles alike: nothing but the signs is
shared. A reflection through the axis, or one in the plane, changes two of the signs, so tuples of
less than six neighbours, mirror images counted as equal, agree.

    python -m experiments.paper.ring_pairs --pairs 300

labels them with GFN2-xTB free energies, and needs the package ``tblite``. A pair whose energy does
not converge is drawn again.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase.units import Bohr, Hartree
from tqdm import tqdm

from experiments.commands import run_command
from tripletjax.io import save_npz

DATA = Path(__file__).parent / "data" / "rings_gfn2.npz"
BORON, SITES = 5, 21
UPPER, LOWER, OUTER = {0: 3}, {1: 3}, {0: 7, 1: 7, 3: 7}  # residues and their moduli
PARAMETERS = ("inner", "height", "outer", "cap")  # Å: radius, height, radius, height
RANGES = np.array([(2.5, 3.2), (0.7, 1.3), (4.1, 4.6), (1.4, 2.3)])
MIN_DISTANCE = 1.2  # Å, as in the B8 set
ELECTRONIC_TEMPERATURE, ACCURACY, ITERATIONS = 0.01, 0.1, 500  # Ha; of tblite
PAIRS_A_SAVE = 4


class Rings(NamedTuple):
    """Labelled pairs, in the order first, second, first ..."""

    parameters: np.ndarray  # [P, 4]
    energies: np.ndarray  # [2P] eV
    turned: np.ndarray  # [n] eV, of the first n structures after a rotation: what labels are worth

    @property
    def positions(self) -> np.ndarray:
        """``[2P, 25, 3]`` Å, the centre first."""
        pairs = ring_positions(self.parameters)
        return pairs.reshape(-1, *pairs.shape[2:])


def ring_positions(parameters: np.ndarray) -> np.ndarray:
    """Both members of every pair.

    Args:
        parameters: ``[..., 4]``, ``PARAMETERS`` in Å.

    Returns:
        ``[..., 2, 25, 3]`` Å; the centre, atom 0, is at the origin.
    """
    inner, height, outer, cap = np.moveaxis(np.asarray(parameters, float)[..., None], -2, 0)
    zero = np.zeros_like(inner)
    rings = [
        _ring(UPPER, inner, height), _ring(LOWER, inner, -height), _ring(OUTER, outer, zero)
    ]  # fmt: skip
    axis = [np.stack([zero, zero, sign * cap], -1) for sign in (1, -1)]
    center = np.stack([zero, zero, zero], -1)
    return np.stack([np.concatenate([center, *rings, atom], -2) for atom in axis], -3)


def _ring(residues: dict[int, int], radius: np.ndarray, height: np.ndarray) -> np.ndarray:
    x = [x for x in range(SITES) if any(x % modulus == r for r, modulus in residues.items())]
    angles = 2 * np.pi * np.array(x) / SITES
    place = radius * np.cos(angles), radius * np.sin(angles), height + 0 * angles
    return np.stack(place, -1)


def sample(n_pairs: int, seed: int = 0) -> np.ndarray:
    """Parameters ``[n_pairs, 4]``, even in ``RANGES``, no atoms closer than ``MIN_DISTANCE``."""
    random = np.random.Generator(np.random.PCG64(seed))
    kept = np.zeros((0, len(RANGES)))
    while len(kept) < n_pairs:
        drawn = random.uniform(*RANGES.T, size=(256, len(RANGES)))
        kept = np.concatenate([kept, drawn[closest(ring_positions(drawn)[:, 0]) > MIN_DISTANCE]])
    return kept[:n_pairs]


def closest(positions: np.ndarray) -> np.ndarray:
    """Å, the least distance of two atoms of structures [..., N, 3]."""
    one, other = np.triu_indices(positions.shape[-2], 1)
    return np.linalg.norm(positions[..., one, :] - positions[..., other, :], axis=-1).min(-1)


def load_rings(path: Path = DATA) -> Rings:
    """The labelled pairs."""
    with np.load(path) as file:
        return Rings(*(file[name] for name in Rings._fields))


def label(positions: np.ndarray) -> float:
    """GFN2-xTB free energy of one cluster, eV; not a number where it does not converge."""
    from tblite.exceptions import TBLiteRuntimeError  # pyright: ignore[reportMissingImports]
    from tblite.interface import Calculator  # pyright: ignore[reportMissingImports]

    calculator = Calculator("GFN2-xTB", np.full(len(positions), BORON), positions / Bohr)
    for name, value in (
        ("verbosity", 0), ("temperature", ELECTRONIC_TEMPERATURE), ("accuracy", ACCURACY),
        ("max-iter", ITERATIONS),
    ):  # fmt: skip
        calculator.set(name, value)
    try:
        return float(calculator.singlepoint().get("energy")) * Hartree
    except TBLiteRuntimeError:
        return np.nan


def turned(positions: np.ndarray, seed: int) -> np.ndarray:
    """A structure after a random rotation."""
    matrix, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return positions @ (matrix * np.linalg.det(matrix)).T


def run(n_pairs: int, seed: int, n_turned: int, out: Path) -> None:
    """Label pairs one after another; what the file holds is kept."""
    drawn = sample(2 * n_pairs, seed)
    found = load_rings(out) if out.is_file() else Rings(drawn[:0], np.zeros(0), np.zeros(0))
    kept, energies = list(found.parameters), list(found.energies)
    again = list(found.turned)
    first = 0
    if kept:  # a run that was stopped goes on behind the last pair kept
        first = 1 + int(np.flatnonzero((drawn == kept[-1]).all(1))[0])
    bar = tqdm(total=n_pairs, initial=len(kept), unit="pair")
    for parameters in drawn[first:]:
        if len(kept) >= n_pairs:
            break
        pair = [label(member) for member in ring_positions(parameters)]
        if not np.isfinite(pair).all():
            continue
        kept.append(parameters)
        energies += pair
        bar.update()
        if len(again) < n_turned:
            members = enumerate(ring_positions(parameters), len(again))
            again += [label(turned(member, index)) for index, member in members]
        if len(kept) % PAIRS_A_SAVE == 0 or len(kept) == n_pairs:
            save_npz(out, **Rings(np.array(kept), np.array(energies), np.array(again))._asdict())


def main() -> None:
    """Sample and label."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--turned", type=int, default=20, help="structures labelled twice")
    parser.add_argument("--out", type=Path, default=DATA, metavar="NPZ")
    given = parser.parse_args()
    run(given.pairs, given.seed, given.turned, given.out)


if __name__ == "__main__":
    run_command(main)
