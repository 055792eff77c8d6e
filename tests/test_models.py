"""The neural energy of one atom: symmetry, padding, smoothness, and the tag radius."""

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

from tests.systems import environment, quick_jit
from tripletjax import InputError
from tripletjax.potentials.adaptive_tags import adaptive_weights, nearest
from tripletjax.potentials.network import Architecture, AtomicEnergy, weight_shapes
from tripletjax.properties.network import AtomicTensor
from tripletjax.testing import (
    assert_close,
    assert_finite_derivatives,
    assert_gradients,
    assert_invariant,
    assert_padding_changes_nothing,
    successive_derivatives,
)

SMALL = Architecture(
    cutoff=3.0,
    n_radial=3,
    channels=4,
    messages=0,
    tags=5,
    tag_channels=3,
    units=6,
    odd_units=4,
    width=8,
)
N_SPECIES = 3


def plain_energy(vectors, species, mask, center=1, architecture=SMALL):
    """The energy of one atom, to be part of another program."""
    model = AtomicEnergy(architecture, N_SPECIES)
    return model.apply({"params": weights(architecture)}, vectors, species, mask, center)


energy = quick_jit(plain_energy, static_argnums=4)


@cache
def weights(architecture=SMALL):
    """Random ones, all of order one: the gains too."""
    random = np.random.default_rng(3)
    return {
        name: random.normal(size=shape).astype(np.float32)
        for name, shape in weight_shapes(AtomicEnergy(architecture, N_SPECIES)).items()
    }


def test_invariance(dtype):
    vectors, species, mask = environment(dtype, n_neighbors=7)
    assert_invariant(lambda v: energy(v, species, mask), vectors)


def test_atoms_at_equal_distances_may_change_places(dtype):
    vectors, species, mask = environment(dtype, n_neighbors=6)
    vectors = 1.7 * vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    order = np.array([1, 0, 4, 3, 2, 5])
    few = (np.concatenate([x[order], x[5:]]) for x in (vectors, species, mask))
    same = (np.concatenate([x, x[5:]]) for x in (vectors, species, mask))
    architecture = Architecture(**{**vars(SMALL), "tags": 7})
    expected = energy(*same, 1, architecture)
    assert_close(energy(*few, 1, architecture), expected, 1e-5 if dtype == jnp.float32 else 1e-12)


@pytest.mark.parametrize("n_neighbors", [3, 7])
def test_padding_changes_nothing(n_neighbors, dtype):
    vectors, species, mask = environment(dtype, n_neighbors=n_neighbors)
    order = np.argsort(np.linalg.norm(vectors, axis=-1))
    rtol = 1e-5 if dtype == jnp.float32 else 1e-13
    assert_padding_changes_nothing(energy, vectors[order], species[order], mask, rtol=rtol)


def test_species_and_center_count(dtype):
    vectors, species, mask = environment(dtype)
    values = [energy(vectors, species, mask, center) for center in range(N_SPECIES)]
    values.append(energy(vectors, (species + 1) % N_SPECIES, mask))
    assert len(np.unique(np.round(values, 5))) == 4


def test_more_species_than_channels_share_an_embedding(dtype):
    architecture = Architecture(**{**vars(SMALL), "species_channels": 2})
    assert weights(architecture)["species"].shape == (3, 2)
    vectors, species, mask = environment(dtype)
    assert_invariant(lambda v: energy(v, species, mask, 0, architecture), vectors)


def test_mirror_images_of_neighbours_inside_the_shell_are_told_from_each_other(float64):
    # Pseudoscalars enter in products: turning one of two far groups into its mirror image alone
    # changes the energy, though each group alone has the energy of its image.
    random = np.random.default_rng(0)
    group = random.normal(size=(3, 3))
    group *= np.array([1.0, 1.1, 1.2])[:, None] / np.linalg.norm(group, axis=-1, keepdims=True)
    species = np.array([0, 1, 2])
    alone = [energy(g, species, np.ones(3, bool)) for g in (group, -group)]
    assert_close(alone[1], alone[0], 1e-12)
    shell = random.normal(size=(4, 3))
    shell *= np.linspace(2.0, 2.5, 4)[:, None] / np.linalg.norm(shell, axis=-1, keepdims=True)
    species, mask = np.concatenate([species, [0, 1, 2, 0]]), np.ones(7, bool)
    together = [energy(np.concatenate([g, shell]), species, mask) for g in (group, -group)]
    assert abs(together[1] - together[0]) > 1e-4


