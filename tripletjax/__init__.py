"""tripletjax: complete representations of atomic structures in JAX.

Start at ``describe`` for arrays of descriptors, at ``descriptor`` and ``prepare`` for pure
functions to compose with jit, vmap and grad.
"""

from importlib.metadata import version

from tripletjax.description import Description, describe
from tripletjax.descriptors import Descriptor, descriptor
from tripletjax.neighbors import prepare
from tripletjax.types import Basis, Batch, Hypers, InputError

__all__ = [
    "Basis",
    "Batch",
    "Description",
    "Descriptor",
    "Hypers",
    "InputError",
    "describe",
    "descriptor",
    "prepare",
]

__version__ = version("tripletjax")
