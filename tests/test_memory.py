"""Memory grows with the neighbours, not with the pairs of them, and not with the frames."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk, molecule

from tripletjax import describe, descriptor
from tripletjax.descriptors import rows
from tripletjax.descriptors.kinds import read_by
from tripletjax.invariants.coupled import coupled_sum
from tripletjax.invariants.equivariants import equivariant_fingerprint
from tripletjax.invariants.fingerprints import fingerprint_weights
from tripletjax.types import Basis

pytestmark = pytest.mark.once("float64")

HYPERS = {"cutoff": 3.0, "radial": "chebyshev", "n_max": 1, "l_max": 1}
BASIS = Basis(**HYPERS)
WEIGHTS = fingerprint_weights(BASIS, 1, n_features=64)


def of_kind(kind):
    given = HYPERS | {"n_features": 64}
    return descriptor(kind, (1,), **read_by(kind, given)).environment


def gradient(function):
    return jax.grad(lambda vectors, *rest: jnp.sum(function(vectors, *rest) ** 2))


FUNCTIONS = {
    "triplet_sum": of_kind("triplet_sum"),
    "fingerprint": of_kind("fingerprint"),
    "coupled": lambda *atoms: coupled_sum(*atoms, BASIS, 1, function=jnp.tanh),
    "tensors": lambda *atoms: equivariant_fingerprint(*atoms, BASIS, WEIGHTS, 1),
    "gradient of the fingerprint": gradient(of_kind("fingerprint")),
}


def temporary_bytes(function, n_neighbors: int) -> int:
    shapes = (
        jax.ShapeDtypeStruct((n_neighbors, 3), jnp.zeros(()).dtype),
        jax.ShapeDtypeStruct((n_neighbors,), jnp.int32),
        jax.ShapeDtypeStruct((n_neighbors,), jnp.bool_),
    )
    analysis = jax.jit(function).lower(*shapes).compile().memory_analysis()
    return analysis.temp_size_in_bytes


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_memory_does_not_grow_with_the_number_of_triplets(function):
    """Four times the neighbours, sixteen times the triplets: about four times the memory."""
    few, many = (temporary_bytes(function, size) for size in (64, 256))
    assert many < 6 * few


@pytest.mark.parametrize("kind", ["triplet_sum", "triplets"])
def test_frames_are_described_a_few_at_a_time(kind, monkeypatch):
    """Neighbours of many frames are never all there; rows and the warning stay the same."""
    frames = [molecule("H2O"), molecule("CH4"), bulk("Si"), molecule("OCHCHO")]
    hypers = {"kind": kind, "cutoff": 3.0, "n_max": 2, "l_max": 0, "tags": 2}
    held = []
    gather = rows.RaggedEnvironments.gather

    def counted(frames, *rest):
        held.append(len(frames))
        return gather(frames, *rest)

    monkeypatch.setattr(rows.RaggedEnvironments, "gather", counted)
    with pytest.warns(UserWarning, match="of 16 environments may") as together:
        expected = describe(frames, **hypers)
    monkeypatch.setattr(rows, "PAIRS_AT_ONCE", 30)
    with pytest.warns(UserWarning, match="of 16 environments may") as apart:
        parts = describe(frames, **hypers)
    assert held == [4, 3, 1]
    assert str(together[0].message) == str(apart[0].message)
    np.testing.assert_allclose(parts.values, expected.values, rtol=1e-5, atol=1e-6)
    for name in ("structure", "atom", "neighbors"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(expected, name))
