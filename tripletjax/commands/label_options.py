"""Options for the names of labels, shared by ``train`` and ``evaluate``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tripletjax.commands.fit_options import named_as_options, read_structures
from tripletjax.training.config import LABEL_KEYS


def labelled(path: Path, names: Mapping[str, Any]):
    """Read structures with their labels from a file.

    Args:
        path: the file.
        names: settings, including ``LABEL_KEYS``.
    """
    from tripletjax.training import Dataset, read_labels

    frames = read_structures(path)
    keys = {key: names.get(key) for key in LABEL_KEYS}
    with named_as_options(*keys):
        return Dataset(frames, read_labels(frames, **keys, source=str(path)))
