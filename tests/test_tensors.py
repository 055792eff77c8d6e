"""Equivariant features: how they turn, what vanishes by symmetry, what is learned on them."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.reference.triplets import stretched_harmonic
from tests.systems import environment, quick_jit
from tripletjax.basis.angular import harmonic_slice, spherical_harmonics, wigner_matrix
from tripletjax.invariants.equivariants import (
    bipolar_harmonics,
    bipolar_types,
    equivariant_fingerprint,
    equivariant_index,
)
from tripletjax.invariants.fingerprints import fingerprint, fingerprint_weights
from tripletjax.testing import (
    INVARIANCE,
    assert_close,
    assert_finite_derivatives,
    assert_gradients,
    assert_padding_changes_nothing,
    assert_permutation_invariant,
    random_rotation,
    tolerance,
)
from tripletjax.types import Basis, InputError

BASIS = Basis(
    cutoff=3.0, cutoff_function="smooth", cutoff_width=1.0, radial="chebyshev", n_max=2, l_max=3
)
N_SPECIES = 3
WEIGHTS = fingerprint_weights(BASIS, N_SPECIES, n_features=8)
SMALL = Basis(**(vars(BASIS) | {"n_max": 1, "l_max": 2}))
degrees = pytest.mark.parametrize("lambda_", [0, 1, 2, 3])
kinds = pytest.mark.parametrize("pseudo", [False, True], ids=["true", "pseudo"])


@cache
def features(lambda_, pseudo, tags=None):
    """The compiled environment function of a kind of tensor."""
    return quick_jit(plain_features(lambda_, pseudo, tags, BASIS))


def plain_features(lambda_, pseudo, tags=None, basis=SMALL):
    """The environment function itself, to be part of another program."""
    weights = fingerprint_weights(basis, N_SPECIES, n_features=8)
    return lambda vectors, species, mask: equivariant_fingerprint(
        vectors, species, mask, basis, weights, lambda_, 1, tags, pseudo
    )


def turned(vectors, matrix):
    return (np.asarray(vectors, np.float64) @ matrix.T).astype(vectors.dtype)


@kinds
@degrees
def test_rotation_and_inversion(lambda_, pseudo, dtype):
    vectors, species, mask = environment(dtype)
    function = features(lambda_, pseudo)
    values = function(vectors, species, mask)
    assert values.shape == (len(equivariant_index(lambda_, WEIGHTS, pseudo)), 2 * lambda_ + 1)
    for matrix in (random_rotation(3), np.roll(np.eye(3), 1, 0), np.diag([-1.0, 1, -1])):
        wigner = wigner_matrix(matrix, lambda_)[harmonic_slice(lambda_), harmonic_slice(lambda_)]
        expected = np.asarray(values, np.float64) @ wigner.T
        found = function(turned(vectors, matrix), species, mask)
        assert_close(found, expected, tolerance(INVARIANCE, values), "values after a rotation")
    sign = (-1) ** lambda_ * (-1 if pseudo else 1)
    assert_close(function(-vectors, species, mask), sign * values, tolerance(INVARIANCE, values))


@pytest.mark.parametrize(("lambda_", "pseudo"), [(1, False), (2, True)])
def test_permutation_and_padding(lambda_, pseudo, dtype):
    atoms = environment(dtype)
    assert_permutation_invariant(features(lambda_, pseudo), *atoms)
    assert_padding_changes_nothing(features(lambda_, pseudo), *atoms)
    if not pseudo:
        assert_padding_changes_nothing(features(lambda_, pseudo, 3), *atoms)


def test_degree_0_is_the_fingerprint(dtype):
    """Scalars and pseudoscalars are its levels 1 and 2 times Y_00."""
    atoms = environment(dtype)
    whole = quick_jit(lambda *atoms: fingerprint(*atoms, BASIS, WEIGHTS, 1, chiral=True))(*atoms)
    whole = whole / np.sqrt(4 * np.pi).astype(dtype)
    n_level_0 = N_SPECIES * (1 + BASIS.n_max)
    rtol = 10 * tolerance(INVARIANCE, whole)
    assert_close(features(0, False)(*atoms)[:, 0], whole[n_level_0:-8], rtol)
    assert_close(features(0, True)(*atoms)[:, 0], whole[-8:], rtol)


@pytest.mark.parametrize("lambda_", [1, 2, 3])
def test_bipolar_harmonics(lambda_, float64):
    """Those of the reference; with both orders of the tags they span every tensor."""
    u, v = environment()[0][:2]
    u, v = u / np.linalg.norm(u), v / np.linalg.norm(v)
    y = spherical_harmonics(np.stack([u, v]), lambda_)
    span = []
    even, odd = bipolar_types(lambda_)
    for l1, l2 in even + odd:
        ours = bipolar_harmonics(y[0], y[1:], l1, l2, lambda_)[0] / np.sqrt(4 * np.pi)
        assert_close(ours, stretched_harmonic(u, v, l1, l2, lambda_), 1e-13)
        span += [ours, stretched_harmonic(v, u, l1, l2, lambda_)]
    assert np.linalg.matrix_rank(np.array(span), tol=1e-6) == 2 * lambda_ + 1


@kinds
def test_precision_and_compilation(pseudo, dtype):
    atoms, function = environment(dtype, n_neighbors=3), plain_features(1, pseudo)
    values = jax.jit(function)(*atoms)
    assert_close(values, function(*atoms), tolerance(INVARIANCE, values), "compiled values")
    for name in {"float32", dtype.name}:
        shape = jax.eval_shape(features(3, pseudo), *environment(name))
        assert shape.dtype == name


LINE = np.array([[0, 0, 1.1], [0, 0, -1.1], [0, 0, 2.0], [0.0, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize(("lambda_", "pseudo"), [(1, False), (2, True)])
def test_derivatives(lambda_, pseudo, dtype):
    """At a general point by finite differences; finite to second order where frames fail."""
    vectors, species, mask = environment(dtype)

    def function(vectors, mask):
        return plain_features(lambda_, pseudo)(vectors, species, mask)

    if not pseudo:
        assert_gradients(lambda v: function(v, mask), vectors)
    count = np.arange(5)
    at_cutoff = vectors.copy()
    at_cutoff[4] *= 3.0 / np.linalg.norm(at_cutoff[4])
    points = {
        "general": (vectors, mask),
        "at the cutoff": (at_cutoff, mask),
        "collinear": (LINE, count < 3),
        "coincident": (LINE[[0, 0, 2, 3, 4]], count < 3),
        "one neighbour": (LINE, count < 1),
        "empty": (LINE, count < 0),
    }
    stacked = [jnp.asarray(np.stack(part)) for part in zip(*points.values(), strict=True)]
    assert_finite_derivatives(
        function, stacked[0].astype(dtype), stacked[1], names=list(points), order=2
    )


@kinds
def test_smooth_through_collinear(pseudo, float64):
    """One atom moved across the line of the others: fourth differences fall as the step to the 4th.

    They would not, were any derivative to third order to jump there.
    """
    species, mask = np.zeros(5, int), np.arange(5) < 4
    extra = LINE + np.array([[0.0] * 3] * 3 + [[0.8, 0.3, 0.9]] + [[0.0] * 3])

    def moved(x):
        return features(2, pseudo)(extra + x * np.eye(5)[1][:, None] * [1.0, 0.5, 0], species, mask)

    def fourth(h):
        stencil = [moved((k - 2) * h) for k in range(5)]
        return np.linalg.norm(np.tensordot([1, -4, 6, -4, 1], np.array(stencil), 1))

    assert fourth(0.01) < 0.1 * fourth(0.02)
    assert fourth(0.02) > 0


def test_symmetry_of_the_environment(dtype):
    """What a symmetry of the environment forbids vanishes, and what it allows does not."""
    vectors, species, mask = environment(dtype)
    size = np.linalg.norm(features(0, True)(vectors, species, mask))
    atol = (1e-13 if dtype == jnp.float64 else 1e-5) * size
    planar = vectors * np.array([1, 1, 0], dtype)
    assert np.abs(features(0, True)(planar, species, mask)).max() < atol  # not chiral
    axial = np.asarray(features(1, True)(planar, species, mask))  # only along the normal, z
    assert np.abs(axial[:, [0, 2]]).max() < atol < np.abs(axial[:, 1]).max()
    polar = np.asarray(features(1, False)(planar, species, mask))
    assert np.abs(polar[:, 1]).max() < atol < np.abs(polar[:, [0, 2]]).max()
    line = LINE.astype(dtype), species, np.arange(5) < 3
    for lambda_ in range(4):
        assert np.abs(features(lambda_, True)(*line)).max() < atol
        true = np.asarray(features(lambda_, False)(*line))
        others = np.arange(2 * lambda_ + 1) != lambda_
        assert np.abs(true[:, lambda_]).max() > 1e-3 > atol
        assert np.abs(true[:, others]).max(initial=0) < atol
    centric = np.concatenate([vectors[:2], -vectors[:2], 0 * vectors[:1]])
    of_one_species = centric, 0 * species, np.arange(5) < 4
    for lambda_ in (1, 3):
        assert np.abs(features(lambda_, False)(*of_one_species)).max() < atol
        assert np.abs(features(lambda_ - 1, False)(*of_one_species)).max() > 1e-3


def test_no_neighbours(dtype):
    vectors, species, mask = environment(dtype)
    assert not features(2, False)(vectors, species, mask & False).any()
    assert features(2, True)(vectors[:0], species[:0], mask[:0]).shape == (3 * 8, 5)


def test_bad_degree():
    with pytest.raises(InputError, match="lambda_=-1"):
        equivariant_fingerprint(*environment(), BASIS, WEIGHTS, -1)


# Learning

FIT_BASIS = Basis(cutoff=3.2, cutoff_function="smooth", radial="chebyshev", n_max=1, l_max=1)


def random_environments(n, seed):
    """Environments of four neighbours of two species, [n, 4, 3] and [n, 4]."""
    random = np.random.default_rng(seed)
    directions = random.normal(size=(n, 4, 3))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    return directions * random.uniform(1.0, 2.6, (n, 4, 1)), random.integers(0, 2, (n, 4))


def vector_target(vectors, species):
    """A dipole: charges that depend on distance, and a three-body term; [n, 3] in Å."""
    r = np.linalg.norm(vectors, axis=-1)
    charge = np.where(species == 0, 1.0, -0.6) * np.exp(-r)
    pair = np.einsum("nj,nk,njx,nkx->njk", charge, charge, vectors, vectors)
    np.einsum("njj->nj", pair)[:] = 0
    return np.einsum("nj,njx->nx", charge, vectors) + np.einsum("njk,njx->nx", pair, vectors)


def axial_target(vectors, species):
    """A pseudovector: Σ_{j<k} (q_j - q_k) r_j × r_k, [n, 3]."""
    charge = np.where(species == 0, 1.0, -0.6) * np.exp(-np.linalg.norm(vectors, axis=-1))
    cross = np.cross(vectors[:, :, None], vectors[:, None])
    return 0.5 * np.einsum("njkx,njk->nx", cross, charge[:, :, None] - charge[:, None])


@pytest.mark.parametrize(
    ("target", "pseudo"), [(vector_target, False), (axial_target, True)], ids=["polar", "axial"]
)
def test_ridge_learns_vectors(target, pseudo, dtype):
    weights = fingerprint_weights(FIT_BASIS, 2, n_features=256, length_scale=2.0)
    n_train = 300
    vectors, species = random_environments(400, 0)
    function = partial(
        equivariant_fingerprint, basis=FIT_BASIS, weights=weights, lambda_=1, pseudo=pseudo
    )
    one = lambda v, s: function(v, s, jnp.ones(4, bool))  # noqa: E731
    rows = quick_jit(lambda v, s: jax.lax.map(lambda x: one(*x), (v, s), batch_size=50))
    values = np.asarray(rows(vectors.astype(dtype), species), np.float64)  # [n, D, μ]
    y = target(vectors, species)[:, [1, 2, 0]]  # in the order y, z, x of μ = -1, 0, 1
    inputs = np.swapaxes(values, 1, 2).reshape(len(y) * 3, -1)
    train, test = inputs[: 3 * n_train], inputs[3 * n_train :]
    noise = 1e-7 * np.linalg.norm(train, 2) ** 2
    dual = np.linalg.solve(train @ train.T + noise * np.eye(len(train)), y[:n_train].ravel())
    error = (test @ train.T @ dual).reshape(-1, 3) - y[n_train:]
    relative = np.sqrt((error**2).mean() / (y[n_train:] ** 2).mean())
    assert relative < 0.05
