"""Fast evaluation of kernel potentials: the same numbers as by plain formulas, atom by atom."""

from dataclasses import replace
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms

from tests.systems import SPECIES, methanol
from tripletjax import Potential, descriptor, load, prepare
from tripletjax.data.sets import load_frames
from tripletjax.kernels import (
    EnvironmentKernel,
    KernelModel,
    Noise,
    evaluation,
    fit_full_potential,
)
from tripletjax.kernels.compression import compressed
from tripletjax.kernels.describers import content_of
from tripletjax.kernels.evaluation import species_blocks
from tripletjax.kernels.joined import Joined, of_columns, separated
from tripletjax.kernels.means import mean, mean_and_slopes
from tripletjax.kernels.observations import single_batches
from tripletjax.kernels.spectra import CompressedSpectrum
from tripletjax.neighbors import environments_of

pytestmark = pytest.mark.once("float64")
SOAP = descriptor("power_spectrum", SPECIES, cutoff=3.0, radial="chebyshev", n_max=4, l_max=1)


def inverse_quadratic(a, b):
    return 1 / (1 + jnp.sum((a[:, None] - b) ** 2, -1))


KERNELS = {
    "gaussian": EnvironmentKernel(length_scale=1.5),
    "polynomial": EnvironmentKernel(kind="polynomial", degree=3),
    "function": inverse_quadratic,
}


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("has_tangents", [False, True])
def test_the_mean_is_a_sum_over_points(name, has_tangents):
    model = KernelModel(describer=SOAP, kernel=KERNELS[name], kinds=(0,))
    random = np.random.default_rng(0)
    vectors, points = random.normal(size=(3, 5)), random.normal(size=(4, 5))
    alpha, tangents = random.normal(size=4), random.normal(size=(4, 5))

    def plain(p):
        of_point = lambda z: model.kernel.matrix(p[None], z[None])[0, 0]  # noqa: E731
        sums = jnp.zeros(())
        for z, a, q in zip(points, alpha, tangents, strict=True):
            sums += a * of_point(jnp.asarray(z))
            if has_tangents:
                sums += jnp.vdot(q, jax.grad(of_point)(jnp.asarray(z)))
        return sums

    given = (points, alpha, tangents) if has_tangents else (points, alpha)
    values, slopes = mean_and_slopes(model.kernel, jnp.asarray(vectors), *given)
    np.testing.assert_allclose(mean(model.kernel, jnp.asarray(vectors), *given), values, atol=1e-12)
    for p, value, slope in zip(vectors, values, slopes, strict=True):
        assert abs(plain(p) - value) < 1e-12
        np.testing.assert_allclose(slope, jax.grad(plain)(jnp.asarray(p)), atol=1e-12)


