"""Cutoff functions of a user, in descriptors, distances and the network."""

import json
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from tests.systems import SPECIES, build, environment, methanol, quick_jit
from tripletjax import Basis, InputError, describe, descriptor, fit, load
from tripletjax.basis.cutoffs import cutoff_function, cutoff_weights
from tripletjax.basis.radial import density_scale
from tripletjax.completeness.alignment import environment_distance
from tripletjax.completeness.matching import leaving_cost
from tripletjax.io import to_json
from tripletjax.kernels import fit_sparse_potential
from tripletjax.numerics import smooth_step
from tripletjax.potentials.network import Architecture, AtomicEnergy, initial_weights
from tripletjax.testing import assert_finite_derivatives, assert_gradients
from tripletjax.training.config import TrainConfig
from tripletjax.training.folder import run_settings
from tripletjax.training.kept_settings import save_settings
from tripletjax.types import CUTOFF_FUNCTIONS

SMALL = {"n_max": 1, "l_max": 1}
NETWORK = {
    "messages": 0,
    "cutoff": 3.0,
    "units": 4,
    "odd_units": 2,
    "width": 4,
    "channels": 2,
    "n_radial": 3,
}


def cosine(r, cutoff, width):
    """The same as "shifted_cosine"."""
    return 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip((r - cutoff + width) / width, 0, 1)))


def only_inside(r, cutoff, width):
    """Not defined at the cutoff and beyond, with every derivative up to there."""
    return jnp.exp(1 - 1 / (1 - (r / cutoff) ** 2))


def smooth(r, cutoff, width):
    return smooth_step((r - cutoff + width) / width)


def test_the_same_as_the_function_of_a_name(dtype):
    r = np.linspace(0, 6, 61)
    for basis in (Basis(), Basis(cutoff_function=cosine)):
        assert cutoff_function(jnp.asarray(r, dtype), basis).dtype == dtype
        np.testing.assert_allclose(cutoff_function(r, basis), cutoff_function(r, Basis()), 1e-13)
    named, own = (
        describe(
            methanol(), "fingerprint", cutoff=3.0, cutoff_function=function, n_features=8, **SMALL
        )
        for function in ("shifted_cosine", cosine)
    )
    np.testing.assert_allclose(own.values, named.values, rtol=1e-5, atol=1e-6)
    assert own.hypers["cutoff_function"] is cosine
    np.testing.assert_array_equal(describe(methanol(), **own.hypers).values, own.values)


def test_constants_of_the_basis_do_not_depend_on_the_precision(dtype):
    """They are computed in float64 wherever they are first asked for, in a program too."""
    within = jax.jit(lambda: density_scale(Basis(cutoff=3.3, cutoff_function=cosine)))()
    assert density_scale(Basis(cutoff=3.3, cutoff_function=cosine)) == pytest.approx(
        density_scale(Basis(cutoff=3.3)), rel=1e-13
    )
    assert float(within) == pytest.approx(density_scale(Basis(cutoff=3.3)), rel=1e-6)


def test_nothing_is_asked_of_it_beyond_the_cutoff(dtype):
    """No NaN at the cutoff, beyond, and on padding, in values and derivatives."""
    chosen = descriptor("power_spectrum", (1,), cutoff=3.0, cutoff_function=only_inside, **SMALL)
    lengths = np.array([1.0, 3.0, 3.5, 2.999999, 0.0])
    vectors = jnp.asarray(np.eye(3)[[0, 1, 2, 0, 1]] * lengths[:, None], dtype)
    mask = lengths > 0
    of_vectors = lambda v: chosen.environment(v, jnp.zeros(5, int), mask)  # noqa: E731
    assert_finite_derivatives(of_vectors, vectors[None])
    slopes = quick_jit(jax.jacrev(of_vectors))(vectors)
    assert slopes[:, 0].any() and not slopes[:, jnp.array([1, 2, 4])].any()
    r = jnp.array([3.0, 4.0])
    assert cutoff_weights(r, 3.0, 0.5, only_inside).tolist() == [0, 0]


def test_gradients(float64):
    vectors, species, mask = environment(float64)
    function = build("density", cutoff_function=only_inside, **SMALL).environment
    assert_gradients(lambda v: function(v, species, mask), vectors)


def test_one_program_for_each_function(caplog, float32):
    def compiled(function):
        caplog.clear()
        with jax.log_compiles(), caplog.at_level(logging.WARNING):
            describe(methanol(), "density", cutoff=3.1, cutoff_function=function, **SMALL_DENSITY)
        return sum("Compiling jit(_describe" in r.getMessage() for r in caplog.records)

    def other(r, cutoff, width):
        return smooth(r, cutoff, width)

    assert [compiled(f) for f in (smooth, smooth, other, smooth)] == [1, 0, 1, 0]


SMALL_DENSITY = {"n_max": 1, "l_max": 0}


def test_distances_of_environments(float32):
    """What an unmatched atom costs falls with the user's function, never faster than it moves."""
    r = np.linspace(0, 5.5, 301)
    for cost in (0.3, 1.0, 3.0):
        expected = leaving_cost(r, Basis(), cost)
        np.testing.assert_allclose(
            leaving_cost(r, Basis(cutoff_function=cosine), cost), expected, atol=1e-6
        )
    slow = leaving_cost(r, Basis(cutoff_function=only_inside), 3.0)
    assert (np.abs(np.diff(slow)) <= np.diff(r) + 1e-6).all() and (slow[r >= 5] == 0).all()
    first = np.array([[1.0, 0, 0], [0, 4.8, 0]])
    found = environment_distance(first, [1, 1], first[:1], [1], cutoff_function=cosine)
    named = environment_distance(first, [1, 1], first[:1], [1])
    assert found.value == pytest.approx(named.value, abs=1e-6) and found.value > 0.01


