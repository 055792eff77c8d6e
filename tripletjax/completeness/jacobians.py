"""Sensitivity of a descriptor to displacements of neighbours: singular values of its Jacobian.

The Jacobian J = ∂F/∂r_j of an invariant descriptor vanishes along the infinitesimal rotations about
the centre, ω × r_j: 3 of them, 2 if all neighbours are on a line, none without neighbours. In every
other direction the descriptor should change: a direction in which it does not, to first order, is
*soft*.

Two causes of softness are not losses of information. An atom at the cutoff has zero weight by
design, and if an environment is symmetric, no invariant function has a slope along a displacement
that breaks the symmetry (for example, out of the plane of a planar environment).
"""

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms

from tripletjax.basis.densities import Mixing
from tripletjax.descriptors.base import layout_of, require_invariant_vector, resolved
from tripletjax.descriptors.jacobians import environment_jacobian
from tripletjax.descriptors.kinds import Kind
from tripletjax.descriptors.protocol import EnvironmentDescriptor, as_argument
from tripletjax.invariants.nice import Contraction
from tripletjax.neighbors import displacements, float_type, prepare
from tripletjax.numerics import safe_norm
from tripletjax.progress import progress_bar
from tripletjax.types import Array

SOFT = 1e-6  # of the largest singular value
BLOCK = 32  # environments per compiled call


class Sensitivity(NamedTuple):
    """Singular values of the Jacobian of one environment; K neighbours, including padding."""

    singular_values: Array  # [3 K] per Å, descending; zero beyond the first n_directions
    n_directions: Array  # 3 (neighbours inside the cutoff) - (infinitesimal rotations)
    softest: Array  # [K, 3] the unit displacement that changes the descriptor least

    def n_soft(self, relative: float = SOFT, absolute: float = 0.0) -> Array:
        """Number of directions whose singular value is at most a threshold.

        Args:
            relative: in units of the largest singular value of the environment. Rounding is about
                1e-14 in float64 and 1e-6 in float32.
            absolute: in units of the descriptor per Å; the larger of the two thresholds is used.
        """
        values = self.singular_values
        threshold = jnp.maximum(relative * values[:1].sum(), absolute)
        real = jnp.arange(len(values)) < self.n_directions
        return jnp.sum(real & (values <= threshold))


def rotation_directions(vectors: Array, inside: Array) -> tuple[Array, Array]:
    """Orthonormal displacements of the neighbours by infinitesimal rotations about the centre.

    The displacements ω × r_j span 3, 2 (neighbours on a line) or 0 (no neighbours) dimensions, as
    determined by the eigenvalues of their Gram matrix Σ_j (r_j² 1 - r_j r_jᵀ); eigenvalues below
    1e3 times the rounding error of the largest are considered zero.

    Args:
        vectors: ``[K, 3]`` Å.
        inside: ``[K]`` False if there is no neighbour.

    Returns:
        ``[3, 3 K]`` with rows of zeros for missing dimensions, and their number.

    Example:
        >>> rotation_directions(jnp.eye(3)[:1], jnp.ones(1, bool))[1].item()
        2
    """
    vectors = jnp.where(inside[:, None], jnp.asarray(vectors), 0)
    axes = jnp.eye(3, dtype=vectors.dtype)
    moves = jax.vmap(lambda axis: jnp.cross(axis, vectors).ravel())(axes)  # [3, 3 K]
    gram = jnp.matmul(moves, moves.T, precision="highest")
    eigenvalues, combinations = jnp.linalg.eigh(gram)
    exists = eigenvalues > 1e3 * jnp.finfo(vectors.dtype).eps * eigenvalues[-1]
    norms = jnp.sqrt(jnp.where(exists, eigenvalues, 1))
    unit = jnp.matmul(combinations.T, moves, precision="highest") / norms[:, None]
    return jnp.where(exists[:, None], unit, 0), jnp.sum(exists)


