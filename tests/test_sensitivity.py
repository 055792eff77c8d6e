"""Singular values of Jacobians against finite differences, geometry and symmetry."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from tests.systems import HYPERS, build, environment, methanol, quick_jit, read, slab
from tripletjax import InputError, describe
from tripletjax.completeness.jacobians import (
    jacobian,
    rotation_directions,
    sensitivities,
    sensitivity,
)
from tripletjax.testing import (
    INVARIANCE,
    PADDING,
    pad_environment,
    random_rotation,
    relative_error,
    tolerance,
)

pytestmark = pytest.mark.once("float64")

SMALL = HYPERS | {"n_features": 32, "l_max": 2}
KINDS = ("power_spectrum", "fingerprint")
WIDTH = 5  # columns of every environment: one program serves all tests of a kind


@cache
def chosen(kind):
    return build(kind, **(SMALL | {"cutoff_function": "smooth"}))


@cache
def program(kind):
    return quick_jit(lambda *arrays: sensitivity(chosen(kind), *arrays))


@cache
def values_of(kind):
    return quick_jit(chosen(kind).environment)


def of(kind, vectors, species, mask, extra=0):
    """The sensitivity, with padding to the common width and some more."""
    extra += WIDTH - len(mask)
    return program(kind)(*pad_environment(vectors, species, mask, extra, np.full(3, 0.7), 1))


def slow_singular_values(kind, vectors, species, mask, step=1e-4):
    """Central differences, on an orthonormal basis of what is orthogonal to rotations, by NumPy."""

    def evaluate(vectors):
        return values_of(kind)(vectors, species, mask)

    columns = []
    for place in np.ndindex(vectors.shape):
        shift = np.zeros(vectors.shape)
        shift[place] = step
        parts = [c * np.asarray(evaluate(vectors + k * shift)) for k, c in ((1, 8), (-1, -8))]
        parts += [c * np.asarray(evaluate(vectors + k * shift)) for k, c in ((2, -1), (-2, 1))]
        columns.append(sum(parts) / (12 * step))
    rotations = np.stack([np.cross(axis, vectors).ravel() for axis in np.eye(3)])
    rank = np.linalg.matrix_rank(rotations)
    complement = np.linalg.svd(rotations)[2][rank:]
    return np.linalg.svd(np.stack(columns, 1) @ complement.T, compute_uv=False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", ["general", "collinear"])
def test_singular_values_are_those_of_finite_differences(kind, shape, float64):
    vectors, species, mask = environment(n_neighbors=4)
    if shape == "collinear":
        vectors = np.outer([1.0, -1.3, 1.9, -2.1], [0.48, 0.6, 0.64])
    found = of(kind, vectors, species, mask)
    expected = slow_singular_values(kind, vectors, species, mask)
    assert int(found.n_directions) == len(expected) == (9 if shape == "general" else 10)
    values = np.asarray(found.singular_values)
    np.testing.assert_allclose(values[: len(expected)], expected, atol=1e-8 * expected[0])
    assert (values[len(expected) :] == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_softest_direction_has_the_smallest_singular_value(kind, float64):
    vectors, species, mask = environment()
    found = of(kind, vectors, species, mask)
    assert relative_error(np.linalg.norm(found.softest), np.ones(())) < 1e-12
    slopes = np.asarray(quick_jit(lambda v: jacobian(chosen(kind), v, species, mask))(vectors))
    change = np.linalg.norm(np.einsum("dkx,kx->d", slopes, np.asarray(found.softest)))
    values = np.asarray(found.singular_values)[: int(found.n_directions)]
    assert abs(change - values[-1]) < 1e-12 * values[0]
    assert abs(np.cross(vectors, found.softest).sum(0)).max() < 1e-10  # it does not rotate


def test_both_modes_of_differentiation_give_the_same(dtype):
    """Few columns and many neighbours take the reverse mode; compared with the forward one."""
    vectors, species, mask = environment(dtype, n_neighbors=9)
    few = build("power_spectrum", n_max=1, l_max=0)
    assert vectors.size > 4 * len(few.names)
    found = quick_jit(lambda v: jacobian(few, v, species, mask))(vectors)
    forward = quick_jit(jax.jacfwd(lambda v: few.environment(v, species, mask)))
    expected = forward(jnp.asarray(vectors))
    assert relative_error(found, expected) < 10 * tolerance(INVARIANCE, found)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_rotation_and_order_change_nothing(kind, dtype):
    vectors, species, mask = environment(dtype)
    expected = of(kind, vectors, species, mask)
    turned = (vectors.astype(float) @ random_rotation().T).astype(dtype)
    allowed = 2e-5 if dtype == jnp.float32 else 1e-11
    found = of(kind, turned[::-1], species[::-1], mask)
    assert relative_error(found.singular_values, expected.singular_values) < allowed
    padded = of(kind, vectors, species, mask, extra=2)
    n = len(expected.singular_values)
    assert relative_error(padded.singular_values[:n], expected.singular_values) < 10 * tolerance(
        PADDING, expected.singular_values
    )
    assert int(padded.n_directions) == int(expected.n_directions)


def test_numbers_of_directions(dtype):
    points = np.array([[0, 0, 1.0], [0, 0, -1.5], [0, 1.2, 0]], dtype)
    rotations = quick_jit(rotation_directions)
    for count, mask, expected in ((0, [False] * 3, 0), (1, [True, False, False], 1),
                                  (2, [True, True, False], 4), (3, [True] * 3, 6)):  # fmt: skip
        assert rotations(points, np.array(mask))[1] == (0, 2, 2, 3)[count]
        found = of("power_spectrum", points, np.zeros(3, np.int32), np.array(mask))
        assert int(found.n_directions) == expected
        assert np.isfinite(found.singular_values).all() and np.isfinite(found.softest).all()


def test_displacements_out_of_a_plane_are_soft(float64):
    """No invariant changes to first order; two of the four are rotations."""
    random = np.random.default_rng(0)
    vectors = np.concatenate([random.uniform(-1.6, 1.6, (4, 2)), np.zeros((4, 1))], 1)
    found = of("fingerprint", vectors, np.zeros(4, np.int32), np.ones(4, bool))
    assert int(found.n_soft(1e-10)) == 2
    assert abs(np.asarray(found.softest)[:, :2]).max() < 1e-6


def test_an_atom_at_the_cutoff_is_soft_and_one_beyond_does_not_count(float64):
    vectors, species, mask = environment(n_neighbors=4)
    for distance, expected in ((2.999999, 3), (3.0, 0)):
        vectors[-1] *= distance / np.linalg.norm(vectors[-1])
        found = of("fingerprint", vectors, species, mask)
        assert int(found.n_directions) == (9 if expected else 6)
        assert int(found.n_soft(1e-6)) == expected


def test_thresholds(float64):
    found = of("power_spectrum", *environment())
    values = np.asarray(found.singular_values)[: int(found.n_directions)]
    assert int(found.n_soft(0.1)) == (values <= 0.1 * values[0]).sum()
    assert int(found.n_soft(0, values[3])) == (values <= values[3]).sum()
    assert int(found.n_soft(2.0)) == len(values)


def test_a_dataset_gives_what_single_environments_give():
    frames = [methanol(), slab(), Atoms("O"), molecule("CO")]
    found = sensitivities(frames, **read("fingerprint", **SMALL))
    described = describe(frames, "density", cutoff=3.0, n_max=1, l_max=0)
    assert (found.structure == described.structure).all() and (found.atom == described.atom).all()
    assert found.singular_values.dtype == np.float64
    assert np.isnan(found.smallest[found.n_neighbors == 0]).all()
    row = 2
    near = found.neighbors[row][: found.n_neighbors[row]]
    vectors = frames[0].positions[near] - frames[0].positions[row]
    assert (np.diff(np.linalg.norm(vectors, axis=1)) > -1e-9).all()
    with jax.enable_x64(True):
        elements = [1, 6, 8]
        species = np.searchsorted(elements, frames[0].numbers)
        smaller = build("fingerprint", **SMALL)
        arrays = vectors, species[near], np.ones(len(near), bool), species[row]
        single = quick_jit(lambda *arrays: sensitivity(smaller, *arrays))(*arrays)
        n_soft = int(single.n_soft(1e-3))
    n = len(single.singular_values)
    assert relative_error(found.singular_values[row][:n], single.singular_values) < 1e-12
    assert found.n_soft(1e-3)[row] == n_soft
    assert found.hypers["kind"] == "fingerprint" and found.hypers["n_features"] == 32


def test_chosen_centers_and_precision():
    found = sensitivities(
        [methanol(0), methanol(1)], "power_spectrum", centers=[3, 1], dtype="float32",
        cutoff=3.0, n_max=1, l_max=1,
    )  # fmt: skip
    assert found.atom.tolist() == [3, 1, 3, 1] and found.structure.tolist() == [0, 0, 1, 1]
    assert found.singular_values.dtype == np.float32


@pytest.mark.parametrize("kind", ["density", "triplets"])
def test_kinds_without_an_invariant_vector_are_refused(kind):
    with pytest.raises(InputError, match="expected one of radial_spectrum"):
        sensitivities(molecule("H2O"), kind)
