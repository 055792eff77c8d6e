"""What a row of this package is fitted to."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.paper.labels import VALIDATION, Labels, Split
from tripletjax.data.b8 import load_b8


@dataclass(frozen=True)
class Problem:
    """Structures with labels, and which of them are for what."""

    labels: Labels
    split: Split
    seed: int
    minutes: float  # of training, where it is iterative
    folder: Path  # from which training goes on
    features: Callable[[str], np.ndarray]  # of a name, all structures: [S, ...]

    def chosen_on(self) -> tuple[np.ndarray, np.ndarray]:
        """Structures to fit to, and to choose a setting on."""
        train, valid = self.split.train, self.split.valid
        if not len(valid):
            train, valid = np.split(train, [-2 * max(1, round(VALIDATION * len(train) / 2))])
        return train, valid

    def vectors(self) -> np.ndarray:
        """From atom 0 to the others, [S, 7, 3] Å."""
        positions = load_b8().positions[self.labels.index]
        return positions[:, 1:] - positions[:, :1]

    def forces(self) -> np.ndarray:
        """[S, 8, 3] eV/Å."""
        return load_b8().forces[self.labels.index]


Found = tuple[np.ndarray, dict[str, Any]]  # predictions [S] eV, and what is told of the fit
