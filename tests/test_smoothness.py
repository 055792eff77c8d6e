"""Derivatives exist everywhere and are continuous where the formulas have seams."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.systems import build, environment, quick_jit
from tripletjax import Basis
from tripletjax.basis.angular import edge_frame
from tripletjax.basis.cutoffs import cutoff_function
from tripletjax.descriptors.kinds import KINDS
from tripletjax.invariants.triplets import triplet_invariants
from tripletjax.testing import assert_finite_derivatives, successive_derivatives
from tripletjax.types import CUTOFF_FUNCTIONS, RADIAL_BASES, TRIPLET_FORMS

CUTOFF, WIDTH = 3.0, 0.5
# Third derivatives are long programs; higher degrees and more functions only make them longer.
SMALL = {"n_max": 1, "l_max": 1, "n_features": 8, "radial": "chebyshev", "cutoff": CUTOFF}
N_COLUMNS = 6
X, Y, Z = np.eye(3)
DIAGONAL = np.ones(3) / np.sqrt(3)

# Neighbours of the centre; what is missing to six columns is padding.
SPECIAL = {
    "no neighbour": [],
    "one neighbour at the pole": [1.5 * Z],
    "both poles": [1.5 * Z, -1.7 * Z],
    "all axes": [1.1 * X, -1.2 * X, 1.3 * Y, -1.4 * Y, 1.5 * Z, -1.6 * Z],
    "all axes, equal distances": [1.4 * X, -1.4 * X, 1.4 * Y, -1.4 * Y, 1.4 * Z, -1.4 * Z],
    "collinear, off the axes": [1.1 * DIAGONAL, -1.3 * DIAGONAL, 2.0 * DIAGONAL],
    "one behind the other": [1.2 * Z, 2.0 * Z, 1.3 * X, 2.1 * X],
    "equal components": [1.5 * DIAGONAL, [1.1, -1.1, 0.3], [0.2, 1.2, 1.2], [-0.9, 0.4, 0.9]],
    "at the cutoff": [CUTOFF * X, CUTOFF * Y, 1.2 * Z],
    "just inside the cutoff": [(CUTOFF - 1e-6) * X, 1.2 * DIAGONAL],
    "just outside the cutoff": [(CUTOFF + 1e-6) * X, 1.2 * DIAGONAL],
    "where the cutoff function starts": [(CUTOFF - WIDTH) * Z, 1.2 * X, 1.4 * Y],
    "two neighbours on one spot": [1.5 * Y, 1.5 * Y, 1.2 * X],
}


def stacked(fillings, dtype):
    """Vectors [P, K, 3], species [P, K] and mask [P, K] of all special environments, by filling."""
    vectors, masks, names = [], [], []
    for name, neighbors in SPECIAL.items():
        for label, filling in fillings.items():
            real = [np.asarray(neighbor, float) for neighbor in neighbors]
            vectors.append(np.array(real + [filling] * (N_COLUMNS - len(real))))
            masks.append(np.arange(N_COLUMNS) < len(real))
            names.append(f"{name}, {label}")
    species = np.tile(np.arange(N_COLUMNS) % 2, (len(names), 1)).astype(np.int32)
    return np.array(vectors, dtype), species, np.array(masks), names


PADDING = {"zeros as padding": np.zeros(3), "a neighbour as padding": 1.5 * Z}


# Three derivatives with the cutoff function that has three, two with the other. The kinds of the
# second are polynomials in the coefficients or the triplet invariants of the first.
THREE = ["density", "triplets", "fingerprint"]
CASES = [(kind, *(("smooth", 3) if kind in THREE else ("shifted_cosine", 2))) for kind in KINDS]


@pytest.mark.parametrize(("kind", "cutoff_function", "order"), CASES)
def test_derivatives_are_finite(kind, cutoff_function, order, dtype):
    vectors, species, mask, names = stacked(PADDING, dtype)
    function = build(kind, **(SMALL | {"cutoff_function": cutoff_function})).environment
    assert_finite_derivatives(function, vectors, species, mask, names=names, order=order)


@pytest.mark.parametrize("radial", ["gto", "laplacian"])
def test_three_derivatives_of_series_are_finite(radial, dtype):
    vectors, species, mask, names = stacked(PADDING, dtype)
    function = build("density", **(SMALL | {"radial": radial})).environment
    assert_finite_derivatives(function, vectors, species, mask, names=names)


@pytest.mark.parametrize(("kind", "tags"), [("triplet_sum", 2), ("fingerprint", 6)])
def test_two_derivatives_are_finite_with_tags(kind, tags, dtype):
    """Tags end between equal distances, at the cutoff and at the end of the list."""
    vectors, species, mask, names = stacked(PADDING, dtype)
    function = build(kind, tags=tags, **SMALL).environment
    assert_finite_derivatives(function, vectors, species, mask, names=names, order=2)


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_of_no_columns(kind, dtype):
    """A width of zero gives what masked columns give."""
    function = quick_jit(build(kind, **(SMALL | {"n_max": 2, "chiral": True})).environment)
    values = function(np.zeros((0, 3), dtype), np.zeros(0, np.int32), np.zeros(0, bool), 1)
    vectors, species, mask = environment(dtype, n_neighbors=1)
    expected = function(vectors, species, ~mask, 1)
    assert values.dtype == dtype
    if kind == "triplets":
        assert values.shape == (0, 0, expected.shape[-1])
    else:
        rounding = 10 * np.finfo(dtype).eps * np.abs(expected).max()
        np.testing.assert_allclose(values, expected, rtol=0, atol=rounding)
        assert np.any(values) == (kind == "fingerprint")  # the centre's species is in it


@pytest.mark.parametrize("radial", RADIAL_BASES)
def test_neighbours_outside_count_for_nothing(radial, dtype):
    """However far, in values and gradients, and unmasked: lists may reach beyond the cutoff."""
    near, species, mask = environment(dtype, n_neighbors=3)
    direction = np.array([1.0, 2.0, 2.0]) / 3  # 3 Å along it has no rounding
    species, mask = np.append(species, species[:1]), np.append(mask, True)
    function = build("density", n_max=2, l_max=2, radial=radial, cutoff=CUTOFF).environment

    @quick_jit
    def derivatives(vectors, mask):
        return successive_derivatives(lambda v: function(v, species, mask), vectors, order=1)

    for distance in (CUTOFF, CUTOFF + 1e-4, 2 * CUTOFF, 5 * CUTOFF, 20 * CUTOFF):
        vectors = np.concatenate([near, [distance * direction]]).astype(dtype)
        (values, gradient), (without, its_gradient) = (
            derivatives(vectors, mask & (np.arange(4) < count)) for count in (4, 3)
        )
        np.testing.assert_array_equal(values, without, f"{distance} Å away")
        # At the cutoff itself the slope is the sine of a rounded π.
        slack = 10 * np.finfo(dtype).eps * np.abs(gradient).max()
        np.testing.assert_allclose(gradient, its_gradient, rtol=0, atol=slack)


@pytest.mark.parametrize(
    ("kind", "cutoff_function"),
    [*((kind, "smooth") for kind in KINDS)]
    + [(kind, "shifted_cosine") for kind in ("density", "triplet_sum", "fingerprint")],
)
def test_neighbours_leave_continuously(kind, cutoff_function, float64):
    """Just inside the cutoff a neighbour changes values as the cutoff function falls."""
    vectors, species, mask = environment(float64, n_neighbors=4)
    function = quick_jit(build(kind, cutoff_function=cutoff_function, **SMALL).environment)
    order = {"shifted_cosine": 2, "smooth": 4}[cutoff_function]

    def change(gap):
        leaving = vectors.copy()
        leaving[3] = (CUTOFF - gap) * DIAGONAL
        with_it, without = (function(leaving, species, m) for m in (mask, np.arange(4) < 3))
        if kind == "triplets":  # its own rows go, the others must not jump
            with_it, without = with_it[:3, :3], without[:3, :3]
        return float(jnp.linalg.norm(with_it - without) / jnp.linalg.norm(without))

    wide, narrow = change(0.02), change(0.01)
    assert 0 < narrow < 0.1
    assert change(0.0) == 0
    assert np.log2(wide / narrow) == pytest.approx(order, abs=0.2)


def derivatives_of_cutoff(kind, at, dtype, orders):
    """The derivatives of order 0, 1, ... at some distances, [orders, len(at)]."""
    basis = Basis(cutoff=CUTOFF, cutoff_width=WIDTH, cutoff_function=kind)
    functions = [partial(cutoff_function, basis=basis)]
    while len(functions) < orders:
        functions.append(jax.grad(functions[-1]))
    every = quick_jit(lambda at: jnp.stack([jax.vmap(function)(at) for function in functions]))
    return np.asarray(every(jnp.asarray(at, dtype)))


@pytest.mark.parametrize(
    ("kind", "smooth_order"), [("shifted_cosine", 1), ("smooth", 3), ("bump", 9)]
)
def test_derivatives_of_the_cutoff_function_are_continuous(kind, smooth_order, float64):
    """To the stated order at both of its ends, and no further: the next derivative jumps."""
    around = np.add.outer([CUTOFF - WIDTH, CUTOFF], [-1e-7, 0, 1e-7])
    orders = min(smooth_order + 2, 6)  # the "bump" has every derivative
    found = derivatives_of_cutoff(kind, around.ravel(), float64, orders)
    for order, values in enumerate(found.reshape(orders, 2, 3)):
        scale = (8 / WIDTH) ** order
        for below, at, above in values:
            if order <= smooth_order:
                assert abs(above - below) < 1e-5 * scale and abs(at - below) < 1e-5 * scale
            else:
                assert abs(above - below) > 1e-2 * scale


@pytest.mark.parametrize("kind", CUTOFF_FUNCTIONS)
def test_cutoff_function_falls_from_one_to_zero(kind, dtype):
    basis = Basis(cutoff=CUTOFF, cutoff_width=WIDTH, cutoff_function=kind)
    distances = np.linspace(0, 1.5 * CUTOFF, 301).astype(dtype)
    values = np.asarray(quick_jit(partial(cutoff_function, basis=basis))(distances))
    assert (values[distances <= CUTOFF - WIDTH] == 1).all()
    assert (values[distances >= CUTOFF] == 0).all()
    assert (np.diff(values) <= 0).all() and values.dtype == dtype


# Directions where the largest component changes, and steps that change it.
SEAMS = {
    "x = y": ([1.0, 1.0, 0.3], [1.0, -1.0, 0.0]),
    "y = -z": ([0.2, 1.0, -1.0], [0.0, 1.0, 1.0]),
    "x = z": ([-1.0, 0.5, -1.0], [-1.0, 0.0, 1.0]),
    "x = y = z": ([1.0, 1.0, 1.0], [1.0, -0.3, -0.7]),
    "x = -y, second collinear": ([1.0, -1.0, 0.0], [1.0, 1.0, 0.0]),
}


@pytest.mark.parametrize("form", TRIPLET_FORMS)
def test_invariants_do_not_see_the_seams_of_the_frame(form, float64):
    """Value, gradient and Hessian agree on both sides, where the frame itself jumps."""
    random = np.random.default_rng(4)
    coefficients = jnp.asarray(random.normal(size=(1, 1, 9)), float64)
    weights = [random.normal(size=size) for size in (6, 3)]

    @quick_jit
    def expansion(vectors):
        """Value, gradient [6] and Hessian [6, 6] in both vectors of a sum of all invariants."""

        def total(flat):
            vectors = flat.reshape(2, 3)
            units = vectors / jnp.linalg.norm(vectors, axis=-1, keepdims=True)
            parts = triplet_invariants(coefficients, *units, form)
            return sum(w @ part.ravel() for w, part in zip(weights, parts, strict=True))

        flat = vectors.ravel()
        return total(flat), jax.grad(total)(flat), jax.hessian(total)(flat)

    gap = 1e-9
    for name, (first, step) in SEAMS.items():
        first = np.array(first)
        second = -2.0 * first if "collinear" in name else np.array([0.4, -0.8, 0.5])
        sides = [first + sign * gap * np.array(step) for sign in (-1, 1)]
        before, after = (expansion(jnp.asarray(np.stack([side, second]))) for side in sides)
        size = np.linalg.norm(before[2])
        assert size > 0.1
        for order, (one, other) in enumerate(zip(before, after, strict=True)):
            jump = np.linalg.norm(one - other)
            assert jump < 1e-7 * size, f"derivative {order} jumps by {jump} where {name}"


def test_the_frame_itself_jumps_at_the_seams(dtype):
    """Or the test above would test nothing."""
    axes = quick_jit(lambda u: edge_frame(u, 1).axes)
    for first, step in SEAMS.values():
        sides = [np.array(first) + sign * 1e-3 * np.array(step) for sign in (-1, 1)]
        one, other = (axes((side / np.linalg.norm(side)).astype(dtype)) for side in sides)
        assert np.linalg.norm(one - other) > 0.1
