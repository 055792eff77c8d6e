"""Descriptors of environments: a cutoff, elements and a function of one environment."""

from tripletjax.descriptors.base import Descriptor, descriptor
from tripletjax.descriptors.kinds import KINDS, Kind, Setup, read_by
from tripletjax.descriptors.protocol import EnvironmentDescriptor

__all__ = [
    "KINDS",
    "Descriptor",
    "EnvironmentDescriptor",
    "Kind",
    "Setup",
    "descriptor",
    "read_by",
]
