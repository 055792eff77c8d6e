"""Kernel potentials as energy models: linear in kernels with fixed environments."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.descriptors.protocol import EnvironmentDescriptor
from tripletjax.kernels.describers import content_of, live, saved_form
from tripletjax.kernels.designs import design_rows
from tripletjax.kernels.environments import as_kernel
from tripletjax.kernels.evaluation import Process
from tripletjax.kernels.observations import Labelled
from tripletjax.kernels.span import Inducing, column_sums
from tripletjax.kernels.tangents import (
    Group,
    groups_of,
    label_sums,
    places_of_labels,
)
from tripletjax.kernels.variances import (
    SumsOf,
    energy_sums,
    force_sums,
    prior_energy_variances,
    prior_force_variances,
)
from tripletjax.neighbors import bucket
from tripletjax.potentials.base import Potential
from tripletjax.potentials.local import energies_with_slopes
from tripletjax.potentials.mechanics import Deviations, per_structure
from tripletjax.types import Array, Batch, Environments, InputError, require_prepared, settle

Weights = dict[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class KernelModel:
    """E_i = Σ_m δ(species) (α_m + q_m·∂/∂z_m) k(p_i / s, z_m), an ``EnergyModel``.

    Weights are a dict of ``"points"`` z [M, D], ``"scale"`` s, ``"alpha"`` [M] eV and, if
    derivatives are among the labels of a full Gaussian process, ``"tangents"`` q [M, D]. They are
    large and cancel: ``predict``, the calculator and molecular dynamics work in float64. Points
    that are sorted by species are evaluated faster.

    Args:
        describer: computes the vectors p of environments; an object with ``cutoff``, ``elements``
            and ``environment``.
        kernel: kernel between vectors.
        kinds: species of the points, as indices.
        record: information on the fit: noise, log evidence and so on.

    Example:
        >>> from tripletjax import descriptor
        >>> from tripletjax.kernels import EnvironmentKernel
        >>> soap = descriptor("power_spectrum", (1, 8), cutoff=3.0, n_max=1, l_max=1)
        >>> model = KernelModel(describer=soap, kernel=EnvironmentKernel(), kinds=(0, 0, 1))
        >>> model.init(0)["points"].shape
        (3, 6)
    """

    describer: EnvironmentDescriptor
    kernel: Any
    kinds: tuple[int, ...]
    record: Mapping[str, Any] = field(default_factory=dict)

    dtype = "float64"  # default dtype of predictions

    def __post_init__(self):
        settle(self, describer=live(self.describer), kernel=as_kernel(self.kernel))
        settle(self, kinds=tuple(map(int, self.kinds)))

    @property
    def cutoff(self) -> float:
        """Å."""
        return float(self.describer.cutoff)

    @property
    def species(self) -> tuple[int, ...]:
        """Atomic numbers, ascending."""
        return tuple(self.describer.elements)

    def init(self, seed: int) -> Weights:
        """Random environments as points, with random α."""
        random = np.random.Generator(np.random.PCG64(seed))
        shape = len(self.kinds), 6
        vectors = random.normal(size=(*shape, 3))
        vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
        vectors *= self.cutoff * random.uniform(0.2, 1.0, size=(*shape, 1))
        species = random.integers(len(self.species), size=shape).astype(np.int32)
        mask = random.random(shape) < 0.7
        described = jax.vmap(self.describer.environment)(
            jnp.asarray(vectors, jnp.zeros(()).dtype), species, mask, self._kinds
        )
        scale = jnp.maximum(jnp.std(described, 0).max(), jnp.finfo(described.dtype).tiny)
        alpha = jnp.asarray(random.normal(size=len(self.kinds)), described.dtype)
        return {"points": described / scale, "scale": scale, "alpha": alpha}

    def energies(self, weights: Weights, environments: Environments) -> Array:
        """Energy of every atom, [C] eV."""
        names = ("points", "scale", "alpha", "tangents")
        used = {name: weights[name] for name in names if name in weights}
        process = Process(self.describer, self.kernel, self._kinds)
        evaluate = process.energies, process.energies_and_slopes
        return energies_with_slopes(*evaluate, used, *environments[:4])

    def record_fields(self) -> dict[str, Any]:
        """What the model is made of again, for files."""
        return {
            "describer": saved_form(self.describer),
            "kernel": self.kernel,
            "kinds": self.kinds,
            "record": dict(self.record),
        }

    @property
    def _kinds(self) -> np.ndarray:
        return np.array(self.kinds, np.int32)

    @cached_property
    def _content(self) -> tuple[Any, ...]:
        return type(self), content_of(self.describer), content_of(self.kernel), self.kinds

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(self._content)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, KernelModel):
            return NotImplemented
        return self is other or self._content == other._content


@dataclass(frozen=True, kw_only=True, eq=False)
class SparseGaussianProcess(KernelModel):
    """A ``KernelModel`` that is the mean of a Gaussian process with inducing points.

    Weights have ``"variance"`` v in eV², ``"prior"`` L⁻¹ and ``"posterior"`` R⁻ᵀ L⁻¹, of all
    columns, and if derivatives of inducing environments are among these their ``"owners"`` and
    ``"directions"``; with the row φ of the design of a prediction,

        variance = v (k** - |L⁻¹ φ|²) + |R⁻ᵀ L⁻¹ φ|²,   L Lᵀ = cov(φ) / v,

    to which deviations add ``"noise"``, [2], of the energy of an atom and of forces.
    """

    def sums_of(self, weights: Weights) -> SumsOf:
        """Of the columns φ(p)."""
        return column_sums(self.kernel, self.inducing(weights))

    def inducing(self, weights: Weights) -> Inducing:
        """Inducing environments, with derivatives if there are any."""
        fields = [weights[name] for name in ("owners", "directions") if name in weights]
        return Inducing(weights["points"], self._kinds, weights["scale"], *fields)

    def force_sums(self, weights: Weights, batch: Batch) -> tuple[Array, Array]:
        """Prior variances of forces [A, 3], and their rows [A, 3, M] of the design."""
        setup = self.describer, self.kernel
        prior = prior_force_variances(*setup, weights["scale"], batch)
        return prior, design_rows(*setup, self.inducing(weights), batch).forces

    def deviations(self, potential: Potential, batch: Batch) -> Deviations:
        """Standard deviations of errors of energies and forces.

        Of what the training set leaves undecided, and of the noise, which is that of the labels or
        what the kernel cannot describe: √(variance + σ²).
        """
        return _deviations(self, potential, batch)


@dataclass(frozen=True, kw_only=True, eq=False)
class FullGaussianProcess(KernelModel):
    """A ``KernelModel`` that is the mean of a Gaussian process conditioned on n labels.

    The points are all environments of the training set. Weights have ``"variance"`` v in eV²,
    ``"prior"`` √v L⁻¹ [n, n] with L Lᵀ the covariance of the labels, and ``"moves"``, how the
    points move with the labels (``tangents.Tangents``); then

        variance = v (k** - |√v L⁻¹ φ|²),   φ_b(p) = D'_b Σ_j δ(species) k(p, q_j),

    to which deviations add ``"noise"``, as in a sparse process.

    Args:
        structures: those of the training set.
        places: of their environments among the points, structure by structure; empty: in order.
    """

    structures: tuple[Labelled, ...]
    places: tuple[int, ...] = ()

    def sums_of(self, weights: Weights) -> SumsOf:
        """Of φ_b(p) of every label b."""
        kinds, groups = self._kinds, self.groups
        chosen = places_of_labels(self.structures, groups)
        points, moves = weights["points"], weights["moves"]
        return label_sums(self.kernel, points, kinds, groups, moves, chosen)

    def force_sums(self, weights: Weights, batch: Batch) -> tuple[Array, Array]:
        """Prior variances of forces [A, 3], and the derivatives [A, 3, n] of φ_b."""
        setup = self.describer, self.kernel, self.sums_of(weights), weights["scale"]
        return force_sums(*setup, batch)

    @property
    def groups(self) -> list[Group]:
        """Structures of equal padded size, which ``"moves"`` has an array for each of."""
        sizes = [bucket(structure.n_atoms) for structure in self.structures]
        found = groups_of(self.structures, sizes)
        if not self.places:
            return found
        places = np.array(self.places)
        return [group._replace(points=places[group.points]) for group in found]

    def deviations(self, potential: Potential, batch: Batch) -> Deviations:
        """Standard deviations of errors of energies and forces.

        Of what the training set leaves undecided, and of the noise, which is that of the labels or
        what the kernel cannot describe: √(variance + σ²).

        It takes a forward derivative of every environment, and of its covariances with all labels,
        for every coordinate.
        """
        return _deviations(self, potential, batch)

    def record_fields(self) -> dict[str, Any]:
        """What the model is made of again, for files."""
        own = {"structures": self.structures, "places": self.places}
        return super().record_fields() | own

    @cached_property
    def _content(self) -> tuple[Any, ...]:
        return (*super()._content, self.structures, self.places)


def energy_deviations(potential: Potential, batch: Batch) -> Array:
    """Standard deviations of energies only, [S] eV, without derivatives.

    Args:
        potential: of a ``SparseGaussianProcess`` or a ``FullGaussianProcess``.
        batch: from its ``prepare``.

    Raises:
        InputError: the potential has no covariance.
    """
    model: Any = potential.model
    require_prepared(batch, model.cutoff, model.species, "the potential")
    weights = _with_covariance(potential)
    found = _energy_deviations(model, weights, batch)
    return found * jnp.asarray(potential.scale, found.dtype)


def _energy_deviations(model: Any, weights: Weights, batch: Batch) -> Array:
    scale = weights["scale"]
    prior = prior_energy_variances(model.describer, model.kernel, scale, batch)
    rows = energy_sums(model.describer, model.sums_of(weights), scale, batch)
    n_atoms = per_structure(batch, jnp.where(batch.center_mask, 1, 0).astype(rows.dtype))
    return _deviation(weights, prior, rows, n_atoms * _squared_noise(weights, rows.dtype)[0])


def _deviations(model: Any, potential: Potential, batch: Batch) -> Deviations:
    weights = _with_covariance(potential)
    with jax.default_matmul_precision("highest"):
        energies = _energy_deviations(model, weights, batch)
        prior, rows = model.force_sums(weights, batch)
    is_atom = jnp.asarray(batch.atom_mask)[:, None]
    noise = jnp.where(is_atom, _squared_noise(weights, rows.dtype)[1], 0)
    unit = jnp.asarray(potential.scale, energies.dtype)
    return Deviations(energies * unit, _deviation(weights, prior, rows, noise) * unit)


def _with_covariance(potential: Potential) -> Weights:
    if not hasattr(potential.model, "sums_of") or "prior" not in potential.weights:
        raise InputError(
            "the potential has no covariance; fit it with fit_sparse_potential or "
            "fit_full_potential"
        )
    return potential.weights


def _squared_noise(weights: Weights, dtype: Any) -> Array:
    """Of the energy of an atom and of a force component, [2]; zero in fits that did not keep it."""
    return jnp.asarray(weights.get("noise", np.zeros(2)), dtype) ** 2


def noise_weights(noise: Mapping[str, float]) -> np.ndarray:
    """The noises that deviations include, [2]: of the energy of an atom and of the forces."""
    return np.array([noise.get(kind, 0.0) for kind in ("energy", "forces")])


def _deviation(weights: Weights, prior: Array, rows: Array, noise: Array) -> Array:
    """√variance for prior variances [...], rows [..., M] and squared noise [...].

    What is negative due to rounding is zero.
    """

    def times(name):
        matrix = jnp.asarray(weights[name], rows.dtype)
        return jnp.sum(jnp.matmul(rows, matrix.T, precision="highest") ** 2, -1)

    variance = jnp.asarray(weights["variance"], rows.dtype)
    variance = variance * jnp.maximum(prior - times("prior"), 0) + noise
    return jnp.sqrt(variance + (times("posterior") if "posterior" in weights else 0))
