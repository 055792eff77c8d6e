"""Radial bases R_nl(r).

Bases without a closed form are computed on the host in float64 and represented as Chebyshev series,
which are accurate to 1e-12 of the largest value, have smooth derivatives of all orders and cost one
matrix product: no knots, no table look-up.
"""

from functools import cache, lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize, special

from tripletjax.basis.cutoffs import cutoff_function as cutoff_function
from tripletjax.basis.cutoffs import cutoff_weights as cutoff_weights
from tripletjax.basis.scaling import radial_scaling_weights
from tripletjax.numerics import array_module
from tripletjax.types import Array, Basis, InputError

GTO_DENSITY_WIDTH = 0.3  # Å, if gaussian_width is None
SERIES_TOLERANCE = 1e-13  # of the largest value
_SERIES_DEGREES = (32, 64, 128, 256, 512)
# The series are defined on an interval slightly wider than [0, cutoff]: near the ends of its
# interval a Chebyshev polynomial of degree k has slopes of k², inside only of k.
_SERIES_MARGIN = 0.03


def radial_scaling(distances: Array, basis: Basis) -> Array | float:
    """u(r) of a basis, ``[...]``; 1 without scaling. See ``scaling.radial_scaling_weights``."""
    if basis.radial_scaling is None:
        return 1.0
    return radial_scaling_weights(distances, *basis.radial_scaling)


def radial_functions(distances: Array, basis: Basis) -> Array:
    """R_nl(r) of the chosen basis, without the cutoff function.

    - "gto": a density of Gaussians of width ``gaussian_width`` (default 0.3 Å) projected onto
      orthonormalised Gaussian-type orbitals, as in featomic.
    - "laplacian": eigenstates of the Laplacian in the cutoff sphere, j_l(z_nl r / cutoff), for a
      density of delta functions, or of Gaussians if ``gaussian_width`` is given.
    - "chebyshev": T_n(2 r / cutoff - 1) for every l, for a density of delta functions.
    - "gaussian": exp(-(r - r_n)² / (2 w²)) for every l, with r_n evenly spaced over
      ``radial_range`` (default: half the cutoff to the cutoff) and w = ``gaussian_width`` (default:
      the distance between two centres).
    - "logarithmic": exp(-(ln r - ln r_n)² / 2w² - l(l+1) w² / 2), a density of Gaussians of width
      w r, proportional to the distance, in all directions: sharp for bonds, smooth for distant
      neighbours. The r_n are in geometric progression over ``radial_range`` (default: an eighth of
      the cutoff to the cutoff), w is the logarithm of the ratio of two successive ones.

    Args:
        distances: ``[...]`` Å.
        basis: the radial hyperparameters.

    Returns:
        ``[..., l_max + 1, n_max]``.

    Example:
        >>> radial_functions(jnp.ones(3), Basis(radial="chebyshev", n_max=2, l_max=4)).shape
        (3, 5, 2)
    """
    if basis.radial in ("gto", "laplacian"):
        return _sum_of_series(distances, basis, 0)
    return _in_closed_form(distances, basis)


@partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _sum_of_series(distances: Array, basis: Basis, order: int) -> Array:
    """The derivative of this order of the radial functions, [..., l, n].

    It is a series of its own: the gradient does not go back through the Chebyshev polynomials.
    """
    table = _series(basis, order).astype(distances.dtype)  # [degree + 1, l, n]
    x = _to_series_interval(distances, basis.cutoff)
    return jnp.tensordot(_chebyshev(x, len(table) - 1), table, axes=1, precision="highest")


@_sum_of_series.defjvp
def _sum_of_series_jvp(basis: Basis, order: int, primals, tangents):
    (distances,), (moved,) = primals, tangents
    slopes = _sum_of_series(distances, basis, order + 1)
    return _sum_of_series(distances, basis, order), slopes * moved[..., None, None]


def _in_closed_form(distances: Array, basis: Basis) -> Array:
    """The bases with a closed form, for NumPy or JAX arrays, [..., l, n]."""
    xp = array_module(distances)
    if basis.radial == "logarithmic":
        return _logarithmic(distances, basis)
    if basis.radial == "chebyshev":
        values = _chebyshev(2 * distances / basis.cutoff - 1, basis.n_max - 1)
    else:
        centers, width = _gaussian_shells(basis)
        offset = distances[..., None] - centers.astype(distances.dtype)
        values = xp.exp(-0.5 * (offset / width) ** 2)
    shape = (*distances.shape, basis.l_max + 1, basis.n_max)
    return xp.broadcast_to(values[..., None, :], shape)


