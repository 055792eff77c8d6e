"""Energy models, and the potentials fitted with them; everything is imported lazily."""

from typing import TYPE_CHECKING

from tripletjax.lazy import lazily

if TYPE_CHECKING:
    from tripletjax.potentials.base import EnergyModel, Potential
    from tripletjax.potentials.local import local_model
    from tripletjax.potentials.storage import load
    from tripletjax.potentials.triplet import untrained

__all__ = ["EnergyModel", "Potential", "load", "local_model", "untrained"]

__getattr__ = lazily(
    __name__,
    {
        "EnergyModel": "potentials.base",
        "Potential": "potentials.base",
        "load": "potentials.storage",
        "local_model": "potentials.local",
        "untrained": "potentials.triplet",
    },
)
