"""The exact kernel of triplets, against its definition and its random features; Nyström form."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.reference import density as reference_density
from tests.reference import triplet_kernel as reference
from tests.systems import SPECIES, environment, methanol
from tripletjax import InputError, prepare
from tripletjax.invariants.fingerprints import fingerprint, fingerprint_weights
from tripletjax.kernels import (
    choose_triplets,
    normalized_triplet_kernel,
    nystrom_descriptor,
    nystrom_vector,
    triplet_features,
    triplet_kernel,
)
from tripletjax.testing import (
    FAST_COMPILATION,
    INVARIANCE,
    assert_close,
    assert_finite_derivatives,
    assert_gradients,
    assert_invariant,
    assert_padding_changes_nothing,
    assert_permutation_invariant,
    tolerance,
)
from tripletjax.types import Basis

pytestmark = pytest.mark.once("float64")

BASIS = Basis(
    cutoff=3.0, cutoff_function="smooth", cutoff_width=1.0, radial="chebyshev", n_max=2, l_max=3
)
SCALE = 1.2
CENTER = 1


@cache
def compiled(tags=None):
    return jax.jit(
        partial(
            triplet_features, basis=BASIS, n_species=3, length_scale=SCALE, center=CENTER, tags=tags
        )
    )


@cache
def kernel():
    return jax.jit(triplet_kernel)


def two_environments(dtype):
    """Of five and four neighbours."""
    return environment(dtype, seed=1), environment(dtype, seed=2, n_neighbors=4)


def of_pair(vectors, species, mask, basis=BASIS):
    """The kernel with a fixed environment and with itself: [2]."""
    other = triplet_features(*environment(vectors.dtype, 2, 4), basis, 3, SCALE, CENTER)
    own = triplet_features(vectors, species, mask, basis, 3, SCALE, CENTER)
    return jnp.stack([triplet_kernel(own, other), triplet_kernel(own, own)])


jitted = jax.jit(of_pair)
SMALL = Basis(
    cutoff=3.0, cutoff_function="smooth", cutoff_width=1.0, radial="chebyshev", n_max=1, l_max=2
)


def small(vectors, species, mask):
    """The kernel with itself, in a basis whose derivatives compile fast."""
    own = triplet_features(vectors, species, mask, SMALL, 3, SCALE, CENTER)
    return triplet_kernel(own, own)


def expected_triplets(vectors, species):
    radial = partial(reference_density.chebyshev, cutoff=3.0, n_max=2)
    return reference.triplets(
        np.asarray(vectors, float), species, CENTER, 3, radial, 3.0, 1.0, "smooth", 3, SCALE
    )


def test_kernel_equals_its_definition(dtype):
    a, b = two_environments(dtype)
    found = kernel()(compiled()(*a), compiled()(*b))
    expected = reference.triplet_kernel(expected_triplets(*a[:2]), expected_triplets(*b[:2]))
    # The package's quadrature of the density scale, a constant of the basis, is good to 1e-9.
    assert_close(found, np.array(expected), 1e-5 if dtype == jnp.float32 else 1e-8)


def test_random_features_converge_to_it(float64):
    """The errors of level 2's inner products over 40 draws: no bias, and √n times smaller."""
    a, b = two_environments(float64)
    exact = float(kernel()(compiled()(*a), compiled()(*b)))
    errors = {}
    for n_features in (16, 256):
        weights = [fingerprint_weights(BASIS, 3, n_features, SCALE, seed) for seed in range(40)]

        @jax.jit
        def product(weights, n_features=n_features):
            vectors = [fingerprint(*env, BASIS, weights, CENTER)[-n_features:] for env in (a, b)]
            return jnp.vdot(*vectors)

        errors[n_features] = np.array([product(w) for w in weights]) - exact
    spread = {n: float(np.sqrt((e**2).mean())) for n, e in errors.items()}
    assert abs(errors[256].mean()) < 4 * spread[256] / np.sqrt(40)
    assert spread[256] < 0.2 * exact
    assert 2.5 < spread[16] / spread[256] < 6.4  # 4 = √(256 / 16)


def test_limited_tags_are_those_of_the_fingerprint(float64):
    a, b = two_environments(float64)
    exact = float(kernel()(compiled(3)(*a), compiled(3)(*b)))
    weights = fingerprint_weights(BASIS, 3, 20_000, SCALE)
    first, second = (fingerprint(*env, BASIS, weights, CENTER, tags=3)[-20_000:] for env in (a, b))
    assert abs(float(jnp.vdot(first, second)) / exact - 1) < 0.05
    is_tagged = compiled(3)(*a).weights.max(1) > 0
    assert 3 <= int(is_tagged.sum()) < len(is_tagged) == 5


def test_invariance_and_padding(dtype):
    vectors, species, mask = environment(dtype)
    rtol = 1e-4 if dtype == jnp.float32 else 1e-11
    assert_invariant(lambda v: jitted(v, species, mask), vectors, rtol=rtol)
    assert_permutation_invariant(jitted, vectors, species, mask, rtol=rtol)
    rtol = 1e-5 if dtype == jnp.float32 else 1e-13
    assert_padding_changes_nothing(jitted, vectors, species, mask, rtol=rtol)


