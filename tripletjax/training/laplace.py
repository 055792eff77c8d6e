"""The posterior of the linear last layer: samples of it form a committee.

With φ the derivatives of a prediction with respect to the weights w of the last layer (energy: φ_E,
force component: φ_F = -dφ_E/dr), the posterior about the fitted weights is Gaussian with precision

    A = 1 + Σ φ_E φ_Eᵀ / σ_E² + Σ φ_F φ_Fᵀ / σ_F²,

where the prior is a unit Gaussian, the size of random weights, and σ are the errors on validation
data.
The sum over force components is estimated from random signs v,
φ_F φ_Fᵀ ≈ E[(Σ_c v_c φ_Fc)(Σ_c v_c φ_Fc)ᵀ], by one forward-mode derivative per sign vector.

Source: MacKay, Neural Computation 4, 448 (1992); Daxberger et al., NeurIPS 2021 (last layer).
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import solve_triangular

from tripletjax.potentials.base import Potential
from tripletjax.potentials.committee import draws as draws_about
from tripletjax.training.calibration import calibrate
from tripletjax.training.data import Bucket, as_batch, pieces
from tripletjax.training.metrics import compare

STRUCTURES_A_CHUNK = 4
SMALLEST_ERROR = 1e-6  # eV and eV/Å: lower bound for the errors of a perfect fit


def laplace_committee(
    potential: Potential,
    buckets: Sequence[Bucket],
    valid: Sequence[Bucket],
    n_members: int = 16,
    n_probes: int = 4,
    seed: int = 0,
) -> Potential:
    """Samples of the last layer from its posterior, calibrated on validation data.

    Args:
        potential: fitted; ``linear`` of its model names the weights in which it is linear.
        buckets: the data that it was fitted to.
        valid: other data, for the size of the errors.
        n_members: number of samples.
        n_probes: number of sign vectors for the forces of each structure.
        seed: seed of signs and samples.

    Returns:
        A committee around the potential, see ``committee.draws``.
    """
    found = compare(potential, valid).metrics()
    atoms = np.mean(np.concatenate([b.atom_mask.sum(1) for b in valid]))
    energy_error = found["energy_rmse_mev_per_atom"] / 1000 * atoms
    forces_error = found.get("force_rmse_ev_per_A")
    random = np.random.Generator(np.random.PCG64(seed))
    precision = _precision(potential, buckets, energy_error, forces_error, n_probes, random)
    draws = posterior_draws(precision, n_members, random)
    members, start = {}, 0
    for name in _linear(potential):
        weights = np.asarray(potential.weights[name])
        part = draws[:, start : start + weights.size].reshape(n_members, *weights.shape)
        members[name] = jnp.asarray((weights + part).astype(weights.dtype))
        start += weights.size
    return calibrate(draws_about(potential, members), valid)


def posterior_draws(precision: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Samples [count, D] of a Gaussian with zero mean and this inverse covariance."""
    factor = np.linalg.cholesky(precision)
    normal = random.normal(size=(len(factor), count))
    return solve_triangular(factor, normal, trans=1, lower=True).T


def _precision(potential, buckets, energy_error, forces_error, n_probes, random) -> np.ndarray:
    size = sum(potential.weights[name].size for name in _linear(potential))
    precision, bare = np.eye(size), potential.without_references
    elements = np.array(potential.species, np.int32)
    for rows, present in pieces(buckets, STRUCTURES_A_CHUNK):
        signs = random.choice([-1.0, 1.0], size=(n_probes, *rows.positions.shape))
        signs *= (rows.atom_mask & rows.has_forces[:, None])[..., None]
        of_energy, of_forces = last_layer_features(
            bare, rows, elements, signs.astype(rows.positions.dtype)
        )
        of_energy = np.asarray(of_energy, float)[present]
        of_forces = np.asarray(of_forces, float)[:, present].reshape(-1, size)
        precision += of_energy.T @ of_energy / max(energy_error, SMALLEST_ERROR) ** 2
        if forces_error is not None:
            scale = n_probes * max(forces_error, SMALLEST_ERROR) ** 2
            precision += of_forces.T @ of_forces / scale
    return precision


def _linear(potential: Potential) -> tuple[str, ...]:
    """Names of the weights in which the energy is linear."""
    model: Any = potential.model
    return model.linear


@jax.jit
def last_layer_features(potential: Potential, rows: Bucket, elements, signs):
    """φ_E of some structures, [F, D], and Σ_c v_c φ_Fc, [P, F, D], for signs v [P, F, A, 3]."""

    names = _linear(potential)

    def of_structure(row, signs):
        one = jax.tree.map(lambda array: array[None], row)

        def features(positions):
            def energy(last):
                changed = potential.with_weights(potential.weights | last)
                batch = as_batch(
                    one._replace(positions=positions[None]), elements, jnp.ones(1, bool)
                )
                return changed.interaction(batch)[0]

            slopes = jax.grad(energy)({name: potential.weights[name] for name in names})
            return jnp.concatenate([slopes[name].ravel() for name in names])

        value, along = jax.linearize(features, row.positions)
        return value, -jax.vmap(along)(signs)

    return jax.vmap(of_structure, (0, 1), (0, 1))(rows, signs)
