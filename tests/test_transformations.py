"""Every kind as a pure function: padding, dtype, jit, vmap, grad, and as a function of a Batch."""

import logging
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.systems import (
    HYPERS,
    OWN,
    SPECIES,
    SYSTEMS,
    build,
    environment,
    methanol,
    quick_jit,
    read,
    slab,
)
from tripletjax import describe, prepare
from tripletjax.descriptors.kinds import KINDS
from tripletjax.testing import (
    INVARIANCE,
    PADDING,
    assert_close,
    assert_gradients,
    assert_invariant,
    assert_padding_changes_nothing,
    assert_permutation_invariant,
    pad_environment,
    paddings,
    tolerance,
)
from tripletjax.types import CUTOFF_FUNCTIONS

kinds = pytest.mark.parametrize("kind", KINDS)
descriptors = pytest.mark.parametrize("kind", [*KINDS, OWN])
# What derivatives go through is all there; programs of them take long to compile.
SMALL = {"n_max": 1, "l_max": 2, "n_features": 8, "radial": "chebyshev"}


@cache
def compiled(kind, **hypers):
    """The environment function, one program for each width."""
    function = quick_jit(build(kind, **hypers).environment)
    return lambda vectors, species, mask, center=0: function(
        vectors, species, mask, np.int32(center)
    )


def per_environment(kind, **hypers):
    """The same without what belongs to padding."""
    function = compiled(kind, **hypers)
    if kind != "triplets":
        return function

    def of_neighbors(vectors, species, mask):
        rows = np.nonzero(np.asarray(mask))[0]
        return function(vectors, species, mask)[np.ix_(rows, rows)]

    return of_neighbors


@descriptors
def test_padding_changes_nothing(kind, dtype):
    """Neither more columns, which make another program, nor what they hold."""
    vectors, species, mask = environment(dtype)
    assert_padding_changes_nothing(per_environment(kind), vectors, species, mask)


@pytest.mark.parametrize("tags", [2, 5, 7])
@pytest.mark.parametrize("kind", ["triplet_sum", "fingerprint"])
def test_padding_changes_nothing_with_tags(kind, tags, dtype):
    """Fewer tags than neighbours, as many, and more, which is all of the padded columns too."""
    vectors, species, mask = environment(dtype)
    function = per_environment(kind, tags=tags, **SMALL)
    assert_padding_changes_nothing(function, vectors, species, mask)


@descriptors
def test_symmetry_of_one_environment(kind, dtype):
    """With padding between the neighbours too: a mask need not be sorted."""
    filling = paddings(*environment(dtype)[:2])["copies of a neighbour"]
    order = [0, 5, 1, 2, 6, 3, 4, 7]
    padded = pad_environment(*environment(dtype), 3, *filling)
    vectors, species, mask = (np.asarray(array)[order] for array in padded)
    function = per_environment(kind)
    if kind != "density":
        assert_invariant(lambda v: function(v, species, mask), vectors)
    if kind != "triplets":
        assert_permutation_invariant(function, vectors, species, mask)
    assert_close(
        function(vectors, species, mask),
        function(*padded),
        tolerance(INVARIANCE, vectors),
        "values after moving padding",
    )


@descriptors
def test_gradients(kind, dtype):
    vectors, species, mask = environment(dtype)
    function = build(kind, chiral=True, **SMALL).environment
    assert_gradients(lambda v: function(v, species, mask), vectors)


@pytest.mark.parametrize(
    ("radial", "cutoff_function"),
    list(zip(["gto", "laplacian", "gaussian"], CUTOFF_FUNCTIONS, strict=True)),
)
def test_gradients_of_radial_functions(radial, cutoff_function, float64):
    vectors, species, mask = environment(float64)
    hypers = SMALL | {"radial": radial, "cutoff_function": cutoff_function, "cutoff_width": 2.5}
    function = build("density", **hypers).environment
    assert_gradients(lambda v: function(v, species, mask), vectors)