@pytest.mark.parametrize("size", [{"tags": 0}, {"order": 2}, {"tags": 0, "order": 6}], ids=str)
def test_parts_of_the_model_can_be_left_out(size, dtype):
    vectors, species, mask = environment(dtype, n_neighbors=7)
    architecture = replace(SMALL, **size)
    assert_invariant(lambda v: energy(v, species, mask, 1, architecture), vectors)
    rtol = 1e-5 if dtype == jnp.float32 else 1e-13
    assert_padding_changes_nothing(
        lambda *atoms: energy(*atoms, 1, architecture), vectors, species, mask, rtol=rtol
    )
    names = weights(architecture)
    assert ("second" in names) == (architecture.tags > 0)


def test_energies_have_no_triplets_by_default_and_tensors_do():
    assert "second" not in weight_shapes(AtomicEnergy(Architecture(), 1))
    assert "second" in weight_shapes(AtomicTensor(Architecture(), 1))


@pytest.mark.parametrize("dtype_name", ["float32", "float64"])
def test_dtype_follows_the_vectors(dtype_name, float64):
    vectors, species, mask = environment(dtype_name)
    assert energy(vectors, species, mask).dtype == dtype_name


def test_gradients(float64):
    vectors, species, mask = environment(float)
    assert_gradients(lambda v: plain_energy(v, species, mask), vectors)


CORNERS = {
    "general": environment(float, n_neighbors=6)[0],
    "collinear": np.outer([1.0, -1.1, 1.9, -2.0, 2.6, -2.7], [0.6, 0.0, 0.8]),
    "one at the cutoff": np.concatenate([environment(float)[0], [[0.0, 0.0, 3.0]]]),
    "along the axes": np.concatenate([np.eye(3), -np.eye(3)]) * 1.5,
    "coincident": np.ones((6, 3)),
}


def test_derivatives_are_finite_in_corner_cases(dtype):
    points = np.stack(list(CORNERS.values())).astype(dtype)
    masks = np.ones((len(points), 6), bool)
    empty, single = np.zeros(6, bool), np.arange(6) == 0
    points = jnp.asarray(np.concatenate([points, points[:1], points[:1]]))
    masks = jnp.asarray(np.concatenate([masks, empty[None], single[None]]))
    names = [*CORNERS, "no neighbours", "one neighbour"]
    species = jnp.asarray([0, 1, 2, 0, 1, 2])
    lower = replace(SMALL, l_max=2)  # third derivatives are long programs
    assert_finite_derivatives(
        lambda v, mask: plain_energy(v, species, mask, architecture=lower),
        points, masks, names=names, order=3,
    )  # fmt: skip


def test_a_neighbour_leaves_through_the_cutoff_smoothly(float64):
    vectors, species, mask = environment(float, n_neighbors=4)

    def at(distance):
        last = distance * jnp.array([[0.48, -0.6, 0.64]])
        return plain_energy(
            jnp.concatenate([jnp.asarray(vectors), last]),
            jnp.append(species, 1),
            jnp.append(mask, True),
        )

    @quick_jit
    def derivatives(distance):
        return jnp.stack(successive_derivatives(at, distance, order=2))

    inside, outside, size = (np.asarray(derivatives(d)) for d in (3.0 - 1e-4, 3.0 + 1e-4, 2.0))
    np.testing.assert_array_less(np.abs(inside - outside), 1e-5 * np.abs(size))


@pytest.mark.parametrize("place", range(5))
def test_neighbours_that_change_order_leave_energy_and_forces_smooth(place, float64):
    """Along a path where two neighbours change places, tagged or not, with forces of the sorted
    environment: second differences of the energy's slope stay small, as they would not at a kink.
    """
    base, species, mask = environment(float, n_neighbors=6)

    @quick_jit
    def slope(vectors, species):
        return jax.grad(plain_energy)(vectors, species, mask)

    def force(t):
        radii = np.array([1.0, 1.1, 1.2, 1.3, 1.4, 1.5])
        radii[place : place + 2] = radii[place] + np.array([t, -t])
        vectors = base / np.linalg.norm(base, axis=-1, keepdims=True) * radii[:, None]
        order = np.argsort(radii)
        gradient = np.empty_like(vectors)
        gradient[order] = slope(vectors[order], species[order])
        return gradient

    step = 1e-4
    forces = np.stack([force(t) for t in step * np.arange(-3, 4)])
    scale = np.abs(np.diff(forces, axis=0)).max()
    assert np.abs(np.diff(forces, 2, axis=0)).max() < 0.01 * scale


