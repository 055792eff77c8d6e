"""Equivariant features of one environment: linear models on them are tensors that rotate with it.

A tensor of degree λ is a sum over triplets of invariants times the stretched bipolar harmonics of
the two tags, which span all tensors that a triplet can represent,

    y_{kd,λμ} = √(4π) √(2/D) Σ_{j1 ≠ j2} w_{j1} w_{j2} ψ_d(e, o) {Y_l1(r̂_j1) ⊗ Y_l2(r̂_j2)}_λμ,

with k = (l1, l2): l1 + l2 = λ (even type) and l1 + l2 = λ + 1 with l1, l2 >= 1 (odd type). ψ are
the random cosine features of the fingerprint and w its weights. A true tensor, such as a dipole
or a polarisability, is multiplied by (-1)^λ under inversion: even types use ψ = cos(W·e + b)
cos(V·o), odd types ψ = cos(W·e + b) sin(V·o). For pseudotensors, which are multiplied by -(-1)^λ,
it is the other way round. Only l1 <= l2 is needed: exchanging the tags turns (l1, l2) into
(l2, l1), and the sum includes all ordered pairs.

Collinear environments need level 1, Σ_j w_j ψ_d(e_j) Y_λμ(r̂_j), for true tensors; their
pseudotensors vanish. A linear model, Σ_d v_d times row d with the same v for all μ and no intercept
unless λ = 0, is symmetry-adapted. As D grows it approximates any continuous tensor on a compact set
of environments that are not collinear and that are determined by the density at its resolution: a
triplet then determines the environment, and a frame in which to express the tensor.
"""

import jax
import jax.numpy as jnp
import numpy as np

from tripletjax.basis.angular import harmonic_slice, spherical_harmonics
from tripletjax.basis.coupling import clebsch_gordan
from tripletjax.basis.densities import Mixing, density_of, neighborhood
from tripletjax.invariants.fingerprints import FingerprintWeights
from tripletjax.invariants.tagged import (
    LinearForms,
    Tagged,
    feature_norm,
    other_weights,
    pair_phases,
    second_phases,
    single_phases,
    tagged_neighbors,
)
from tripletjax.invariants.tags import by_distance
from tripletjax.numerics import cosine, scan_sum
from tripletjax.types import L_MAX_LIMIT, Array, Basis, as_integer

ROOT_4PI = float(np.sqrt(4 * np.pi))  # makes the harmonic of l1 = 0 that of the second tag, Y_λ


