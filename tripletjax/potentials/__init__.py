"""Energy models, and the potentials that fits make of them."""

from tripletjax.potentials.base import EnergyModel, Potential
from tripletjax.potentials.local import local_model
from tripletjax.potentials.storage import load
from tripletjax.potentials.triplet import untrained

__all__ = ["EnergyModel", "Potential", "load", "local_model", "untrained"]
