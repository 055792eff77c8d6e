"""Density correlations of any order: symmetries, known orders, contraction, degenerate pairs."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.systems import quick_jit
from tripletjax import describe
from tripletjax.basis.angular import wigner_matrix
from tripletjax.data.b8 import load_b8
from tripletjax.invariants import nice
from tripletjax.invariants.correlations import bispectrum, power_spectrum
from tripletjax.invariants.nice import (
    PAPER_COMPONENTS,
    block_order,
    correlation_index,
    expand,
    fit_contraction,
    fitting,
)
from tripletjax.invariants.nice.products import density_covariants
from tripletjax.testing import (
    INVARIANCE,
    assert_close,
    assert_gradients,
    random_rotation,
    tolerance,
)
from tripletjax.types import InputError

N_MAX, L_MAX = 2, 2
HARMONICS = (L_MAX + 1) ** 2
correlations = quick_jit(nice.correlations, static_argnames=("nu", "parity"))
covariants = quick_jit(nice.covariants, static_argnames=("nu",))
TURN = random_rotation(3)
TURNS = {"rotation": TURN, "inversion": -np.eye(3), "improper": -TURN}


def densities(count: int, n_max: int = N_MAX, l_max: int = L_MAX, seed: int = 0) -> np.ndarray:
    """Random densities of one species, [N, 1, n, lm]."""
    return np.random.default_rng(seed).normal(size=(count, 1, n_max, (l_max + 1) ** 2))


@cache
def random_steps(nu: int, components=6, **options):
    return fit_contraction(densities(60), nu, components, **options)


def density(dtype, seed: int = 5):
    return jnp.asarray(densities(1, seed=seed)[0], dtype)


def gram(values) -> np.ndarray:
    return np.asarray(values) @ np.asarray(values).T


def evaluated(coefficients, contraction, nu, parity=1):
    """Invariants of many densities in the default float."""
    many = jnp.asarray(coefficients)
    return jax.vmap(lambda c: correlations(c, contraction, nu=nu, parity=parity))(many)


@pytest.mark.parametrize("matrix", TURNS.values(), ids=TURNS)
@pytest.mark.parametrize("contracted", [False, True])
def test_every_block_is_covariant(contracted, matrix, dtype):
    contraction = random_steps(5) if contracted else None
    wigner = wigner_matrix(matrix, L_MAX)
    c = density(dtype)
    turned = jnp.asarray(np.asarray(c, float) @ wigner.T, dtype)
    for nu in (1, 2, 3, 4) if contracted else (1, 2):
        before, after = (covariants(x, contraction, nu=nu) for x in (c, turned))
        assert set(before) == set(block_order(nu, L_MAX, L_MAX))
        for (sigma, degree), block in before.items():
            part = slice(degree**2, (degree + 1) ** 2)
            # D of an improper matrix holds the (-1)^λ of true tensors; σ is on top of it.
            sign = sigma if np.linalg.det(matrix) < 0 else 1
            expected = sign * np.asarray(block, float) @ wigner[part, part].T
            name = f"order {nu}, block {sigma, degree}"
            assert float(np.linalg.norm(block)) > 1e-3, name
            assert_close(after[sigma, degree], expected, tolerance(INVARIANCE, block), name)


@pytest.mark.parametrize("parity", [1, -1])
def test_invariants_and_pseudoscalars(parity, dtype):
    contraction = random_steps(5)
    c = density(dtype)
    for name, matrix in TURNS.items():
        turned = jnp.asarray(np.asarray(c, float) @ wigner_matrix(matrix, L_MAX).T, dtype)
        sign = parity if name != "rotation" else 1
        for nu in (3, 4, 5) if parity == 1 else (3, 4):
            before = correlations(c, contraction, nu=nu, parity=parity)
            assert float(np.linalg.norm(before)) > 1e-3
            after = correlations(turned, contraction, nu=nu, parity=parity)
            assert_close(after, sign * before, tolerance(INVARIANCE, c), f"order {nu}, {name}")


def test_order_1_and_2_are_known(dtype):
    many = jnp.asarray(densities(8), dtype)
    np.testing.assert_array_equal(correlations(many[0], nu=1), many[0, 0, :, 0])
    assert correlations(many[0], nu=1, parity=-1).shape == (0,)
    assert correlations(many[0], nu=2, parity=-1).shape == (0,)
    expected = gram(quick_jit(jax.vmap(power_spectrum))(many))
    assert_close(gram(evaluated(many, None, 2)), expected, tolerance(INVARIANCE, many))


@pytest.mark.parametrize("parity", [1, -1])
def test_order_3_is_the_bispectrum(parity, dtype):
    """In all orders of the factors, which the weights of the bispectrum make up for."""
    many = jnp.asarray(densities(8), dtype)
    expected = gram(quick_jit(jax.vmap(lambda c: bispectrum(c, parity)))(many))
    assert_close(gram(evaluated(many, None, 3, parity)), expected, tolerance(INVARIANCE, many))


def test_expand_gives_the_products_of_the_recursion(dtype):
    c = density(dtype)
    keys = []

    @quick_jit
    def expanded_twice(c):
        found = expand(expand(density_covariants(c), c, L_MAX), c, 0)
        keys.extend(found)  # in their order, which jit does not keep
        return found

    twice = expanded_twice(c)
    assert keys == [(1, 0), (-1, 0)]
    for parity in (1, -1):
        expected = correlations(c, nu=3, parity=parity)
        assert_close(twice[parity, 0][:, 0], expected, tolerance(INVARIANCE, c))


def test_index_names_the_columns(dtype):
    c = density(dtype)
    for contraction in (None, random_steps(4, max_products=10)):
        nu = 3 if contraction is None else 4
        values = correlations(c, contraction, nu=nu)
        index = correlation_index(N_MAX, L_MAX, contraction, nu)
        assert len(index) == len(values)
        factors = covariants(c, contraction, nu=nu - 1)
        channels = covariants(c, contraction, nu=1)
        for value, column in zip(values, index, strict=True):
            first = factors[column.sigma, column.l][column.feature]
            second = channels[1, column.l][column.channel]
            expected = jnp.sum(first * second) / (2 * column.l + 1) ** 0.5
            assert abs(abs(value) - abs(expected)) < 1e-5 * (1 + abs(expected))


def test_block_order():
    """Pseudoscalars last, from order 3 on; the published lists have one entry a block."""
    second = [(1, 0), (1, 1), (1, 2), (1, 3), (-1, 1), (-1, 2), (-1, 3)]
    assert block_order(2, 3, 3) == second
    for nu in (3, 4, 6):
        assert block_order(nu, 3, 3) == [*second, (-1, 0)]
    for nu, published in enumerate(PAPER_COMPONENTS, start=2):
        assert len(published) == len(block_order(nu, 3, 3))


@pytest.mark.once("float64")
def test_contraction_without_loss():
    """With as many components as there are, inner products stay as they are."""
    many = densities(10)
    full = fit_contraction(densities(200, seed=1), 3, 10_000)
    # Symmetric products: of Q = 2 channels and l <= 2, 3·3 = 9 of block (1, 0).
    assert full.weights[0][1, 0].shape == (12, 9)
    expected = gram(evaluated(many, None, 3))
    assert_close(gram(evaluated(many, full, 3)), expected, tolerance(INVARIANCE, jnp.ones(1)))
    for key, raw in covariants(jnp.asarray(many[0])).items():
        kept = covariants(jnp.asarray(many[0]), full)[key]
        assert_close(kept.T @ kept, raw.T @ raw, tolerance(INVARIANCE, kept), f"block {key}")


@pytest.mark.once("float64")
def test_fewer_components_lose_more():
    contractions = [random_steps(4, components) for components in (1, 2, 4, 8, 16)]
    for order in (0, 1):
        for key in contractions[0].discarded[order]:
            lost = np.array([float(c.discarded[order][key]) for c in contractions])
            shrinks = np.diff(lost)[: 4 if order == 0 else 1]
            assert (shrinks <= 1e-12).all(), (order, key, lost)
        assert contractions[0].discarded[order][1, 0] > 0.1


@pytest.mark.once("float64")
def test_variances_are_those_of_the_components():
    data = densities(60)
    contraction = fit_contraction(data, 3, 6)
    blocks = [covariants(jnp.asarray(c), contraction) for c in data]
    for key, expected in contraction.variances[0].items():
        values = np.stack([np.asarray(block[key], float) for block in blocks])
        assert (np.diff(expected) <= 0).all()
        np.testing.assert_allclose((values**2).mean((0, 2)), expected, rtol=1e-4)


@pytest.mark.once("float64")
def test_the_search_finds_the_principal_components():
    """Where it is randomised too: against a singular value decomposition."""
    data = densities(150, n_max=4)
    data *= np.geomspace(1, 0.1, 4)[:, None]
    contraction = fit_contraction(data, 3, 5)
    products = quick_jit(lambda c: expand(density_covariants(c), c, L_MAX)[1, 2])
    raw = [np.asarray(products(c)) for c in data]
    rows = np.concatenate([block.T for block in raw])
    exact = np.linalg.svd(rows, compute_uv=False)[:5] ** 2 / len(rows)
    assert rows.shape[1] > 5 + 32
    np.testing.assert_allclose(contraction.variances[0][1, 2], exact, rtol=1e-6)


@pytest.mark.once("float64")
def test_products_made_in_parts_give_the_same(monkeypatch):
    data = densities(60)
    expected = fit_contraction(data, 4, 6)
    monkeypatch.setattr(fitting, "HELD_BYTES", 0)
    monkeypatch.setattr(fitting, "PART_BYTES", 10_000)
    for a, b in zip(
        jax.tree.leaves(fit_contraction(data, 4, 6)), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-8)


@pytest.mark.once("float64")
def test_max_products_keeps_the_largest():
    data = densities(60) * np.array([1.0, 0.1])[:, None]
    everything, some = (fit_contraction(data, 4, 6, max_products=m) for m in (None, 20))
    for key, pieces in some.layout.plan(3).items():
        assert sum(p.channels * p.features for p in pieces) <= 20, key
    assert len(correlation_index(2, L_MAX, some, 4)) <= 20
    full, kept = (np.linalg.norm(evaluated(data, k, 4)) for k in (everything, some))
    assert 0.9 * full < kept <= 1.001 * full


@pytest.mark.once("float64")
def test_lambda_max_and_components_of_each_order():
    data = densities(60)
    per_block = {(1, 0): 2, (1, 1): 3, (-1, 1): 2}
    contraction = fit_contraction(data, 4, {2: per_block, 3: 5}, lambda_max=[2, 1])
    assert {key: w.shape[1] for key, w in contraction.weights[0].items()} == per_block
    assert {key[1] for key in contraction.weights[1]} == {0, 1}
    as_list = fit_contraction(data, 3, [[1, 2, 3, 2, 1]])
    assert [w.shape[1] for w in as_list.weights[0].values()] == [1, 2, 3, 2, 1]
    assert list(as_list.weights[0]) == block_order(2, L_MAX, L_MAX)


def test_pure_function(dtype):
    """jit = eager, vmap = loop, dtype in = dtype out, and the contraction is a pytree."""
    contraction = random_steps(4)
    many = jnp.asarray(densities(3), dtype)
    eager = jnp.stack([nice.correlations(c, contraction, 4) for c in many])
    compiled = jax.jit(jax.vmap(lambda c, k: nice.correlations(c, k, 4), in_axes=(0, None)))
    batched = compiled(many, jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), contraction))
    assert eager.dtype == batched.dtype == dtype
    assert_close(batched, eager, tolerance(INVARIANCE, eager))
    for leaf in jax.tree.leaves(contraction):
        assert isinstance(leaf, np.ndarray) and leaf.dtype == np.float64
    single = correlations(many[0].astype(jnp.float32), contraction, 4)
    assert single.dtype == jnp.float32


def test_gradients(dtype):
    contraction = random_steps(4, 4)

    def both(c):
        return jnp.concatenate([nice.correlations(c, contraction, 4, parity) for parity in (1, -1)])

    assert_gradients(both, density(dtype))


def test_empty_environment(dtype):
    contraction = random_steps(4)
    nothing = jnp.zeros((1, N_MAX, HARMONICS), dtype)
    summed = quick_jit(jax.value_and_grad(lambda c: nice.correlations(c, contraction, 4).sum()))
    values, slope = summed(nothing)
    assert values == 0 and (slope == 0).all()


def test_same_seed_same_contraction():
    data = densities(60)
    first, again, other = (fit_contraction(data, 3, 6, n_fit=30, seed=seed) for seed in (1, 1, 2))
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.abs(first.weights[0][1, 0] - other.weights[0][1, 0]).max() > 1e-6


def test_b8_pairs_part_at_order_4(float64):
    """Environments with equal power spectrum and bispectrum."""
    hypers = dict(cutoff=2.0, cutoff_width=0.1, radial="gto", gaussian_width=0.2, n_max=2, l_max=2)
    frames = load_b8().frames(slice(40))
    values = describe(frames, "density", centers=[0], dtype="float64", **hypers).values
    coefficients = values.reshape(40, 1, 2, HARMONICS)
    contraction = fit_contraction(coefficients, 4, [15, 30])
    for nu, some in ((2, None), (3, None), (4, contraction)):
        columns = np.asarray(evaluated(coefficients, some, nu))
        plus, minus = columns[::2], columns[1::2]
        apart = np.linalg.norm(plus - minus, axis=1) / np.linalg.norm(plus, axis=1)
        assert (apart > 1e-8).all() if nu == 4 else (apart < 1e-13).all(), nu


FAULTS = {
    "n_fit=61: expected at most the 60": dict(n_fit=61),
    "need 7 environments, but n_fit=5": dict(components=7, n_fit=5),
    "invalid nu=2: expected a whole number from 3 to 20": dict(nu=2),
    "invalid components=0: expected a whole number from 1": dict(components=0),
    "components has 3 entries": dict(components=[1, 2, 3]),
    "one for each of the 5 blocks": dict(components=[[1, 2], 3]),
    "which does not exist": dict(components={2: {(-1, 0): 3}, 3: 4}),
    "lambda_max=-1": dict(lambda_max=-1),
    "max_products=0": dict(max_products=0),
    "give it for orders 2 to 3": dict(components={2: 4}),
}


@pytest.mark.parametrize("message", FAULTS)
def test_faults_of_the_fit(message):
    with pytest.raises(InputError, match=message) as caught:
        fit_contraction(densities(60), **({"nu": 4, "components": 4} | FAULTS[message]))
    assert "\n" not in str(caught.value)


def test_faults_of_the_data():
    with pytest.raises(InputError, match="invalid densities of shape"):
        fit_contraction(densities(5)[0], 4, 2)
    with pytest.raises(InputError, match="all densities are zero"):
        fit_contraction(0 * densities(5), 4, 2)
    with pytest.raises(InputError, match="density 3 is not finite"):
        fit_contraction(
            np.where(np.arange(5)[:, None, None, None] == 3, np.nan, densities(5)), 4, 2
        )


def test_faults_of_the_order(dtype):
    c, contraction = density(dtype), random_steps(4)
    with pytest.raises(InputError, match="invalid nu=4 without a contraction"):
        correlations(c, nu=4)
    with pytest.raises(InputError, match="invalid nu=5 with this contraction"):
        correlations(c, contraction, nu=5)
    with pytest.raises(InputError, match="parity=0"):
        correlations(c, parity=0)
    with pytest.raises(InputError, match="fitted to a density with 2 channels and l_max=2"):
        correlations(jnp.zeros((1, 3, HARMONICS), dtype), contraction, 4)
