"""Descriptors of environments: a cutoff, elements and a function of one environment."""

from tripletjax.descriptors.base import Descriptor, descriptor
from tripletjax.descriptors.jacobians import environment_jacobian
from tripletjax.descriptors.kinds import KINDS, Kind, OfDensity, Setup, read_by
from tripletjax.descriptors.protocol import EnvironmentDescriptor

__all__ = [
    "KINDS",
    "Descriptor",
    "EnvironmentDescriptor",
    "Kind",
    "OfDensity",
    "Setup",
    "descriptor",
    "environment_jacobian",
    "read_by",
]
