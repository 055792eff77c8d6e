"""Mixed channels are linear images of the plain ones, through every kind of descriptor."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.systems import HYPERS, SPECIES, SYSTEMS, environment, methanol, quick_jit, read
from tripletjax import describe, descriptor
from tripletjax.basis.densities import Mixing, density_coefficients
from tripletjax.basis.mixing import fit_mixing, lost_share
from tripletjax.descriptors.kinds import KINDS
from tripletjax.invariants.correlations import bispectrum, power_spectrum
from tripletjax.testing import INVARIANCE, assert_close, random_rotation, tolerance
from tripletjax.types import Basis

pytestmark = pytest.mark.once("float64")

RANDOM = np.random.default_rng(5)
L_MAX, N_MAX = HYPERS["l_max"], HYPERS["n_max"]
MIXING = Mixing(RANDOM.normal(size=(2, 3)), RANDOM.normal(size=(L_MAX + 1, 3, N_MAX)))
BASIS = Basis(cutoff=3.0, n_max=N_MAX, l_max=L_MAX)
FUNCTIONS = {"power_spectrum": power_spectrum, "bispectrum": bispectrum}


def mixed(density, mixing=MIXING):
    """[..., a, n, lm] -> [..., b, p, lm], written out."""
    degree = np.floor(np.sqrt(np.arange(density.shape[-1]))).astype(int)
    return np.einsum("ba,mpn,...anm->...bpm", mixing.species, mixing.radial[degree], density)


def density_of(mixing=None):
    """The density of the one environment, mixed or not."""
    expansion = quick_jit(lambda *atoms: density_coefficients(*atoms, BASIS, 3, mixing))
    return np.asarray(expansion(*environment()))


def compiled(kind, mixing=None):
    return quick_jit(descriptor(elements=SPECIES, mixing=mixing, **read(kind)).environment)


def densities():
    frames = [methanol(seed) for seed in range(4)]
    described = describe(frames, species=SPECIES, dtype="float64", **read("density"))
    return described.values.reshape(-1, len(SPECIES), N_MAX, (L_MAX + 1) ** 2)


def test_density():
    plain = density_of()
    assert_close(density_of(MIXING), mixed(plain), tolerance(INVARIANCE, plain))


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_functions_of_the_mixed_density(kind):
    atoms = environment()
    described = descriptor(elements=SPECIES, mixing=MIXING, **read(kind))
    density = jnp.asarray(mixed(density_of()), jnp.asarray(atoms[0]).dtype)
    values = compiled(kind, MIXING)(*atoms)
    assert_close(values, quick_jit(FUNCTIONS[kind])(density), tolerance(INVARIANCE, values))
    assert "mix1 n=2" in described.names[-1]


@pytest.mark.parametrize("kind", KINDS)
def test_no_mixing_is_the_identity(kind):
    identity = Mixing(np.eye(3), np.broadcast_to(np.eye(N_MAX), (L_MAX + 1, N_MAX, N_MAX)))
    atoms = environment()
    plain, actual = (compiled(kind, mixing)(*atoms) for mixing in (None, identity))
    assert_close(actual, plain, tolerance(INVARIANCE, plain))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "density"])
def test_mixed_descriptors_are_invariant(kind):
    vectors, species, mask = environment()
    function = compiled(kind, MIXING)
    expected = function(vectors, species, mask)
    turned = (vectors @ -random_rotation(3).T).astype(vectors.dtype)
    actual = function(turned, species, mask)
    assert_close(actual, expected, tolerance(INVARIANCE, expected))


def test_fewer_channels_lose_what_they_must():
    """Two elements whose channels are equal cannot be told apart; by generic ones they can."""
    methanol_, swapped = SYSTEMS["methanol"], SYSTEMS["methanol"].copy()
    swapped.numbers = [{6: 8, 8: 6}.get(number, number) for number in swapped.numbers]
    blind, seeing = Mixing(np.array([[1.0, 0.5, 0.5]])), Mixing(np.array([[1.0, 0.5, -0.7]]))
    for mixing, distinct in ((blind, False), (seeing, True)):
        a, b = (
            describe(frame, species=SPECIES, mixing=mixing, **read("power_spectrum")).values
            for frame in (methanol_, swapped)
        )
        assert (np.abs(a - b).max() > 1e-3 * np.abs(a).max()) == distinct


def test_fitted_channels_keep_the_most():
    density = densities()
    for keep in ({"n_species": 2}, {"n_radial": 1}, {"n_species": 2, "n_radial": 1}):
        fitted = fit_mixing(density, **keep)
        lost = lost_share(density, fitted)
        assert 0 < lost < 1
        for trial in range(5):
            random = [None if m is None else orthonormal(m.shape, trial) for m in fitted]
            assert lost < lost_share(density, Mixing(*random))
    everything = fit_mixing(density, n_species=3, n_radial=2)
    assert abs(lost_share(density, everything)) < 1e-12


def orthonormal(shape, seed):
    matrices = np.random.default_rng(seed).normal(size=shape)
    return np.swapaxes(np.linalg.qr(np.swapaxes(matrices, -1, -2))[0], -1, -2)


def test_radial_functions_are_learned_by_gradient():
    """From a Chebyshev set to one hidden function of distance, as the only degree of freedom."""
    basis = Basis(cutoff=3.0, radial="chebyshev", n_max=6, l_max=0)
    hidden = np.random.default_rng(1).normal(size=(1, 1, 6)).astype(np.float32)
    atoms = [environment(np.float32, seed) for seed in range(24)]
    vectors, _, mask = (jnp.stack(x) for x in zip(*atoms, strict=True))
    species = jnp.zeros(mask.shape, int)

    def features(radial):
        def of_one(v, s, m):
            return density_coefficients(v, s, m, basis, 1, Mixing(None, radial)).ravel()

        return jax.vmap(of_one)(vectors, species, mask)

    target = quick_jit(features)(jnp.asarray(hidden))
    value_of = lambda w: jnp.mean((features(w) - target) ** 2)  # noqa: E731
    loss = quick_jit(jax.value_and_grad(value_of))
    start = radial = jnp.zeros_like(hidden)
    curvature = quick_jit(jax.hessian(lambda w: value_of(w.reshape(hidden.shape))))(radial.ravel())
    step = 1 / float(np.linalg.eigvalsh(curvature)[-1])
    for _ in range(300):
        radial = radial - step * loss(radial)[1]
    assert loss(radial)[0] < 0.02 * loss(start)[0]


def test_the_record_holds_the_mixing():
    described = describe(SYSTEMS["dimer"], species=SPECIES, mixing=MIXING, **read("density"))
    np.testing.assert_array_equal(described.hypers["mixing"]["species"], MIXING.species)
