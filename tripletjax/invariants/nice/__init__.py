"""Density correlations of any order, contracted between steps (NICE).

``correlations`` describes one environment; from order 4 on it needs a ``fit_contraction``.
"""

from tripletjax.invariants.nice.fitting import PAPER_COMPONENTS, fit_contraction
from tripletjax.invariants.nice.products import block_order, density_covariants, expand
from tripletjax.invariants.nice.recursion import (
    Contraction,
    Correlation,
    correlation_index,
    correlations,
    covariants,
    product_index,
)
from tripletjax.invariants.nice.storage import load_contraction, save_contraction

__all__ = [
    "PAPER_COMPONENTS",
    "Contraction",
    "Correlation",
    "block_order",
    "correlation_index",
    "correlations",
    "covariants",
    "density_covariants",
    "expand",
    "fit_contraction",
    "load_contraction",
    "product_index",
    "save_contraction",
]
