"""The coupled basis against sum rules, an independent formula, and the minimal basis."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.reference.angular import clebsch_gordan_real
from tests.systems import environment, quick_jit
from tripletjax.basis.angular import harmonic_slice
from tripletjax.basis.densities import density_coefficients
from tripletjax.invariants.correlations import bispectrum, bispectrum_index
from tripletjax.invariants.coupled import (
    coupled_from_minimal,
    coupled_index,
    coupled_invariants,
    coupled_sum,
    edge_from_stretched,
    environment_coupled,
    pair_channels,
)
from tripletjax.invariants.nice import density_covariants, expand
from tripletjax.invariants.triplets import triplet_invariants
from tripletjax.numerics import safe_norm
from tripletjax.testing import (
    assert_close,
    assert_finite_derivatives,
    assert_gradients,
    assert_invariant,
    assert_padding_changes_nothing,
    assert_permutation_invariant,
)
from tripletjax.types import Basis, InputError

BASIS = Basis(cutoff=3.0, radial="laplacian", n_max=2, l_max=2)
N_SPECIES = 3
parities = pytest.mark.parametrize("parity", [1, -1])


@pytest.fixture
def rtol(dtype):
    return 1e-12 if dtype == jnp.float64 else 1e-5


@pytest.fixture
def atoms(dtype):
    """Vectors, species, mask: five neighbours of three species and a masked one."""
    vectors, species, mask = environment(dtype)
    return (
        np.append(vectors, [[1, 1, 1]], 0).astype(dtype),
        np.append(species, 0),
        np.append(mask, False),
    )


@partial(quick_jit, static_argnames="parity")
def every_triplet(vectors, species, mask, parity=1):
    return environment_coupled(vectors, species, mask, BASIS, N_SPECIES, 1, parity)


@partial(quick_jit, static_argnames=("nu", "parity", "function", "block"))
def summed(vectors, species, mask, nu=1, parity=1, function=None, block=4):
    return coupled_sum(vectors, species, mask, BASIS, N_SPECIES, nu, parity, function, block)


@partial(quick_jit, static_argnames="n_species")
def pairs_of(vectors, species, mask, n_species=N_SPECIES):
    return pair_channels(vectors, species, mask, BASIS, n_species)


@quick_jit
def density_of(vectors, species, mask):
    return density_coefficients(vectors, species, mask, BASIS, N_SPECIES)


def by_name(column, g1, g2, c):
    """One coupled feature from its name, in NumPy: [2λ+1] at ν = 0."""
    q1, l1, q2, l2, lambda_, q3, _ = column
    a, b = g1[q1, harmonic_slice(l1)], g2[q2, harmonic_slice(l2)]
    covariant = np.einsum("i,j,ijk->k", a, b, clebsch_gordan_real(l1, l2, lambda_))
    if q3 is None:
        return covariant
    to_scalar = clebsch_gordan_real(lambda_, lambda_, 0)[:, :, 0]
    return covariant @ to_scalar @ c[q3, harmonic_slice(lambda_)]


def flat(array):
    array = np.asarray(array, np.float64)
    return array.reshape(*array.shape[:-3], -1, array.shape[-1])  # [..., q, lm]


def test_pairs_sum_to_the_density(atoms, rtol):
    assert_close(pairs_of(*atoms).sum(0), density_of(*atoms), rtol)


@parities
def test_triplets_are_what_their_names_say(atoms, parity, rtol):
    pairs = flat(pairs_of(*atoms))
    c = pairs.sum(0)
    values = every_triplet(*atoms, parity)
    index = coupled_index(len(c), BASIS.l_max, 1, parity)
    assert values.shape == (6, 6, len(index)) and len(set(index)) == len(index)
    chosen = np.random.default_rng(0).choice(len(index), 400, replace=False)
    expected = [by_name(index[i], pairs[0], pairs[3], c) for i in chosen]
    assert_close(values[0, 3, chosen], np.array(expected), rtol)
    assert not values[:, 5].any() and not values[5].any()


@pytest.mark.once("float64")
def test_order_0_sums_to_correlations_of_order_2(atoms, rtol):
    blocks = summed(*atoms, nu=0)
    c = flat(density_of(*atoms))
    assert set(blocks) == {(1, 0), (1, 1), (1, 2), (-1, 1), (-1, 2)}
    for sigma in (1, -1):
        index = coupled_index(len(c), BASIS.l_max, 0, sigma)
        for lambda_ in range(1 if sigma == -1 else 0, BASIS.l_max + 1):
            rows = [name for name in index if name.lambda_ == lambda_]
            expected = np.array([by_name(name, c, c, c) for name in rows])
            assert_close(blocks[sigma, lambda_], expected, rtol, f"block {sigma, lambda_}")


@pytest.mark.once("float64")
@parities
def test_order_1_sums_to_correlations_of_order_3(atoms, parity, rtol):
    """Diagonal included; block by block."""
    values = summed(*atoms, parity=parity)
    c = flat(density_of(*atoms))
    index = coupled_index(len(c), BASIS.l_max, 1, parity)
    expected = np.array([by_name(name, c, c, c) for name in index])
    if parity == 1:
        blocks = np.array([(name.l1, name.l2, name.lambda_) for name in index])
        for block in np.unique(blocks, axis=0):
            here = (blocks == block).all(1)
            assert_close(values[here], expected[here], rtol, f"block {block}")
    # Pseudoscalars of two equal factors cancel to zero: only the whole has a size.
    assert_close(values, expected, rtol)


@pytest.mark.once("float64")
@parities
def test_order_1_sums_to_the_bispectrum(atoms, parity, rtol):
    expected = quick_jit(lambda c: bispectrum(c, parity))(density_of(*atoms))
    names = bispectrum_index(N_SPECIES * BASIS.n_max, BASIS.l_max, parity)
    columns = {
        ((name.l1, name.l2, name.lambda_), (name.q1, name.q2, name.q3)): i
        for i, name in enumerate(coupled_index(N_SPECIES * BASIS.n_max, BASIS.l_max, 1, parity))
    }
    orderings = [
        {1: 1, 2: 3, 3: 6}[len(set(zip(*name, strict=True)))] for name in names
    ]  # the bispectrum keeps one of them, times the root of their number
    values = np.asarray(summed(*atoms, parity=parity))[[columns[name] for name in names]]
    # The bispectrum leaves the sign of C^{λλ0} out.
    signs = np.array([(-1) ** degrees[2] for degrees, _ in names])
    assert_close(signs * values * np.sqrt(orderings), expected, rtol)


@pytest.mark.once("float64")
def test_sums_are_the_recursion(atoms, rtol):
    """The same numbers in the same order as by adding one density at a time."""

    @quick_jit
    def recursion(density):
        order_2 = expand(density_covariants(density), density, BASIS.l_max)
        return order_2, expand(order_2, density, 0)

    order_2, order_3 = recursion(density_of(*atoms))
    for key, block in summed(*atoms, nu=0).items():
        assert_close(block, order_2[key], rtol, f"block {key}")
    for parity in (1, -1):
        assert_close(summed(*atoms, parity=parity), order_3[parity, 0][:, 0], rtol)


@pytest.mark.once("float64")
def test_leaving_out_the_diagonal_is_wrong(atoms):
    values = every_triplet(*atoms)
    without = values.sum((0, 1)) - jnp.einsum("kkd->d", values)
    error = jnp.linalg.norm(without - values.sum((0, 1))) / jnp.linalg.norm(values.sum((0, 1)))
    assert error > 0.1


@pytest.mark.once("float64")
def test_streaming_changes_nothing(atoms, rtol):
    """Whatever the size of a block, and with a nonlinear function that is not zero at zero."""
    values = every_triplet(*atoms)
    expected = jnp.cos(values[:5, :5]).sum((0, 1))
    for block in (1, 4, 100):
        assert_close(summed(*atoms, function=jnp.cos, block=block), expected, rtol)
    few = Basis(cutoff=3.0, radial="laplacian", n_max=1, l_max=1)
    function = partial(coupled_sum, basis=few, n_species=N_SPECIES)
    assert_close(jax.jit(function)(*atoms), function(*atoms), rtol, "compiled values")


@parities
def test_symmetries(atoms, parity, rtol):
    vectors, species, mask = atoms
    function = partial(summed, parity=parity, function=jnp.sin)
    # Compared with the largest of both parities, for cancellation leaves pseudoscalars small.
    rtol = rtol if parity == 1 else 10 * rtol
    assert_invariant(
        lambda v: function(v, species, mask), vectors, inversion=parity == 1, rtol=rtol
    )
    assert_close(function(-vectors, species, mask), parity * function(*atoms), rtol)
    assert_permutation_invariant(function, *atoms, rtol=rtol)
    assert_padding_changes_nothing(function, *atoms)


def test_derivatives(atoms, dtype):
    """At a general point by finite differences; finite at collinear and empty environments."""
    vectors, species, mask = atoms
    small = Basis(cutoff=3.0, radial="chebyshev", n_max=1, l_max=1)
    function = partial(coupled_sum, basis=small, n_species=N_SPECIES, function=jnp.sin, block=2)
    assert_gradients(lambda v: function(v, species, mask), vectors)
    line = np.zeros_like(vectors)
    line[:2, 2] = 1.2, -1.2
    masks = np.array([mask, np.arange(6) < 2, np.arange(6) < 0])
    points = np.stack([vectors, line, np.zeros_like(line)])
    assert_finite_derivatives(
        lambda v, m: function(v, species, m),
        jnp.asarray(points),
        jnp.asarray(masks),
        names=["general", "collinear", "empty"],
        order=2,
    )
    compiled = quick_jit(function)
    assert not compiled(points[2], species, masks[2]).any()
    expected = jax.eval_shape(function, *atoms).shape
    assert compiled(vectors[:0], species[:0], mask[:0]).shape == expected


@pytest.mark.parametrize("nu", [0, 1])
def test_dtype_in_is_dtype_out(nu, dtype):
    for name in {"float32", dtype.name}:
        vectors, species, mask = environment(name)
        function = partial(coupled_sum, basis=BASIS, n_species=N_SPECIES, nu=nu)
        shapes = jax.eval_shape(function, vectors, species, mask)
        assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype(name)}


def test_unknown_order(atoms):
    with pytest.raises(InputError, match="nu=2"):
        coupled_sum(*atoms, BASIS, N_SPECIES, nu=2)


# The map from the minimal basis.

MAP_BASIS = Basis(cutoff=3.0, radial="laplacian", n_max=2, l_max=3)
THETAS = {"90°": np.pi / 2, "110°": 1.92, "30°": np.pi / 6, "170°": 2.97}
NEARLY = {"1e-3 rad": 1e-3, "π - 1e-3 rad": np.pi - 1e-3, "parallel": 0.0, "opposite": np.pi}


def triplet_at(theta, dtype, seed):
    """An environment whose first two neighbours enclose an angle, [K, 3], species and mask."""
    vectors, _, mask = environment(np.float64, seed)
    u = vectors[0] / np.linalg.norm(vectors[0])
    across = np.cross(u, vectors[1])
    across /= np.linalg.norm(across)
    vectors[1] = 1.7 * (np.cos(theta) * u + np.sin(theta) * across)
    return vectors.astype(dtype), np.array([1, 0, 1, 0, 1]), mask


@partial(quick_jit, static_argnames=("parity", "form"))
def both_ways(vectors, species, mask, parity, form):
    """Coupled features of the first two neighbours: from g and c, and from the minimal ones."""
    pairs = pair_channels(vectors, species, mask, MAP_BASIS, 2)
    density = pairs.sum(0)
    distances = safe_norm(vectors[:2])
    u, v = vectors[:2] / distances[:, None]
    even, odd = triplet_invariants(density, u, v, form)
    geometry = jnp.append(distances, u @ v)
    tags = species[0], species[1]
    mapped = coupled_from_minimal(even, odd, geometry, tags, MAP_BASIS, parity, form)
    return coupled_invariants(pairs[0], pairs[1], density, parity), mapped


@pytest.mark.parametrize("form", ["edge", "stretched"])
@parities
def test_minimal_determine_coupled(parity, form, dtype):
    """At every angle. Pseudoscalars of collinear tags vanish: a size near 90° is the measure."""
    rtol = 1e-10 if dtype == jnp.float64 else 1e-4
    size = np.linalg.norm(both_ways(*triplet_at(1.0, dtype, 0), parity, form)[0])
    for theta in (THETAS | NEARLY).values():
        for seed in (1, 2):
            direct, mapped = map(
                np.asarray, both_ways(*triplet_at(theta, dtype, seed), parity, form)
            )
            assert np.linalg.norm(mapped - direct) <= rtol * size
            assert np.linalg.norm(direct) > (0.1 * size if parity == 1 else 0)


@pytest.mark.parametrize("l_max", [0, 1, 6])
def test_forms_determine_each_other(l_max, float64):
    """The stretched form gives the edge form, at collinear tags too."""
    c = np.random.default_rng(0).normal(size=(1, 2, (l_max + 1) ** 2))

    @quick_jit
    def both(u, v):
        stretched = triplet_invariants(c, u, v, "stretched")
        return edge_from_stretched(*stretched, u @ v), triplet_invariants(c, u, v)

    for theta in (THETAS | NEARLY).values():
        u = np.array([0.48, 0.6, 0.64])
        v = np.cos(theta) * u + np.sin(theta) * np.array([0.8, 0.0, -0.6])
        for part, expected in zip(*both(u, v), strict=True):
            assert part.shape == expected.shape
            assert np.abs(part - expected).max(initial=0) < 1e-11


def test_coupled_features_are_no_more_than_the_minimal_ones(float64):
    """Rank over densities of the thousands of columns of one triplet: (l_max + 1)² a channel."""
    vectors, species, mask = triplet_at(1.9, np.float64, 0)
    pairs = pairs_of(vectors, species, mask, n_species=2)
    ranks = {}
    for parity in (1, -1):

        def linear(c, parity=parity):
            return coupled_invariants(pairs[0], pairs[1], c, parity)

        jacobian = quick_jit(jax.jacobian(linear))(jnp.zeros_like(pairs[0]))
        jacobian = jacobian.reshape(-1, pairs[0].size)
        ranks[parity] = np.linalg.matrix_rank(jacobian, rtol=1e-10)
    assert ranks == {1: 4 * 6, -1: 4 * 3}
