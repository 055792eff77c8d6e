"""The model with one of its parts taken out, or one put in: to see which of them pay."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import flax.linen as nn
import jax.numpy as jnp

from tripletjax.potentials import network as models
from tripletjax.potentials.network import AtomicEnergy


class WithoutGates(AtomicEnergy):
    """Tags and species shift the hidden units, but do not multiply them."""

    def _gain(self, name, n_outputs, inputs):
        return jnp.ones((*inputs.shape[:-1], n_outputs), inputs.dtype)


class OneRound(AtomicEnergy):
    """Triplets are pooled over both tags at once: no layer for each tag in between."""

    def _readout(self, features, center_kind):
        size = self.architecture
        n_triplet = size.units + size.odd_units
        before = features[: -(size.width + n_triplet)]
        return super()._readout(jnp.concatenate([before, features[-n_triplet:]]), center_kind)


class PlainReadout(AtomicEnergy):
    """A readout of two hidden layers, without the linear and the residual path."""

    def _readout(self, features, center_kind):
        size = self.architecture
        features = features * self._gain("features", len(features), center_kind)
        shift = self._dense("feature_shift", size.width, center_kind)
        hidden = nn.silu(self._dense("readout_1", size.width, features) + shift)
        hidden = nn.silu(self._dense("readout_2", size.width, hidden, bias=True))
        return self._dense("readout_3", 1, hidden)[0]


class Products(AtomicEnergy):
    """The readout sees products of two forms of the pooled features as well."""

    def _readout(self, features, center_kind):
        first, second = jnp.split(self._dense("factors", 2 * self.architecture.width, features), 2)
        return super()._readout(jnp.concatenate([features, first * second]), center_kind)


VARIANTS = {
    "without-gates": WithoutGates,
    "one-round": OneRound,
    "plain-readout": PlainReadout,
    "products": Products,
}


@contextmanager
def variant(name: str) -> Iterator[None]:
    """Inside, potentials are made of this variant, if the name is one."""
    model = VARIANTS.get(name, AtomicEnergy)
    roughness = 0.0 if name == "rough" else models.ROUGHNESS  # radial functions of equal size
    with (
        patch("tripletjax.potentials.network.ROUGHNESS", roughness),
        patch("tripletjax.potentials.triplet.AtomicEnergy", model),
        patch("tripletjax.potentials.network.AtomicEnergy", model),
    ):
        yield
