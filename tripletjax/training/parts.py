"""The parts of labelled data: training, validation and test."""

import logging
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, Protocol, Self, TypeVar

import numpy as np
from ase import Atoms

from tripletjax.neighbors import check_frames
from tripletjax.structures import first_unknown
from tripletjax.training.config import TrainConfig
from tripletjax.training.labels import Labels
from tripletjax.types import InputError

log = logging.getLogger(__name__)


class Dataset(NamedTuple):
    """Structures with their labels."""

    frames: Sequence[Atoms]
    labels: Sequence[Labels]

    def chosen(self, index: np.ndarray) -> "Dataset":
        """A subset of the structures."""
        return Dataset([self.frames[i] for i in index], [self.labels[i] for i in index])


class Labelled(Protocol):
    """Structures with labels of any kind."""

    @property
    def frames(self) -> Sequence[Atoms]:
        """The structures."""
        ...

    def chosen(self, index: np.ndarray) -> Self:
        """A subset of the structures."""
        ...


Data = TypeVar("Data", bound=Labelled)


def named_parts(
    data: Data, valid: Data | None, test: Data | None, config: TrainConfig
) -> tuple[dict[str, Data], TrainConfig]:
    """Training, validation and, if given, test data by name; and the settings, settled for these.

    Raises:
        InputError: a structure cannot be used, validation or test data have a species that the
            training data lack.
    """
    parts = checked_parts(data, valid, test, config.seed)
    frames = parts["train"].frames
    return parts, config.settled(len(frames), sum(map(len, frames)))


def checked_parts(data: Data, valid: Data | None, test: Data | None, seed: int) -> dict[str, Data]:
    """Training, validation and, if given, test data by name; errors as of ``named_parts``."""
    for part in (data, valid, test):
        if part is not None:
            check_frames(part.frames)
    data, valid = split_dataset(data, valid, seed)
    known = np.unique(np.concatenate([frame.numbers for frame in data.frames]))
    for name, part in (("validation", valid), ("test", test)):
        if part is not None:
            _require_species(part.frames, known, name)
    return {"train": data, "valid": valid} | ({} if test is None else {"test": test})


def split_dataset(data: Data, valid: Data | None, seed: int) -> tuple[Data, Data]:
    """Training and validation data: a tenth is set aside, at least one, unless ``valid`` is given.

    Every species stays in training, and so do isolated atoms, whose energies are references. Where
    nothing remains to set aside, validation uses the training data, and a warning says so.
    """
    count = len(data.frames)
    if valid is not None:
        return data, valid
    order = np.random.Generator(np.random.PCG64(seed)).permutation(count)
    aside = _set_aside(data.frames, order, max(1, count // 10))
    if not aside:
        log.warning(
            "no structure can be set aside: each is an isolated atom or has a species that no "
            "other structure has; validation uses the training data, and says nothing about others"
        )
        return data, data
    kept = np.setdiff1d(np.arange(count), aside)
    return data.chosen(kept), data.chosen(np.sort(aside))


def _set_aside(frames: Sequence[Atoms], order: np.ndarray, most: int) -> list[int]:
    """The first structures of an order without which all species still occur, ``most`` at most."""
    kinds = [set(frame.numbers.tolist()) for frame in frames]
    remaining = Counter(kind for of_frame in kinds for kind in of_frame)
    aside: list[int] = []
    for index in order.tolist():
        if len(aside) == most:
            break
        isolated = len(frames[index]) == 1 and not frames[index].pbc.any()
        if not isolated and all(remaining[kind] > 1 for kind in kinds[index]):
            remaining.subtract(kinds[index])
            aside.append(index)
    return aside


def _require_species(frames: Sequence[Atoms], known: np.ndarray, name: str) -> None:
    if unknown := first_unknown(frames, known):
        index, atom = unknown
        frame = frames[index]
        raise InputError(
            f"atom {atom} of frame {index} of the {name} data has atomic number "
            f"{frame.numbers[atom]} ({frame.symbols[atom]}), which the training data lack; add "
            "structures with it to these, or leave this one out"
        )
