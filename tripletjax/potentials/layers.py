"""What the networks of one atom share: a learned density, its invariants, and a hidden layer.

With r_j and r̂_j the distance and direction of neighbour j, e_jf the products of its species and
radial functions, and m_jg the messages that it sends, if there are any, the density is

    c_clm = gain_c(centre) Σ_j [Σ_f W_cfl e_jf + Σ_g W'_cgl m_jg Σ_f W''_gf e_jf] Y_lm(r̂_j).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.basis.angular import harmonic_slice, harmonics_of_monomials, monomials
from tripletjax.basis.cutoffs import cutoff_weights
from tripletjax.invariants.spheres import powers_of, sphere_invariants
from tripletjax.numerics import fill_padding, safe_norm
from tripletjax.potentials.architecture import Architecture
from tripletjax.types import Array

ROUGHNESS = -1.5  # power of n that scales the n-th radial function: a prior for smooth functions
GAIN, BIAS = "gain", "bias"  # suffixes of the names of weights that are initially zero
DENSITY_SCALE = 4.0  # scales the density coefficients to order one
ORDER_SCALE = 0.3  # of invariants, for each order above 2: a prior for functions of low order

jax.tree_util.register_static(Architecture)


class AtomLayers(nn.Module):
    """Layers of a network of one environment."""

    architecture: Architecture
    n_species: int

    def _edges(self, vectors, species, mask):
        """Distances [K], directions [K, 3] and species ⊗ radial functions [K, f]."""
        size, dtype = self.architecture, vectors.dtype
        inside = mask & (safe_norm(vectors) < size.cutoff)
        vectors = fill_padding(vectors, inside, size.cutoff)
        r = safe_norm(vectors)
        x = r / size.cutoff
        envelope = cutoff_weights(r, size.cutoff, size.fall, size.cutoff_function)
        envelope = jnp.where(inside, envelope, 0)
        n = np.arange(1, size.n_radial + 1)
        sizes = n**ROUGHNESS / np.sqrt(np.mean(n ** (2 * ROUGHNESS)))
        waves = jnp.sin(x[:, None] * (np.pi * n).astype(dtype)) * sizes.astype(dtype)
        waves = waves * (envelope / x)[:, None]  # [K, n]
        kinds = jax.nn.one_hot(species, self.n_species, dtype=dtype)
        if self.n_species > size.species_channels:
            kinds = self._dense("species", size.species_channels, kinds)
        edges = kinds[:, :, None] * waves[:, None, :]
        return r, vectors / r[:, None], edges.reshape(len(r), -1)

    def _density(self, directions, edges, center_kind, received=None):
        """The density c_clm of the species, and of messages [K, g] where they are received."""
        size = self.architecture
        powers = monomials(directions, size.l_max)
        harmonics = harmonics_of_monomials(size.l_max).astype(directions.dtype)
        raw = jnp.einsum("kf,kp->fp", edges, powers) @ harmonics
        parts = self._mixed("radial", size.channels, raw)
        if received is not None:
            edges = self._dense("message_radial", received.shape[-1], edges) * received
            raw = jnp.einsum("kg,kp->gp", edges, powers) @ harmonics
            of_messages = self._mixed("message", size.channels, raw)
            parts = [part + other for part, other in zip(parts, of_messages, strict=True)]
        gains = [
            self._gain(f"density_{l}", size.channels, center_kind)[:, None]
            for l in range(size.l_max + 1)
        ]
        scaled = [part * gain for part, gain in zip(parts, gains, strict=True)]
        return jnp.concatenate(scaled, -1) * (1 / DENSITY_SCALE)

    def _mixed(self, name: str, count: int, coefficients) -> list[Array]:
        """For each degree l, ``count`` linear forms of the channels of [c, lm]: [count, m]."""
        return [
            self._dense(f"{name}_{l}", count, coefficients[:, harmonic_slice(l)].T).T
            for l in range(self.architecture.l_max + 1)
        ]

    def _smooth(self, density):
        """The isotropic density, its power spectrum and the invariants of higher order of every
        channel, [c (l_max + 2 + number of these)]; those of order ν times ``ORDER_SCALE``^(ν - 2).
        """
        size = self.architecture
        parts = [density[:, harmonic_slice(l)] for l in range(size.l_max + 1)]
        invariants: list[Array] = [jnp.sum(part**2, -1) for part in parts]
        orders = tuple(range(3, size.order + 1))
        if orders:
            scales = [ORDER_SCALE ** (nu - 2) for nu in orders for _ in powers_of(nu)]
            scaled = sphere_invariants(density, orders) * np.array(scales, density.dtype)
            invariants.append(scaled.T.ravel())
        return jnp.concatenate([density[:, 0], *invariants])

    def _hidden(self, features, center_kind):
        """The hidden layer of the atom, [width]."""
        size = self.architecture
        features = features * self._gain("features", len(features), center_kind)
        shift = self._dense("feature_shift", size.width, center_kind)
        hidden = nn.silu(self._dense("readout_1", size.width, features) + shift)
        return hidden + nn.silu(self._dense("readout_2", size.width, hidden, bias=True))

    def _gain(self, name: str, n_outputs: int, inputs: Array) -> Array:
        """1 + inputs @ W / √n_inputs, with W initially zero."""
        return 1 + self._dense(f"{name}_{GAIN}", n_outputs, inputs)

    def _dense(self, name: str, n_outputs: int, inputs: Array, bias: bool = False) -> Array:
        """inputs @ W / √n_inputs (+ b), with W of order one, in the dtype of the inputs."""
        shape = (inputs.shape[-1], n_outputs)
        start = nn.initializers.zeros if name.endswith(GAIN) else nn.initializers.normal(1.0)
        weights = self.param(name, start, shape, jnp.float32)
        outputs = inputs @ (jnp.asarray(weights, inputs.dtype) * (1 / float(np.sqrt(shape[0]))))
        if bias:
            offset = self.param(f"{name}_{BIAS}", nn.initializers.zeros, (n_outputs,), jnp.float32)
            outputs += jnp.asarray(offset, inputs.dtype)
        return outputs
