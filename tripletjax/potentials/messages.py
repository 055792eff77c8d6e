"""Messages: what an atom says of its environment to its neighbours.

The messages of an atom are invariant, and the density of a neighbour is weighted by them
(``layers``): the energy of an atom depends on the environments of its neighbours, up to twice the
cutoff away.
"""

import flax.linen as nn
import jax

from tripletjax.potentials.layers import AtomLayers
from tripletjax.types import Array


class Messages(AtomLayers):
    """The messages of one atom, [messages]: linear in its invariants and its hidden layer.

    Called with ``vectors, species, mask, center`` of its environment, like ``AtomicEnergy``; the
    density of the architecture has as many channels as there are messages.

    Example:
        >>> import jax.numpy as jnp
        >>> from tripletjax.potentials.architecture import Architecture
        >>> model = Messages(Architecture(channels=5, messages=5, width=4), n_species=1)
        >>> environment = jnp.eye(3), jnp.zeros(3, int), jnp.ones(3, bool), 0
        >>> weights = jax.jit(model.init)(jax.random.key(0), *environment)
        >>> jax.jit(model.apply)(weights, *environment).shape
        (5,)
    """

    @nn.compact
    def __call__(self, vectors: Array, species: Array, mask: Array, center: Array | int) -> Array:
        center_kind = jax.nn.one_hot(center, self.n_species, dtype=vectors.dtype)
        _, directions, edges = self._edges(vectors, species, mask)
        features = self._smooth(self._density(directions, edges, center_kind))
        hidden = self._hidden(features, center_kind)
        count = self.architecture.channels
        return self._dense("sent", count, features) + self._dense("sent_hidden", count, hidden)
