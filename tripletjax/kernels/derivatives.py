"""Environments of a training set and their derivatives along its labels, in units of a kernel."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from tripletjax.descriptors.protocol import row_shape
from tripletjax.kernels.joined import in_units
from tripletjax.kernels.memory import derivative_bytes
from tripletjax.kernels.observations import Labelled
from tripletjax.kernels.tangents import Tangents, of_one_width, structure_tangents
from tripletjax.progress import progress_bar
from tripletjax.types import Batch


class Described(NamedTuple):
    """The environments of a training set in the units of a kernel."""

    describer: Any
    scale: np.ndarray  # by which its vectors are divided
    structures: list[Tangents]  # real atoms, and the derivatives that are labels


def described(
    describer: Any,
    batches: Sequence[Batch],
    labelled: Sequence[Labelled],
    axes: Sequence[np.ndarray],
    width: int,
    show: bool = False,
) -> Described:
    """Describe the structures of a training set.

    Args:
        describer: of environments, in its own units.
        batches, labelled, axes: each structure, its labels and their internal directions [3N, n].
        width: ``width_of`` the describer.
        show: a progress bar.
    """
    tangents_of = jax.jit(partial(structure_tangents, describer))
    dtype = derivative_bytes(labelled, width)[1]
    bar = progress_bar(batches, desc="derivatives", unit="structures", disable=not show)
    structures = of_one_width(
        [
            _internal(jax.device_get(tangents_of(1.0, batch)), labels, along, dtype)
            for batch, labels, along in zip(bar, labelled, axes, strict=True)
        ]
    )
    vectors, kinds = (np.concatenate([s[part] for s in structures]) for part in (0, 1))
    describer, unit, scale = in_units(describer, vectors, kinds)
    structures = [_divided(structure, unit) for structure in structures]
    return Described(describer, np.asarray(scale), structures)


def width_of(describer: Any, batches: Sequence[Batch]) -> int:
    """Number of columns; the largest if it depends on the number of neighbours."""
    sizes = {batch.neighbors.shape[1] for batch in batches}
    return max(row_shape(describer, size)[0] for size in sizes)


def _internal(structure: Tangents, labels: Labelled, axes: np.ndarray, dtype: Any) -> Tangents:
    """Without padding; derivatives along the axes [3N, n], and with the strain if labelled."""
    real = np.asarray(structure.kinds) >= 0
    tangents = np.asarray(structure.tangents, float)[:, real]
    moves = np.einsum("jn,jcd->ncd", axes, tangents[: len(axes)], optimize=True)
    if labels.stress:
        moves = np.concatenate([moves, tangents[-6:]])
    vectors = np.asarray(structure.vectors, float)[real]
    return Tangents(vectors, np.asarray(structure.kinds)[real], moves.astype(dtype))


def _divided(structure: Tangents, unit: Any) -> Tangents:
    """In other units, in place."""
    vectors, kinds, tangents = map(np.asarray, structure)
    vectors /= unit
    np.divide(tangents, unit, out=tangents, casting="same_kind")
    return Tangents(vectors, kinds, tangents)
