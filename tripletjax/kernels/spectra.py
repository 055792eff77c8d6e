"""Power spectra from few products of rotated densities, different around each species.

Both maps, the rotation of the density's channels and the projection of their products, are fixed:
forces and covariances are exact derivatives of what results.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from tripletjax.basis.angular import harmonic_slice
from tripletjax.basis.densities import density_coefficients
from tripletjax.descriptors.base import Descriptor
from tripletjax.types import Array

_EXACT: Any = {"precision": "highest"}


class SpeciesSpectrum(NamedTuple):
    """What is computed around the atoms of one species; Q = a·n channels, D_l products."""

    rotations: tuple[Array, ...]  # for each l, [Q_l, Q]
    chosen: tuple[Array, ...]  # for each l, [D_l]: places of products q <= q' in [Q_l, Q_l]
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
        density = _density(self.describer, vectors, species, mask)[None]
        found = [
            jnp.pad(_forward(part, density)[0][0], (0, self.width - part.axes.shape[1]))
            for part in self.parts
        ]
        rows = [jnp.where(center == kind, row, 0) for kind, row in enumerate(found)]
        return jnp.sum(jnp.stack(rows), 0)

    def block(
        self, kind: int, vectors: Array, species: Array, mask: Array
    ) -> tuple[Array, Callable[[Array], Array]]:
        """Environments [B, R] around atoms of one species, and their pullback [B, R] -> [B, K, 3].

        Args:
            kind: index of the species of all centres.
            vectors, species, mask: ``[B, K, 3]``, ``[B, K]`` and ``[B, K]``.
        """

        def densities(vectors):
            return jax.vmap(partial(_density, self.describer))(vectors, species, mask)

        density, back = jax.vjp(densities, vectors)
        part = self.parts[kind]
        rows, rotated = _forward(part, density)
        return rows, lambda slopes: back(_backward(part, rotated, slopes))[0]


def _density(describer: Descriptor, vectors: Array, species: Array, mask: Array) -> Array:
    """Density coefficients of one environment, [Q, lm]."""
    parameters = describer.parameters
    density = density_coefficients(
        vectors, species, mask, describer.hypers.basis, len(describer.elements), parameters.mixing
    )
    return density.reshape(-1, density.shape[-1])


def _forward(part: SpeciesSpectrum, density: Array) -> tuple[Array, list[Array]]:
    """Rows [B, R] of densities [B, Q, lm], and the rotated densities [B, Q_l, m] of each l."""
    rotated, products = [], []
    for l, (rotation, chosen) in enumerate(zip(part.rotations, part.chosen, strict=True)):
        rotation = jnp.asarray(rotation, density.dtype)
        channels = density[..., harmonic_slice(l)]
        channels = jnp.einsum("pq,bqm->bpm", rotation, channels, **_EXACT)
        square = jnp.einsum("bpm,bqm->bpq", channels, channels, **_EXACT)
        products.append(square.reshape(len(square), -1)[:, chosen])
        rotated.append(channels)
    axes = jnp.asarray(part.axes, density.dtype)
    return jnp.matmul(jnp.concatenate(products, -1), axes, **_EXACT), rotated


def _backward(part: SpeciesSpectrum, rotated: Sequence[Array], slopes: Array) -> Array:
    """Slopes [B, Q, lm] of the densities from those of the rows, without sums by index."""
    of_products = jnp.matmul(slopes, jnp.asarray(part.axes, slopes.dtype).T, **_EXACT)
    found, begin = [], 0
    for rotation, places, channels in zip(part.rotations, part.places, rotated, strict=True):
        count = sum(map(len, part.chosen[: len(found) + 1]))
        own = of_products[:, begin:count]
        begin = count
        own = jnp.concatenate([own, jnp.zeros_like(own[:, :1])], 1)
        square = own[:, places] * (1 + jnp.eye(len(places), dtype=own.dtype))
        of_channels = jnp.einsum("bpq,bqm->bpm", square, channels, **_EXACT)
        rotation = jnp.asarray(rotation, own.dtype)
        found.append(jnp.einsum("pq,bpm->bqm", rotation, of_channels, **_EXACT))
    return jnp.concatenate(found, -1)
