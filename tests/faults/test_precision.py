"""float32 against float64 over random environments: values and two derivatives.

The neighbours, at most 60, lie at random, across the cutoff, on lines, behind each other, or in the
shells of crystals and clusters, where many distances are equal.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.faults.conftest import FULL
from tests.systems import build, quick_jit
from tripletjax.numerics import smooth_step
from tripletjax.potentials.network import Architecture
from tripletjax.potentials.triplet import untrained
from tripletjax.testing import random_rotation
from tripletjax.types import Environments

pytestmark = pytest.mark.once("float32")

CUTOFF, MOST, COLUMNS = 4.0, 60, 64
COUNT = 1000
SMALL = {
    "cutoff": CUTOFF, "cutoff_function": "smooth", "radial": "chebyshev",
    "n_max": 2, "l_max": 2, "n_features": 8, "tags": 6,
}  # fmt: skip
SIZES = Architecture(
    cutoff=CUTOFF, n_radial=4, l_max=2, channels=4, tags=4, units=8, odd_units=2, width=8
)
# Of the 2-norm of an environment's values or derivatives, or of a hundredth of the largest one of
# all, if that is more: what float32 may differ by.
ERRORS = {"values": 2e-5, "gradients": 2e-4, "second derivatives": 1e-3}


def rings() -> dict[str, np.ndarray]:
    """Shells of neighbours at distance 1."""
    cube = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / np.sqrt(3)
    octahedron = np.concatenate([np.eye(3), -np.eye(3)])
    golden = (1 + np.sqrt(5)) / 2
    corners = [[0, a, b * golden] for a in (-1, 1) for b in (-1, 1)]
    icosahedron = np.concatenate([np.roll(corners, k, axis=1) for k in range(3)])
    icosahedron = icosahedron / np.linalg.norm(icosahedron[0])
    lattice = np.array(
        [[x, y, z] for x in range(-2, 3) for y in range(-2, 3) for z in range(-2, 3)]
    )
    fcc = lattice[(lattice.sum(1) % 2 == 0) & (np.abs(lattice).sum(1) > 0)] / np.sqrt(2)
    distances = np.linalg.norm(fcc, axis=1)
    return {
        "cube": cube, "octahedron": octahedron, "icosahedron": icosahedron,
        "fcc 12": fcc[distances < 1.2], "fcc 18": fcc[distances < 1.5],
        "fcc 54": fcc[distances < 2.1],
    }  # fmt: skip


def directions(random: np.random.Generator, count: int) -> np.ndarray:
    found = random.normal(size=(count, 3))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def neighbors(random: np.random.Generator) -> np.ndarray:
    """Vectors [K, 3] of one environment, K from 0 to MOST."""
    count, arrangement = int(random.integers(0, MOST + 1)), int(random.integers(5))
    distances = random.uniform(0.9, 1.1 * CUTOFF, (count, 1))
    if arrangement == 0:
        return distances * directions(random, count)
    if arrangement == 1:  # within 1e-4 Å of the cutoff, or on it
        near = CUTOFF * (1 + random.choice([0, 1e-7, -1e-7, 1e-5, -1e-5], (count, 1)))
        return np.where(random.random((count, 1)) < 0.5, near, distances) * directions(
            random, count
        )
    if arrangement == 2:  # on a line
        return distances * random.choice([-1, 1], (count, 1)) * directions(random, 1)
    if arrangement == 3:  # behind each other
        return distances * directions(random, 4)[random.integers(0, 4, count)]
    shells = rings()
    shell = shells[list(shells)[random.integers(len(shells))]]
    turn = random_rotation(int(random.integers(1000))) if random.random() < 0.5 else np.eye(3)
    return random.uniform(1.0, 2.5) * shell @ turn.T


def environments(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors [N, K, 3] in float32, species [N, K] and mask [N, K]."""
    random = np.random.default_rng(0)
    vectors = np.zeros((count, COLUMNS, 3), np.float32)
    mask = np.zeros((count, COLUMNS), bool)
    for row in range(count):
        found = neighbors(random)
        vectors[row, : len(found)] = found
        mask[row, : len(found)] = True
    return vectors, random.integers(0, 2, mask.shape).astype(np.int32), mask


def derivatives(function, n_outputs: int):
    """Values, the gradient of a projection of them, and its derivative along a direction."""
    random = np.random.default_rng(1)
    weights, along = random.normal(size=n_outputs), random.normal(size=(COLUMNS, 3))

    def all_of(arrays):
        vectors, *rest = arrays

        def projected(vectors):
            return jnp.vdot(jnp.asarray(weights, vectors.dtype), function(vectors, *rest))

        gradient, second = jax.jvp(
            jax.grad(projected), (vectors,), (jnp.asarray(along, vectors.dtype),)
        )
        return function(*arrays), gradient, second

    return quick_jit(lambda arrays: jax.lax.map(all_of, arrays))


def function_of(kind: str):
    if kind == "potential":
        potential = untrained([1, 6], SIZES)

        def energy(vectors, species, mask):
            one = vectors[None], species[None], mask[None], jnp.zeros(1, int), species[None]
            return potential.environment_energies(Environments(*one), jnp.ones(1, bool))

        return energy
    return build(kind, **SMALL).environment


KINDS = ["power_spectrum", "fingerprint", "potential"]


@pytest.mark.parametrize("kind", KINDS + (["bispectrum", "triplet_sum"] if FULL else []))
def test_float32_is_close_to_float64(kind, scaled, record):
    vectors, species, mask = environments(scaled(COUNT))
    function = function_of(kind)
    n_outputs = jax.eval_shape(function, vectors[0], species[0], mask[0]).size
    single = derivatives(function, n_outputs)((vectors, species, mask))
    with jax.enable_x64(True):
        double = derivatives(function, n_outputs)((vectors.astype(np.float64), species, mask))
    record |= {"environments": len(vectors), "largest errors": {}}
    for (name, allowed), actual, expected in zip(ERRORS.items(), single, double, strict=True):
        assert actual.dtype == np.float32 and expected.dtype == np.float64
        actual, expected = (
            np.asarray(a, float).reshape(len(vectors), -1) for a in (actual, expected)
        )
        assert np.isfinite(actual).all() and np.isfinite(expected).all()
        size = np.linalg.norm(expected, axis=1)
        error = np.linalg.norm(actual - expected, axis=1) / np.maximum(size, 0.01 * size.max())
        record["largest errors"][name] = float(f"{error.max():.2g}")
        assert error.max() < allowed, f"{name} of environment {error.argmax()}"


def test_what_falls_to_zero_keeps_its_digits():
    """Near its end too, where a weight may be multiplied by what is steep."""
    x = np.float32(1) - np.geomspace(1e-6, 0.1, 20, dtype=np.float32)
    actual, expected = smooth_step(x), smooth_step(x.astype(np.float64))
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, rtol=1e-5)
    np.testing.assert_allclose(expected, 35 * (1.0 - x) ** 4, rtol=0.3)
