"""From the minimal invariants of a triplet to its coupled ones.

The bipolar harmonics {Y_l1(u) ⊗ Y_l2(v)}_λ of all l1, l2 are combinations of 2λ+1 of them, with
polynomials in cos θ = u·v as coefficients. The minimal invariants together with r_1, r_2, cos θ and
the species of the tags therefore determine all coupled ones, and are (l_max + 1)² numbers instead
of thousands.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular

from tripletjax.basis.angular import spherical_harmonics
from tripletjax.basis.coupling import clebsch_gordan
from tripletjax.basis.cutoffs import cutoff_function
from tripletjax.basis.radial import radial_functions, radial_scaling
from tripletjax.invariants.coupled.products import couplings, to_invariant
from tripletjax.types import Array, Basis


def _scaled_legendre(cosine: Array, l_max: int) -> Array:
    """√(2 - δ_m0) P̃_l^m(cos θ), polynomials, at index (l, m >= 0): Y_lm divided by sin^m θ.

    The harmonics are polynomials in the components, so setting x + iy = 1 removes sin^m θ.
    """
    one, zero = jnp.ones_like(cosine), jnp.zeros_like(cosine)
    return spherical_harmonics(jnp.stack([one, zero, cosine], -1), l_max)


def _bipolar_coefficients(legendre: Array, l1: int, l2: int, l: int) -> Array:
    """Coefficients K_m of Σ_μ c_lμ {Y_l1(u) ⊗ Y_l2(v)}_lμ = Σ_m K_m (e or o)_lm, edge form.

    In a frame with z along u only m1 = 0 of Y_l1 is nonzero, and Y_l2 is sin^m θ times a polynomial
    in cos θ. m = 0 ... min(l2, l) for l1 + l2 + l even, from 1 for odd.
    """
    top = min(l2, l)
    table = clebsch_gordan(l1, l2, l)[l1] * np.sqrt((2 * l1 + 1) / (4 * np.pi))  # [m2, μ]
    odd = (l1 + l2 + l) % 2
    coupling = [table[l2 + m, l - m if odd else l + m] for m in range(odd, top + 1)]
    start = l2 * (l2 + 1)
    return np.array(coupling).astype(legendre.dtype) * legendre[start + odd : start + top + 1]


def edge_from_stretched(even: Array, odd: Array, cosine: Array) -> tuple[Array, Array]:
    """Convert the stretched invariants of a triplet to the edge form.

    For each degree, the stretched invariants are a triangular matrix of polynomials in cos θ, with
    constants on the diagonal, times those of the edge form: each form determines the other at every
    θ, including 0 and π, and both lose the same information for collinear tags.

    Args:
        even: ``[a, n, (l_max+1)(l_max+2)/2]`` of form "stretched" (``triplet_invariants``).
        odd: ``[a, n, l_max(l_max+1)/2]``.
        cosine: cos θ between the tags, a scalar.

    Returns:
        even and odd of form "edge", shapes as given.

    Example:
        >>> from tripletjax.invariants.triplets import triplet_invariants
        >>> triplet = jnp.ones((1, 2, 9)), jnp.array([0.6, 0.0, 0.8]), jnp.array([1.0, 0.0, 0.0])
        >>> edge = edge_from_stretched(*triplet_invariants(*triplet, "stretched"), jnp.array(0.6))
        >>> bool(jnp.allclose(edge[0], triplet_invariants(*triplet)[0], atol=1e-5))
        True
    """
    l_max = int(np.sqrt(2 * even.shape[-1])) - 1
    legendre = _scaled_legendre(cosine, l_max)
    parts: tuple[list[Array], list[Array]] = ([even[..., :0]], [odd[..., :0]])
    for is_odd, values in enumerate((even, odd)):
        start = 0
        for l in range(is_odd, l_max + 1):
            size = l + 1 - is_odd
            rows = []  # by ascending l2, which makes the matrix lower triangular
            for l2 in range(is_odd, l + 1):
                row = _bipolar_coefficients(legendre, l + is_odd - l2, l2, l)
                rows.append(jnp.pad(row, (0, size - len(row))))
            given = jnp.flip(values[..., start : start + size], -1).reshape(-1, size)
            solved = solve_triangular(jnp.stack(rows), given.T, lower=True).T
            parts[is_odd].append(solved.reshape(*values.shape[:-1], size))
            start += size
    return jnp.concatenate(parts[0], -1), jnp.concatenate(parts[1], -1)


def coupled_from_minimal(
    even: Array,
    odd: Array,
    geometry: Array,
    species: tuple[Array | int, Array | int],
    basis: Basis,
    parity: int = 1,
    form: str = "edge",
) -> Array:
    """Compute the coupled invariants of a triplet from its minimal ones:

    |ρ¹; σ00⟩ = f_c R_{n1 l1}(r_1) f_c R_{n2 l2}(r_2) Σ_m K^{l1 l2 λ}_m(cos θ) e_{q3 λm}
    times (-1)^λ / √(2λ+1), with o in place of e for σ = -1, and zero in channels of species other
    than those of the tags. K are polynomials, so this holds at every θ, including 0 and π.

    Args:
        even, odd: minimal invariants, [a, n, ...] (``triplets.triplet_invariants``).
        geometry: ``[3]`` r_ij1 and r_ij2 in Å and cos θ.
        species: species of the two tagged neighbours.
        basis: the expansion used for the invariants.
        parity: σ of the result.
        form: form of the given invariants, "edge" or "stretched".

    Returns:
        ``[columns]``, as in ``coupled_invariants``.

    Source: Manakov, Marmo, Meremianin, J. Phys. B 29, 2711 (1996), for bipolar harmonics of any
    degrees as combinations of the stretched ones.

    Example:
        >>> even, odd = jnp.ones((1, 2, 6)), jnp.ones((1, 2, 3))
        >>> geometry, basis = jnp.array([1.0, 1.5, 0.3]), Basis(n_max=2, l_max=2)
        >>> coupled_from_minimal(even, odd, geometry, (0, 0), basis).shape
        (88,)
    """
    if form == "stretched":
        even, odd = edge_from_stretched(even, odd, geometry[2])
    n_species, n_max = even.shape[:2]
    invariants = (even if parity == 1 else odd).reshape(n_species * n_max, -1)  # [q3, (λ, m)]
    distances = geometry[:2]
    weights = cutoff_function(distances, basis) * radial_scaling(distances, basis)
    radial = weights[:, None, None] * radial_functions(distances, basis)  # [tag, l, n]
    channel = jax.nn.one_hot(jnp.stack(jnp.broadcast_arrays(*species)), n_species)
    channel = channel.astype(even.dtype)[:, None, :, None] * radial[:, :, None, :]
    g1, g2 = channel.reshape(2, basis.l_max + 1, -1)  # [l, q]
    legendre = _scaled_legendre(geometry[2], basis.l_max)
    columns, is_odd, start = [], int(parity == -1), 0
    for lambda_ in range(is_odd, basis.l_max + 1):
        products = []
        for l1, l2 in couplings(lambda_, basis.l_max, parity):
            kernel = _bipolar_coefficients(legendre, l1, l2, lambda_)
            of_order = invariants[:, start : start + len(kernel)]
            angular = jnp.matmul(of_order, kernel, precision="highest")
            products.append(angular[:, None, None] * g2[l2][:, None] * g1[l1])  # [q3, q2, q1]
        columns.append(jnp.stack(products, 1).ravel() * to_invariant(lambda_))
        start += lambda_ + 1 - is_odd
    return jnp.concatenate(columns) if columns else jnp.zeros(0, even.dtype)
