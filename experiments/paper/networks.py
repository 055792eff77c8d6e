"""The networks of the paper's table. Each takes features of one structure, ``[T, D]`` of its
triplets or ``[D]`` of its correlations, and gives one vector.

Weights and biases start uniform within ±1/√(inputs), as those of the paper. The biases matter:
where they outweigh small inputs, normalisation does not blow these up.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from tripletjax.types import Array

CODE, WIDE, HEAD, GROUPS = 128, 512, 128, 4
EPSILON = 1e-5  # of normalisations


def dense(features: int, x: Array) -> Array:
    """One layer of the module that calls this."""
    bound = x.shape[-1] ** -0.5

    def uniform(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return nn.Dense(features, kernel_init=uniform, bias_init=uniform)(x)


class Linear(nn.Module):
    """One layer."""

    features: int

    @nn.compact
    def __call__(self, x):
        return dense(self.features, x)


class Wide(nn.Module):
    """512-LayerNorm-SiLU-512-LayerNorm-SiLU-features."""

    features: int

    @nn.compact
    def __call__(self, x):
        for _ in range(2):
            x = nn.silu(nn.LayerNorm(epsilon=EPSILON)(dense(WIDE, x)))
        return dense(self.features, x)


class LinearHead(nn.Module):
    """Two linear layers through 128."""

    @nn.compact
    def __call__(self, x):
        return dense(1, dense(HEAD, x))


class Head(nn.Module):
    """128-GroupNorm(4)-SiLU-128-GroupNorm(4)-SiLU-1."""

    @nn.compact
    def __call__(self, x):
        for _ in range(2):
            # Over the features of one triplet alone: no other row enters.
            norm = nn.GroupNorm(GROUPS, epsilon=EPSILON, reduction_axes=(-1,))
            x = nn.silu(norm(dense(HEAD, x)))
        return dense(1, x)


class Summed(nn.Module):
    """A network on every triplet, then the sum over triplets and over some rows of zeros.

    Of a linear network the sum may come first, which costs less by the number of triplets.
    """

    of_triplet: nn.Module
    zeros: int = 0

    @nn.compact
    def __call__(self, triplets):
        nothing = self.of_triplet(jnp.zeros_like(triplets[..., 0, :]))
        if isinstance(self.of_triplet, Linear | LinearHead):
            total = self.of_triplet(jnp.sum(triplets, -2))
            return total + (self.zeros + triplets.shape[-2] - 1) * nothing
        return jnp.sum(self.of_triplet(triplets), -2) + self.zeros * nothing


class Reconstruction(nn.Module):
    """Triplets encoded, summed, and decoded to correlations."""

    encoder: nn.Module
    features: int
    zeros: int = 0

    def setup(self):
        self.codes = Summed(self.encoder, self.zeros)
        self.decode = Wide(self.features)

    def __call__(self, triplets):
        return self.decode(self.codes(triplets))

    def encode(self, triplets):
        """The code of a structure, [CODE]."""
        return self.codes(triplets)