def _logarithmic(distances: Array, basis: Basis) -> Array:
    xp, dtype = array_module(distances), distances.dtype
    low, high = np.log(basis.radial_range or (basis.cutoff / 8, basis.cutoff))
    centers = np.linspace(low, high, basis.n_max) if basis.n_max > 1 else np.array([low + high]) / 2
    width = float(high - low) / max(basis.n_max - 1, 1)
    nearest = 1e-6 * basis.cutoff  # where all functions vanish
    offset = xp.log(xp.maximum(distances, nearest))[..., None] - centers.astype(dtype)
    l = np.arange(basis.l_max + 1)
    damping = np.exp(-0.5 * l * (l + 1) * width**2).astype(dtype)
    return xp.exp(-0.5 * (offset / width) ** 2)[..., None, :] * damping[:, None]


# Atoms per Å³ in condensed matter: 0.1 in water, 0.18 in diamond, 0.05 in silicon.
TYPICAL_NUMBER_DENSITY = 0.1


@cache
def density_scale(basis: Basis) -> float:
    """Typical size of the density coefficients in a gas of number density ρ0, host side.

    √(Σ_nlm ⟨c_nlm²⟩ - ⟨c_nlm⟩²) = √(ρ0 ∫ r² Σ_nl (2l+1) (f_c u R_nl)² dr): the unit in which
    coefficients are of order one for any radial functions; a constant of the basis.

    Example:
        >>> round(density_scale(Basis(radial="chebyshev", n_max=1, l_max=0)) ** 2, 1)  # ρ0 ∫ r²
        3.4
    """
    r, weights = _gauss_legendre(0.0, basis.cutoff, 0.1 * basis.cutoff)
    decay = cutoff_function(r, basis) * radial_scaling(r, basis)
    radial = _tabulated(basis)(r) * decay[:, None, None]
    degeneracy = (2 * np.arange(basis.l_max + 1) + 1)[:, None]
    power = (radial**2 * degeneracy).sum((1, 2))
    return float(np.sqrt(TYPICAL_NUMBER_DENSITY * (weights * r**2 * power).sum()))


def _chebyshev(x: Array, degree: int) -> Array:
    """T_0 ... T_degree on a new last axis, by T_{m+j} = 2 T_m T_j - T_{m-j} in few, wide steps."""
    xp = array_module(x)
    polynomials = xp.stack([xp.ones_like(x), x], -1)
    while polynomials.shape[-1] <= degree:
        m = polynomials.shape[-1] - 1
        top = polynomials[..., m:]
        following = 2 * top * polynomials[..., 1:] - xp.flip(polynomials[..., :m], -1)
        polynomials = xp.concatenate([polynomials, following], -1)
    return polynomials[..., : degree + 1]


def _to_series_interval(distances, cutoff: float):
    """[-margin, cutoff + margin] -> [-1, 1]."""
    return (2 * distances / cutoff - 1) / (1 + 2 * _SERIES_MARGIN)


@lru_cache(maxsize=64)
def _series(basis: Basis, order: int = 0) -> np.ndarray:
    """Chebyshev coefficients [degree + 1, l, n] of a derivative of the radial functions."""
    if order:
        slope = float(
            _to_series_interval(1.0, basis.cutoff) - _to_series_interval(0.0, basis.cutoff)
        )
        return slope * np.polynomial.chebyshev.chebder(_series(basis, order - 1))
    function = _tabulated(basis)
    margin = _SERIES_MARGIN * basis.cutoff
    for degree in _SERIES_DEGREES:
        nodes = np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
        r = (nodes + 1) / 2 * (basis.cutoff + 2 * margin) - margin
        values = function(r).reshape(degree + 1, -1)
        vandermonde = np.polynomial.chebyshev.chebvander(nodes, degree)
        coefficients = 2 / (degree + 1) * vandermonde.T @ values
        coefficients[0] /= 2
        size = np.abs(coefficients).max(-1)
        significant = np.nonzero(size > SERIES_TOLERANCE * size.max())[0]
        if significant[-1] < 0.9 * degree:
            shape = (significant[-1] + 1, basis.l_max + 1, basis.n_max)
            return coefficients[: significant[-1] + 1].reshape(shape)
    raise InputError(
        f"the radial functions of {basis} are too sharp for a series of degree "
        f"{_SERIES_DEGREES[-1]}; use a larger gaussian_width or a smaller n_max"
    )


def _tabulated(basis: Basis):
    """r [R] -> R_nl(r) [R, l, n] on the host; r may be slightly outside [0, cutoff]."""
    if basis.radial == "gto":
        width = basis.gaussian_width or GTO_DENSITY_WIDTH
        orbitals = partial(_gto_orbitals, basis)
        return lambda r: _smeared(r, orbitals, np.abs(r).max() + 9 * width, width, basis.l_max)
    if basis.radial == "laplacian":
        eigenstates = partial(_laplacian_eigenstates, basis)
        if basis.gaussian_width is None:
            return eigenstates
        width = basis.gaussian_width
        return lambda r: _smeared(r, eigenstates, basis.cutoff, width, basis.l_max)
    return lambda r: _in_closed_form(r, basis)


