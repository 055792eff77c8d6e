"""Radial scaling of the density: its values, derivatives, and what it changes."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.systems import build, environment, methanol, quick_jit
from tripletjax import Basis, describe, descriptor
from tripletjax.basis.densities import density_coefficients, density_of, neighborhood
from tripletjax.basis.radial import density_scale
from tripletjax.basis.scaling import radial_scaling_weights
from tripletjax.cli import main
from tripletjax.kernels.describers import live, saved_form
from tripletjax.potentials.records import of_record, to_record
from tripletjax.testing import assert_finite_derivatives, assert_gradients
from tripletjax.types import Hypers

SMALL = {"cutoff": 3.0, "n_max": 2, "l_max": 2}
PARAMETERS = (1.5, 2.0, 4.0)


def expected(r, rate, scale, exponent):
    return rate / (rate + (r / scale) ** exponent)


@pytest.mark.parametrize("parameters", [(1.0, 2.0, 7.0), (0.3, 1.1, 0.5), (5.0, 3.0, 2.5)])
def test_values(parameters, dtype):
    r = np.linspace(0, 6, 61)
    np.testing.assert_allclose(
        radial_scaling_weights(r, *parameters), expected(r, *parameters), rtol=1e-13
    )
    found = quick_jit(radial_scaling_weights)(jnp.asarray(r, dtype), *parameters)
    assert found.dtype == dtype
    tolerance = 30 * np.finfo(dtype).eps
    np.testing.assert_allclose(found, expected(r, *parameters), rtol=tolerance)


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0, 3.0, 7.0])
def test_derivatives_are_finite(exponent, dtype):
    """Three with respect to the distance, down to zero, and the first of all parameters."""
    distances = jnp.asarray([0.0, 1e-30, 1e-9, 1e-6, 1.0, 2.0, 50.0], dtype)

    @quick_jit
    def derivatives(parameters):
        of_distance = lambda r: radial_scaling_weights(r, *parameters)  # noqa: E731
        of_parameters = jax.jacrev(lambda p: radial_scaling_weights(distances, *p))
        by_distance = [of_distance]
        for _ in range(3):
            by_distance.append(jax.jacfwd(by_distance[-1]))
        return [jax.vmap(f)(distances) for f in by_distance], of_parameters(parameters)

    values, slopes = derivatives(jnp.array([1.0, 2.0, exponent], dtype))
    assert all(np.isfinite(v).all() for v in [*values, slopes])
    assert np.abs(slopes[4]).min() > 1e-3


def test_gradients_of_all_parameters(float64):
    distances = jnp.array([0.7, 1.4, 2.9])
    assert_gradients(lambda p: radial_scaling_weights(distances, *p), jnp.array(PARAMETERS))
    assert_gradients(lambda r: radial_scaling_weights(r, *PARAMETERS), distances)


def test_density_is_the_sum_of_scaled_neighbours(dtype):
    """Of any parameters, in the settings or as arrays."""
    vectors, _, mask = environment(dtype)
    plain, scaled = Basis(**SMALL), Basis(**SMALL, radial_scaling=PARAMETERS)
    channels = np.arange(len(mask))  # each neighbour in its own

    @quick_jit
    def densities(parameters):
        hood = neighborhood(vectors, channels, mask, plain, len(mask))
        u = radial_scaling_weights(hood.distances, *parameters)
        by_arrays = density_of(hood._replace(density_weights=hood.weights * u))
        by_basis = density_coefficients(vectors, channels, mask, scaled, len(mask))
        return density_of(hood), by_arrays, by_basis

    without, by_arrays, by_basis = densities(jnp.array(PARAMETERS, dtype))
    u = expected(np.linalg.norm(vectors, axis=1), *PARAMETERS)
    wanted = without * u[:, None, None]
    atol = 100 * np.finfo(dtype).eps * np.abs(wanted).max()
    np.testing.assert_allclose(by_arrays, wanted, rtol=0, atol=atol)
    np.testing.assert_allclose(by_basis, wanted, rtol=0, atol=atol)


def test_unit_of_the_basis(float32):
    """The unit shrinks with the density; far from the centre by the power of the exponent."""
    shells = {"radial": "gaussian", "radial_range": (3.0, 4.0), "gaussian_width": 0.05, "l_max": 0}
    plain, scaled = (
        Basis(**shells, n_max=1, radial_scaling=scaling) for scaling in (None, (1e-6, 1.0, 2.0))
    )
    ratio = density_scale(scaled) / density_scale(plain)
    assert ratio == pytest.approx(1e-6 / 3.5**2, rel=2e-3)


@pytest.mark.parametrize("kind", ["density", "fingerprint", "triplet_sum"])
def test_derivatives_of_descriptors(kind, dtype):
    """Finite for padding, at the cutoff and for neighbours on one spot, for any exponent."""
    hypers = SMALL | {"n_max": 1, "l_max": 1, "n_features": 8, "radial": "chebyshev"}
    function = build(kind, **hypers, cutoff_function="smooth", radial_scaling=(1.0, 2.0, 0.7))
    x, y, z = np.eye(3)
    vectors = np.array([[x, 1.5 * y, 3 * z, 0 * x], [y, y, 1.2 * x, 0 * x]], dtype)
    species, mask = np.zeros((2, 4), np.int32), np.array([[True] * 3 + [False]] * 2)
    order = 3 if kind == "density" else 2
    assert_finite_derivatives(function.environment, vectors, species, mask, order=order)


def test_tags_keep_their_weights(float32):
    """A neighbour far away is tagged as before: only the density is scaled."""
    vectors, species, mask = environment(np.float32)
    tiny = (1e-12, 1.0, 2.0)  # no density at all

    def values(scaling):
        hypers = {"n_features": 8, "length_scale": 1e9, "radial_scaling": scaling}
        chosen = build("fingerprint", **(SMALL | hypers))
        return np.asarray(quick_jit(chosen.environment)(vectors, species, mask))

    np.testing.assert_allclose(values(tiny)[-8:], values(None)[-8:], rtol=1e-4)
    assert np.abs(values(None)[-8:]).min() > 1e-3


def test_every_kind_reads_it(float32):
    frame = methanol()
    for kind in ("power_spectrum", "bispectrum", "triplets"):
        given = {"kind": kind, "cutoff": 3.0, "n_max": 1, "l_max": 1}
        plain = describe(frame, **given).values
        scaled = describe(frame, **given, radial_scaling=PARAMETERS)
        assert np.abs(scaled.values - plain).max() > 0.01 * np.abs(plain).max()
        assert tuple(scaled.hypers["radial_scaling"]) == PARAMETERS
        np.testing.assert_array_equal(describe(frame, **scaled.hypers).values, scaled.values)


def test_command(tmp_path, float32):
    source, out = tmp_path / "in.xyz", tmp_path / "out.npz"
    methanol().write(source)
    options = ["--kind", "density", "--cutoff", "3", "--n-max", "1", "--l-max", "1"]
    given = ["--radial-scaling", "1.5,2,4"]
    assert main(["describe", str(source), str(out), *options, *given]) == 0
    hypers = {"cutoff": 3.0, "n_max": 1, "l_max": 1, "radial_scaling": PARAMETERS}
    with np.load(out) as written:
        wanted = describe(methanol(), "density", **hypers).values
        np.testing.assert_allclose(written["values"], wanted, atol=1e-5)
        assert json.loads(str(written["hypers"]))["radial_scaling"] == list(PARAMETERS)


@pytest.mark.parametrize("scaling", [None, PARAMETERS])
def test_records(scaling):
    """Those of models; records without the setting are older, and read as without scaling."""
    arrays = {}
    chosen = descriptor("power_spectrum", (1, 8), **SMALL, radial_scaling=scaling)
    record = json.loads(json.dumps(to_record(saved_form(chosen), arrays, "describer")))
    assert live(of_record(record, arrays)).hypers == chosen.hypers
    del record["fields"]["hypers"]["fields"]["radial_scaling"]
    assert live(of_record(record, arrays)).hypers == Hypers(**SMALL)


def test_lists_are_accepted():
    assert Hypers(radial_scaling=[1, 2, 3]).radial_scaling == (1.0, 2.0, 3.0)
