"""tripletjax: complete representations of atomic structures in JAX.

Start at ``describe`` for arrays of descriptors, at ``descriptor`` and ``prepare`` for pure
functions to compose with jit, vmap and grad; ``load`` reads a potential that
``tripletjax train`` wrote.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from tripletjax import moved
from tripletjax.descriptors.base import Descriptor, descriptor
from tripletjax.descriptors.description import Description, describe
from tripletjax.neighbors import prepare
from tripletjax.types import (
    Basis,
    Batch,
    ConvergenceError,
    Hypers,
    InputError,
    SimulationError,
)

if TYPE_CHECKING:
    from tripletjax.potentials.base import Potential, load

__all__ = [
    "Basis",
    "Batch",
    "ConvergenceError",
    "Description",
    "Descriptor",
    "Hypers",
    "InputError",
    "Potential",
    "SimulationError",
    "describe",
    "descriptor",
    "load",
    "prepare",
]

__version__ = version("tripletjax")
moved.install()


def __getattr__(name: str) -> Any:
    """Potentials need flax, which takes a second to import: only on request."""
    if name in ("Potential", "load"):
        return getattr(import_module("tripletjax.potentials.base"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
