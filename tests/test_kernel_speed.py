"""Fast evaluation of kernel potentials: the same numbers as by plain formulas, atom by atom."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms

from tests.systems import SPECIES, methanol
from tripletjax import Potential, descriptor, prepare
from tripletjax.kernels import EnvironmentKernel, KernelModel
from tripletjax.kernels.compression import compressed
from tripletjax.kernels.means import mean_and_slopes
from tripletjax.kernels.model import with_means
from tripletjax.kernels.observations import single_batches
from tripletjax.kernels.spectra import CompressedSpectrum
from tripletjax.neighbors import environments_of
from tripletjax.potentials.by_species import block_size, species_blocks

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
    for p, value, slope in zip(vectors, values, slopes, strict=True):
        assert abs(plain(p) - value) < 1e-12
        np.testing.assert_allclose(slope, jax.grad(plain)(jnp.asarray(p)), atol=1e-12)


@pytest.mark.parametrize("counts", [(5, 0, 12), (8, 8, 0), (1, 0, 0), (0, 0, 40)])
def test_blocks_hold_every_environment_once(counts):
    center = np.random.default_rng(0).permutation(np.repeat(np.arange(3), counts))
    rows, kinds = species_blocks(jnp.asarray(center), 3, block_size(len(center)))
    real = np.asarray(rows) < len(center)
    assert sorted(np.asarray(rows)[real]) == list(range(len(center)))
    assert (real.any(1) == (np.asarray(kinds) < 3)).all()
    for row, kind in zip(np.asarray(rows), np.asarray(kinds), strict=True):
        assert (center[row[row < len(center)]] == kind).all()


def molecules(n=4):
    return [methanol(seed) for seed in range(n)]


def batches():
    return single_batches(molecules(), SOAP, np.dtype(float))


def test_spectra_keep_distances_between_environments():
    """Of equal species, as all directions and products are kept."""
    found = compressed(SOAP, batches(), 1e-13)
    assert isinstance(found, CompressedSpectrum)
    batch = prepare(molecules(), 3.0, SPECIES)
    env = environments_of(batch, SPECIES)
    rows, expected = (jax.jit(jax.vmap(one.environment))(*env[:4]) for one in (found, SOAP))
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
        rows, back = found.block(2, vectors, *atoms[1:])
        return rows, back(jnp.cos(rows))

    def by_machine(vectors):
        rows, back = jax.vjp(plain, vectors)
        return rows, back(jnp.where(columns < width, jnp.cos(rows), 0))[0]

    (rows, slopes), (expected, pulled) = (jax.jit(f)(atoms[0]) for f in (by_hand, by_machine))
    np.testing.assert_allclose(rows, expected[:, :width], atol=1e-12)
    np.testing.assert_allclose(slopes, pulled, atol=1e-12)


def model_of(describer, kernel=KERNELS["gaussian"]):
    model = KernelModel(describer=describer, kernel=kernel, kinds=(0, 0, 1, 2, 2))
    weights = model.init(1)
    random = np.random.default_rng(2)
    weights["tangents"] = jnp.asarray(0.1 * random.normal(size=weights["points"].shape))
    return Potential(model, weights)


@cache
def shortened():
    return compressed(SOAP, batches(), 1e-2)


def compressed_model():
    """Points and tangents end where those of their species do."""
    describer: Any = shortened()
    plain: Any = model_of(describer)
    is_inside = np.arange(describer.width) < np.take(describer.widths, plain.model.kinds)[:, None]
    tangents = np.where(is_inside, plain.weights["tangents"], 0)
    return plain.with_weights(plain.weights | {"tangents": tangents})


@pytest.mark.parametrize("name", ["function", "compressed"])
def test_weights_by_species_change_nothing(name):
    plain = compressed_model() if name == "compressed" else model_of(SOAP, KERNELS[name])
    fast = with_means(plain)
    batch = plain.prepare([*molecules(2), Atoms("H")])
    for a, b in zip(*(p.energy_forces_stress(batch) for p in (plain, fast)), strict=True):
        np.testing.assert_allclose(b, a, atol=1e-10)


def test_weights_by_species_can_be_differentiated():
    """Forces along a direction, and energies with respect to weights."""
    plain = compressed_model()
    fast = with_means(plain)
    batch = plain.prepare(methanol())
    move = jnp.asarray(np.random.default_rng(3).normal(size=batch.positions.shape))

    @jax.jit
    def bend(potential):
        forces = lambda x: potential.mechanics(batch._replace(positions=x)).forces  # noqa: E731
        return jax.jvp(forces, (jnp.asarray(batch.positions),), (move,))[1]

    np.testing.assert_allclose(bend(fast), bend(plain), atol=1e-9)
    slopes = jax.jit(jax.grad(lambda potential: jnp.sum(potential.interaction(batch))))
    found = jnp.concatenate([part.alpha for part in slopes(fast).weights["mean"]])
    np.testing.assert_allclose(found, slopes(plain).weights["alpha"], atol=1e-10)
