"""A limited number of tags counts whole shells, smoothly; what no tag can hold is said."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.neighborlist import neighbor_list

from tests.reference import tags as reference
from tests.systems import quick_jit
from tripletjax import describe, descriptor, prepare
from tripletjax.basis.cutoffs import cutoff_function
from tripletjax.invariants.equivariants import equivariant_fingerprint
from tripletjax.invariants.fingerprints import fingerprint_weights
from tripletjax.invariants.tags import ragged_weights, shell_weights, tag_slots
from tripletjax.kernels import triplet_features
from tripletjax.testing import assert_close
from tripletjax.types import Basis

pytestmark = pytest.mark.once("float64")

CUTOFF = 3.3
SMALL = {"cutoff": CUTOFF, "n_max": 1, "l_max": 3}
FEATURES = {"n_features": 8}
BOND = 2.55
CRYSTALS = {
    "fcc": bulk("Cu", "fcc", a=BOND * 2**0.5),
    "hcp": bulk("Cu", "hcp", a=BOND, c=BOND * (8 / 3) ** 0.5),
    "bcc": bulk("Fe", "bcc", a=2.87),
    "rock salt": bulk("NaCl", "rocksalt", a=5.64),
}


def random_distances(seed, count=30):
    """Ascending, with a shell among them."""
    random = np.random.default_rng(seed)
    distances = random.uniform(0.25, 0.999, count) * CUTOFF
    distances[: count // 3] = distances[0]
    return np.sort(distances)


def of_level(described, level):
    return described.values[:, described.columns["level"] == level]


@pytest.mark.parametrize("tags", [1, 2, 4, 9, 20])
def test_weights_are_those_of_the_reference(tags, dtype):
    for seed in range(3):
        distances = random_distances(seed)
        slots = tag_slots(tags, len(distances))
        found = quick_jit(partial(shell_weights, cutoff=CUTOFF, tags=tags, slots=slots))(
            jnp.asarray(distances, dtype)
        )
        expected = reference.shell_weights(distances, CUTOFF, tags)
        assert found.dtype == dtype
        np.testing.assert_allclose(
            found, expected[:slots], atol=2e-4 if dtype == jnp.float32 else 1e-12
        )
        assert not any(expected[slots:])  # places for all that have a weight


def test_environments_of_any_width_together():
    rows = [random_distances(seed, count) for seed, count in ((0, 30), (1, 1), (2, 17))]
    count = np.array([30, 0, 1, 17])
    found = ragged_weights(np.concatenate(rows), count, CUTOFF, 4)
    expected = [reference.shell_weights(row, CUTOFF, 4) for row in rows]
    np.testing.assert_allclose(found, np.concatenate(expected), atol=1e-12)
    assert not len(ragged_weights(np.zeros(0), np.zeros(2, int), CUTOFF, 4))


@pytest.mark.parametrize("tags", [1, 3, 8])
def test_neighbours_apart_are_tagged_up_to_the_last(tags):
    """And all of them if there are no more; never the next one."""
    distances = 0.3 * 1.26 ** np.arange(11)
    weights = shell_weights(distances, 5.0, tags, 11)
    assert (weights[:tags] > 0.05).all() and not weights[tags:].any()
    assert (shell_weights(distances[:tags], 5.0, 2 * tags, tags) > 0.99).all()


@pytest.mark.parametrize("tags", [1, 2, 4, 8])
def test_shells_are_tagged_as_a_whole(tags):
    """The nearest one of every crystal, and none beyond where it has enough neighbours."""
    for name, frame in CRYSTALS.items():
        distances = np.sort(neighbor_list("d", frame, 6.0)[neighbor_list("i", frame, 6.0) == 0])
        shell = int((distances < 1.001 * distances[0]).sum())
        weights = ragged_weights(distances, np.array([len(distances)]), 6.0, tags)
        assert (weights[:shell] > 0.5).all() and np.ptp(weights[:shell]) < 1e-9, name
        assert shell < tags or weights[shell:].max() < 0.1, name


def test_crystals_have_all_levels_and_close_packings_part():
    """With fewer tags than the shell has neighbours."""
    described = describe(
        list(CRYSTALS.values()), tags=4, dtype="float64", **(SMALL | FEATURES | {"n_max": 2})
    )
    for level in (1, 2):
        size = np.linalg.norm(of_level(described, level), axis=1)
        assert (size > 0.1).all()
        fcc, one, other = of_level(described, level)[:3]
        assert np.linalg.norm(one - other) < 1e-9 * size[0]
        assert np.linalg.norm(fcc - one) > 1e-3 * size[0]


def test_the_sums_of_close_packings_part():
    frames = [CRYSTALS["fcc"], CRYSTALS["hcp"]]
    fcc, one, _ = describe(frames, "triplet_sum", tags=4, dtype="float64", **SMALL).values
    assert np.linalg.norm(fcc - one) > 1e-3 * np.linalg.norm(one)


def test_kernels_and_tensors_see_the_shell(float64):
    """Of a surface, where a vector need not vanish."""
    steps = np.mgrid[-1:2, -1:2, -1:2].reshape(3, -1).T
    steps = steps[(np.abs(steps).sum(1) == 2) & (steps[:, 2] >= 0)]
    count = len(steps)
    atoms = jnp.asarray(BOND / 2**0.5 * steps, float64), np.zeros(count, int), np.ones(count, bool)
    basis = Basis(cutoff=CUTOFF, n_max=1, l_max=1)
    features = quick_jit(partial(triplet_features, basis=basis, n_species=1, tags=3))(*atoms)
    assert count == 8 and int((features.weights > 0.1).sum()) == 8 * 7
    weights = fingerprint_weights(basis, 1, n_features=8)
    given = {"basis": basis, "weights": weights, "lambda_": 1, "tags": 3}
    rows = quick_jit(partial(equivariant_fingerprint, **given))(*atoms)
    assert np.abs(rows[0]).max() > 1e-3 and np.abs(rows[1:]).max() > 1e-3


def test_triplets_are_those_of_the_tags():
    described = describe(CRYSTALS["fcc"], "triplets", tags=4, dtype="float64", **SMALL)
    assert len(described.values) == 12 * 11
    np.testing.assert_allclose(described.values[:, :2], BOND, atol=1e-9)


def test_describe_computes_fewer_places_and_the_same(float64):
    """Environments of four tags, and of a shaken close-packed crystal, which need more."""
    crystal = bulk("Cu", cubic=True)
    crystal.rattle(0.1, seed=0)
    frames, hypers = [molecule("CH4"), crystal], SMALL | FEATURES | {"cutoff": 3.0, "n_max": 2}
    expected = describe(frames, tags=4, dtype="float64", **hypers).values
    batch = prepare(frames, 3.0, dtype="float64")
    chosen = descriptor("fingerprint", (1, 6, 29), tags=4, **hypers)
    found = np.asarray(quick_jit(chosen.batch)(batch))[batch.center_mask]
    assert_close(found, expected, 1e-12, axis=-1)


def test_neighbours_come_in_any_order(float64):
    """Also more of them than there are places: atoms move after their list was made."""
    distances = random_distances(5, 18)
    vectors = distances[:, None] * np.random.default_rng(5).normal(size=(18, 3))
    vectors *= (distances / np.linalg.norm(vectors, axis=1))[:, None]
    function = quick_jit(
        descriptor("triplet_sum", (1,), tags=3, cutoff=CUTOFF, n_max=1, l_max=2).environment
    )
    rows = [
        function(vectors[order].astype(float64), np.zeros(18, int), np.ones(18, bool))
        for order in (np.arange(18), np.random.default_rng(6).permutation(18))
    ]
    assert np.abs(rows[0]).max() > 0.01
    assert_close(rows[1], rows[0], 1e-12)


OTHERS = np.array([1.0, 1.2, 1.45, 1.8, 2.8])
# Where the moving neighbour meets another, and where it is a fifth nearer or farther than one.
SEAMS = {
    "changes places": 1.2,
    "changes places with the last tag": 1.45,
    "clearly nearer": 1.45 * 0.8,
    "clearly farther": 1.0 / 0.8,
    "enters": CUTOFF,
}


def weights_of(r):
    """Of the moving neighbour, then of the others; each as it comes in the sorted list."""
    distances = jnp.concatenate([r[None], jnp.asarray(OTHERS, r.dtype)])
    order = jnp.argsort(distances)
    basis = Basis(cutoff=CUTOFF, cutoff_function="smooth")
    weights = shell_weights(distances[order], CUTOFF, 3, len(distances))
    return cutoff_function(distances, basis) * weights[jnp.argsort(order)]


def with_the_next_derivative(functions, r):
    values, slopes = jax.jvp(functions, (r,), (jnp.ones_like(r),))
    return [*values, slopes[-1]]


def test_weights_have_three_derivatives(float64):
    """Continuous where neighbours change places, with the sorting of the list."""
    every = lambda r: [weights_of(r)]  # noqa: E731
    for _ in range(4):
        every = partial(with_the_next_derivative, every)
    every = quick_jit(jax.vmap(every))
    gap = 1e-6
    at = np.add.outer(list(SEAMS.values()), [-gap, gap])
    found = [np.asarray(x).reshape(*at.shape, -1) for x in every(jnp.asarray(at.ravel(), float64))]
    for place, name in enumerate(SEAMS):
        for order in range(4):
            below, above = found[order][place]
            size = 1 + np.abs(found[order + 1][place]).max()
            assert np.abs(above - below).max() < 4 * gap * size, f"derivative {order}, {name}"


def test_the_weights_change_as_a_neighbour_passes():
    """Or the test above would test nothing."""
    near, far = (shell_weights(np.sort(np.append(OTHERS, r)), CUTOFF, 3, 6) for r in (1.25, 1.7))
    assert np.abs(near - far).max() > 0.1


def sphere(count, radius=2.0):
    """So many neighbours at one distance."""
    k = np.arange(count) + 0.5
    z, turn = 1 - 2 * k / count, np.pi * (1 + 5**0.5) * k
    rho = np.sqrt(1 - z**2)
    around = radius * np.stack([rho * np.cos(turn), rho * np.sin(turn), z], -1)
    return Atoms(f"CH{count}", positions=np.concatenate([np.zeros((1, 3)), around]))


UNTAGGED = {
    "a shell of too many": (sphere(20), 3.0),
    "a line": (
        Atoms("CHHOO", [[0, 0, 0], [0, 0, 1], [0, 0, -1], [2, 0, 0], [0, 2.1, 0]]),
        2.5,
    ),
}


@pytest.mark.parametrize("name", UNTAGGED)
def test_tags_without_a_triplet_are_pointed_out(name):
    """Once, and no more where there are enough tags."""
    frame, cutoff = UNTAGGED[name]
    hypers = FEATURES | {"cutoff": cutoff, "radial": "chebyshev", "n_max": 16, "l_max": 1}
    with pytest.warns(
        UserWarning, match="1 of 1 environments contain no two neighbours.*atom 0"
    ) as w:
        described = describe(frame, tags=2, centers=[0], **hypers)
    assert len(w) == 1
    assert of_level(described, 2).any() == (name == "a line")
    described = describe(frame, tags=12, centers=[0], **hypers)
    assert np.abs(of_level(described, 2)).max() > 0.01


def test_collinear_environments_are_not_pointed_out():
    """There is nothing to tag that is not collinear; and one neighbour is no pair."""
    described = describe([molecule("CO2"), molecule("CO")], tags=2, **FEATURES, **SMALL)
    assert len(described.values) == 5
