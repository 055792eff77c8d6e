"""The parts of labelled data: training, validation and test."""

from collections.abc import Sequence
from typing import Protocol, Self, TypeVar

import numpy as np
from ase import Atoms

from tripletjax.neighbors import check_frames
from tripletjax.training.config import TrainConfig
from tripletjax.types import InputError


class Labelled(Protocol):
    """Structures with labels of any kind."""

    @property
    def frames(self) -> Sequence[Atoms]:
        """The structures."""
        ...

    def chosen(self, index: np.ndarray) -> Self:
        """Some of the structures."""
        ...


Data = TypeVar("Data", bound=Labelled)


def named_parts(
    data: Data, valid: Data | None, test: Data | None, config: TrainConfig
) -> tuple[dict[str, Data], TrainConfig]:
    """Training, validation and, if given, test data by name; and the settings, settled for these.

    Raises:
        InputError: a structure cannot be used, or there is one alone.
    """
    for part in (data, valid, test):
        if part is not None:
            check_frames(part.frames)
    data, valid = split_dataset(data, valid, config.seed)
    parts = {"train": data, "valid": valid} | ({} if test is None else {"test": test})
    return parts, config.settled(len(data.frames), sum(map(len, data.frames)))


def split_dataset(data: Data, valid: Data | None, seed: int) -> tuple[Data, Data]:
    """Training and validation data: a tenth is set aside, at least one, unless ``valid`` is given.

    Raises:
        InputError: one structure alone.
    """
    count = len(data.frames)
    if valid is not None:
        return data, valid
    if count < 2:
        raise InputError(
            "one structure is too few: give at least two, or validation data with --valid"
        )
    order = np.random.Generator(np.random.PCG64(seed)).permutation(count)
    aside = max(1, count // 10)
    return data.chosen(np.sort(order[aside:])), data.chosen(np.sort(order[:aside]))
