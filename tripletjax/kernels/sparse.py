"""Sparse Gaussian processes on energies, forces and stress: fitting."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from logging import getLogger
from typing import Any, NamedTuple

import jax
import numpy as np
from ase import Atoms
from scipy.linalg import solve_triangular

from tripletjax.descriptors.protocol import EnvironmentDescriptor, has_any_length
from tripletjax.kernels.designs import Design, design_rows, energy_rows, environment_vectors
from tripletjax.kernels.environments import Kernel
from tripletjax.kernels.factors import stable_root
from tripletjax.kernels.inducing import farthest_rows, leverage_rows
from tripletjax.kernels.joined import in_units, of_columns, on_axes, setups
from tripletjax.kernels.least_squares import (
    NOISE_CEILING,
    NOISE_FLOOR,
    NOISE_START,
    Accumulator,
    Factor,
    Posterior,
    maximize_evidence,
)
from tripletjax.kernels.model import SparseGaussianProcess, noise_weights
from tripletjax.kernels.moves import with_derivatives
from tripletjax.kernels.observations import (
    Noise,
    Observations,
    check_observations,
    single_batches,
)
from tripletjax.kernels.positivity import require_positive
from tripletjax.kernels.span import Inducing, prior_covariance
from tripletjax.kernels.tangents import wide
from tripletjax.neighbors import float_type
from tripletjax.potentials.base import Potential
from tripletjax.potentials.precision import on_device
from tripletjax.progress import progress_bar
from tripletjax.types import Batch, InputError, as_integer, as_number

logger = getLogger(__name__)
SELECTIONS = ("farthest", "leverage")


class Described(NamedTuple):
    """Vectors of all environments of some structures, in units of their median distance."""

    vectors: np.ndarray  # [N, D]
    kinds: np.ndarray  # [N]
    scale: float

    def inducing(self, rows: np.ndarray) -> Inducing:
        """Some of them as inducing environments."""
        kinds = self.kinds[rows].astype(np.int32)
        return Inducing(self.vectors[rows], kinds, np.asarray(self.scale))


def fit_sparse_potential(
    frames: Atoms | Sequence[Atoms],
    energies: Any,
    forces: Sequence[Any] | None = None,
    stress: Sequence[Any] | None = None,
    *,
    describer: EnvironmentDescriptor | None = None,
    kernels: Kernel | Iterable[Kernel] | None = None,
    n_inducing: int = 100,
    n_derivatives: int = 0,
    selection: str | None = None,
    noise: Noise | None = None,
    references: Any = None,
    jitter: float = 1e-10,
    truncation: float = 0.0,
    seed: int = 0,
    dtype: str = "float64",
    show: bool = False,
) -> Potential:
    """Fit a sparse Gaussian process of atomic energies with M inducing environments.

    With atomic energies e(p) ~ GP(0, v k) and the DTC approximation,

        E = Σ_i e(p_i) = Φ_E α,  F = Φ_F α,  σ = Φ_σ α,   α ~ N(0, v K_MM⁻¹),

    with rows of Φ as in ``designs``. Structures are streamed one by one into QR factors of the rows
    in L⁻ᵀ-whitened columns; v, the noise levels that are not given, and the kernel if there are
    several, maximise the evidence p(y).

    Args:
        frames: structures.
        energies: [F] eV.
        forces: one [N, 3] eV/Å for each structure, None if missing; None: no forces.
        stress: one [3, 3] eV/Å³ for each structure, None if missing; None: no stress.
        describer: a ``Descriptor``, a ``NystromDescriptor`` or another object with ``cutoff``,
            ``elements`` and ``environment``, over the species. None: the kernels have their own.
        kernels: between environments, with length scales in units of the median distance between
            the vectors of environments of equal species: an ``EnvironmentKernel``; a function of
            vectors [N, D] and [M, D] that gives [N, M]; a ``neighborhood_kernel``; sums and
            products of kernels, each of one descriptor as in ``kernel.of(descriptor)``. Several:
            the one of highest evidence. None: Gaussian of length scale 2.
        n_inducing: maximum number of inducing environments of each species.
        n_derivatives: of each of them, along the directions in which it changes most when its
            atoms move. A prediction costs as much with as without them.
        selection: "farthest" (points) or "leverage" (scores); None: farthest points, or leverage
            where environments are no vectors of a descriptor.
        noise: noise of the labels; values of None are chosen by the evidence. None: all.
        references: energy of each species, eV; None: least squares on the compositions.
        jitter: added to the diagonal of K_MM, which is one; more if rounding errors require it.
        truncation: the vectors are projected on their principal axes in the training set, except
            for those that are smaller than this part of the largest; zero: they are not projected.
        seed: seed of the selection.
        dtype: dtype of the descriptors and their derivatives; the solver works in float64.
        show: whether to show a progress bar.

    Returns:
        A ``Potential`` with deviations. ``potential.model.record`` has the variance, the noises,
        the evidence, and in "search" a line for each of these that ended at a bound, which is also
        logged as a warning.

    Raises:
        InputError: labels that do not match the structures, unknown species, options out of range,
            a function that is no kernel (``require_positive``).

    Source: Bartók and Csányi, Int. J. Quantum Chem. 115, 1051 (2015); Quiñonero-Candela and
    Rasmussen, J. Mach. Learn. Res. 6, 1939 (2005).

    Example:
        >>> from ase.build import molecule
        >>> from tripletjax import descriptor
        >>> frames = [molecule("H2O") for _ in range(4)]
        >>> for i, frame in enumerate(frames):
        ...     frame.rattle(0.1, seed=i)
        >>> soap = descriptor("power_spectrum", (1, 8), cutoff=3.0, n_max=2, l_max=1)
        >>> potential = fit_sparse_potential(frames, [0.1, 0.2, 0.0, 0.3], describer=soap)
        >>> potential.energy(potential.prepare(frames[0])).shape
        (1,)
    """
    if selection is not None and selection not in SELECTIONS:
        raise InputError(f"selection={selection!r} is not known; choose {' or '.join(SELECTIONS)}")
    jitter = as_number("jitter", jitter, low=0)
    n_derivatives = as_integer("n_derivatives", n_derivatives, 0)
    candidates = setups(kernels, describer)
    known = candidates[0][0]
    observations = check_observations(frames, energies, forces, stress, known, references)
    precision, noise = float_type(dtype), noise or Noise()
    best: Any = None
    with jax.enable_x64(True) if precision == np.float64 else nullcontext():
        for own, of_vectors in candidates:
            batches = single_batches(observations.frames, own, precision)
            chosen = selection or ("leverage" if has_any_length(own) else "farthest")
            own, environments = described_all(on_axes(own, batches, truncation), batches)
            programs = compiled(own, observations)
            for kernel in of_vectors:
                kernel = of_columns(kernel, own)
                require_positive(kernel, environments.vectors)
                rows = chosen_rows(environments, kernel, n_inducing, chosen, seed)
                inducing = environments.inducing(rows)
                if n_derivatives:
                    inducing = with_derivatives(inducing, kernel, own, batches, rows, n_derivatives)
                root = kernel_root(kernel, inducing, jitter)
                factors = stream(observations, batches, programs, kernel, inducing, root, show)
                fit = _potential(observations, own, kernel, inducing, root, factors, noise)
                record = fit.model.record
                logger.info("%s: log evidence %.6g", kernel.label(), record["log_evidence"])
                if best is None or record["log_evidence"] > best.model.record["log_evidence"]:
                    best = fit
    for line in best.model.record["search"]:
        logger.warning(line)
    return best.with_weights(on_device(best.weights))


def described_all(
    describer: EnvironmentDescriptor, batches: Sequence[Batch]
) -> tuple[Any, Described]:
    """The descriptor in the units of its kernels, and all environments of a training set."""
    describe = jax.jit(partial(environment_vectors, describer))
    rows, kinds = [], []
    for batch in batches:
        vectors, species = map(np.asarray, describe(batch))
        rows.append(np.asarray(vectors, float)[batch.center_mask])
        kinds.append(species[batch.center_mask])
    vectors, species = np.concatenate(wide(rows)), np.concatenate(kinds)
    describer, unit, scale = in_units(describer, vectors, species)
    return describer, Described(vectors / unit, species, scale)


def chosen_rows(
    environments: Described,
    kernel: Kernel,
    count: int,
    selection: str = "farthest",
    seed: int = 0,
) -> np.ndarray:
    """Which environments become inducing ones: at most ``count`` of each species, no copies."""
    found = []
    for kind in np.unique(environments.kinds):
        own = np.flatnonzero(environments.kinds == kind)
        rows = environments.vectors[own]
        if selection == "farthest":
            chosen = farthest_rows(rows, count)
        else:
            matrix = lambda a, b: np.asarray(kernel.matrix(a, b))  # noqa: E731
            chosen = leverage_rows(matrix, rows, count, seed=seed)
        found.append(own[chosen])
    return np.concatenate(found)


def kernel_root(kernel: Kernel, inducing: Inducing, jitter: float) -> np.ndarray:
    """L, lower triangular, with L Lᵀ = ``prior_covariance`` + jitter, [M, M].

    The jitter is increased if rounding errors, such as those of a kernel in float32, require it.

    Raises:
        InputError: no jitter is sufficient.
    """
    return stable_root(prior_covariance(kernel, inducing), jitter)[0]


def compiled(describer: EnvironmentDescriptor, observations: Observations) -> Callable[..., Design]:
    """Rows of the design as a function of kernel, inducing environments and batch: one program."""
    if observations.kinds != ("energy",):
        return jax.jit(partial(design_rows, describer))
    nothing = np.zeros(0)
    rows = jax.jit(partial(energy_rows, describer))
    return lambda kernel, inducing, batch: Design(rows(kernel, inducing, batch), nothing, nothing)


def stream(
    observations: Observations,
    batches: Sequence[Batch],
    design: Callable[..., Design],
    kernel: Kernel,
    inducing: Inducing,
    root: np.ndarray,
    show: bool = False,
) -> dict[str, Factor]:
    """The factors of all labels in whitened columns Φ L⁻ᵀ, one for each kind of label."""
    sums = {kind: Accumulator(len(root)) for kind in observations.kinds}
    bar = progress_bar(batches, desc=kernel.label(), unit="structures", disable=not show)
    for index, batch in enumerate(bar):
        targets = observations.targets(index)
        for kind, rows in observations.rows(index, *design(kernel, inducing, batch)).items():
            whitened = solve_triangular(root, np.asarray(rows, float).T, lower=True).T
            sums[kind].add(whitened, targets[kind])
    return {kind: rows.factor() for kind, rows in sums.items()}


def _potential(
    observations: Observations,
    describer: EnvironmentDescriptor,
    kernel: Kernel,
    inducing: Inducing,
    root: np.ndarray,
    factors: dict[str, Factor],
    noise: Noise,
) -> Any:
    found = fit_factors(factors, noise)
    noises = dict(zip(factors, found.noise, strict=True))
    inverse = solve_triangular(root, np.eye(len(root)), lower=True)
    posterior = solve_triangular(found.root, inverse, trans=1)
    model = SparseGaussianProcess(
        describer=describer,
        kernel=kernel,
        kinds=tuple(inducing.kinds.tolist()),
        record={
            "variance": found.variance,
            "noise": noises,
            "log_evidence": found.log_evidence + observations.log_scale,
            "labels": {kind: factor.n_rows for kind, factor in factors.items()},
            "kernel": kernel.label(),
            "search": list(found.reached),
        },
    )
    alpha, tangents = inducing.moved(inverse.T @ found.weights)
    weights = {
        "points": inducing.vectors,
        "scale": inducing.scale,
        "alpha": alpha,
        "variance": np.asarray(found.variance),
        "prior": inverse,
        "posterior": posterior,
        "noise": noise_weights(noises),
    }
    if len(inducing.owners):
        names = {"tangents": tangents, "owners": inducing.owners}
        weights |= names | {"directions": inducing.directions}
    return Potential(model, weights, tuple(map(float, observations.references)))


def fit_factors(factors: dict[str, Factor], noise: Noise) -> Posterior:
    """The posterior; the variance and noise levels that are not given maximise the evidence."""
    given = asdict(noise)
    sizes = {}
    for kind, factor in factors.items():
        size = float(np.linalg.norm(factor.triangle[:, -1])) / np.sqrt(factor.n_rows)
        sizes[kind] = size if size > 0 else 1.0
    of_labels = sum(np.linalg.norm(f.triangle[:, -1]) ** 2 for f in factors.values())
    of_rows = sum(np.linalg.norm(f.triangle[:, :-1]) ** 2 for f in factors.values())
    variance = float(of_labels / of_rows) or 1.0
    start = [given[k] or NOISE_START * sizes[k] for k in factors]
    fixed = [given[kind] is not None for kind in factors]
    low, high = (
        [given[kind] or share * sizes[kind] for kind in factors]
        for share in (NOISE_FLOOR, NOISE_CEILING)
    )
    return maximize_evidence(
        list(factors.values()), variance, start, fixed, low, high, tuple(factors)
    )
