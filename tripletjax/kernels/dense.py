"""Variance and noise of a full Gaussian process by its marginal likelihood. NumPy, float64."""

from dataclasses import asdict

import numpy as np
from scipy.linalg import cho_solve

from tripletjax.kernels.evidence import maximum_of_labels, of_matrix, stable_root, what_was_reached
from tripletjax.kernels.least_squares import (
    LOG_RANGE,
    NOISE_CEILING,
    NOISE_FLOOR,
    NOISE_START,
    unit_of,
)
from tripletjax.kernels.observations import Noise, Observations


class DenseEvidence:
    """The variance and noise levels that maximise the evidence, with given values held fixed.

    log p(y) = -½ yᵀ C⁻¹ y - ½ log det C - ½ n log 2π,   C = v K + diag(σ²),

    of labels y with kernel K [n, n] and kinds [n]; σ of an energy is √N times that of an atom.
    If rounding errors make K or C indefinite, a jitter of their size is added to the diagonal.
    """

    def __init__(
        self,
        matrix: np.ndarray,
        targets: np.ndarray,
        kinds: np.ndarray,
        observations: Observations,
        noise: Noise,
        variance: float | None,
    ):
        self._targets, self._kinds = targets, kinds
        self._names = observations.kinds
        n_atoms = np.array([len(frame) for frame in observations.frames], float)
        self._scales = np.ones(len(targets))  # of the noise: √N of energies
        self._scales[kinds == "energy"] = np.sqrt(n_atoms)
        self.reached: list[str] = []  # warnings about the search
        self._matrix = matrix
        logs = self._searched(asdict(noise), variance)
        values = np.exp(logs)
        self.variance = float(values[0])
        self.noise = dict(zip(self._names, map(float, values[1:]), strict=True))
        self._root, _ = stable_root(self._total(values))
        self._weights = cho_solve((self._root, True), targets)
        value = 0.5 * targets @ self._weights + np.log(np.diag(self._root)).sum()
        self.log_evidence = -float(value + 0.5 * len(targets) * np.log(2 * np.pi))

    def solution(self) -> tuple[np.ndarray, np.ndarray]:
        """Cholesky factor of the labels' covariance, and (v K + Σ)⁻¹ y."""
        return self._root, self._weights

    def _searched(self, given: dict[str, float | None], variance: float | None) -> np.ndarray:
        """Logs of variance and noise levels."""
        scaled = self._targets / self._scales
        matrix = self._matrix / self._scales / self._scales[:, None]
        sizes = []
        for kind in self._names:
            size = float(np.sqrt(np.mean(scaled[self._kinds == kind] ** 2)))
            sizes.append(size if size > 0 else 1.0)
        size = float(self._targets @ self._targets / (np.trace(self._matrix) or 1.0)) or 1.0
        start = np.log([size, *(NOISE_START * np.array(sizes))])
        low, high = start - LOG_RANGE, start + LOG_RANGE
        low[1:], high[1:] = (np.log(s * np.array(sizes)) for s in (NOISE_FLOOR, NOISE_CEILING))
        for index, value in enumerate((variance, *(given[kind] for kind in self._names))):
            if value is not None:
                start[index] = low[index] = high[index] = np.log(value)
        if not (low < high).any():
            return start
        code = np.argmax(np.array(self._names)[:, None] == self._kinds, axis=0)
        order = np.argsort(code != np.argmax(np.bincount(code)), kind="stable")
        matrix = matrix[np.ix_(order, order)]
        root, jitter = stable_root(matrix)
        matrix = matrix + jitter * np.eye(len(matrix))
        evidence = of_matrix(matrix, root, scaled[order], code[order], len(self._names))
        found = maximum_of_labels(evidence, start, low, high, self._names)
        names, units = ("variance", *(f"noise of the {kind}" for kind in self._names)), ["eV²"]
        units += [unit_of(kind) for kind in self._names]
        self.reached = what_was_reached(found, names, units, len(scaled))
        return found.logs

    def _total(self, values) -> np.ndarray:
        noises = dict(zip(self._names, values[1:], strict=True))
        diagonal = np.array([noises[kind] for kind in self._kinds]) * self._scales
        return values[0] * self._matrix + np.diag(diagonal**2)
