"""Neural models of tensors: atomic contributions to dipoles and polarisabilities, and their sums.

The spherical components of degree λ of one atom are those of a true tensor: they rotate as Y_λ and
are multiplied by (-1)^λ under inversion. With the hidden units of
``potentials.network.AtomicEnergy`` (ψ_ts of the triplet of tags t and s, p_ts its pseudoscalars,
both rotationally invariant and even or odd under inversion; the second layer h_t of one tag; the
hidden layer x of the atom),

    y_λμ = Σ_c g_c(x) c_cλμ + √4π Σ_t w_t φ(h_t, x) Y_λμ(r̂_t)
         + √4π Σ_{t ≠ s} w_t w_s Σ_k f_k(ψ_ts, p_ts) {Y_l1(r̂_t) ⊗ Y_l2(r̂_s)}_λμ,

with k = (l1, l2) the stretched types, l1 + l2 = λ with f even and l1 + l2 = λ + 1 with f odd in
p: the density of all neighbours, one tagged direction, and two. For λ = 1 the last sum includes the
cross products r̂_t × r̂_s, without which a dipole would be restricted to the span of the tags and
the vectors of the density. For λ = 0 the component is a function of x.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.basis.angular import harmonic_slice, spherical_harmonics
from tripletjax.invariants.equivariants import ROOT_4PI, bipolar_harmonics, bipolar_types
from tripletjax.potentials.network import AtomicEnergy, other_weights
from tripletjax.types import Array, InputError, as_integer

HIGHEST_DEGREE = 4


class AtomicTensor(AtomicEnergy):
    """Spherical components of the tensors of one atom, in units of the model's scale.

    Called like ``AtomicEnergy``; returns the 2λ+1 components, μ = -λ ... λ, of each of
    ``degrees`` in turn.

    Example:
        >>> from tripletjax.potentials.network import Architecture
        >>> model = AtomicTensor(Architecture(units=4, width=4), n_species=1, degrees=(0, 2))
        >>> environment = jnp.eye(3), jnp.zeros(3, int), jnp.ones(3, bool), 0
        >>> weights = jax.jit(model.init)(jax.random.key(0), *environment)
        >>> jax.jit(model.apply)(weights, *environment).shape
        (6,)
    """

    degrees: tuple[int, ...] = (1,)

    default_tags = 4

    @property
    def n_messages(self) -> int:
        """Tensors are made of single environments."""
        if self.architecture.messages:
            raise InputError(
                f"messages={self.architecture.messages}: models of tensors have none; leave it out"
            )
        return 0

    @nn.compact
    def __call__(self, vectors: Array, species: Array, mask: Array, center: Array | int) -> Array:
        check_degrees(self.degrees)
        center_kind = jax.nn.one_hot(center, self.n_species, dtype=vectors.dtype)
        density, tags, edges, weights = self._tagged(vectors, species, mask, center_kind)
        units, pseudoscalars, pooled, second = self._layers(tags, edges, weights, density)
        features = jnp.concatenate([self._smooth(density), weights @ second, weights @ pooled])
        hidden = self._hidden(features, center_kind)

        harmonics = spherical_harmonics(tags, max(self.degrees))  # [t, lm]
        parts = []
        for degree in self.degrees:
            if degree == 0:
                part = self._dense("scalar", 1, hidden) + self._dense("linear", 1, features)
            else:
                part = self._of_density(degree, density, hidden)
                part += weights @ self._of_tags(degree, harmonics, second, hidden)
                pairs = self._of_pairs(degree, harmonics, units, pseudoscalars)
                part += jnp.einsum("t,ts,tsm->m", weights, other_weights(weights), pairs)
            parts.append(part)
        return jnp.concatenate(parts)

    def _of_density(self, degree, density, hidden):
        """Σ_c g_c(x) c_cλμ, [2λ+1]; zero if the density has no degree λ."""
        if degree > self.architecture.l_max:
            return jnp.zeros(2 * degree + 1, density.dtype)
        gates = self._dense(f"density_gate_{degree}", len(density), hidden, bias=True)
        return gates @ density[:, harmonic_slice(degree)]

    def _of_tags(self, degree, harmonics, second, hidden):
        """√4π φ(h_t, x) Y_λμ(r̂_t), [t, 2λ+1]."""
        width = self.architecture.width
        shift = self._dense(f"tag_hidden_{degree}", width, hidden, bias=True)
        third = nn.silu(self._dense(f"tag_{degree}", width, second) + shift)
        factors = self._dense(f"tag_factor_{degree}", 1, third)  # [t, 1]
        return ROOT_4PI * factors * harmonics[:, harmonic_slice(degree)]

    def _of_pairs(self, degree, harmonics, units, pseudoscalars):
        """√4π Σ_k f_k(ψ_ts, p_ts) {Y_l1(r̂_t) ⊗ Y_l2(r̂_s)}_λμ, [t, s, 2λ+1].

        The types (0, λ) are included in level 1.
        """
        even, odd = bipolar_types(degree)
        total = jnp.zeros((*units.shape[:2], 2 * degree + 1), units.dtype)
        for l1, l2 in (*even[1:], *odd):
            name = f"pair_{l1}_{l2}_{degree}"
            if l1 + l2 == degree:
                factors = self._dense(name, 1, units)
            elif self.architecture.odd_units:
                mixed = self._dense(name, pseudoscalars.shape[-1], units)
                factors = jnp.mean(mixed * pseudoscalars, -1, keepdims=True)
            else:
                continue
            bipolar = jax.vmap(
                lambda first, l1=l1, l2=l2: bipolar_harmonics(first, harmonics, l1, l2, degree)
            )(harmonics)
            total += factors * bipolar
        return total


def check_degrees(degrees: tuple[int, ...]) -> None:
    """Raise InputError if there are no degrees, or one is negative, too high or repeated."""
    checked = [as_integer("degrees", degree, 0, HIGHEST_DEGREE) for degree in degrees]
    if not checked or len(set(checked)) < len(checked):
        raise InputError(
            f"invalid degrees={degrees!r}: expected different degrees, 0 to {HIGHEST_DEGREE}"
        )


def to_cartesian(components: Array) -> Array:
    """Components of Y_1 or Y_2 as a vector or a symmetric, traceless matrix, of equal norm.

    Y_1μ(u) becomes √(3/4π) u and Y_2μ(u) becomes √(15/8π) (u uᵀ - 1/3).

    Args:
        components: ``[..., 3]`` or ``[..., 5]``, μ = -λ ... λ.

    Returns:
        ``[..., 3]`` in the order x, y, z, or ``[..., 3, 3]``.

    Example:
        >>> to_cartesian(jnp.array([2.0, 3.0, 1.0])).tolist()
        [1.0, 2.0, 3.0]
    """
    if components.shape[-1] == 3:
        y, z, x = (components[..., i] for i in range(3))
        return jnp.stack([x, y, z], -1)
    xy, yz, zz, xz, xx_yy = (components[..., i] * float(np.sqrt(0.5)) for i in range(5))
    third = zz * float(np.sqrt(1 / 3))
    rows = [[xx_yy - third, xy, xz], [xy, -xx_yy - third, yz], [xz, yz, 2 * third]]
    return jnp.stack([jnp.stack(row, -1) for row in rows], -2)