def jacobian(
    chosen: EnvironmentDescriptor, vectors: Array, species: Array, mask: Array, center: Any = 0
) -> Array:
    """∂F_d/∂r_j of one environment, ``[D, K, 3]``; see ``environment_jacobian``.

    Example:
        >>> from tripletjax.descriptors import descriptor
        >>> soap = descriptor("power_spectrum", (1,), cutoff=3.0, n_max=2, l_max=2)
        >>> slopes = jax.jit(partial(jacobian, soap))
        >>> slopes(jnp.eye(3), jnp.zeros(3, int), jnp.ones(3, bool)).shape
        (9, 3, 3)
    """
    slopes = environment_jacobian(chosen, vectors, species, mask, center)[1]
    return jnp.moveaxis(slopes, -1, 0)


def sensitivity(
    chosen: EnvironmentDescriptor, vectors: Array, species: Array, mask: Array, center: Any = 0
) -> Sensitivity:
    """Singular values of the Jacobian with respect to the neighbours, modulo rotations.

    These are the singular values of J for displacements of neighbours inside the cutoff that are
    orthogonal to all infinitesimal rotations. A pure function of arrays, for jit and vmap.

    Args:
        chosen: an invariant descriptor: any kind but "density" and "triplets", or your own.
        vectors, species, mask, center: one environment, as for ``Descriptor.environment``.

    Returns:
        A ``Sensitivity``.

    Source: Parsaeifard and Goedecker, J. Chem. Phys. 156, 034302 (2022), for the idea.

    Example:
        >>> from tripletjax.descriptors import descriptor
        >>> soap = descriptor("power_spectrum", (1,), cutoff=3.0, n_max=3, l_max=3)
        >>> vectors = jnp.array([[1.0, 0.0, 0.0], [0.0, 1.3, 0.1]])
        >>> of = jax.jit(partial(sensitivity, soap))
        >>> bent = of(vectors, jnp.zeros(2, int), jnp.ones(2, bool))
        >>> int(bent.n_directions), int(bent.n_soft(1e-3))  # two lengths and one angle
        (3, 0)
    """
    vectors = jnp.asarray(vectors)
    n_coordinates = vectors.size
    if n_coordinates == 0:
        return Sensitivity(jnp.zeros(0, vectors.dtype), jnp.zeros((), int), vectors)
    inside = mask & (safe_norm(vectors) < chosen.cutoff)
    slopes = jacobian(chosen, vectors, species, mask, center).reshape(-1, n_coordinates)
    rotations, n_rotations = rotation_directions(vectors, inside)
    real = jnp.repeat(inside, 3).astype(vectors.dtype)
    moves = jnp.diag(real) - jnp.matmul(rotations.T, rotations, precision="highest")
    slopes = jnp.matmul(slopes, moves, precision="highest")
    # Additional rows give all excluded directions the same large singular value: these come first,
    # followed by the wanted ones, whose singular vectors are free of the excluded directions.
    large = 2 * jnp.linalg.norm(slopes) + 1
    excluded = large * (jnp.eye(n_coordinates, dtype=vectors.dtype) - moves)
    _, values, directions = jnp.linalg.svd(jnp.concatenate([slopes, excluded]), full_matrices=False)
    n_directions = 3 * jnp.sum(inside) - n_rotations
    place = jnp.arange(n_coordinates)
    n_excluded = n_coordinates - n_directions
    wanted = jnp.where(place < n_directions, jnp.roll(values, -n_excluded), 0)
    softest = jnp.where(n_directions > 0, directions[-1], 0)
    return Sensitivity(wanted, n_directions, softest.reshape(vectors.shape))


@dataclass(frozen=True)
class Sensitivities:
    """Sensitivities of the environments of a data set; rows by frame, then by centre."""

    structure: np.ndarray  # [row] index of the frame
    atom: np.ndarray  # [row] index of the central atom in the frame
    n_neighbors: np.ndarray  # [row]
    n_directions: np.ndarray  # [row] 3 n_neighbors minus the infinitesimal rotations
    singular_values: np.ndarray  # [row, 3 K] per Å, descending; zero beyond n_directions
    softest: np.ndarray  # [row, K, 3] neighbours sorted by distance; zero on padding
    neighbors: np.ndarray  # [row, K] atoms of the frame; -1 on padding
    hypers: dict[str, Any]  # everything needed to repeat the calculation

    def n_soft(self, relative: float = SOFT, absolute: float = 0.0) -> np.ndarray:
        """Soft directions of every row; thresholds as in ``Sensitivity.n_soft``."""
        threshold = np.maximum(relative * self.singular_values[:, :1], absolute)
        place = np.arange(self.singular_values.shape[1])
        real = place < self.n_directions[:, None]
        return (real & (self.singular_values <= threshold)).sum(1)

    @property
    def smallest(self) -> np.ndarray:
        """The smallest singular value of every row, per Å; NaN if there is none."""
        last = np.maximum(self.n_directions - 1, 0)[:, None]
        values = np.take_along_axis(self.singular_values, last, 1)[:, 0]
        return np.where(self.n_directions > 0, values, np.nan)


