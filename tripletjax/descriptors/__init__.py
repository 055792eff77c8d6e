"""Descriptors of environments: what has a cutoff, elements and a function of one environment."""

from tripletjax.descriptors.base import KINDS, Descriptor, descriptor, read_by

__all__ = ["KINDS", "Descriptor", "descriptor", "read_by"]