def reference_weights(r, u, count, cutoff, n_pairs):
    """By SciPy's root finder and plain loops."""

    def falloff(x):
        return (1 - x**4) ** 4 if x < 1 else 0.0

    def rise(x):
        x = min(max(x, 0), 1)
        return 35 * x**4 - 84 * x**5 + 70 * x**6 - 20 * x**7

    def excess(radius):
        y = max((radius / cutoff - 0.5) / 0.3, 0)
        inside = sum(rise((radius / other - 0.8) / 0.2) for other in r) / (count + 1)
        if y >= 1 or inside >= 1:
            return 1e9
        total = n_pairs * (y**4 / (1 - y) + inside**24 / (1 - inside) - 1)
        for j in range(len(u)):
            for k in range(j):
                sine = np.linalg.norm(np.cross(u[j], u[k]))
                total += falloff(r[j] / radius) * falloff(r[k] / radius) * sine**2
        return total

    radius = brentq(excess, 1e-3, cutoff, xtol=1e-13)
    return np.array([falloff(x / radius) for x in r])


@pytest.mark.parametrize("seed", range(3))
def test_the_nearest_are_selected_by_distance(seed, dtype):
    """Each once, with equal distances in the order that they have, as a stable sort."""
    random = np.random.default_rng(seed)
    distances = random.integers(1, 6, 7).astype(dtype)
    for count in (1, 4, 7):
        found = nearest(jnp.asarray(distances), count)
        np.testing.assert_array_equal(found, np.argsort(distances, kind="stable")[:count])


@pytest.mark.parametrize("n_pairs", [0.3, 2.0, 8.0])
@pytest.mark.parametrize("count", [3, 6, 8])
def test_tag_weights_solve_their_equation(n_pairs, count, dtype):
    """No neighbour but those that can be tagged has a weight."""
    random = np.random.default_rng(5)
    u = random.normal(size=(6, 3))
    u /= np.linalg.norm(u, axis=-1, keepdims=True)
    r = np.sort(random.uniform(0.9, 3.0, 6))
    tags = u[:count]
    solve = quick_jit(adaptive_weights, static_argnums=(3, 4, 5))
    radii = r[:count].astype(dtype)
    found = solve(r.astype(dtype), radii, tags.astype(dtype), count, 5.0, n_pairs)
    expected = reference_weights(r, tags, count, 5.0, n_pairs)
    np.testing.assert_allclose(
        found, expected[:count], atol=1e-4 if dtype == jnp.float32 else 1e-11
    )
    assert not expected[count:].any()
    padded = np.append(r, [5.0, 5.0])
    more = solve(padded.astype(dtype), radii, tags.astype(dtype), count, 5.0, n_pairs)
    np.testing.assert_allclose(more, found, atol=1e-6)


def test_derivatives_of_tag_weights(float64):
    random = np.random.default_rng(6)
    vectors = random.normal(size=(5, 3))
    vectors *= np.linspace(1.0, 2.5, 5)[:, None] / np.linalg.norm(vectors, axis=-1, keepdims=True)

    def weighted(vectors):
        r = jnp.linalg.norm(vectors, axis=-1)
        return adaptive_weights(r, r, vectors / r[:, None], 4, 4.0, 2.0)

    assert_gradients(weighted, vectors)
    first = quick_jit(jax.jacrev(weighted))
    curvature = quick_jit(jax.jacfwd(jax.jacrev(weighted)))
    step = np.zeros((5, 3))
    step[2, 1] = 1e-5
    difference = (first(vectors + step) - first(vectors - step)) / 2e-5
    np.testing.assert_allclose(curvature(jnp.asarray(vectors))[..., 2, 1], difference, atol=1e-6)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [({"units": 0}, "units"), ({"l_max": 9}, "l_max"), ({"cutoff": -1.0}, "cutoff"),
     ({"tags": 2.5}, "tags"), ({"order": 7}, "order"), ({"tag_channels": 0}, "tag_channels"),
     ({"n_pairs": 0.0}, "n_pairs")],
)  # fmt: skip
def test_bad_sizes_are_named(sizes, words):
    with pytest.raises(InputError, match=words):
        Architecture(**sizes)
