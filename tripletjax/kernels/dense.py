"""Variance and noises of a full Gaussian process by its marginal likelihood. NumPy, float64."""

from dataclasses import asdict

import numpy as np
from scipy.linalg import cho_solve, cholesky
from scipy.optimize import minimize

from tripletjax.kernels.least_squares import LOG_RANGE, NOISE_FLOOR, NOISE_START
from tripletjax.kernels.observations import Noise, Observations


class DenseEvidence:
    """The variance and noises of highest evidence, those that are given held fixed.

    log p(y) = -½ yᵀ C⁻¹ y - ½ log det C - ½ n log 2π,   C = v K + diag(σ²),

    of labels y with kernel K [n, n] and kinds [n]; σ of an energy is √N times that of an atom.
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
        self._matrix, self._targets, self._kinds = matrix, targets, kinds
        self._names = observations.kinds
        n_atoms = np.array([len(frame) for frame in observations.frames], float)
        self._scales = np.ones(len(targets))  # of the noise: √N of energies
        self._scales[kinds == "energy"] = np.sqrt(n_atoms)
        given = asdict(noise)
        sizes = {}
        for kind in self._names:
            size = float(np.sqrt(np.mean((targets / self._scales)[kinds == kind] ** 2)))
            sizes[kind] = size if size > 0 else 1.0
        start = [float(targets @ targets / np.trace(matrix)) or 1.0]
        start += [given[kind] or NOISE_START * sizes[kind] for kind in self._names]
        low = np.log(start) - LOG_RANGE
        low[1:] = np.log([given[kind] or NOISE_FLOOR * sizes[kind] for kind in self._names])
        high = np.log(start) + LOG_RANGE
        for index, value in enumerate((variance, *(given[kind] for kind in self._names))):
            if value is not None:
                start[index] = value
                low[index] = high[index] = np.log(value)
        logs = np.log(start)
        if (low < high).any():
            bounds = list(zip(low, high, strict=True))
            logs = minimize(self._objective, logs, jac=True, method="L-BFGS-B", bounds=bounds).x
        self._logs = logs
        values = np.exp(logs)
        self.variance = float(values[0])
        self.noise = dict(zip(self._names, map(float, values[1:]), strict=True))
        self.log_evidence = -float(self._objective(logs)[0])

    def solution(self) -> tuple[np.ndarray, np.ndarray]:
        """Cholesky factor of the labels' covariance, and (K + Σ)⁻¹ y."""
        root = cholesky(self._total(np.exp(self._logs)), lower=True)
        return root, cho_solve((root, True), self._targets)

    def _total(self, values) -> np.ndarray:
        diagonal = np.zeros(len(self._targets))
        for kind, s in zip(self._names, values[1:], strict=True):
            diagonal[self._kinds == kind] = s**2
        return values[0] * self._matrix + np.diag(diagonal * self._scales**2)

    def _objective(self, logs):
        """-log p(y) = ½ yᵀ C⁻¹ y + ½ log det C + ½ n log 2π, and its slopes."""
        values = np.exp(logs)
        try:
            root = cholesky(self._total(values), lower=True)
        except np.linalg.LinAlgError:  # noise below rounding errors: not here
            return 1e300, np.zeros_like(logs)
        weights = cho_solve((root, True), self._targets)
        inverse = cho_solve((root, True), np.eye(len(root)))
        value = 0.5 * self._targets @ weights + np.log(np.diag(root)).sum()
        value += 0.5 * len(root) * np.log(2 * np.pi)
        against = inverse - np.outer(weights, weights)
        slopes = [0.5 * values[0] * np.vdot(against, self._matrix)]
        diagonal = np.diag(against) * self._scales**2
        for kind, s in zip(self._names, values[1:], strict=True):
            slopes.append(s**2 * diagonal[self._kinds == kind].sum())
        return value, np.array(slopes)
