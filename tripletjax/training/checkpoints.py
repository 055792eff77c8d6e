"""The state of a run in one file, for resuming with bit-identical results.

The file is written atomically and contains a digest: a truncated or modified file is rejected.
"""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.io import atomic_open, to_json
from tripletjax.sealing import DamagedError, sealed, unsealed
from tripletjax.types import InputError

FORMAT_VERSION = 4


class Checkpoint(NamedTuple):
    """Arrays with their metadata."""

    state: Any  # pytree
    best: Any  # the state at the best validation so far
    record: dict[str, Any]  # the settings of the run, and other JSON values


def save_checkpoint(path: str | Path, checkpoint: Checkpoint) -> None:
    """Save a checkpoint atomically: a run killed during the write leaves the old file."""
    leaves = jax.tree.leaves((checkpoint.state, checkpoint.best))
    arrays = {f"{i:06d}": np.asarray(leaf) for i, leaf in enumerate(leaves)}
    record = to_json(checkpoint.record)
    content = sealed(arrays, {"format": str(FORMAT_VERSION), "record": record})
    with atomic_open(path) as file:
        file.write(content)


def load_checkpoint(
    path: str | Path, like: Any, settings: dict[str, Any], free: Collection[str] = ()
) -> Checkpoint:
    """Load a checkpoint to resume a run with these settings.

    Args:
        path: the file.
        like: (state, best) with arrays of the same shapes, as at the start of the run.
        settings: must be equal to those in the checkpoint's record.
        free: names of settings that may differ.

    Raises:
        InputError: the file is missing, damaged, or of another version or run.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist: nothing to resume; fit without resume")
    try:
        metadata, arrays = unsealed(path.read_bytes(), ("format", "record"))
    except (OSError, DamagedError) as error:
        raise InputError(
            f"incomplete or corrupted checkpoint {path} ({error}); start again with force"
        ) from error
    leaves = [arrays[name] for name in sorted(arrays)]
    version = metadata.get("format")
    if version != str(FORMAT_VERSION):
        raise InputError(
            f"{path} has format {version}, but this version of tripletjax reads {FORMAT_VERSION}; "
            "resume with the version that wrote it, or start again with force"
        )
    try:
        record = json.loads(metadata["record"])
        before = dict(record["settings"])
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"incomplete or corrupted checkpoint {path} (it has no settings); start again with "
            "force"
        ) from error
    changed = [k for k in settings if k not in free and settings[k] != before.get(k)]
    if changed:
        raise InputError(
            f"{path.parent} was started with different settings ({', '.join(changed)}); use the "
            "same ones, or start again with force"
        )
    expected, structure = jax.tree.flatten(like)
    if [np.shape(a) for a in expected] != [a.shape for a in leaves]:
        raise InputError(f"{path} belongs to another model; start again with force")
    state, best = jax.tree.unflatten(structure, [jnp.asarray(leaf) for leaf in leaves])
    return Checkpoint(state, best, record)