def energy(architecture, vectors, species, mask):
    model = AtomicEnergy(architecture, len(SPECIES))
    weights = initial_weights(model, 0)
    return float(quick_jit(model.apply)({"params": weights}, vectors, species, mask, 0))


@pytest.mark.once("float32")
def test_the_network_has_the_same_functions(dtype):
    atoms = environment(dtype)
    default = energy(Architecture(**NETWORK), *atoms)
    same = [{"cutoff_function": "smooth", "cutoff_width": 1.8}, {"cutoff_function": smooth}]
    for changes in same:
        found = energy(Architecture(**NETWORK, **changes), *atoms)
        assert found == pytest.approx(default, abs=1e-5)
    for changes in ({"cutoff_function": "bump"}, {"cutoff_width": 0.5}):
        changed = energy(Architecture(**NETWORK, **changes), *atoms)
        assert abs(changed - default) > 1e-4


def test_the_default_of_the_network():
    """1 up to 0.4 of the cutoff, then 1 - x⁴ (35 - 84 x + 70 x² - 20 x³)."""
    size, r = Architecture(cutoff=4.0), np.array([0.5, 1.6, 2.0, 3.0, 3.9, 4.0])
    found = cutoff_weights(r, size.cutoff, size.fall, size.cutoff_function)
    x = np.clip((r / 4 - 0.4) / 0.6, 0, 1)
    np.testing.assert_allclose(found, 1 - x**4 * (35 - 84 * x + 70 * x**2 - 20 * x**3), atol=1e-12)


def test_a_function_is_saved_by_its_path(tmp_path, float32):
    potential = fit_sparse_potential(
        [methanol(0), methanol(1)],
        [0.1, 0.2],
        describer=descriptor("power_spectrum", SPECIES, cutoff_function=cosine, **SMALL),
        n_inducing=2,
    )
    potential.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.model.describer.hypers.cutoff_function is cosine
    batch = potential.prepare(methanol(2))
    assert loaded.energy_forces_stress(batch).energy == potential.energy_forces_stress(batch).energy


def test_settings_hold_no_functions():
    with pytest.raises(InputError, match="cutoff_function='smooth'"):
        to_json({"architecture": {"cutoff_function": cosine}})
    assert json.loads(to_json({"cutoff_function": "smooth"})) == {"cutoff_function": "smooth"}


def test_a_fit_with_a_function_has_no_folder(tmp_path, float32):
    """Refused before anything is written or compiled."""
    frames = [methanol(seed) for seed in range(3)]
    for frame in frames:
        frame.calc = SinglePointCalculator(frame, energy=0.0, forces=np.zeros((6, 3)))
    config = TrainConfig(architecture=Architecture(**NETWORK, cutoff_function=cosine))
    with pytest.raises(InputError, match="cosine is a Python function and cannot be saved"):
        fit(frames, tmp_path / "fit", config=config)
    assert not list(tmp_path.iterdir())
    settings = run_settings(config, saved=False)
    assert settings["architecture"]["cutoff_function"] is cosine
    save_settings(None, config)


class Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def __call__(self, r, cutoff, width):
        return cosine(r, cutoff, width)


BAD = {
    "name": ("cosine", ["'cosine'", *CUTOFF_FUNCTIONS]),
    "number": (3.0, ["3.0", *CUTOFF_FUNCTIONS]),
    "not hashable": (Unhashable(), ["expected a function", "hashed"]),
    "one argument": (lambda r: r, ["<lambda>", "expected a function (r, cutoff, width)"]),
    "NumPy": (lambda r, c, w: np.cos(r), ["<lambda>", "JAX array"]),
    "branch": (lambda r, c, w: 1.0 if r < c - w else 0.0, ["<lambda>", "JAX array"]),
    "shape": (lambda r, c, w: jnp.sum(r), ["it returns shape () for distances of shape (4,)"]),
    "plain number": (lambda r, c, w: 0.0, ["it returns shape ()"]),
    "not zero": (lambda r, c, w: 1 + 0 * r, ["it is 1 at the cutoff of 5 Å", "falls to 0"]),
    "not finite": (lambda r, c, w: jnp.log(1 - r), ["it is not finite at r=1.1 Å"]),
}


@pytest.mark.parametrize("function, words", BAD.values(), ids=BAD)
def test_what_cannot_be_used_is_refused_in_one_line(function, words, float32):
    with pytest.raises(InputError) as raised:
        describe(methanol(), "density", cutoff_function=function, **SMALL_DENSITY)
    message = str(raised.value)
    assert "invalid cutoff_function=" in message and "\n" not in message
    assert all(word in message for word in words)


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"cutoff_function": "cosine"}, "invalid cutoff_function='cosine'"),
        ({"cutoff_width": 0}, "invalid cutoff_width=0"),
        ({"cutoff_width": 6.0}, "cutoff_width=6.0 Å is wider than cutoff=5.0 Å"),
    ],
)
def test_settings_of_the_network_are_checked(settings, words):
    with pytest.raises(InputError, match=words):
        Architecture(**settings)
