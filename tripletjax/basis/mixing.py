"""Fewer, better channels of the density, fitted to data; host side, float64."""

import numpy as np

from tripletjax.basis.angular import degree_of, harmonic_slice
from tripletjax.basis.densities import Mixing
from tripletjax.types import Array, InputError, as_integer


def fit_mixing(
    coefficients: Array, n_species: int | None = None, n_radial: int | None = None
) -> Mixing:
    """Fit the channels that keep most of the density's mean square: uncentred principal components.

    Species: the leading eigenvectors of Σ c_{a,nlm} c_{b,nlm} over environments, n, l and m.
    Radial functions: for each l, those of Σ c_{a,nlm} c_{a,n'lm}, after mixing the species; from a
    fine basis, such as ``radial="chebyshev"`` with ``n_max=12``, this is the optimal radial basis
    of the data. Rows are orthonormal and the largest entry of each is positive.

    Args:
        coefficients: ``[N, a, n, (l_max + 1)²]`` densities of some environments, unmixed.
        n_species: number of species channels to keep; None: do not mix them.
        n_radial: number of radial functions to keep for each l; None: do not mix them.

    Returns:
        A ``Mixing`` of float64 NumPy arrays.

    Raises:
        InputError: more channels than there are, or than the data can determine.

    Source: Goscinski, Musil, Pozdnyakov, Nigam, Ceriotti, J. Chem. Phys. 155, 104106 (2021).

    Example:
        >>> densities = np.random.default_rng(0).normal(size=(20, 3, 6, 9))
        >>> mixing = fit_mixing(densities, n_species=2, n_radial=4)
        >>> mixing.species.shape, mixing.radial.shape
        ((2, 3), (3, 4, 6))
    """
    density = np.asarray(coefficients, dtype=np.float64)
    if density.ndim != 4 or not density.size or (degree_of(density) + 1) ** 2 != density.shape[-1]:
        raise InputError(
            f"invalid densities of shape {density.shape}: expected [N, a, n, (l_max + 1)²]"
        )
    if not np.isfinite(density).all():
        raise InputError("some densities are not finite: expected finite coefficients")
    species = radial = None
    if n_species is not None:
        rows = np.moveaxis(density, 1, -1).reshape(-1, density.shape[1])
        species = _principal("n_species", n_species, rows, "species channels")
        density = np.einsum("ba,zanm->zbnm", species, density)
    if n_radial is not None:
        of_degree = (density[..., harmonic_slice(l)] for l in range(degree_of(density) + 1))
        rows = (np.moveaxis(part, 2, -1).reshape(-1, density.shape[2]) for part in of_degree)
        name = "radial functions"
        radial = np.stack([_principal("n_radial", n_radial, part, name) for part in rows])
    return Mixing(species, radial)


def lost_share(coefficients: Array, mixing: Mixing) -> float:
    """Fraction of the densities' mean square outside the kept channels; for orthonormal rows.

    Example:
        >>> densities = np.random.default_rng(0).normal(size=(20, 3, 6, 9))
        >>> lost_share(densities, fit_mixing(densities, n_species=3)) < 1e-12
        True
    """
    density = kept = np.asarray(coefficients, dtype=np.float64)
    if mixing.species is not None:
        kept = np.einsum("ba,zanm->zbnm", mixing.species, kept)
    if mixing.radial is not None:
        parts = [
            np.einsum("pn,zbnm->zbpm", matrix, kept[..., harmonic_slice(l)])
            for l, matrix in enumerate(np.asarray(mixing.radial))
        ]
        kept = np.concatenate(parts, -1)
    return max(0.0, float(1 - (kept**2).sum() / (density**2).sum()))  # negative by rounding


def _principal(name: str, count: int, rows: np.ndarray, what: str) -> np.ndarray:
    """Leading eigenvectors of rowsᵀ rows, [count, columns]."""
    n_rows, available = rows.shape
    count = as_integer(name, count, 1)
    if count > available:
        raise InputError(f"invalid {name}={count}: there are {available} {what} to mix")
    if n_rows < count:
        raise InputError(
            f"{name}={count} {what} cannot be fitted to {n_rows} samples; give more environments"
        )
    _, vectors = np.linalg.eigh(rows.T @ rows)
    leading = vectors[:, ::-1][:, :count].T
    largest = np.take_along_axis(leading, np.abs(leading).argmax(1)[:, None], 1)
    return leading * np.sign(largest)