@pytest.mark.parametrize("counts", [(5, 0, 12), (8, 8, 0), (1, 0, 0), (0, 0, 40)])
def test_blocks_hold_every_environment_once(counts):
    center = np.random.default_rng(0).permutation(np.repeat(np.arange(3, dtype=np.int32), counts))
    slots, kinds, size = species_blocks(jnp.asarray(center), 3)
    assert len(np.unique(slots)) == len(center)
    np.testing.assert_array_equal(np.asarray(kinds)[slots // size], center)
    assert len(np.unique(slots // size)) == np.sum(np.asarray(kinds) < 3)


def molecules(n=4):
    return [methanol(seed) for seed in range(n)]


def batches():
    return single_batches(molecules(), SOAP, np.dtype(float))


@pytest.mark.parametrize("center_weight", [0.0, 1.5])
def test_spectra_keep_distances_between_environments(center_weight):
    """Of equal species, as all directions and products are kept."""
    soap = replace(SOAP, hypers=replace(SOAP.hypers, center_weight=center_weight))
    found = compressed(soap, batches(), 1e-13)
    assert isinstance(found, CompressedSpectrum)
    batch = prepare(molecules(), 3.0, SPECIES)
    env = environments_of(batch, SPECIES)
    rows, expected = (jax.jit(jax.vmap(one.environment))(*env[:4]) for one in (found, soap))
    for kind in range(len(SPECIES)):
        own = np.flatnonzero((np.asarray(env.center) == kind) & batch.center_mask)
        apart = [np.linalg.norm(x[own][:, None] - x[own], axis=-1) for x in (rows, expected)]
        np.testing.assert_allclose(*apart, atol=1e-10)
        assert not np.asarray(rows)[own, found.widths[kind] :].any()


def test_blocks_of_spectra_and_their_pullback():
    found = shortened()
    assert max(found.widths) < len(SOAP.names) / 2
    env = environments_of(prepare(molecules(), 3.0, SPECIES), SPECIES)
    own = np.flatnonzero(env.center == 2)[:4]
    atoms = [array[own] for array in env[:3]]

    def plain(vectors):
        return jax.vmap(lambda *atom: found.environment(*atom, 2))(vectors, *atoms[1:])

    width, columns = found.widths[2], np.arange(found.width)

    def by_hand(vectors):
        density, pull = jax.vjp(
            lambda v: jax.vmap(lambda *atom: found.density(*atom, 2))(v, *atoms[1:]), vectors
        )
        rows, back = found.spectra(2, density)
        return rows, pull(back(jnp.cos(rows)))[0]

    def by_machine(vectors):
        rows, back = jax.vjp(plain, vectors)
        return rows, back(jnp.where(columns < width, jnp.cos(rows), 0))[0]

    (rows, slopes), (expected, pulled) = (jax.jit(f)(atoms[0]) for f in (by_hand, by_machine))
    np.testing.assert_allclose(rows, expected[:, :width], atol=1e-12)
    np.testing.assert_allclose(slopes, pulled, atol=1e-12)


MIXED = (0, 2, 0, 1, 2, 0, 2, 1, 2)  # species of points
JOINED = Joined((SOAP, descriptor("radial_spectrum", SPECIES, cutoff=3.0, n_max=2)))


def of_blocks():
    """A sum and product of kernels of two blocks of columns."""
    soap, radial = (EnvironmentKernel(length_scale=1.5).of(one) for one in JOINED.describers)
    found, kernel = separated(
        0.5 * soap + soap * radial + 0.1 * EnvironmentKernel(kind="linear").of(SOAP)
    )
    assert content_of(found) == content_of(JOINED)
    return of_columns(kernel, found)


@cache
def shortened():
    return compressed(SOAP, batches(), 1e-2)


def process_of(name, kinds=MIXED) -> Potential:
    """Random weights; points and tangents end where those of their species do."""
    describer: Any = {"compressed": shortened, "blocks": lambda: JOINED}.get(name, lambda: SOAP)()
    kernel = of_blocks() if name == "blocks" else KERNELS.get(name, KERNELS["gaussian"])
    model = KernelModel(describer=describer, kernel=kernel, kinds=kinds)
    weights, random = model.init(1), np.random.default_rng(2)
    tangents = 0.1 * random.normal(size=weights["points"].shape)
    if name == "compressed":
        tangents[np.arange(describer.width) >= np.take(describer.widths, kinds)[:, None]] = 0
    return Potential(model, weights | {"tangents": jnp.asarray(tangents)})


def plain(potential, weights, environments):
    """Energies by the definition, atom by atom and over all points."""
    model = potential.model

    def of_atom(vectors, species, mask, center):
        vector = model.describer.environment(vectors, species, mask, center) / weights["scale"]
        is_same = np.array(model.kinds, np.int32) == center
        row = lambda z: jnp.where(is_same, model.kernel.matrix(vector[None], z)[0], 0)  # noqa: E731
        values, slopes = jax.jvp(row, (weights["points"],), (weights["tangents"],))
        return jnp.sum(values * weights["alpha"] + slopes)

    return jax.vmap(of_atom)(*environments[:4])


def some_environments():
    """Those of molecules of different sizes with an atom alone, and of padding."""
    frames = [*molecules(2), Atoms("H"), Atoms("CO", [[0, 0, 0], [0, 0, 1.2]])]
    return environments_of(prepare(frames, 3.0, SPECIES), SPECIES)


@pytest.mark.parametrize("kinds", [MIXED, tuple(sorted(MIXED)), (1, 1, 1)], ids=str)
@pytest.mark.parametrize("name", ["gaussian", "polynomial", "function", "blocks", "compressed"])
def test_energies_and_slopes_are_those_of_the_definition(name, kinds, monkeypatch):
    """With points in blocks of which the last is not full, sorted by species or not."""
    monkeypatch.setattr(evaluation, "POINTS", 3)
    potential, environments = process_of(name, kinds), some_environments()

    def both(energies):
        def total(vectors):
            found = energies(potential.weights, environments._replace(vectors=vectors))
            return jnp.sum(jnp.cos(jnp.arange(len(found))) * found), found

        return jax.grad(total, has_aux=True)

    definition = partial(plain, potential)
    fast, slow = (
        jax.jit(both(one))(environments.vectors) for one in (potential.model.energies, definition)
    )
    for a, b in zip(fast, slow, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-11)


@pytest.mark.parametrize("name", ["gaussian", "compressed"])
def test_many_atoms_are_evaluated_in_parts(name, monkeypatch):
    potential, environments = process_of(name), some_environments()
    expected = jax.jit(potential.model.energies)(potential.weights, environments)
    monkeypatch.setattr(evaluation, "ATOMS", 7)
    found = jax.jit(lambda *given: potential.model.energies(*given))(
        potential.weights, environments
    )
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("name", ["gaussian", "compressed"])
def test_energies_can_be_differentiated_by_weights_and_again_by_positions(name):
    potential, environments = process_of(name), some_environments()
    move = jnp.asarray(np.random.default_rng(3).normal(size=environments.vectors.shape))

    def derivatives(energies):
        total = lambda w, v: jnp.sum(energies(w, environments._replace(vectors=v)))  # noqa: E731
        along = lambda w, v: jnp.vdot(jax.grad(total, 1)(w, v), move)  # noqa: E731
        again = lambda w, v: jnp.vdot(jax.grad(along, 1)(w, v), jnp.cos(move))  # noqa: E731

        def all_of(weights, vectors):
            bend = jax.jvp(partial(jax.grad(total, 1), weights), (vectors,), (move,))[1]
            of_weights = jax.grad(total)(weights, vectors), jax.grad(along)(weights, vectors)
            third = jax.jvp(partial(again, weights), (vectors,), (move,))[1]
            return (
                of_weights,
                bend,
                third,
                jax.vmap(partial(total, weights))(jnp.stack([vectors, 0.9 * vectors])),
            )

        return jax.jit(all_of)(potential.weights, environments.vectors)

    found, expected = map(derivatives, (potential.model.energies, partial(plain, potential)))
    for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9 * max(1, np.abs(b).max()))


def test_descriptors_of_logarithmic_functions_keep_float32():
    soap = descriptor("power_spectrum", SPECIES, cutoff=3.0, radial="logarithmic", n_max=3, l_max=1)
    atoms = environments_of(prepare(methanol(), 3.0, SPECIES, "float32"), SPECIES)[:4]
    assert jax.vmap(soap.environment)(*atoms).dtype == jnp.float32


def test_float32_of_weights_fitted_in_float64():
    """The forces change by about 3e-9 Σ|α| per Å, as documented."""
    frames = load_frames("ethanol")[:12]
    labels = [one.get_potential_energy() for one in frames], [one.get_forces() for one in frames]
    options: Any = {"cutoff": 4.0, "cutoff_function": "smooth", "radial": "logarithmic"}
    soap = descriptor("power_spectrum", (1, 6, 8), n_max=5, l_max=2, **options)
    kernel, noise = EnvironmentKernel(length_scale=4.0), Noise(energy=1e-4, forces=0.02)
    potential = fit_full_potential(frames, *labels, describer=soap, kernel=kernel, noise=noise)
    exact, rough = (potential.predict(frames, dtype) for dtype in ("float64", "float32"))
    size = np.abs(potential.weights["alpha"]).sum()
    change = np.sqrt(np.mean((np.stack(rough.forces) - np.stack(exact.forces)) ** 2))
    assert 1e-10 * size < change < 1e-8 * size
    assert np.abs(rough.energy - exact.energy).max() < 1e-6 * size


def test_saved_potentials_are_evaluated_as_before(tmp_path):
    """With spectra of few products, also as earlier releases wrote them: points in any order."""
    potential = process_of("compressed")
    potential.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    batch = potential.prepare(methanol())
    for a, b in zip(*(p.mechanics(batch) for p in (loaded, potential)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)
