"""Power spectra from few products of rotated densities, different around each species.

Both maps, the rotation of the density's channels and the projection of their products, are fixed:
forces and covariances are exact derivatives of what results.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from tripletjax.basis.angular import harmonic_slice
from tripletjax.descriptors.base import Descriptor
from tripletjax.descriptors.jacobians import through_density
from tripletjax.descriptors.kinds import KINDS
from tripletjax.types import Array

_EXACT: Any = {"precision": "highest"}


class SpeciesSpectrum(NamedTuple):
    """What is computed around the atoms of one species; Q = a·n channels, D_l products."""

    rotations: tuple[Array, ...]  # for each l, [Q_l, Q]
    firsts: tuple[Array, ...]  # for each l, [D_l]: q of the products q <= q'
    seconds: tuple[Array, ...]  # for each l, [D_l]: q'
    places: tuple[Array, ...]  # for each l, [Q_l, Q_l]: which product it is; D_l: none
    axes: Array  # [Σ D_l, R], with the weights of the products


@partial(
    jax.tree_util.register_dataclass, data_fields=["describer", "parts"], meta_fields=["width"]
)
@dataclass(frozen=True, eq=False)
class CompressedSpectrum:
    """p_r = Σ_l Σ_qq' A_{lqq'r} Σ_m c_qlm c_q'lm, c = U_l c'; an ``EnvironmentDescriptor``.

    U and A belong to the species of the centre. Made by ``compression.compressed``.

    Args:
        describer: a ``Descriptor`` of kind "power_spectrum", whose density c' is.
        parts: one for each species.
        width: number of columns, the largest R; those of other species are zero beyond theirs.
    """

    describer: Descriptor
    parts: tuple[SpeciesSpectrum, ...]
    width: int

    @property
    def cutoff(self) -> float:
        """Å; atoms strictly inside are neighbours."""
        return self.describer.cutoff

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers of the species, ascending."""
        return tuple(self.describer.elements)

    @property
    def widths(self) -> tuple[int, ...]:
        """Number of columns that are not zero, for each species of the centre."""
        return tuple(part.axes.shape[1] for part in self.parts)

    def environment(self, vectors: Array, species: Array, mask: Array, center: Any = 0) -> Array:
        """Describe one environment, [width]."""
        density = self.density(vectors, species, mask, center)[None]
        rows = []
        for kind, part in enumerate(self.parts):
            row = self.spectra(kind, density)[0][0]
            row = jnp.pad(row, (0, self.width - part.axes.shape[1]))
            rows.append(jnp.where(center == kind, row, 0))
        return jnp.sum(jnp.stack(rows), 0)

    def density(self, vectors: Array, species: Array, mask: Array, center: Any = 0) -> Array:
        """Density coefficients of one environment, [lm, Q]."""
        density = replace(self.describer, recipe=KINDS["density"])
        return self._by_harmonic(density.environment(vectors, species, mask, center))

    def jacobian(
        self, vectors: Array, species: Array, mask: Array, center: Any = 0
    ) -> tuple[Array, Array]:
        """``environment`` and its derivatives; see ``descriptors.jacobians``."""
        density = replace(self.describer, recipe=KINDS["density"])
        found = map(self._by_harmonic, density.jacobian(vectors, species, mask, center))
        branches = [partial(self._moved, kind) for kind in range(len(self.parts))]
        return jax.lax.switch(jnp.asarray(center), branches, *found)

    def _moved(self, kind: int, density: Array, moves: Array) -> tuple[Array, Array]:
        """An environment around a species, [width], and its derivatives by those of the density.

        Args:
            kind: index of the species.
            density, moves: ``[lm, Q]`` and ``[K, 3, lm, Q]``.
        """
        of_density = lambda density: self.spectra(kind, density[None])[0][0]  # noqa: E731
        values, slopes = through_density(of_density, density, moves)
        pad = lambda a: jnp.pad(a, [(0, 0)] * (a.ndim - 1) + [(0, self.width - a.shape[-1])])  # noqa: E731
        return pad(values), pad(slopes)

    def _by_harmonic(self, density: Array) -> Array:
        """Densities [..., Q · lm] as [..., lm, Q]."""
        n_harmonics = (self.describer.hypers.l_max + 1) ** 2
        shape = density.shape[-1] // n_harmonics, n_harmonics
        return jnp.swapaxes(density.reshape(*density.shape[:-1], *shape), -1, -2)

    def spectra(self, kind: int, density: Array) -> tuple[Array, Callable[[Array], Array]]:
        """Environments around atoms of one species, and their pullback.

        Args:
            kind: index of the species of all centres.
            density: ``[B, lm, Q]`` of their environments.

        Returns:
            ``[B, R]``, and a function of slopes [B, R] that returns those of the density.
        """
        part = self.parts[kind]
        rows, rotated = _forward(part, density)
        return rows, lambda slopes: _backward(part, rotated, slopes)


def _forward(part: SpeciesSpectrum, density: Array) -> tuple[Array, list[Array]]:
    """Rows [B, R] of densities [B, lm, Q], and the rotated densities [B, m, Q_l] of each l."""
    rotated, products = [], []
    for l, rotation in enumerate(part.rotations):
        rotation = jnp.asarray(rotation, density.dtype)
        channels = jnp.matmul(density[:, harmonic_slice(l)], rotation.T, **_EXACT)
        first, second = (channels[..., pairs[l]] for pairs in (part.firsts, part.seconds))
        products.append(jnp.sum(first * second, 1))
        rotated.append(channels)
    axes = jnp.asarray(part.axes, density.dtype)
    return jnp.matmul(jnp.concatenate(products, -1), axes, **_EXACT), rotated


def _backward(part: SpeciesSpectrum, rotated: Sequence[Array], slopes: Array) -> Array:
    """Slopes [B, lm, Q] of the densities from those of the rows, without sums by index."""
    of_products = jnp.matmul(slopes, jnp.asarray(part.axes, slopes.dtype).T, **_EXACT)
    found, stop = [], 0
    for rotation, pairs, places, channels in zip(
        part.rotations, part.firsts, part.places, rotated, strict=True
    ):
        start, stop = stop, stop + len(pairs)
        own = jnp.pad(of_products[:, start:stop], [(0, 0), (0, 1)])  # zero: no product
        square = own[:, places] * (1 + jnp.eye(len(places), dtype=own.dtype))
        of_channels = jnp.matmul(channels, square, **_EXACT)
        found.append(jnp.matmul(of_channels, jnp.asarray(rotation, own.dtype), **_EXACT))
    return jnp.concatenate(found, 1)
