"""The shipped B8 set is the paper's own, and its labels are what they should be."""

import numpy as np
import pytest

from experiments.b8.sample import sample_b8
from tripletjax.data.b8 import PARAMETER_NAMES, b8_positions, load_b8

pytestmark = pytest.mark.once("float64")

FIRST_DRAW = (
    1.3945490156290707,
    0.5779363176538004,
    1.7685268584161764,
    2.2879156819735713,
    2.6660340954713644,
    1.8331788801509368,
)


def test_sampling_is_the_papers():
    drawn = sample_b8()
    assert PARAMETER_NAMES == ("r", "z1", "z2", "psi", "phi1", "phi2")
    assert drawn.shape == (4000, 6)
    np.testing.assert_allclose(drawn[0], FIRST_DRAW, rtol=1e-14)
    np.testing.assert_allclose(drawn[-1, 0], 1.2383173766606934, rtol=1e-14)
    np.testing.assert_allclose(drawn, load_b8().parameters, rtol=1e-14)


def test_geometry_of_a_pair():
    plus, minus = b8_positions(np.array(FIRST_DRAW))
    r, z1, z2, psi, phi1, phi2 = FIRST_DRAW
    assert np.all(plus[0] == 0)
    np.testing.assert_array_equal(plus[:7], minus[:7])
    np.testing.assert_array_equal(plus[7], [0, 0, z2])
    np.testing.assert_array_equal(minus[7], [0, 0, -z2])
    np.testing.assert_allclose(np.hypot(*plus[1:7, :2].T), r)
    np.testing.assert_array_equal(plus[1:7, 2], [z1] * 3 + [-z1] * 3)
    angles = np.arctan2(plus[1:7, 1], plus[1:7, 0])
    expected = np.array([0, phi1, phi1 + phi2, psi, psi + phi1, psi + phi1 + phi2])
    np.testing.assert_allclose(np.exp(1j * angles), np.exp(1j * expected))


def test_energies_and_forces():
    data = load_b8()
    difference = data.energies[0::2] - data.energies[1::2]
    assert data.energies.std() == pytest.approx(3.881, abs=5e-4)
    assert difference.std() == pytest.approx(0.157, abs=5e-4)
    assert data.forces.shape == data.positions.shape == (8000, 8, 3)
    assert np.isfinite(data.forces).all()
    assert np.abs(data.forces.sum(1)).max() < 1e-4  # eV/Å: no net force on a free cluster
    torque = np.cross(data.positions, data.forces).sum(1)
    assert np.abs(torque).max() < 1e-3  # eV: and no torque
