"""Energies of atoms and their slopes, by matrix products for blocks of atoms of one species.

Atoms are sorted by species into blocks of a fixed size, and the points of a species are taken in
blocks too: what is computed for a pair of blocks stays in the cache of a core, and memory does not
grow with the numbers of atoms and points.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.kernels.means import mean, mean_and_slopes
from tripletjax.numerics import apply_in_blocks
from tripletjax.types import Array

ATOMS = 256  # that are described together
POINTS = 256  # in a block, at most


class Process(NamedTuple):
    """A mean e(p / s) of environments whose points are of some species."""

    describer: Any
    kernel: Any
    kinds: np.ndarray  # [M] species of the points

    def energies(self, weights: Any, *environments: Array) -> Array:
        """Energies [C] of environments [C, K, 3], [C, K], [C, K], [C].

        Args:
            weights: "points" [M, D], "scale", "alpha" [M], and "tangents" [M, D] if there are any.
            environments: vectors, species, mask and center.
        """
        return self._evaluated(weights, environments, False)

    def energies_and_slopes(self, weights: Any, *environments: Array) -> tuple[Array, Array]:
        """Energies [C], and their derivatives by the vectors [C, K, 3]."""
        return self._evaluated(weights, environments, True)

    def _evaluated(self, weights: Any, environments: tuple[Array, ...], with_slopes: bool) -> Any:
        """What the methods above return, for ``ATOMS`` environments at a time."""
        n_species = len(self.describer.elements)

        def of_block(kind, rows):
            return self._of_species(weights, kind, rows, with_slopes)

        def of_atoms(vectors, species, mask, center):
            features = lambda v: self._features(v, species, mask, center)  # noqa: E731
            sources = representatives(center, mask, n_species)
            if not with_slopes:
                return by_species(of_block, n_species, features(vectors), center, sources)
            rows, back = jax.vjp(features, vectors)
            values, slopes = by_species(of_block, n_species, rows, center, sources)
            return values, back(slopes)[0]

        return apply_in_blocks(of_atoms, environments, ATOMS)

    def _features(self, vectors: Array, species: Array, mask: Array, center: Array) -> Array:
        """What is the same function around all species: densities, or environments [C, D]."""
        describer: Any = self.describer
        feature = describer.density if hasattr(describer, "spectra") else describer.environment
        return jax.vmap(feature)(vectors, species, mask, center)

    def _of_species(self, weights: Any, kind: int, rows: Array, with_slopes: bool) -> Any:
        """Energies [B] of features [B, ...] around one species, and their derivatives."""
        own = np.flatnonzero(self.kinds == kind)
        if not len(own):
            values = jnp.zeros(len(rows), rows.dtype)
            return (values, jnp.zeros_like(rows)) if with_slopes else values
        back = lambda slopes: slopes  # noqa: E731
        if hasattr(self.describer, "spectra"):
            rows, back = self.describer.spectra(kind, rows)
        scale = jnp.asarray(weights["scale"], rows.dtype)
        names = [name for name in ("points", "alpha", "tangents") if name in weights]
        arrays = [jnp.asarray(weights[name], rows.dtype) for name in names]
        width = rows.shape[1] if hasattr(self.describer, "spectra") else None
        evaluate: Any = mean_and_slopes if with_slopes else mean
        found = _over_points(
            lambda *some: evaluate(self.kernel, rows / scale, *some), arrays, own, width
        )
        return (found[0], back(found[1] / scale)) if with_slopes else found


def _over_points(
    function: Callable[..., Any], arrays: Sequence[Any], own: np.ndarray, width: int | None
) -> Any:
    """The sum of a function of points, weights and tangents, for blocks of the rows ``own``.

    Args:
        function: of some rows of the arrays.
        arrays: points [M, D], weights [M], and tangents [M, D] if there are any.
        own: rows that are summed over, ascending.
        width: number of columns of points and tangents; None: all.
    """
    n_blocks = -(-len(own) // POINTS)
    size = -(-len(own) // n_blocks)
    is_contiguous = own[-1] - own[0] == len(own) - 1

    def block(index):
        start = jnp.minimum(index * size, len(own) - size)  # the last block may begin earlier
        places = start + jnp.arange(size, dtype=index.dtype)
        is_new = places >= index * size

        def rows(array, is_summed):
            if is_contiguous:  # of rows and columns at once: no copy of all rows is made
                starts = [int(own[0]) + start] + [jnp.zeros_like(start)] * (array.ndim - 1)
                sizes = [size, *(width or columns for columns in array.shape[1:])]
                part = jax.lax.dynamic_slice(array, starts, sizes)
            else:
                part = jnp.take(array, jnp.asarray(own, index.dtype)[places], 0, mode="clip")
                part = part[..., :width] if part.ndim > 1 else part
            if is_summed and n_blocks * size > len(own):
                part = jnp.where(is_new if part.ndim == 1 else is_new[:, None], part, 0)
            return part

        return function(*(rows(array, bool(at)) for at, array in enumerate(arrays)))

    indices = jnp.arange(n_blocks, dtype=jnp.int32)
    if n_blocks == 1:
        return block(indices[0])
    add = lambda sums, index: (jax.tree.map(jnp.add, sums, block(index)), None)  # noqa: E731
    return jax.lax.scan(add, block(indices[0]), indices[1:])[0]


def representatives(center: Array, mask: Array, n_species: int) -> Array:
    """Rows of equal environments, [C]: all without neighbours, padding too, are one of a species.

    Example:
        >>> mask = jnp.array([[True], [False], [False], [False]])
        >>> representatives(jnp.array([0, 1, 0, 1]), mask, 2).tolist()
        [0, 1, 2, 1]
    """
    is_alone = ~jnp.any(mask, 1)
    kinds = jnp.arange(n_species, dtype=center.dtype)
    first = jnp.argmax(is_alone & (center == kinds[:, None]), 1).astype(center.dtype)
    return jnp.where(is_alone, first[center], jnp.arange(len(center), dtype=center.dtype))


def by_species(
    of_block: Callable[[int, Array], Any],
    n_species: int,
    rows: Array,
    center: Array,
    sources: Array,
) -> Any:
    """A function of rows in blocks of one species each.

    Args:
        of_block: of an index of a species and rows [B, ...]; returns arrays [B, ...].
        n_species: E.
        rows: ``[C, ...]``.
        center: ``[C]`` index of the species of each row.
        sources: ``[C]`` from ``representatives``: rows of which these are copies.

    Returns:
        Arrays ``[C, ...]``.

    Example:
        >>> times = lambda kind, rows: (kind + 1) * rows
        >>> rows, center = jnp.array([1.0, 2.0, 3.0]), jnp.array([1, 0, 1])
        >>> by_species(times, 2, rows, center, jnp.arange(3)).tolist()
        [2.0, 2.0, 6.0]
    """
    count = len(center)
    is_own = sources == jnp.arange(count, dtype=sources.dtype)
    center = jnp.where(is_own, center, jnp.asarray(n_species, center.dtype))
    slots, kinds, size = species_blocks(center, n_species)
    branches: list[Any] = [partial(of_block, kind) for kind in range(n_species)]
    shapes = jax.eval_shape(branches[0], jax.ShapeDtypeStruct((size, *rows.shape[1:]), rows.dtype))
    branches.append(lambda block: jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes))

    @jax.checkpoint
    def of_rows(members, kind):
        return jax.lax.switch(kind, branches, jnp.take(rows, members, 0, mode="clip"))

    members = jnp.zeros(len(kinds) * size, slots.dtype)
    members = members.at[slots].set(jnp.arange(count, dtype=slots.dtype), mode="drop")
    found = jax.lax.map(lambda block: of_rows(*block), (members.reshape(-1, size), kinds))
    return jax.tree.map(lambda array: array.reshape(-1, *array.shape[2:])[slots[sources]], found)


def species_blocks(center: Array, n_species: int) -> tuple[Array, Array, int]:
    """Places of rows in blocks of one species each.

    Args:
        center: ``[C]`` index of the species of each row; E: it is left out.
        n_species: E.

    Returns:
        The slot of each row [C] among the L·B of all blocks, beyond them if it is left out; the
        species of each block [L], E if it is empty; and B.

    Example:
        >>> slots, kinds, size = species_blocks(jnp.array([1, 0, 1, 2, 1]), 2)
        >>> slots.tolist(), kinds.tolist(), size
        ([8, 0, 9, 16, 10], [0, 1], 8)
    """
    count, size = len(center), block_size(len(center))
    n_blocks = (count + n_species * (size - 1)) // size
    is_of = center == jnp.arange(n_species, dtype=center.dtype)[:, None]  # [E, C]
    so_far = jnp.cumsum(is_of, 1, dtype=center.dtype)
    ends = jnp.cumsum(-(-so_far[:, -1] // size), dtype=center.dtype)  # of the blocks of a species
    first = jnp.concatenate([jnp.zeros(1, ends.dtype), ends[:-1]])
    slots = jnp.sum(jnp.where(is_of, first[:, None] * size + so_far - 1, 0), 0)
    slots = jnp.where(center < n_species, slots, n_blocks * size).astype(center.dtype)
    blocks = jnp.arange(n_blocks, dtype=ends.dtype)
    kinds = jnp.sum(ends[:, None] <= blocks, 0, dtype=center.dtype)
    return slots, kinds, size


def block_size(count: int) -> int:
    """Atoms in a block, for a number of atoms: few for one molecule, more for large products.

    Example:
        >>> block_size(12), block_size(200)
        (8, 32)
    """
    return 8 if count < 32 else 16 if count < 128 else 32