def _gaussian_shells(basis: Basis) -> tuple[np.ndarray, float]:
    low, high = basis.radial_range or (basis.cutoff / 2, basis.cutoff)
    centers = np.linspace(low, high, basis.n_max) if basis.n_max > 1 else np.array([low + high]) / 2
    return centers, basis.gaussian_width or (high - low) / max(basis.n_max - 1, 1)


def _gauss_legendre(low: float, high: float, panel: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of 16-point rules on panels of at most the given width."""
    edges = np.linspace(low, high, int(np.ceil((high - low) / panel)) + 1)
    x, w = np.polynomial.legendre.leggauss(16)
    half = np.diff(edges)[:, None] / 2
    return (edges[:-1, None] + half * (x + 1)).ravel(), (half * w).ravel()


def _smeared(r: np.ndarray, basis_functions, reach: float, width: float, l_max: int) -> np.ndarray:
    """4π (πσ²)^(-3/4) ∫ r'² R_nl(r') exp(-(r² + r'²) / 2σ²) i_l(r r' / σ²) dr', [R, l, n].

    The projection of a Gaussian of width σ at distance r onto the basis functions, r' < reach.
    """
    x, weights = _gauss_legendre(0.0, reach, width)
    orbitals = basis_functions(x)  # [x, l, n]
    # For even (odd) l they are even (odd) functions of r, which extends them to r < 0.
    z = np.abs(r)[:, None] * x / width**2
    envelope = np.exp(-0.5 * ((np.abs(r)[:, None] - x) / width) ** 2)
    values = []
    for l in range(l_max + 1):
        kernel = envelope * _scaled_bessel_i(l, z) * (weights * x**2)
        values.append(np.sign(r)[:, None] ** l * (kernel @ orbitals[:, l]))
    return 4 * np.pi * (np.pi * width**2) ** -0.75 * np.stack(values, axis=1)


def _gto_orbitals(basis: Basis, r: np.ndarray) -> np.ndarray:
    """Orthonormal combinations (S^-½) of r^n exp(-r² / 2σ_n²), the same for every l, [R, l, n].

    σ_n = cutoff max(√n, 1) / n_max.
    """
    n = np.arange(basis.n_max)
    exponent = 0.5 / (basis.cutoff * np.maximum(np.sqrt(n), 1) / basis.n_max) ** 2

    def overlap(power, decay):  # ∫ r^(power + 2) exp(-decay r²) dr
        half = (power + 3) / 2
        return 0.5 * special.gamma(half) * decay**-half

    norm = overlap(2 * n, 2 * exponent) ** -0.5
    overlaps = np.outer(norm, norm) * overlap(n[:, None] + n, exponent[:, None] + exponent)
    values, vectors = np.linalg.eigh(overlaps)
    if values[0] < 1e-13 * values[-1]:
        raise InputError(
            f"n_max={basis.n_max} Gaussian-type orbitals are linearly dependent in float64; "
            "use a smaller n_max or radial='laplacian'"
        )
    orthonormal = vectors @ np.diag(values**-0.5) @ vectors.T
    values = norm * r[:, None] ** n * np.exp(-exponent * r[:, None] ** 2) @ orthonormal
    return np.broadcast_to(values[:, None], (len(r), basis.l_max + 1, basis.n_max))


def _scaled_bessel_i(l: int, z: np.ndarray) -> np.ndarray:
    """exp(-z) i_l(z), with i_l the modified spherical Bessel function, without overflow; z >= 0."""
    tiny = 1e-8
    safe = np.maximum(z, tiny)
    regular = np.sqrt(np.pi / (2 * safe)) * special.ive(l + 0.5, safe)
    return np.where(z > tiny, regular, 1.0 if l == 0 else 0.0)


def _laplacian_eigenstates(basis: Basis, r: np.ndarray) -> np.ndarray:
    """√(2 / cutoff³) j_l(z_nl r / cutoff) / |j_{l+1}(z_nl)|, [R, l, n]."""
    cutoff, l_max = basis.cutoff, basis.l_max
    zeros = _bessel_zeros(basis.n_max, l_max)  # [l, n]
    values = []
    for l in range(l_max + 1):
        norm = np.sqrt(2 / cutoff**3) / np.abs(special.spherical_jn(l + 1, zeros[l]))
        j = special.spherical_jn(l, np.abs(r)[:, None] * zeros[l] / cutoff)
        values.append(np.sign(r)[:, None] ** l * norm * j)
    return np.stack(values, axis=1)


@cache
def _bessel_zeros(n_max: int, l_max: int) -> np.ndarray:
    """First n_max positive zeros of j_l, l = 0 ... l_max: each is between two zeros of j_{l-1}."""
    zeros = [np.pi * np.arange(1, n_max + l_max + 1)]
    for l in range(1, l_max + 1):
        brackets = zip(zeros[-1][:-1], zeros[-1][1:], strict=True)
        j = lambda x, l=l: special.spherical_jn(l, x)  # noqa: E731
        zeros.append(np.array([optimize.brentq(j, a, b, xtol=1e-14) for a, b in brackets]))
    return np.stack([z[:n_max] for z in zeros])
