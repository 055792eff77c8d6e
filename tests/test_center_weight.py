"""The central atom in its own density, on request."""

import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from tripletjax import InputError, describe
from tripletjax.basis.densities import Mixing, center_density, density_coefficients
from tripletjax.types import Basis

pytestmark = pytest.mark.once("float64")

SMALL = {"cutoff": 3.0, "n_max": 3, "l_max": 2}
MIXING = Mixing(
    species=np.array([[1.0, 0.5, -0.3], [0.2, 0.1, 0.7]]),
    radial=np.random.default_rng(0).normal(size=(3, 2, 3)),
)


@pytest.mark.parametrize("mixing", [None, MIXING], ids=["all channels", "mixed"])
@pytest.mark.parametrize("radial", ["gto", "laplacian", "chebyshev", "gaussian"])
def test_it_is_a_neighbour_at_the_centre(radial, mixing):
    """For l = 0 as the limit of a neighbour close to the centre; nothing for l > 0."""
    basis = Basis(radial=radial, radial_scaling=(1.0, 2.0, 4.0), **SMALL)
    own = center_density(2, basis, 3, mixing, jnp.zeros(()).dtype)
    vectors, species = jnp.array([[1e-7, 0, 0]]), jnp.array([2])
    near = density_coefficients(vectors, species, jnp.array([True]), basis, 3, mixing)
    np.testing.assert_allclose(own[..., 0], near[..., 0], rtol=0, atol=1e-6 * np.abs(near).max())
    assert np.abs(own[..., 0]).max() > 1e-3 and not np.any(own[..., 1:])


def test_weights():
    """A term of the density, in proportion to its weight, in the channel of the centre."""
    atoms = molecule("CH3OH")
    found = [describe(atoms, "density", center_weight=w, **SMALL) for w in (0.0, 0.5, 1.0)]
    off, half, full = (one.values for one in found)
    np.testing.assert_array_equal(off, describe(atoms, "density", **SMALL).values)
    np.testing.assert_allclose(half, 0.5 * (off + full), atol=1e-14)
    changed = np.abs(full - off) > 0
    labels = found[0].columns
    is_own = labels["species"] == np.array(atoms.get_chemical_symbols())[:, None]
    np.testing.assert_array_equal(changed, is_own & (labels["l"] == 0))


@pytest.mark.parametrize(
    "kind", ["radial_spectrum", "power_spectrum", "bispectrum", "correlations"]
)
def test_isolated_atoms(kind):
    """Without neighbours only the central atom is in the density."""
    atom = Atoms("C")
    assert not describe(atom, kind, **SMALL).values.any()
    assert describe(atom, kind, center_weight=1.0, **SMALL).values.any()


def test_products_of_the_centre_and_a_shell():
    """The power spectrum of l = 0 is that of the sum of both densities."""
    atoms, options = molecule("H2O"), SMALL | {"n_max": 1, "center_weight": 0.7}
    density = describe(atoms, "density", **options)
    spectrum = describe(atoms, "power_spectrum", **options)
    s_waves = density.values[:, density.columns["l"] == 0]  # [atom, species]
    expected = s_waves[:, [0, 0, 1]] * s_waves[:, [0, 1, 1]] * [1, np.sqrt(2), 1]
    np.testing.assert_allclose(spectrum.values[:, :3], expected, rtol=1e-12)


def test_bad_use():
    with pytest.raises(InputError, match="invalid center_weight=-1"):
        describe(molecule("H2O"), "density", center_weight=-1)
    with pytest.raises(InputError, match="kind 'fingerprint' does not read it"):
        describe(molecule("H2O"), "fingerprint", center_weight=1.0)