@pytest.mark.parametrize("kind", ["triplet_sum", "fingerprint"])
def test_gradients_with_tags(kind, float64):
    vectors, species, mask = environment(float64)
    function = build(kind, tags=3, **SMALL).environment
    assert_gradients(lambda v: function(v, species, mask), vectors)


@descriptors
def test_gradients_of_padding_are_zero(kind, dtype):
    vectors, species, mask = environment(dtype)
    sizes = SMALL | ({"n_max": 2} if kind == "radial_spectrum" else {})  # one function is constant
    function, n_neighbors = build(kind, **sizes).environment, len(mask)

    @quick_jit
    def gradient(vectors, species, mask):
        def total(vectors):
            values = function(vectors, species, mask)
            if kind == "triplets":
                values = values[:n_neighbors, :n_neighbors]
            return jnp.sum(jnp.sin(values))

        return jax.grad(total)(vectors)

    padded = [
        pad_environment(vectors, species, mask, 3, *filling)
        for filling in paddings(vectors, species).values()
    ]
    zeros, *others = (gradient(*arrays) for arrays in padded)
    assert zeros.dtype == dtype and zeros[:n_neighbors].any()
    for values in (zeros, *others):
        assert not values[n_neighbors:].any()
        assert_close(values, zeros, tolerance(PADDING, zeros), "gradient")
    for vectors, species, mask in padded:
        assert not gradient(vectors, species, jnp.zeros_like(mask)).any(), "no neighbours at all"


@pytest.mark.parametrize("name", ["float32", "float64"])
@descriptors
def test_dtype_in_is_dtype_out(kind, name, dtype):
    if name == "float64" and dtype != jnp.float64:
        pytest.skip("needs JAX_ENABLE_X64=1")
    vectors, species, mask = environment(name)
    function = build(kind, **SMALL).environment
    shape = jax.eval_shape(function, vectors, species, mask)
    assert shape.dtype == name
    gradient = jax.eval_shape(jax.grad(lambda v: function(v, species, mask).sum()), vectors)
    assert gradient.dtype == name


@descriptors
def test_jit_is_eager(kind, dtype):
    atoms = environment(dtype, n_neighbors=3)
    function = build(kind, **(SMALL | {"n_max": 2, "l_max": 1})).environment
    eager, together = function(*atoms), jax.jit(function)(*atoms)
    assert eager.dtype == together.dtype and eager.shape == together.shape
    # Compiled programs contract products with sums, which rounds once less.
    assert_close(together, eager, tolerance(INVARIANCE, eager))


@pytest.mark.once("float64")
@descriptors
def test_vmap_is_a_loop(kind, dtype):
    several = [environment(dtype, seed) for seed in range(3)]
    vectors, species, mask = (np.stack(arrays) for arrays in zip(*several, strict=True))
    centers = np.array([0, 1, 2])
    together = jax.jit(jax.vmap(build(kind).environment))(vectors, species, mask, centers)
    function = compiled(kind)
    alone = [function(*one, center) for one, center in zip(several, centers, strict=True)]
    rtol = tolerance(INVARIANCE, together)
    for row, expected in zip(together, alone, strict=True):
        assert_close(row, expected, rtol)


@kinds
def test_describe_is_environment_is_batch(kind, dtype):
    frames, hypers = [slab(), methanol(), SYSTEMS["isolated atom"]], HYPERS | SMALL
    expected = describe(frames, species=SPECIES, **read(kind, **hypers))
    soap = build(kind, **hypers)
    batch = prepare(frames, cutoff=HYPERS["cutoff"], species=SPECIES)
    assert batch.positions.dtype == dtype
    values = np.asarray(quick_jit(soap.batch)(batch))
    assert values.shape[0] == len(batch.center_mask) and batch.center_mask.sum() == 9
    assert np.isfinite(values).all(), "rows of padding must not hold NaN either"
    values, mask = values[batch.center_mask], batch.neighbor_mask[batch.center_mask]
    if kind == "triplets":
        pair = mask[:, :, None] & mask[:, None, :] & ~np.eye(mask.shape[1], dtype=bool)
        values = values[pair]
    # Here the vectors are formed from rounded positions, there on the host.
    assert_close(values, expected.values, tolerance(INVARIANCE, values), axis=-1)


