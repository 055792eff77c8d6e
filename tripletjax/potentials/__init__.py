"""Energy models, and the potentials fitted with them; everything is imported lazily."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tripletjax.potentials.base import EnergyModel, Potential
    from tripletjax.potentials.local import local_model
    from tripletjax.potentials.storage import load
    from tripletjax.potentials.triplet import untrained

__all__ = ["EnergyModel", "Potential", "load", "local_model", "untrained"]

_PLACES = {
    "EnergyModel": "base",
    "Potential": "base",
    "load": "storage",
    "local_model": "local",
    "untrained": "triplet",
}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(f"tripletjax.potentials.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
