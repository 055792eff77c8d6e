"""Kernel potentials: energy, forces and stress as pure functions, with their uncertainties."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms

from tripletjax.descriptors.protocol import EnvironmentDescriptor
from tripletjax.kernels.designs import (
    Inducing,
    design_rows,
    energy_rows,
)
from tripletjax.kernels.environments import EnvironmentKernel
from tripletjax.kernels.observations import require_known
from tripletjax.kernels.variances import prior_energy_variances, prior_force_variances
from tripletjax.neighbors import environments_of, prepare
from tripletjax.potentials.mechanics import Predictions, forces_and_stress, per_structure
from tripletjax.types import Array, Batch, InputError, require_prepared


class Deviations(NamedTuple):
    """Standard deviations of the predictions, without the noise of the labels."""

    energy: Array  # [S] eV
    forces: Array  # [A, 3] eV/Å, zero on padding


class Covariance(NamedTuple):
    """The posterior of a sparse Gaussian process; with φ the row of the design of a prediction,

    variance = v (k** - |L⁻¹ φ|²) + |R⁻ᵀ L⁻¹ φ|²,   L Lᵀ = k(Z, Z).
    """

    variance: float  # v, eV²
    prior: np.ndarray  # [M, M] L⁻¹
    posterior: np.ndarray  # [M, M] R⁻ᵀ L⁻¹


@dataclass(frozen=True, kw_only=True)
class KernelPotential:
    """E = Σ_i [reference energy + Σ_m δ(species) (α_m + q_m·∂/∂z_m) k(p_i, z_m)].

    The q_m are zero in a sparse Gaussian process, and carry derivative labels in a full one. The
    methods are pure functions of a ``Batch`` from ``prepare``, to compose with jit, vmap and grad,
    in the dtype of the batch. The weights of a kernel potential are large and cancel: float64 is
    worth its price.
    """

    describer: EnvironmentDescriptor
    kernel: EnvironmentKernel
    inducing: Inducing
    weights: np.ndarray  # [M] α, eV
    tangents: np.ndarray | None = None  # [M, D] q, eV times the vectors' unit; None: zero
    references: tuple[float, ...] = ()  # eV, one for each of the describer's elements
    covariance: Covariance | None = None
    record: Mapping[str, Any] = field(default_factory=dict)  # noise, log evidence and the like

    @property
    def cutoff(self) -> float:
        """Å; a batch must be prepared with this one, or a larger one."""
        return float(self.describer.cutoff)

    @property
    def species(self) -> tuple[int, ...]:
        """Atomic numbers, ascending."""
        return self.describer.elements

    def prepare(self, frames: Atoms | Sequence[Atoms], dtype=None) -> Batch:
        """``tripletjax.prepare`` with the cutoff and species of this potential.

        Raises:
            InputError: a structure cannot be used, or holds a species that is not known.
        """
        frames = [frames] if isinstance(frames, Atoms) else list(frames)
        require_known(frames, self.species)
        return prepare(frames, self.cutoff, self.species, dtype)

    def interaction(self, batch: Batch) -> Array:
        """Energy of every structure without the reference energies, [S] eV."""
        self._require_prepared(batch)
        found = environments_of(batch, self.species)
        return per_structure(batch, self._atomic_energies(batch, *found[:4]))

    def energy(self, batch: Batch) -> Array:
        """Energy of every structure, [S] eV."""
        return self.interaction(batch) + self._reference(batch)

    def energy_forces_stress(self, batch: Batch) -> Predictions:
        """Energy, forces and stress by one reverse pass.

        F_i = -dE/dr_i, and the stress is dE/dε / V with ε a strain of positions and cell: ASE's
        sign, positive where the structure is under tension.
        """
        self._require_prepared(batch)
        found = environments_of(batch, self.species)

        def total(vectors):
            energies = self._atomic_energies(batch, vectors, *found[1:4])
            return jnp.sum(energies), energies

        slopes, energies = jax.grad(total, has_aux=True)(found.vectors)  # dE / dr_ij, [C, K, 3]
        forces, stress = forces_and_stress(batch, slopes, found.vectors)
        energy = per_structure(batch, energies) + self._reference(batch)
        return Predictions(energy, forces, stress)

    def energy_deviations(self, batch: Batch) -> Array:
        """Standard deviation of the energy of every structure, [S] eV.

        Raises:
            InputError: this potential has no covariance.
        """
        self._require_prepared(batch)
        covariance = self._require_covariance()
        rows = energy_rows(self.describer, self.kernel, self.inducing, batch)
        prior = prior_energy_variances(self.describer, self.kernel, self.inducing.scale, batch)
        return _deviations(covariance, prior, rows)

    def deviations(self, batch: Batch) -> Deviations:
        """Standard deviations of energies and forces: what the training set leaves undecided.

        The noise of the labels comes on top of it. It takes as long as a row of the design for
        every inducing environment, and a forward derivative for every coordinate.

        Raises:
            InputError: this potential has no covariance.
        """
        self._require_prepared(batch)
        covariance = self._require_covariance()
        setup = self.describer, self.kernel
        rows = design_rows(*setup, self.inducing, batch)
        energy = prior_energy_variances(*setup, self.inducing.scale, batch)
        forces = prior_force_variances(*setup, self.inducing.scale, batch)
        return Deviations(
            _deviations(covariance, energy, rows.energy),
            _deviations(covariance, forces, rows.forces),
        )

    def save(self, folder: str | Path, force: bool = False) -> None:
        """Write the potential to a folder, atomically, for ``load_kernel_potential``.

        Raises:
            InputError: the folder holds files and ``force`` is not given, or cannot be written.
        """
        from tripletjax.kernels.storage import save_kernel_potential  # it imports this module

        save_kernel_potential(folder, self, force)

    def _atomic_energies(self, batch, vectors, species, mask, centers):
        dtype = vectors.dtype
        points, weights = (jnp.asarray(x, dtype) for x in (self.inducing.vectors, self.weights))
        described = jax.vmap(self.describer.environment)(vectors, species, mask, centers)
        described = described / jnp.asarray(self.inducing.scale, dtype)
        is_same = centers[:, None] == jnp.asarray(self.inducing.kinds)
        is_same &= jnp.asarray(batch.center_mask)[:, None]
        if self.tangents is None:
            values = self.kernel.matrix(described, points)
            return jnp.matmul(jnp.where(is_same, values, 0), weights, precision="highest")
        tangents = jnp.asarray(self.tangents, dtype)
        values, slopes = jax.jvp(lambda z: self.kernel.matrix(described, z), (points,), (tangents,))
        return jnp.sum(jnp.where(is_same, values * weights + slopes, 0), 1)

    def _reference(self, batch: Batch) -> Array:
        dtype = jnp.asarray(batch.positions).dtype
        index = environments_of(batch, self.species).center
        atoms = jnp.asarray(self.references, dtype)[index]
        return per_structure(batch, jnp.where(batch.center_mask, atoms, 0))

    def _require_covariance(self) -> Covariance:
        if self.covariance is None:
            raise InputError(
                "this potential has no covariance; fit_sparse_potential makes one, and "
                "fit_full_potential keeps that of a full Gaussian process"
            )
        return self.covariance

    def _require_prepared(self, batch: Batch) -> None:
        require_prepared(batch, self.cutoff, self.species, "the potential")
        elements = batch.elements
        if isinstance(elements, np.ndarray) and not np.isin(elements, self.species).all():
            raise InputError(
                f"the batch has species {elements.tolist()}, the potential knows only "
                f"{list(self.species)}; fit it on these species too"
            )


def _deviations(covariance: Covariance, prior: Array, rows: Array) -> Array:
    """√variance for prior variances [...] and rows [..., M]; zero where rounding makes it less."""
    explained = jnp.matmul(rows, jnp.asarray(covariance.prior, rows.dtype).T, precision="highest")
    left = jnp.matmul(rows, jnp.asarray(covariance.posterior, rows.dtype).T, precision="highest")
    outside = jnp.maximum(prior - jnp.sum(explained**2, -1), 0)
    variance = covariance.variance * outside + jnp.sum(left**2, -1)
    return jnp.sqrt(variance)
