"""Parameters of a descriptor and its kernel by the gradient of the evidence.

With labels of covariance C = v K(θ) + Σ and weights α = C⁻¹ y, the log evidence changes by

    d log p(y) = ½ v Σ_ab (α_a α_b - [C⁻¹]_ab) dK_ab(θ),

with variance and noises that maximise it for each θ. The matrix is differentiated block by block,
back through the covariances of two structures and the environments of one: never as a whole.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations_with_replacement
from logging import getLogger
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from scipy.linalg import cho_solve
from scipy.optimize import minimize

from tripletjax.basis.densities import Mixing
from tripletjax.descriptors.base import Descriptor
from tripletjax.kernels.covariances import covariance_block, covariance_matrix
from tripletjax.kernels.dense import at_highest_evidence
from tripletjax.kernels.designs import environment_vectors
from tripletjax.kernels.environments import EnvironmentKernel, typical_distance
from tripletjax.kernels.full import targets_of
from tripletjax.kernels.observations import Noise, Observations, check_observations, single_batches
from tripletjax.kernels.projection import Projected, on_principal_axes
from tripletjax.kernels.tangents import Tangents, structure_tangents
from tripletjax.types import Array

logger = getLogger(__name__)
FEW_LABELS = 400
STRUCTURES = 8  # that labels are taken from, if there are so many
ITERATIONS = 15
RANGE = np.log(5.0)  # of the weights about their start
SCALE_RANGE = np.log(10.0)  # of the length scale about its own
STARTS = (0.0, np.log(0.3), np.log(3.0))  # of the log of the length scale
TRUNCATION = 1e-3  # of the principal axes, which are those at the start
GAIN = 1.0  # of the log evidence in an iteration, below which the search ends


def tuned(
    describer: Descriptor,
    kernel: EnvironmentKernel,
    frames: Sequence[Atoms],
    energies: Any,
    forces: Sequence[Any] | None = None,
    *,
    noise: Noise | None = None,
    references: Any = None,
    is_scale_fixed: bool = False,
) -> tuple[Descriptor, EnvironmentKernel]:
    """Weights of the species in the density, and the length scale, of highest evidence.

    The density of species a is multiplied by a weight w_a, whose mean over the species is fixed.
    Some hundred labels of a few structures, evenly spaced in the list, decide.

    Args:
        describer: at which the search begins, without mixed species.
        kernel: Gaussian, its length scale in units of the median distance between environments.
        frames, energies, forces, noise, references: as for ``fit_full_potential``.
        is_scale_fixed: keep the length scale.

    Returns:
        The descriptor with the weights as its ``mixing``, and the kernel.

    Raises:
        InputError: as for ``fit_full_potential``.

    Example:
        >>> from ase.build import molecule
        >>> from tripletjax import descriptor
        >>> soap = descriptor("power_spectrum", (1, 8), cutoff=3.0, n_max=2, l_max=1)
        >>> frames = [molecule("H2O"), molecule("H2O")]
        >>> frames[1].positions[0, 2] += 0.1
        >>> found, kernel = tuned(soap, EnvironmentKernel(length_scale=4.0), frames, [0.0, 0.1])
        >>> found.parameters.mixing.species.shape
        (2, 2)
    """
    with jax.enable_x64(True):
        given = check_observations(
            list(frames), energies, forces, None, describer, references, is_told=False
        )
        evidence = Evidence(describer, kernel, _sample(given), noise or Noise())
        found = _highest(evidence, is_scale_fixed)
    describer, kernel = evidence.describer_of(found), evidence.kernel_of(found)
    kernel = replace(kernel, length_scale=float(kernel.length_scale))
    mixing: Any = describer.parameters.mixing
    describer = replace(
        describer,
        parameters=describer.parameters._replace(
            mixing=mixing._replace(species=np.asarray(mixing.species))
        ),
    )
    weights = zip(describer.elements, np.diag(mixing.species), strict=True)
    logger.info(
        "weights of the species in the density: %s; length scale %.3g",
        ", ".join(f"{chemical_symbols[number]} {weight:.3g}" for number, weight in weights),
        kernel.length_scale,
    )
    return describer, kernel


def _sample(given: Observations) -> Observations:
    """Evenly spaced structures: as many as have ``FEW_LABELS``, but ``STRUCTURES`` if possible."""
    counts = [
        1 + (0 if forces is None else 3 * len(frame))
        for frame, forces in zip(given.frames, given.forces, strict=True)
    ]
    step = max(1, min(-(-sum(counts) // FEW_LABELS), len(counts) // STRUCTURES))
    some = given.of(range(0, len(counts), step))
    return some._replace(stress=[None] * len(some.frames))


def _some(axes: Sequence[np.ndarray], seed: int = 0) -> list[np.ndarray]:
    """The directions [3N, n] of all structures, or ``FEW_LABELS`` of them drawn at random."""
    random = np.random.Generator(np.random.PCG64(seed))
    share = min(1.0, FEW_LABELS / max(1, sum(along.shape[1] for along in axes)))
    found = []
    for along in axes:
        count = along.shape[1]
        places = random.choice(count, round(share * count), replace=False)
        found.append(along[:, np.sort(places)])
    return found


class Evidence:
    """The log evidence of a few structures and its gradient, as a function of logs of factors [P].

    The factors multiply the densities of the species, with a fixed mean, and the length scale.
    """

    def __init__(
        self, describer: Descriptor, kernel: EnvironmentKernel, given: Observations, noise: Noise
    ):
        self._describer, self._kernel, self._noise = describer, kernel, noise
        axes = _some(given.internal_axes)
        self._targets = targets_of(given, axes)
        self._batches = single_batches(given.frames, describer, np.dtype(float))
        sizes = [3 * len(batch.positions) for batch in self._batches]
        pairs = zip(axes, sizes, strict=True)
        self._axes_of_labels = [np.pad(a, ((0, size - len(a)), (0, 0))) for a, size in pairs]
        base = on_principal_axes(describer, self._batches, TRUNCATION)
        self._axes = getattr(base, "axes", None)
        described = jax.jit(partial(environment_vectors, base))
        found = [jax.device_get(described(batch)) for batch in self._batches]
        self._kinds = [kinds for _, kinds in found]
        vectors, kinds = (np.concatenate(part) for part in zip(*found, strict=True))
        self._scale = typical_distance(vectors[kinds >= 0], kinds[kinds >= 0])
        self._forward = jax.jit(self._moving)
        self._back = jax.jit(
            lambda logs, batch, axes, cotangents: jax.vjp(
                lambda logs: self._moving(logs, batch, axes), logs
            )[1](cotangents)[0]
        )
        self._of_pair = jax.jit(jax.grad(self._weighed, argnums=(0, 1, 2)))
        self.size = len(describer.elements) + 1

    def describer_of(self, logs: Any) -> Descriptor:
        """The descriptor with factors for its species."""
        parameters = self._describer.parameters
        mixing = parameters.mixing or Mixing()
        factors = jnp.exp(logs[:-1] - jnp.mean(logs[:-1]))
        mixing = mixing._replace(species=jnp.diag(factors))
        return replace(self._describer, parameters=parameters._replace(mixing=mixing))

    def kernel_of(self, logs: Any) -> EnvironmentKernel:
        """The kernel with a factor for its length scale."""
        return replace(self._kernel, length_scale=self._kernel.length_scale * jnp.exp(logs[-1]))

    def _moving(self, logs, batch, internal) -> tuple[Array, Array]:
        """Environments [C, R] of one structure, and their derivatives along its labels."""
        describer: Any = self.describer_of(logs)
        if self._axes is not None:
            describer = Projected(describer, self._axes)
        found = structure_tangents(describer, self._scale, batch, internal)
        return jnp.asarray(found.vectors), jnp.asarray(found.tangents)

    def _weighed(self, logs, first, second, kinds, weights) -> Array:
        """Σ_ab G_ab K_ab of two structures."""
        pair = zip((first, second), kinds, strict=True)
        blocks = [Tangents(vectors, kind, moves) for (vectors, moves), kind in pair]
        return jnp.sum(weights * covariance_block(self.kernel_of(logs), *blocks))

    def __call__(self, logs: np.ndarray) -> tuple[float, np.ndarray]:
        logs = np.asarray(logs, float)
        found, matrix = self._covariances(logs)
        value, slopes = self._slopes(matrix)
        return value, self._gradient(logs, found, slopes)

    def _covariances(self, logs: np.ndarray) -> tuple[list[Any], np.ndarray]:
        """What ``_moving`` says of all structures, and the covariance of all labels."""
        pairs = zip(self._batches, self._axes_of_labels, strict=True)
        found = [self._forward(logs, *pair) for pair in pairs]
        real = []
        for (vectors, moves), kinds in zip(found, self._kinds, strict=True):
            is_real = kinds >= 0
            moves = np.asarray(moves)[:, is_real]
            real.append(Tangents(np.asarray(vectors)[is_real], kinds[is_real], moves))
        kernel = self.kernel_of(logs)
        kernel = replace(kernel, length_scale=float(kernel.length_scale))
        return found, covariance_matrix(kernel, real)

    def _slopes(self, matrix: np.ndarray) -> tuple[float, np.ndarray]:
        """The log evidence, and its derivative with respect to every number of the matrix."""
        found = at_highest_evidence(matrix, self._targets, self._noise)
        inverse = cho_solve((found.root, True), np.eye(len(found.root)), check_finite=False)
        against = np.outer(found.weights, found.weights) - inverse
        along = found.directions
        slopes = 0.5 * found.levels.variance * (along @ against @ along.T)
        return found.log_evidence, slopes

    def _gradient(self, logs, found, slopes: np.ndarray) -> np.ndarray:
        """Back from the matrix to pairs of structures, and to each structure."""
        stops = np.cumsum([0, *(1 + len(moves) for _, moves in found)])
        gradient = np.zeros_like(logs)
        cotangents: list[Any] = [jax.tree.map(jnp.zeros_like, one) for one in found]
        for i, j in combinations_with_replacement(range(len(found)), 2):
            block = slopes[stops[i] : stops[i + 1], stops[j] : stops[j + 1]]
            block = block * (1 if i == j else 2)
            kinds = self._kinds[i], self._kinds[j]
            own, *sides = self._of_pair(logs, found[i], found[j], kinds, block)
            gradient += own
            for member, side in zip((i, j), sides, strict=True):
                cotangents[member] = jax.tree.map(jnp.add, cotangents[member], side)
        for batch, internal, cotangent in zip(
            self._batches, self._axes_of_labels, cotangents, strict=True
        ):
            gradient += self._back(logs, batch, internal, cotangent)
        return np.asarray(gradient)


def _highest(evidence: Evidence, is_scale_fixed: bool) -> np.ndarray:
    """Logs of the factors of highest evidence, within a range about one: from the best start."""
    seen: dict[bytes, Any] = {}

    def function(logs):
        key = np.asarray(logs).tobytes()
        if key not in seen:
            value, slopes = evidence(logs)
            seen[key] = -value, -slopes
        return seen[key]

    scales = (0.0,) if is_scale_fixed else STARTS
    starts = np.zeros((len(scales), evidence.size))
    starts[:, -1] = scales
    start = min(starts, key=lambda logs: function(logs)[0])
    bounds = [(-RANGE, RANGE)] * (evidence.size - 1)
    found = minimize(
        function,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[*bounds, (0.0, 0.0) if is_scale_fixed else (-SCALE_RANGE, SCALE_RANGE)],
        options={"maxiter": ITERATIONS, "ftol": GAIN / max(1.0, abs(function(start)[0]))},
    )
    return found.x