def test_normalized_kernel(dtype):
    a, b = (compiled()(*env) for env in two_environments(dtype))
    cosine = kernel()(a, b) / np.sqrt(kernel()(a, a) * kernel()(b, b))
    assert_close(normalized_triplet_kernel(a, b), cosine, tolerance(INVARIANCE, cosine))
    assert abs(float(normalized_triplet_kernel(a, a)) - 1) < 1e-5
    assert 0 < float(cosine) < 0.99


@pytest.mark.parametrize("n_neighbors", [0, 1])
def test_environments_without_triplets_have_no_kernel(n_neighbors, dtype):
    few, many = (compiled()(*environment(dtype, n_neighbors=n)) for n in (n_neighbors, 5))
    for kind in (triplet_kernel, normalized_triplet_kernel):
        assert not np.any(jax.jit(lambda a, b, k=kind: jnp.stack([k(a, b), k(a, a)]))(few, many))


def test_derivatives(dtype):
    vectors, species, mask = environment(dtype, n_neighbors=3)
    assert_gradients(lambda v: small(v, species, mask), vectors)


def test_derivatives_are_finite_to_third_order(dtype):
    vectors, species, _ = environment(dtype, n_neighbors=3)
    collinear = np.array([[1.0, 0, 0], [-1.3, 0, 0], [2.0, 0, 0]], dtype)
    at_cutoff = np.array([[1.0, 0.5, 0], [0, 0, 3.0], [0, 1.2, 0.4]], dtype)
    masks = np.array([[1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1, 0]], bool)
    points = np.stack([vectors, collinear, at_cutoff, vectors * np.array([[1], [1], [0]], dtype)])
    kinds = np.tile(species, (4, 1))
    assert_finite_derivatives(small, points, kinds, masks)


@cache
def batches():
    return prepare([methanol(0), methanol(1)], 3.0, SPECIES, dtype=jnp.zeros(()).dtype.name)


HYPERS = {"cutoff": 3.0, "n_max": 2, "l_max": 2, "length_scale": 3.0}


def flat_rows(features):
    is_triplet = np.asarray(features.weights) > 0
    return [np.asarray(part)[is_triplet] for part in features[:2]]


def test_every_triplet_inducing_is_exact(dtype):
    a, b = (compiled()(*env) for env in two_environments(dtype))
    even, odd = (np.concatenate(p) for p in zip(flat_rows(a), flat_rows(b), strict=True))
    inducing = choose_triplets(even, odd, 1000)
    assert len(inducing.even) == len(even)
    vectors = jnp.stack([nystrom_vector(f, inducing) for f in (a, b)])
    exact = np.array([[kernel()(f, g) for g in (a, b)] for f in (a, b)])
    assert_close(vectors @ vectors.T, exact, 1e-4 if dtype == jnp.float32 else 1e-11)


def test_inner_products_converge_with_the_inducing_triplets(float64):
    a, b = (compiled()(*env) for env in two_environments(float64))
    even, odd = (np.concatenate(p) for p in zip(flat_rows(a), flat_rows(b), strict=True))
    exact, found = float(kernel()(a, a)), []
    for count in (2, 8, 24):
        vector = nystrom_vector(a, choose_triplets(even, odd, count))
        found.append(float(jnp.vdot(vector, vector)))
    assert 0 < found[0] < found[1] < found[2] <= exact * (1 + 1e-12)  # nested: never decreasing
    assert exact - found[2] < 0.2 * (exact - found[0])


def test_nystrom_descriptor_has_no_gap_to_the_kernel(dtype):
    batch = batches()
    described = nystrom_descriptor(batch, 400, **HYPERS)
    vectors = np.asarray(described.batch(batch), float)[np.asarray(batch.center_mask)]
    assert vectors.shape[0] == 12 and np.isfinite(vectors).all()
    # All 240 triplets fit into 400: lengths are those of the exact kernel.
    exact = exact_norms(batch)
    assert_close((vectors**2).sum(1), exact, 1e-3 if dtype == jnp.float32 else 1e-8)


def exact_norms(batch):
    from tripletjax.neighbors import displacements

    basis = Basis(cutoff=3.0, n_max=2, l_max=2)

    @partial(jax.jit, compiler_options=FAST_COMPILATION)
    def norms(vectors, species, mask, centers):
        def one(v, s, m, c):
            own = triplet_features(v, s, m, basis, 3, 3.0, c)
            return triplet_kernel(own, own)

        return jax.vmap(one)(vectors, species, mask, centers)

    centers = jnp.asarray(batch.species)[batch.centers]
    return np.asarray(norms(*displacements(batch), centers))[np.asarray(batch.center_mask)]


def test_unusable_samples_are_refused():
    with pytest.raises(InputError, match="two neighbours"):
        choose_triplets(np.zeros((0, 3)), np.zeros((0, 2)), 4)
    with pytest.raises(InputError, match="whole number from 1"):
        choose_triplets(np.zeros((4, 3)), np.zeros((4, 2)), 0)
