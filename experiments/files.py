"""Structures of a file with their labels, for experiments."""

from pathlib import Path

import numpy as np

from tripletjax.io import read_frames
from tripletjax.training import Dataset, read_labels
from tripletjax.types import InputError


def labelled(path: Path, count: int | None = None, seed: int | None = None) -> Dataset:
    """The first structures of a file, or drawn at random, with their labels; None: all."""
    frames = read_frames(path)
    if count is not None and count > len(frames):
        raise InputError(f"{path} has {len(frames)} structures; expected {count} or more")
    if seed is not None:
        order = np.random.Generator(np.random.PCG64(seed)).permutation(len(frames))
        frames = [frames[index] for index in order]
    return Dataset(frames[:count], read_labels(frames[:count], source=str(path)))
