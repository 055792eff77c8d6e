"""The coupled basis of triplets, and how the minimal basis determines it."""

from tripletjax.invariants.coupled.minimal import coupled_from_minimal, edge_from_stretched
from tripletjax.invariants.coupled.products import (
    CoupledColumn,
    coupled_covariants,
    coupled_index,
    coupled_invariants,
    coupled_sum,
    environment_coupled,
    pair_channels,
)

__all__ = [
    "CoupledColumn",
    "coupled_covariants",
    "coupled_from_minimal",
    "coupled_index",
    "coupled_invariants",
    "coupled_sum",
    "edge_from_stretched",
    "environment_coupled",
    "pair_channels",
]