def sensitivities(
    frames: Atoms | Iterable[Atoms],
    kind: str | Kind | EnvironmentDescriptor = "fingerprint",
    *,
    centers: Iterable[int] | None = None,
    species: Iterable[int] | None = None,
    dtype: str | None = "float64",
    progress: bool = False,
    contraction: Contraction | None = None,
    mixing: Mixing | None = None,
    **hypers: Any,
) -> Sensitivities:
    """The sensitivity of a descriptor for every environment of a data set.

    Neighbours move independently: periodic images of one atom are different neighbours.

    Args:
        frames: one ASE Atoms or several.
        kind: an invariant kind, such as "power_spectrum" or "fingerprint", or an invariant
            descriptor, as for ``describe``.
        centers: central atoms in every frame; None: all.
        species: atomic numbers or symbols of the species channels; None: all that occur.
        dtype: "float64", or "float32" (small singular values are lost to rounding), or None: JAX's
            default float.
        progress: show a progress bar.
        contraction, mixing: as for ``describe``.
        **hypers: fields of ``Hypers``.

    Returns:
        A ``Sensitivities``.

    Raises:
        InputError: the kind is not invariant, or the input is invalid for ``describe``.

    Example:
        >>> from ase.build import molecule
        >>> water = sensitivities(molecule("H2O"), "power_spectrum", cutoff=3.0, n_max=3, l_max=3)
        >>> water.n_directions.tolist(), water.n_soft(1e-3).tolist()  # symmetric: one soft at O
        ([3, 3, 3], [1, 0, 0])
    """
    arrays, precision = {"contraction": contraction, "mixing": mixing}, float_type(dtype)
    frames, chosen = resolved(frames, kind, species, **arrays, **hypers)
    require_invariant_vector(chosen)
    layout = layout_of(chosen)
    batch = prepare(frames, chosen.cutoff, chosen.elements, precision, centers)
    rows = np.arange(np.count_nonzero(batch.center_mask))
    width = batch.neighbors.shape[1]
    parts = []
    with jax.enable_x64(True) if precision == np.float64 else nullcontext():
        vectors, kinds, mask = map(np.asarray, displacements(batch))
        central = np.asarray(batch.species)[batch.centers]
        bar = progress_bar(
            total=len(rows), unit="env", desc=f"{layout.label} Jacobian", disable=not progress
        )
        for first in range(0, len(rows), BLOCK):
            block = np.arange(first, first + BLOCK) % max(len(vectors), 1)
            arguments = vectors[block], kinds[block], mask[block], central[block]
            found = _block(as_argument(chosen), *arguments)
            kept = len(rows[first : first + BLOCK])
            parts.append([np.asarray(part)[:kept] for part in found])
            bar.update(kept)
        bar.close()
    values, n_directions, softest = (np.concatenate(part) for part in zip(*parts, strict=True))
    sizes = np.array([len(frame) for frame in frames])
    first_atom = (np.cumsum(sizes) - sizes)[batch.structure[batch.centers[rows]]]
    atoms = np.where(mask[rows], batch.neighbors[rows] - first_atom[:, None], -1)
    return Sensitivities(
        structure=np.asarray(batch.structure)[batch.centers[rows]],
        atom=batch.centers[rows] - first_atom,
        n_neighbors=mask[rows].sum(1),
        n_directions=n_directions,
        singular_values=values.reshape(len(rows), 3 * width),
        softest=softest,
        neighbors=atoms,
        hypers=layout.record,
    )


@jax.jit
def _block(chosen: EnvironmentDescriptor, vectors, species, mask, center):
    return jax.vmap(partial(sensitivity, chosen))(vectors, species, mask, center)
