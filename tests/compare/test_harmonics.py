"""Harmonics against sphericart and e3nn-jax."""

import jax.numpy as jnp
import numpy as np
import pytest

from tripletjax.basis.angular import harmonic_slice, spherical_harmonics

L_MAX = 12


def directions():
    vectors = np.random.default_rng(0).normal(size=(200, 3))
    vectors = np.concatenate([vectors, np.eye(3), -np.eye(3)])
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_sphericart():
    sphericart = pytest.importorskip("sphericart")
    theirs = sphericart.SphericalHarmonics(L_MAX).compute(directions())
    np.testing.assert_allclose(spherical_harmonics(directions(), L_MAX), theirs, atol=1e-12)


def test_e3nn_jax():
    """e3nn's polar axis is y: its (x, y, z) is (y, z, x) here; its norm is √4π times larger."""
    e3nn = pytest.importorskip("e3nn_jax")
    u = directions()
    ours = np.sqrt(4 * np.pi) * spherical_harmonics(u, 8)
    for l in range(9):
        theirs = e3nn.spherical_harmonics(
            f"{l}{'eo'[l % 2]}",
            jnp.asarray(u[:, [1, 2, 0]]),
            normalize=False,
            normalization="component",
        )
        np.testing.assert_allclose(ours[:, harmonic_slice(l)], theirs.array, atol=1e-12)
