"""Molecular dynamics: fitted potentials in jax-md, and a driver with ensembles of its own.

What is heavy is imported on request: the driver needs flax, and ``neighbor_list`` jax-md.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tripletjax.md.config import MDConfig

if TYPE_CHECKING:
    from tripletjax.engines.jaxmd import neighbor_list
    from tripletjax.md.relaxation import minimize
    from tripletjax.md.simulation import simulate

__all__ = ["MDConfig", "minimize", "neighbor_list", "simulate"]

_PLACES = {
    "simulate": "md.simulation",
    "neighbor_list": "engines.jaxmd",
    "minimize": "md.relaxation",
}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(f"tripletjax.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
