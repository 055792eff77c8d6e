"""The neural energy of one atom: invariants of a learned density, and functions of triplets.

Neighbours send messages (``messages``), which weight them in a part of the density (``layers``).
Invariants of all neighbours, of order 1 to 4 in the learned density (``invariants.spheres``), are
smooth and cheap, and carry most of the energy. Triplets, which are added if tags are asked for,
tell apart what invariants of a fixed order do not.

With c the density, w_j the weights of the nearest neighbours (``adaptive_weights``) and c' the
density rotated so that tag t is along +z, one hidden unit h of the triplet (t, s) is

    ψ_h = silu(g_ht g_hs [Σ_l Z_hl P_l(cos θ) + Σ_m Re z_hm (x_s - i y_s)^m] + a_ht + b_hs),
    z_hm = Σ_{c, l >= m} W_hcl (c'_clm + i c'_cl-m),

a linear form of the complete invariants of the triplet, contracted over channels and l once per
tag, so that a triplet costs 3 l_max + 1 products per unit. Pseudoscalars (the Im part) enter in
products of two. Two rounds of pooling follow, q_t = Σ_s w_s ψ_ts and Σ_t w_t silu(B q_t + level 1).
The readout of invariants and triplets has a linear part and a hidden layer. Everything is three
times differentiable.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.basis.angular import edge_frame, to_edge_frame
from tripletjax.numerics import powers
from tripletjax.potentials.adaptive_tags import adaptive_weights, nearest
from tripletjax.potentials.architecture import Architecture as Architecture
from tripletjax.potentials.layers import BIAS, GAIN, AtomLayers
from tripletjax.types import Array

LAST_LAYER = ("linear", "readout_3")  # weights in which the energy is linear


class AtomicEnergy(AtomLayers):
    """Energy of one atom in units of the potential's scale, from its environment.

    Called with ``vectors, species, mask`` of one environment, [K, 3] Å, [K] and [K], neighbours in
    any order, ``center``, the species index of the atom, and ``messages``: those received from the
    neighbours, [K, n_messages], and those of the atom itself, [n_messages]; None: without them.

    Example:
        >>> model = AtomicEnergy(Architecture(units=4, width=4), n_species=1)
        >>> environment = jnp.eye(3), jnp.zeros(3, int), jnp.ones(3, bool), 0
        >>> weights = jax.jit(model.init)(jax.random.key(0), *environment)
        >>> jax.jit(model.apply)(weights, *environment).shape
        ()
    """

    default_tags = 0
    default_messages = 16

    @property
    def n_tags(self) -> int:
        """Maximum number of tagged neighbours."""
        tags = self.architecture.tags
        return self.default_tags if tags is None else tags

    @property
    def n_messages(self) -> int:
        """Number of messages of each neighbour."""
        messages = self.architecture.messages
        return self.default_messages if messages is None else messages

    @nn.compact
    def __call__(
        self,
        vectors: Array,
        species: Array,
        mask: Array,
        center: Array | int,
        messages: tuple[Array, Array] | None = None,
    ) -> Array:
        center_kind = jax.nn.one_hot(center, self.n_species, dtype=vectors.dtype)
        received, own = messages or (None, None)
        density, tags, edges, weights = self._tagged(vectors, species, mask, center_kind, received)
        features = [self._smooth(density)] + ([] if own is None else [own])
        if self.n_tags:
            _, _, pooled, second = self._layers(tags, edges, weights, density)
            features += [weights @ second, weights @ pooled]
        return self._readout(jnp.concatenate(features), center_kind)

    def _tagged(self, vectors, species, mask, center_kind, received=None):
        """Density [c, lm]; directions [t, 3], edges [t, f] and weights [t] of the tags."""
        size = self.architecture
        r, directions, edges = self._edges(vectors, species, mask)
        density = self._density(directions, edges, center_kind, received)
        if not self.n_tags:
            return density, directions[:0], edges[:0], r[:0]
        first = nearest(r, min(self.n_tags, len(mask)))
        radii, tags, edges = (
            jnp.asarray(values).at[first].get(unique_indices=True, mode="promise_in_bounds")
            for values in (r, directions, edges)
        )
        weights = adaptive_weights(r, radii, tags, self.n_tags, size.cutoff, size.n_pairs)
        return density, tags, edges, weights

    def _layers(self, tags, edges, weights, density):
        """Hidden units of triplets [t, s, units] and their pseudoscalars [t, s, 2 odd], both
        unweighted; triplets pooled over s [t, units] and the second layer [t, width].
        """
        size = self.architecture
        units, pseudoscalars, level_1 = self._triplets(tags, edges, density)
        pooled = jnp.einsum("ts,tsh->th", other_weights(weights), units)
        shift = self._dense("tag_shift", size.width, edges, bias=True)
        second = nn.silu(self._dense("second", size.width, pooled) + level_1 + shift)
        return units, pseudoscalars, pooled, second

    def _triplets(self, tags, edges, density):
        """Hidden units [t, s, units], pseudoscalars [t, s, 2 odd] and level 1 [t, width]."""
        size, l_max = self.architecture, self.architecture.l_max
        n_units = size.units + size.odd_units
        density = self._seen_by_tags(density)
        frames = jax.vmap(lambda u: edge_frame(u, l_max))(tags)
        turned = jax.vmap(lambda frame: to_edge_frame(density, frame, l_max))(frames)
        local = jnp.einsum("tij,sj->tsi", frames.axes, tags)  # [t, s, xyz]
        # [t, q, s], not [t, s, q]: products with it are several times faster when transposed.
        polar = jnp.swapaxes(legendre(local[..., 2], l_max), 1, 2)  # [t, l_max + 1, s]
        real, imaginary = powers(local[..., 0], local[..., 1], l_max)
        across = jnp.concatenate([real[..., 1:], imaginary[..., 1:]], -1)
        across = jnp.swapaxes(across, 1, 2)  # [t, 2 l_max, s]

        along, level_1 = self._axial_forms(turned)  # [t, l, h], [t, width]
        even, odd = self._azimuthal_forms(turned)  # [t, 2 l_max, units], [t, 2 l_max, 2 odd]
        shift_1, shift_2 = jnp.split(self._dense("shifts", 2 * n_units, edges), 2, axis=-1)
        gain_1, gain_2 = jnp.split(self._gain("tags", 2 * n_units, edges), 2, axis=-1)
        forms = jnp.einsum(
            "tqs,tqh->tsh", jnp.concatenate([polar, across], 1), jnp.concatenate([along, even], 1)
        )
        pseudoscalars = jnp.einsum("tqs,tqh->tsh", across, odd)
        if size.odd_units:
            first, second = jnp.split(pseudoscalars, 2, axis=-1)
            forms = jnp.concatenate([forms, first * second], -1)
        forms = forms * (gain_1[:, None] * gain_2) + (shift_1[:, None] + shift_2)
        return nn.silu(forms), pseudoscalars, level_1

    def _seen_by_tags(self, density):
        """Fewer channels of the density, [tag_channels, lm], which are turned for each tag."""
        count = self.architecture.tag_channels
        if count is None:
            return density
        return jnp.concatenate(self._mixed("tag_density", count, density), -1)

    def _axial_forms(self, turned):
        """Forms of the components m = 0: coefficients of P_l(cos θ) per unit, and of level 1."""
        size, orders = self.architecture, self.architecture.l_max + 1
        flat = _of_order(turned, 0)
        forms = self._dense("forms_0", orders * size.units, flat)
        return forms.reshape(len(flat), orders, size.units), self._dense("axial", size.width, flat)

    def _azimuthal_forms(self, turned):
        """Forms of the components m > 0, ordered as Re, then Im of (x + iy)^m, m = 1 ... l_max."""
        size = self.architecture
        even, odd = ([], []), ([], [])
        for m in range(1, size.l_max + 1):
            flat = jnp.stack([_of_order(turned, m), _of_order(turned, -m)])  # cos, sin
            cosine, sine = self._dense(f"forms_{m}", size.units + 2 * size.odd_units, flat)
            even[0].append(cosine[:, : size.units])
            even[1].append(sine[:, : size.units])
            odd[0].append(sine[:, size.units :])
            odd[1].append(-cosine[:, size.units :])
        return jnp.stack(even[0] + even[1], 1), jnp.stack(odd[0] + odd[1], 1)

    def _readout(self, features, center_kind):
        """The energy: a linear form of the features and one of the hidden layer."""
        hidden = self._hidden(features, center_kind)
        return self._dense("readout_3", 1, hidden)[0] + self._dense("linear", 1, features)[0]


def other_weights(weights: Array) -> Array:
    """Weights [t, s] of the second tag of a triplet: those of all tags except the first, t."""
    return weights * (1 - jnp.eye(len(weights), dtype=weights.dtype))


def weight_shapes(model: AtomLayers) -> dict[str, tuple[int, ...]]:
    """Shape of every array of the model, by name."""
    inputs: list = [jnp.eye(2, 3), jnp.zeros(2, jnp.int32), jnp.ones(2, bool), 0]
    if isinstance(model, AtomicEnergy) and model.n_messages:
        inputs.append((jnp.zeros((2, model.n_messages)), jnp.zeros(model.n_messages)))
    found = jax.eval_shape(model.init, jax.random.key(0), *inputs)
    return {name: array.shape for name, array in found["params"].items()}


def initial_weights(model: AtomLayers, seed: int | Sequence[int]) -> dict[str, Array]:
    """Weights like those of ``model.init``, but drawn on the host: the same on every machine."""
    random = np.random.Generator(np.random.PCG64(seed))
    return {
        name: jnp.asarray(
            np.zeros(shape) if name.endswith((GAIN, BIAS)) else random.normal(size=shape),
            jnp.float32,
        )
        for name, shape in sorted(weight_shapes(model).items())
    }


def _of_order(turned: Array, m: int) -> Array:
    """Components (l, m) of [t, c, lm] for all l >= |m|, flattened to [t, (l c)]."""
    l_max = int(np.sqrt(turned.shape[-1])) - 1
    return jnp.concatenate([turned[..., l * (l + 1) + m] for l in range(abs(m), l_max + 1)], -1)


def legendre(x: Array, degree: int) -> Array:
    """P_0 ... P_degree along a new last axis."""
    values = [jnp.ones_like(x), x]
    for l in range(2, degree + 1):
        values.append(((2 * l - 1) * x * values[-1] - (l - 1) * values[-2]) * (1 / l))
    return jnp.stack(values[: degree + 1], -1)