@pytest.mark.once("float64")
@kinds
def test_batch_prepared_with_a_larger_cutoff(kind, dtype):
    """Neighbours beyond the descriptor's cutoff are in the lists and count for nothing."""
    frame, soap = methanol(), build(kind, **(SMALL | {"cutoff": 2.0, "l_max": 1}))
    beyond, exact = (prepare(frame, cutoff=cutoff, species=SPECIES) for cutoff in (4.0, 2.0))
    assert beyond.neighbor_mask.sum() > exact.neighbor_mask.sum() > 6
    function = quick_jit(soap.batch)
    values, expected = (np.asarray(function(batch)) for batch in (beyond, exact))
    if kind == "triplets":  # neighbours are sorted, so those inside come first
        mask, width = exact.neighbor_mask, exact.neighbor_mask.shape[1]
        pair = mask[:, :, None] & mask[:, None, :]
        values, expected = values[:, :width, :width][pair], expected[pair]
    assert_close(values, expected, tolerance(INVARIANCE, values))


@kinds
def test_gradients_of_a_batch(kind, float64):
    """Forces and stress come from derivatives in positions and cells, images included."""
    # A wide, smooth cutoff: its higher derivatives are small, as finite differences want them.
    soap = build(kind, cutoff_function="smooth", cutoff_width=2.5, **SMALL)
    batch = prepare(slab(), cutoff=HYPERS["cutoff"], species=SPECIES)
    assert batch.neighbor_mask[:2, :6].all() and batch.shifts.any()

    def values(positions, cells):
        found = soap.batch(batch._replace(positions=positions, cells=cells))[:2]
        return found[:, :6, :6] if kind == "triplets" else found

    assert_gradients(values, batch.positions, batch.cells)


def test_one_trace_for_each_padded_size(float32):
    traces = []

    @quick_jit
    def counted(batch):
        traces.append(batch.neighbors.shape)
        return build("power_spectrum", **SMALL).batch(batch)

    whole = [methanol(1), methanol(2)]
    for frame in (*whole, whole[0][:5], whole[1][:5], whole[0][:4], whole[1][:3]):
        counted(prepare(frame, cutoff=4.0, species=SPECIES))
    # [C, K]: six atoms with five neighbours, five with four, and four or three with fewer.
    assert traces == [(6, 6), (6, 4), (4, 4)]


@pytest.mark.parametrize("kind", ["power_spectrum", "triplets", "fingerprint"])
def test_describe_compiles_once_for_each_padded_size(kind, caplog, float32):
    """For kinds of one row and of many rows an environment, without and with parameters."""
    hypers = HYPERS | SMALL | {"cutoff": 4.0, "l_max": 1, "species": SPECIES}

    def compiled_programs(frames):
        caplog.clear()
        with jax.log_compiles(), caplog.at_level(logging.WARNING):
            describe(frames, **read(kind, **hypers))
        return [r.getMessage() for r in caplog.records if "Compiling jit(" in r.getMessage()]

    first = compiled_programs(methanol(1))
    assert len(first) == 1 and "describe" in first[0], first
    assert compiled_programs(methanol(2)) == []
    assert compiled_programs([methanol(3), methanol(4)]) == []
    assert compiled_programs(methanol(1).repeat(1)) == []
    assert len(compiled_programs(methanol(1)[:5])) == 1  # four neighbours: the next smaller size


def test_hyperparameters_are_checked_once_and_static(float32):
    """Equal hyperparameters make equal, hashable descriptors: no recompilation for a new one."""
    one, other = (build("fingerprint") for _ in range(2))
    assert one.hypers == other.hypers and hash(one.hypers) == hash(other.hypers)
    assert jax.tree.all(jax.tree.map(np.array_equal, one.parameters, other.parameters))
    changed = build("fingerprint", seed=1)
    phases = [d.parameters.weights.level_2.phase for d in (one, changed)]
    assert not np.array_equal(*phases)
