"""The separation of degenerate pairs: slopes against full Jacobians, and the message passing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.systems import environment, quick_jit
from tripletjax import InputError, descriptor, prepare
from tripletjax.basis.cutoffs import cutoff_function
from tripletjax.completeness.families import FAMILIES, instances
from tripletjax.completeness.messages import LENGTH, distance_messages, message_weights
from tripletjax.completeness.separations import (
    environments,
    pair_separation,
    separation,
    structure_distance,
)
from tripletjax.testing import (
    INVARIANCE,
    PADDING,
    pad_environment,
    random_rotation,
    relative_error,
    tolerance,
)
from tripletjax.types import Basis

pytestmark = pytest.mark.once("float64")

CUTOFF = 5.0


def evaluator(apply):
    """Values and changes of one environment, in float64."""

    def evaluate(vectors, species, mask, center, displacements):
        of_vectors = lambda v: apply(v, species, mask, center)  # noqa: E731
        change = lambda moves: jax.jvp(of_vectors, (vectors,), (moves,))[1]  # noqa: E731
        return of_vectors(vectors), jax.vmap(change)(displacements)

    compiled = quick_jit(evaluate)

    def in_float64(*arrays):
        with jax.enable_x64(True):
            return compiled(*map(jnp.asarray, arrays))

    return in_float64


def soap(elements):
    return descriptor("power_spectrum", elements, cutoff=CUTOFF, n_max=2, l_max=2)


def test_contrast_does_not_depend_on_scale_or_shift():
    first, second = np.random.default_rng(0).normal(size=(2, 3, 5))
    plain = separation(first, second, slope=2.0, distance=0.3)
    other = separation(-7 * first + 100, -7 * second + 100, slope=14.0, distance=0.3)
    assert other.contrast == pytest.approx(plain.contrast, rel=1e-12)
    assert other.relative < 0.1 * plain.relative


def test_moves_along_a_linear_descriptor_have_contrast_one_over_root_n():
    random = np.random.default_rng(0)
    matrix, moves = random.normal(size=(4, 6)), random.normal(size=(20000, 6))
    slope = np.linalg.norm(matrix)
    contrasts = [
        separation(np.zeros(4), matrix @ move, slope, float(np.linalg.norm(move))).contrast
        for move in moves
    ]
    assert np.mean(np.square(contrasts)) == pytest.approx(1 / 6, rel=0.05)


def test_rows_are_summed_and_what_is_unknown_is_nan():
    found = separation([[1.0, 0.0], [0.0, 1.0]], [1.0, 1.0])
    assert found.difference == 0 and found.relative == 0 and np.isnan(found.contrast)
    assert separation(np.zeros(2), np.zeros(2)).relative == 0
    with pytest.raises(InputError, match="2 and 3 columns"):
        separation(np.zeros(2), np.zeros(3))


@pytest.mark.parametrize("family", ["x_plus_minus", "rectangle_apex", "periodic_column"])
def test_slopes_are_those_of_the_whole_structure(family):
    """Against ∂(Σ_i F_i)/∂r through neighbour lists, with respect to all atoms but the centre."""
    pair = FAMILIES[family]()
    chosen = soap(tuple(np.unique(pair.species).tolist()))
    n_coordinates = 3 * len(pair.species)
    found = pair_separation(evaluator(chosen.environment), pair, CUTOFF, 0.5, n_coordinates)
    squares, sums = [], []
    centers = None if pair.center is None else [pair.center]
    for frame in pair.frames():
        batch = prepare(frame, CUTOFF, dtype="float64", centers=centers)
        with jax.enable_x64(True):

            def total(positions, batch=batch):
                rows = chosen.batch(batch._replace(positions=positions))
                values = jnp.where(batch.center_mask[:, None], rows, 0).sum(0)
                return values, values

            found_slopes, values = quick_jit(jax.jacfwd(total, has_aux=True))(batch.positions)
            slopes = np.array(found_slopes)
            sums.append(np.asarray(values))
        if pair.center is not None:
            slopes[:, pair.center] = 0
        squares.append(np.sum(slopes**2))
    assert found.slope == pytest.approx(np.sqrt(np.mean(squares)), rel=1e-10)
    difference = np.linalg.norm(sums[0] - sums[1])
    assert found.difference == pytest.approx(difference, abs=1e-12 * np.linalg.norm(sums[0]))
    assert found.contrast == pytest.approx(found.difference / (0.5 * found.slope))


def test_few_directions_estimate_the_slope():
    pair = FAMILIES["circle_sums"]()
    chosen = soap(tuple(np.unique(pair.species).tolist()))
    evaluate = evaluator(chosen.environment)
    exact = pair_separation(evaluate, pair, CUTOFF, n_directions=27).slope
    assert pair_separation(evaluate, pair, CUTOFF, n_directions=40).slope == pytest.approx(exact)
    assert pair_separation(evaluate, pair, CUTOFF, n_directions=12).slope == pytest.approx(
        exact, rel=0.5
    )


def test_environments_hold_every_neighbor_once():
    pair = FAMILIES["planar_c"](species=("O", "C", "C", "H"))
    found = environments(pair, 1, CUTOFF)
    assert found.mask.sum() == 12 and found.centers.tolist() == [0, 1, 2, 3]
    for row in range(4):
        expected = np.delete(pair.second - pair.second[row], row, axis=0)
        order = found.neighbors[row][found.mask[row]]
        assert sorted(order) == sorted(set(range(4)) - {row})
        assert np.allclose(found.vectors[row, :3], (pair.second - pair.second[row])[order])
        assert len(expected) == 3


def test_structure_distances():
    angle = np.pi / 4
    pair = FAMILIES["two_neighbors"](1.5, (np.pi / 2, np.pi))
    assert structure_distance(pair) == pytest.approx(2 * 1.5 * np.sin(angle / 2) * np.sqrt(2))
    for name in ("rotated_polygon", "rotated_polyhedron", "capped_ring"):
        assert structure_distance(FAMILIES[name]()) < 1e-6
    crystal = FAMILIES["homometric_crystal"]()
    assert structure_distance(crystal) > 0.5
    assert crystal.cell is not None
    moved = crystal.cell[2] - np.array([0.3, 0.2, 0.1]) - crystal.first[::-1]
    assert structure_distance(crystal._replace(second=moved)) < 1e-12


def slow_messages(vectors, species, center, weights, basis):
    """The equation of ``distance_messages``, atom by atom."""
    positions, kinds = [np.zeros(3), *vectors], [center, *species]
    presence = np.ones(len(kinds))
    presence[1:] = cutoff_function(np.linalg.norm(vectors, axis=1), basis)
    states = [weights.species[kind] for kind in kinds]
    for t in range(len(weights.distances)):
        updated = []
        for i, state in enumerate(states):
            received = np.zeros_like(state)
            for j, other in enumerate(states):
                if j != i:
                    r = np.linalg.norm(positions[i] - positions[j])
                    phase = r * weights.distances[t] + other @ weights.senders[t]
                    received += presence[j] * np.cos(phase + weights.phases[t, 0])
            received = received / np.sqrt(presence.sum())
            total = state @ weights.states[t] + received @ weights.messages[t]
            updated.append(np.cos(total + weights.phases[t, 1]))
        states = updated
    return states[0]


def test_messages_are_those_of_the_equation(dtype):
    vectors, species, mask = environment(dtype, 1, 6)
    basis, weights = Basis(cutoff=4.0), message_weights(3, n_features=16, n_rounds=2)
    apply = quick_jit(lambda *atoms: distance_messages(*atoms, basis, weights, 1))
    found = apply(vectors, species, mask)
    expected = slow_messages(np.asarray(vectors, float), np.asarray(species), 1, weights, basis)
    assert found.dtype == dtype
    assert relative_error(found, expected) < tolerance(INVARIANCE, found)


def test_messages_do_not_see_isometries_order_or_padding(dtype):
    vectors, species, mask = environment(dtype, 2, 6)
    basis, weights = Basis(cutoff=4.0), message_weights(3, n_features=16, n_rounds=2)
    apply = quick_jit(lambda v, s, m: distance_messages(v, s, m, basis, weights))
    expected = apply(vectors, species, mask)
    bounds = tolerance(INVARIANCE, expected), tolerance(PADDING, expected)
    turned = (vectors @ -random_rotation(0).T).astype(dtype)
    order = np.random.default_rng(0).permutation(6)
    assert relative_error(apply(turned, species, mask), expected) < bounds[0]
    shuffled = apply(vectors[order], species[order], mask[order])
    assert relative_error(shuffled, expected) < bounds[0]
    padded = apply(*pad_environment(vectors, species, mask, 3, jnp.ones(3), 0))
    assert relative_error(padded, expected) < bounds[1]


@pytest.mark.parametrize("family", ["centrosymmetric", "polyhedron_colors", "rectangle_apex"])
def test_messages_tell_apart_what_color_refinement_does(family):
    """Equal sums over atoms where 1-WL is said to be blind, different ones where it is not."""
    far = 30.0  # every atom sees every other
    basis, weights = Basis(cutoff=far), message_weights(4, n_features=16, n_rounds=3)
    evaluate = evaluator(lambda v, s, m, c: distance_messages(v, s, m, basis, weights, c))
    for pair in instances([family]):
        found = pair_separation(evaluate, pair, far, n_directions=1)
        if "message_passing" in pair.defeats:
            assert found.relative < 1e-12, pair.name
        elif "message_passing" in pair.separated_by:
            assert found.relative > 1e-4, pair.name


def test_messages_resolve_distances_smaller_than_their_length():
    weights, basis = message_weights(2), Basis(cutoff=CUTOFF)
    vectors, species, mask = np.array([[0, 0, 1.0]]), np.zeros(1, int), np.ones(1, bool)
    apply = quick_jit(lambda v: distance_messages(v, species, mask, basis, weights, 1))
    values = [apply(scale * vectors) for scale in (1.0, 1.0 + LENGTH / 10)]
    assert relative_error(values[0], values[1]) > 0.05
