"""Directions in which inducing environments move."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from tripletjax.descriptors.jacobians import environment_jacobian
from tripletjax.kernels.designs import environments_within
from tripletjax.kernels.span import Inducing, slope_variances
from tripletjax.types import Batch

LEAST = 1e-6  # of the largest change of any environment: smaller ones are left out


def with_derivatives(
    inducing: Inducing,
    kernel: Any,
    describer: Any,
    batches: Sequence[Batch],
    rows: np.ndarray,
    count: int,
) -> Inducing:
    """Inducing environments with derivatives of unit prior variance.

    Args:
        inducing: M environments.
        kernel: between environments.
        describer: of their vectors.
        batches: one for each structure of the training set.
        rows: ``[M]`` which of its environments they are.
        count: derivatives of each, along the principal axes of its changes when atoms move.
    """
    moves = principal_moves(describer, batches, rows)
    largest = max((sizes.max(initial=0) for sizes, _ in moves), default=0.0)
    width = inducing.vectors.shape[1]
    owners, directions = [], []
    for owner, (sizes, axes) in enumerate(moves):
        kept = axes[:count][sizes[:count] > LEAST * largest]
        owners.append(np.full(len(kept), owner, np.int32))
        directions.append(np.pad(kept, [(0, 0), (0, width - kept.shape[1])]))
    moving = inducing._replace(owners=np.concatenate(owners), directions=np.concatenate(directions))
    variances = np.asarray(slope_variances(kernel, moving), float)
    kept = variances > 0
    units = np.sqrt(variances[kept, None])
    return moving._replace(owners=moving.owners[kept], directions=moving.directions[kept] / units)


def principal_moves(
    describer: Any, batches: Sequence[Batch], rows: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Singular values, descending, and axes of the derivatives dp/dr of some environments.

    Args:
        describer: of environments.
        batches: one for each structure.
        rows: which environments, of all centres of all batches.

    Returns:
        ``[R]`` and ``[R, D]`` of each.
    """
    jacobians = jax.jit(jax.vmap(partial(environment_jacobian, describer)))
    found: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    start = 0
    for batch in batches:
        centers = np.flatnonzero(batch.center_mask)
        own = rows[(rows >= start) & (rows < start + len(centers))]
        if len(own):
            slopes = np.asarray(jacobians(*environments_within(batch, describer)[:4])[1], float)
            slopes = slopes.reshape(len(slopes), -1, slopes.shape[-1])
            for row in own:
                _, sizes, axes = np.linalg.svd(slopes[centers[row - start]], full_matrices=False)
                found[int(row)] = sizes, axes
        start += len(centers)
    return [found[int(row)] for row in rows]
