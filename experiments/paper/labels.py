"""Energies of the 8000 B8 structures, xTB or PBE, and which of them train, validate and test."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase.units import Hartree

from tripletjax.data.b8 import load_b8
from tripletjax.types import InputError

DATA = Path(__file__).parent / "data"
PBE = DATA / "b8_pbe.npz"
KINDS = ("xtb", "pbe")
N_STRUCTURES, FIRST_TEST = 8000, 7000
VALIDATION = 0.1  # of the training pairs, in the clean split


class Labels(NamedTuple):
    """Structures 2p and 2p + 1 are the members of pair p; only whole pairs are kept."""

    index: np.ndarray  # [S] which of the 8000 structures, ascending
    energies: np.ndarray  # [S] eV

    def among(self, structures: np.ndarray) -> "Labels":
        """Those of some structures, which are whole pairs."""
        kept = np.isin(self.index, structures)
        return Labels(self.index[kept], self.energies[kept])


class Split(NamedTuple):
    """Places in ``Labels``; each holds whole pairs."""

    train: np.ndarray
    valid: np.ndarray  # empty where the epoch is chosen on the test set, as in the paper
    test: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """All but the test structures."""
        return np.concatenate([self.train, self.valid])


def read_labels(kind: str, path: Path = PBE) -> Labels:
    """All labels of a kind.

    Raises:
        InputError: an unknown kind, no file, or test structures without a label.
    """
    if kind not in KINDS:
        raise InputError(f"labels={kind!r} are not known; give one of {', '.join(KINDS)}")
    if kind == "xtb":
        return Labels(np.arange(N_STRUCTURES), load_b8().energies)
    if not path.is_file():
        raise InputError(f"{path} does not exist; python -m experiments.paper.label makes it")
    with np.load(path) as file:
        index, energies = file["idx"], file["e_free"] * Hartree
    order = np.argsort(index)
    index, energies = index[order], energies[order]
    missing = np.setdiff1d(np.arange(FIRST_TEST, N_STRUCTURES), index)
    if len(missing):
        raise InputError(
            f"{path} lacks {len(missing)} of the test structures, {missing[0]} first; "
            "python -m experiments.paper.label labels them"
        )
    is_whole = np.isin(index ^ 1, index)
    return Labels(index[is_whole], energies[is_whole])


def split(labels: Labels, n_train: int | None = None, clean: bool = True, seed: int = 0) -> Split:
    """Train on structures below 7000, test on the others.

    Args:
        labels: from ``read_labels``.
        n_train: this many structures to train and validate, pairs drawn at random; None: all.
        clean: set a tenth of the pairs aside to choose the epoch on.
        seed: of the draw; the pairs for validation are the last ones drawn.

    Raises:
        InputError: more training structures than have labels, or an odd number.
    """
    first = np.flatnonzero(labels.index < FIRST_TEST)[::2]  # first members of training pairs
    n_train = 2 * len(first) if n_train is None else n_train
    if n_train % 2 or not 20 <= n_train <= 2 * len(first):
        raise InputError(
            f"n_train={n_train} is not usable; give an even number from 20 to {2 * len(first)}, "
            "the training structures with labels"
        )
    drawn = np.random.Generator(np.random.PCG64(seed)).permutation(first)[: n_train // 2]
    n_valid = max(1, round(VALIDATION * len(drawn))) if clean else 0
    test = np.flatnonzero(labels.index >= FIRST_TEST)
    return Split(_both(drawn[: len(drawn) - n_valid]), _both(drawn[len(drawn) - n_valid :]), test)


def _both(first: np.ndarray) -> np.ndarray:
    """Both members of the pairs whose first members these are."""
    return np.sort(np.concatenate([first, first + 1]))
