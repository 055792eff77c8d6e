"""Molecular dynamics: fitted potentials in jax-md, and a driver with ensembles of its own.

What is heavy is imported on request: the driver needs flax, and ``neighbor_list`` jax-md.
"""

from typing import TYPE_CHECKING

from tripletjax.lazy import lazily
from tripletjax.md.config import MDConfig

if TYPE_CHECKING:
    from tripletjax.engines.jaxmd import neighbor_list
    from tripletjax.md.relaxation import minimize
    from tripletjax.md.simulation import simulate

__all__ = ["MDConfig", "minimize", "neighbor_list", "simulate"]

__getattr__ = lazily(
    __name__,
    {
        "simulate": "md.simulation",
        "neighbor_list": "engines.jaxmd",
        "minimize": "md.relaxation",
    },
)
