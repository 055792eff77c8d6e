"""Kernels of environments and structures, and regression in closed form on them.

- ``triplets``: the exact kernel between the triplets of two environments; ``nystrom``: the same as
  an inner product of short vectors.
- ``environments``: kernels between the vectors of two environments, summed over atoms;
  ``algebra``: their sums and products; ``neighborhoods``: your own function of two environments.
- ``sparse`` and ``full``: Gaussian processes on energies, forces and stress; ``model``: the energy
  models that they fit, with uncertainties.
- ``regression`` and ``selection``: ridge and Gaussian processes on vectors, and their
  hyperparameters; ``uncertainty``: whether predicted deviations are those of the errors;
  ``novelty``: how far environments are from those of the training set.
"""

from tripletjax.kernels.environments import EnvironmentKernel, structure_kernel
from tripletjax.kernels.full import fit_full_potential
from tripletjax.kernels.model import (
    FullGaussianProcess,
    KernelModel,
    SparseGaussianProcess,
    energy_deviations,
)
from tripletjax.kernels.neighborhoods import Neighborhood, neighborhood_kernel
from tripletjax.kernels.novelty import Novelty
from tripletjax.kernels.nystrom import (
    InducingTriplets,
    NystromDescriptor,
    choose_triplets,
    nystrom_descriptor,
    nystrom_vector,
)
from tripletjax.kernels.observations import Noise
from tripletjax.kernels.regression import Fit, gaussian_process, ridge
from tripletjax.kernels.selection import (
    Choice,
    choose_hyperparameters,
    leave_one_out,
    log_marginal_likelihood,
)
from tripletjax.kernels.sparse import fit_sparse_potential
from tripletjax.kernels.storage import load_kernel_potential, save_kernel_potential
from tripletjax.kernels.triplets import (
    TripletFeatures,
    normalized_triplet_kernel,
    triplet_features,
    triplet_kernel,
)
from tripletjax.kernels.uncertainty import Calibration, calibration, recalibration_factor

__all__ = [
    "Calibration",
    "Choice",
    "EnvironmentKernel",
    "Fit",
    "FullGaussianProcess",
    "InducingTriplets",
    "KernelModel",
    "Neighborhood",
    "Noise",
    "Novelty",
    "NystromDescriptor",
    "SparseGaussianProcess",
    "TripletFeatures",
    "calibration",
    "choose_hyperparameters",
    "choose_triplets",
    "energy_deviations",
    "fit_full_potential",
    "fit_sparse_potential",
    "gaussian_process",
    "leave_one_out",
    "load_kernel_potential",
    "log_marginal_likelihood",
    "neighborhood_kernel",
    "normalized_triplet_kernel",
    "nystrom_descriptor",
    "nystrom_vector",
    "recalibration_factor",
    "ridge",
    "save_kernel_potential",
    "structure_kernel",
    "triplet_features",
    "triplet_kernel",
]
