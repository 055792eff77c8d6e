"""Environment vectors projected on the directions in which those of a training set differ.

A descriptor may have thousands of columns, while the environments of a set of structures, and how
they change with the positions, span a few hundred directions to a relative accuracy of 1e-3. The
projection is a fixed linear map: forces and covariances of projected vectors are exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.descriptors.jacobians import environment_jacobian
from tripletjax.descriptors.protocol import EnvironmentDescriptor
from tripletjax.kernels.tangents import structure_tangents
from tripletjax.types import Array, Batch

STEP = 0.1  # Å; tangents times this are as large as differences between environments
SAMPLE = 50  # structures from which the axes are found
FEW_COLUMNS = 100  # that are not projected
SKETCH = 1000  # random combinations of all rows, from which the directions are found


@partial(jax.tree_util.register_dataclass, data_fields=["axes"], meta_fields=["describer"])
@dataclass(frozen=True, eq=False)
class Projected:
    """A descriptor times a matrix; an ``EnvironmentDescriptor``.

    Example:
        >>> from tripletjax import descriptor
        >>> soap = descriptor("power_spectrum", (1, 8), cutoff=3.0, n_max=1, l_max=1)
        >>> Projected(soap, np.eye(6, 2)).elements
        (1, 8)
    """

    describer: Any
    axes: Array  # [D, R], orthonormal

    @property
    def cutoff(self) -> float:
        """Å; atoms strictly inside are neighbours."""
        return self.describer.cutoff

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers of the species, ascending."""
        return tuple(self.describer.elements)

    def environment(self, vectors: Array, species: Array, mask: Array, center: Any = 0) -> Array:
        """Describe one environment, [R]."""
        values = self.describer.environment(vectors, species, mask, center)
        return self._projected(values)

    def jacobian(
        self, vectors: Array, species: Array, mask: Array, center: Any = 0
    ) -> tuple[Array, Array]:
        """``environment`` and its derivatives; see ``descriptors.jacobians``."""
        values, slopes = environment_jacobian(self.describer, vectors, species, mask, center)
        return self._projected(values), self._projected(slopes)

    def _projected(self, values: Array) -> Array:
        return jnp.matmul(values, jnp.asarray(self.axes, values.dtype), precision="highest")


def principal_axes(rows: Sequence[np.ndarray], truncation: float, seed: int = 0) -> np.ndarray:
    """Directions in which rows are large, [D, R], by their singular values.

    Args:
        rows: arrays [N_k, D]; a random sketch of them is decomposed if there are many.
        truncation: singular values below this part of the largest are left out.
        seed: of the sketch.

    Source: Halko, Martinsson, Tropp, SIAM Rev. 53, 217 (2011).

    Example:
        >>> rows = np.outer(np.arange(5.0), [3.0, 4.0, 0.0])
        >>> abs(principal_axes([rows], 1e-3)).round(3).ravel().tolist()
        [0.6, 0.8, 0.0]
    """
    random = np.random.Generator(np.random.PCG64(seed))
    if sum(map(len, rows)) > SKETCH:
        mixed = [random.normal(size=(SKETCH, len(part))) @ part for part in rows]
        matrix = np.sum(mixed, axis=0) / np.sqrt(SKETCH)
    else:
        matrix = np.concatenate(rows)
    _, sizes, axes = np.linalg.svd(matrix, full_matrices=False)
    return axes[sizes > truncation * sizes[0]].T


def on_principal_axes(
    describer: EnvironmentDescriptor, batches: Sequence[Batch], truncation: float
) -> Any:
    """The descriptor on its principal axes in some structures, or as it is if it has few columns.

    Args:
        describer: of D columns.
        batches: one for each structure; evenly spaced ones are used.
        truncation: as for ``principal_axes``; zero: no projection.
    """
    tangents_of = jax.jit(partial(structure_tangents, describer))
    some = batches[:: -(-len(batches) // SAMPLE)]
    if truncation <= 0 or jax.eval_shape(tangents_of, 1.0, some[0]).vectors.shape[1] < FEW_COLUMNS:
        return describer
    vectors, kinds, moves = [], [], []
    for batch in some:
        found = jax.device_get(tangents_of(1.0, batch))
        real = found.kinds >= 0
        vectors.append(found.vectors[real])
        kinds.append(found.kinds[real])
        moved = found.tangents[:-6, real].reshape(-1, found.vectors.shape[1])
        moves.append(STEP * moved[np.any(moved != 0, 1)])
    described, species = np.concatenate(vectors), np.concatenate(kinds)
    centred = [described[species == kind] for kind in np.unique(species)]
    centred = [rows - rows.mean(0) for rows in centred]
    axes = principal_axes([*centred, *moves], truncation)
    return Projected(describer, axes) if 0 < axes.shape[1] < len(axes) else describer
