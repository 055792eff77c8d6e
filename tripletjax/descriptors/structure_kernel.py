"""A kernel between structures as columns for ridge regression, as in scikit-learn."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from ase import Atoms

from tripletjax.descriptors.base import known_frames
from tripletjax.descriptors.estimator import Estimator
from tripletjax.descriptors.kinds import checked_hypers
from tripletjax.descriptors.similarity import HYPERS, Similar, similar, spectrum
from tripletjax.neighbors import check_frames, require_elements
from tripletjax.types import InputError, as_integer

RANK = 1e-13  # of the largest eigenvalue, below which a direction is rounding
PAIRS_AT_ONCE = 2**22  # of environments


class StructureKernelTransformer(Estimator):
    """Structures to coordinates whose inner products are a kernel of power spectra.

        K(S, S') = Σ_{i∈S} Σ_{j∈S'} ½ (1 + δ(species)) [½ (p̂_i·p̂_j + q̂_i·q̂_j)]^ζ

    with p the power spectrum of an environment, q that of all neighbours as one species, and hats
    for unit vectors: environments are similar to others of equal geometry and different species,
    which helps if data are few. The norms are not used: for a single element in a wide range of
    densities, the summed rows of ``DescriptorTransformer`` may be better.

    The columns are K(S, S_m) K_mm^{-1/2} over the structures S_m of ``fit``, or over
    ``n_structures`` of them chosen at random. Ridge regression on these columns is kernel ridge
    regression; fit it without an intercept, since K is a sum over atoms.

    Args:
        degree: ζ.
        n_structures: maximum number of structures, hence of columns.
        seed: of their choice.
        species: atomic numbers; None: those of ``fit``.
        **hypers: of the power spectrum; default: a cutoff function and a radial scaling that decay
            over the full range of the cutoff (``HYPERS``).

    Example:
        >>> from ase.build import molecule
        >>> frames = [molecule("H2O"), molecule("CH3OH")]
        >>> kernel = StructureKernelTransformer(n_max=2, l_max=1)
        >>> kernel.fit_transform(frames).shape
        (2, 2)
    """

    _made_by_fit = "whitening_"

    def __init__(
        self,
        *,
        degree: int = 2,
        n_structures: int = 1000,
        seed: int = 0,
        species: Iterable[int] | None = None,
        **hypers: Any,
    ):
        own = {"degree": degree, "n_structures": n_structures, "seed": seed, "species": species}
        self._parameters = own | hypers

    def fit(self, frames: Atoms | Iterable[Atoms], y: Any = None) -> "StructureKernelTransformer":
        """Choose the structures that span the columns.

        Raises:
            InputError: as for ``describe``; also an invalid number.
        """
        given = dict(self._parameters)
        degree = as_integer("degree", given.pop("degree"), 1, 100)
        limit = as_integer("n_structures", given.pop("n_structures"), 1)
        seed, species = as_integer("seed", given.pop("seed"), 0, 2**63), given.pop("species")
        checked_hypers("power_spectrum", HYPERS | given)
        frames = check_frames(frames)
        self.degree_ = degree
        self.spectrum_ = spectrum(require_elements(frames, species), given)
        if len(frames) > limit:
            chosen = np.random.default_rng(seed).choice(len(frames), limit, replace=False)
            frames = [frames[index] for index in np.sort(chosen)]
        self.environments_ = similar(frames, self.spectrum_)
        kernel = self._kernel(self.environments_)
        values, vectors = np.linalg.eigh(kernel)
        keep = values > RANK * values[-1]
        if not keep.any():
            raise InputError("no structure has a neighbour within the cutoff: increase the cutoff")
        self.whitening_ = vectors[:, keep] / np.sqrt(values[keep])
        return self

    def transform(self, frames: Atoms | Iterable[Atoms]) -> np.ndarray:
        """``[structures, columns]``, float64.

        Raises:
            InputError: as for ``describe``; also for species that ``fit`` did not see.
        """
        self._require_fit()
        frames = known_frames(frames, self.spectrum_)
        return self._kernel(similar(frames, self.spectrum_)) @ self.whitening_

    def fit_transform(self, frames: Atoms | Iterable[Atoms], y: Any = None) -> np.ndarray:
        """``fit`` and ``transform`` on the same structures."""
        self.fit(frames, y)
        return self._kernel(self.environments_) @ self.whitening_

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns: numbers."""
        self._require_fit()
        return np.array([f"kernel={i}" for i in range(self.whitening_.shape[1])], dtype=object)

    def _kernel(self, environments: Similar) -> np.ndarray:
        """K between structures and those of ``fit``."""
        others = self.environments_
        values = summed_kernel(environments, others, self.degree_)
        return np.add.reduceat(values, others.start, axis=1)


def summed_kernel(environments: Similar, others: Similar, degree: int) -> np.ndarray:
    """k between environments, summed over those of each structure on the left, [S, M].

    In parts that fit into memory.
    """
    stop, parts, first = np.append(environments.start[1:], len(environments.kinds)), [], 0
    start = environments.start
    while first < len(start):
        most = start[first] + PAIRS_AT_ONCE // len(others.kinds)
        last = max(first + 1, int(np.searchsorted(stop, most, side="right")))
        part = environments.of(slice(first, last))
        values = part.similarity(others) ** degree
        values *= part.weights(others)
        parts.append(np.add.reduceat(values, part.start, axis=0))
        first = last
    return np.concatenate(parts)
