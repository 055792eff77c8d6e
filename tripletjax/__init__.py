"""tripletjax: complete representations of atomic structures in JAX.

Start at ``describe`` for arrays of descriptors, at ``descriptor`` and ``prepare`` for pure
functions to compose with jit, vmap and grad; ``load`` reads a potential that
``tripletjax train`` wrote.
"""

from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from tripletjax import moved

if TYPE_CHECKING:
    from tripletjax.checks import ConvergenceError, InputError, SimulationError
    from tripletjax.descriptors.base import Descriptor, descriptor
    from tripletjax.descriptors.description import Description, describe
    from tripletjax.fitting import fit
    from tripletjax.neighbors import prepare
    from tripletjax.potentials import Potential, load, local_model
    from tripletjax.types import Basis, Batch, Hypers

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
    "fit",
    "load",
    "local_model",
    "prepare",
]
_PLACES = {
    "Basis": "types",
    "Batch": "types",
    "ConvergenceError": "checks",
    "Description": "descriptors.description",
    "Descriptor": "descriptors.base",
    "Hypers": "types",
    "InputError": "checks",
    "Potential": "potentials",
    "SimulationError": "checks",
    "describe": "descriptors.description",
    "descriptor": "descriptors.base",
    "fit": "fitting",
    "load": "potentials",
    "local_model": "potentials",
    "prepare": "neighbors",
}

__version__ = version("tripletjax")
moved.install()


def __getattr__(name: str) -> Any:
    """Everything on request: JAX takes a second to import, and flax another."""
    if name in _PLACES:
        return getattr(import_module(f"tripletjax.{_PLACES[name]}"), name)
    if moved.new_path(f"tripletjax.{name}") is None and find_spec(f"tripletjax.{name}"):
        return import_module(f"tripletjax.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