def bipolar_types(lambda_: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """(l1, l2) of the even and of the odd types, l1 <= l2: λ + 1 in total, not 2λ + 1.

    The others are the same functions with the tags exchanged.

    Example:
        >>> bipolar_types(2)
        ([(0, 2), (1, 1)], [(1, 2)])
    """
    even = [(l1, lambda_ - l1) for l1 in range(lambda_ // 2 + 1)]
    odd = [(l1, lambda_ + 1 - l1) for l1 in range(1, (lambda_ + 1) // 2 + 1)]
    return even, odd


def equivariant_index(
    lambda_: int, weights: FingerprintWeights, pseudo: bool = False
) -> list[tuple[int, int, int, int]]:
    """(level, l1, l2, d) of every row of ``equivariant_fingerprint``; level 1 has l1 = 0.

    Example:
        >>> from tripletjax.invariants.fingerprints import fingerprint_weights
        >>> weights = fingerprint_weights(Basis(n_max=2, l_max=3), 1, n_features=16)
        >>> len(equivariant_index(1, weights)), equivariant_index(1, weights)[-1]
        (34, (2, 1, 1, 15))
    """
    even, odd = bipolar_types(lambda_)
    of_one = [] if pseudo else range(len(weights.level_1.phase))
    of_two = range(len(weights.level_2.phase))
    rows = [(1, 0, lambda_, d) for d in of_one]
    return rows + [(2, l1, l2, d) for l1, l2 in even + odd for d in of_two]


def equivariant_fingerprint(
    vectors: Array,
    species: Array,
    mask: Array,
    basis: Basis,
    weights: FingerprintWeights,
    lambda_: int,
    center: Array | int = 0,
    tags: int | None = None,
    pseudo: bool = False,
    mixing: Mixing | None = None,
) -> Array:
    """Features of one environment that rotate as Y_λ: rows of tensors, levels 1 and 2.

    Args:
        vectors, species, mask: the environment, [K, 3] Å, [K] and [K].
        basis: the density expansion.
        weights: from ``fingerprints.fingerprint_weights``, for the same basis.
        lambda_: degree λ; may exceed the basis's l_max.
        center: species index of the central atom.
        tags: number of nearest neighbours to tag, as in ``fingerprint``; None: all.
        pseudo: pseudotensors, with sign -(-1)^λ under inversion instead of (-1)^λ.
        mixing: linear maps of the density's channels, as in ``fingerprint``.

    Returns:
        ``[D/8 + (λ + 1) D, 2λ + 1]``, or ``[(λ + 1) D, 2λ + 1]`` if pseudo; the rows are those of
        ``equivariant_index``, and μ = -λ ... λ. Zero without neighbours.

    Raises:
        InputError: λ is out of range.

    Source: Grisafi, Wilkins, Csányi, Ceriotti, Phys. Rev. Lett. 120, 036002 (2018), for models
    of tensors that rotate with the structure; Nigam et al., arXiv 2302.14770, for triplets.

    Example:
        >>> from tripletjax.invariants.fingerprints import fingerprint_weights
        >>> basis = Basis(n_max=2, l_max=3)
        >>> weights = fingerprint_weights(basis, 1, n_features=16)
        >>> vectors, species = jnp.eye(3), jnp.zeros(3, int)
        >>> equivariant_fingerprint(vectors, species, jnp.ones(3, bool), basis, weights, 1).shape
        (34, 3)
    """
    lambda_ = as_integer("lambda_", lambda_, 0, L_MAX_LIMIT)
    dtype = vectors.dtype
    if len(mask) == 0:
        rows = len(equivariant_index(lambda_, weights, pseudo))
        return jnp.zeros((rows, 2 * lambda_ + 1), dtype)
    weights = jax.tree.map(lambda w: jnp.asarray(w, dtype), weights)
    n_species = weights.level_2.species.shape[1]
    vectors, species, mask = by_distance(vectors, species, mask, tags)
    hood = neighborhood(vectors, species, mask, basis, n_species, mixing)
    tagged = tagged_neighbors(hood, species, density_of(hood), basis, tags)
    harmonics = spherical_harmonics(tagged.directions, lambda_)  # [T, (λ+1)²]
    level_2 = _level_2(tagged, harmonics, weights.level_2, center, lambda_, pseudo)
    if pseudo:
        return level_2
    level_1 = _level_1(tagged, harmonics, weights.level_1, center, lambda_)
    return jnp.concatenate([level_1, level_2])


def _level_1(tagged: Tagged, harmonics: Array, forms: LinearForms, center, lambda_: int) -> Array:
    """√(2/D) Σ_j w_j cos(W·(Σ_m c_nlm Y_lm(r̂_j), r_j, species) + b) Y_λ(r̂_j), [D, 2λ+1]."""
    waves = cosine(single_phases(tagged, forms, center))
    weighted = tagged.weights[:, None] * harmonics[:, harmonic_slice(lambda_)]
    sums = jnp.matmul(waves.T, weighted, precision="highest")
    return sums * feature_norm(len(sums), sums.dtype)


def _level_2(
    tagged: Tagged, harmonics: Array, forms: LinearForms, center, lambda_: int, pseudo: bool
) -> Array:
    """The sum over ordered pairs of tags, [types · D, 2λ+1]; one first tag at a time."""
    even_types, odd_types = bipolar_types(lambda_)
    of_second = second_phases(tagged, forms, center)

    def sum_over_second(index, first, harmonic):
        even, odd = pair_phases(first, tagged, forms, of_second)
        wave = cosine(even)
        waves = wave * cosine(odd), wave * cosine(odd - np.pi / 2)  # even and odd in o
        weights = first.weights * other_weights(index, tagged)
        sums = []
        for types, wave in zip((even_types, odd_types), waves[:: -1 if pseudo else 1], strict=True):
            for l1, l2 in types:
                bipolar = bipolar_harmonics(harmonic, harmonics, l1, l2, lambda_)
                sums.append(jnp.matmul(wave.T, weights[:, None] * bipolar, precision="highest"))
        return jnp.concatenate(sums)

    total = scan_sum(sum_over_second, jnp.arange(len(tagged.weights)), tagged, harmonics)
    return total * feature_norm(len(forms.phase), total.dtype)


def bipolar_harmonics(first: Array, seconds: Array, l1: int, l2: int, lambda_: int) -> Array:
    """√(4π) {Y_l1 ⊗ Y_l2}_λμ = √(4π) Σ_{m1 m2} C^{l1 l2 λ}_{m1 m2 μ} Y_{l1 m1} Y_{l2 m2}.

    Args:
        first: ``[lm]`` harmonics of one direction, at least up to degree l1.
        seconds: ``[T, lm]`` harmonics of other directions, at least up to degree l2.
        l1, l2, lambda_: degrees.

    Returns:
        ``[T, 2λ+1]``.

    Source: Manakov, Marmo, Meremianin, J. Phys. B 29, 2711 (1996).

    Example:
        >>> y = spherical_harmonics(jnp.eye(3), 1)
        >>> bipolar_harmonics(y[0], y[1:], 1, 1, 1).shape
        (2, 3)
    """
    table = (ROOT_4PI * clebsch_gordan(l1, l2, lambda_)).astype(first.dtype)
    coupled = jnp.tensordot(first[harmonic_slice(l1)], table, axes=1, precision="highest")
    return jnp.matmul(seconds[:, harmonic_slice(l2)], coupled, precision="highest")
