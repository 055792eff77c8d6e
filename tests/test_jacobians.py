"""Derivatives of environments by their neighbours, and what is made of them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk

from tests.systems import SPECIES, Angles, methanol, quick_jit
from tripletjax import descriptor, prepare
from tripletjax.basis.densities import Mixing, density_coefficients, density_slopes
from tripletjax.descriptors import KINDS
from tripletjax.descriptors.jacobians import environment_jacobian
from tripletjax.descriptors.kinds import OfDensity
from tripletjax.kernels import EnvironmentKernel
from tripletjax.kernels.compression import compressed
from tripletjax.kernels.designs import design_rows, energy_rows, environment_vectors
from tripletjax.kernels.environments import FunctionKernel
from tripletjax.kernels.joined import Joined
from tripletjax.kernels.neighborhoods import Written
from tripletjax.kernels.projection import Projected
from tripletjax.kernels.span import Inducing
from tripletjax.kernels.spectra import CompressedSpectrum
from tripletjax.kernels.tangents import structure_tangents
from tripletjax.neighbors import environments_of
from tripletjax.types import RADIAL_BASES, Basis

pytestmark = pytest.mark.once("float64")

CUTOFF = 3.0
SMALL = {"cutoff": CUTOFF, "n_max": 2, "l_max": 2}
RANDOM = np.random.default_rng(0)
MIXING = Mixing(RANDOM.normal(size=(2, 3)), RANDOM.normal(size=(3, 3, 2)))
SCALING = (1.0, 1.5, 2.0)
of_kind = partial(descriptor, elements=SPECIES, **SMALL)


def spectrum():
    """A compressed power spectrum, of other widths around each species."""
    soap = of_kind("power_spectrum", n_max=3, l_max=3, radial_scaling=SCALING)
    batches = [prepare(methanol(seed), CUTOFF, SPECIES) for seed in range(2)]
    found = compressed(soap, batches, 1e-2)
    assert isinstance(found, CompressedSpectrum) and len(set(found.widths)) > 1
    return found


def joined():
    near = descriptor("radial_spectrum", SPECIES, cutoff=2.0, n_max=2, l_max=1)
    parts = of_kind("power_spectrum"), near, Angles(), Written(SPECIES, CUTOFF)
    return Joined(parts, (2.0, 0.5, 1.0, 1.0))


DESCRIBERS = {
    **{kind: partial(of_kind, kind) for kind in KINDS if kind not in ("triplets", "fingerprint")},
    "triplets": lambda: of_kind("triplets", n_max=1, l_max=1),
    "fingerprint": lambda: of_kind("fingerprint", n_features=8, n_max=1, l_max=1),
    "mixed": lambda: of_kind("bispectrum", mixing=MIXING, l_max=2, chiral=True),
    "scaled": lambda: of_kind("power_spectrum", radial_scaling=SCALING, center_weight=0.7),
    "each centre": lambda: of_kind("power_spectrum", center_species=True, mixing=MIXING),
    "each centre's density": lambda: of_kind("density", center_species=True, center_weight=0.5),
    "own": Angles,
    "few columns": lambda: of_kind("triplet_sum", n_max=1, l_max=0),
    "projected": lambda: Projected(of_kind("radial_spectrum"), RANDOM.normal(size=(6, 4))),
    "projected own": lambda: Projected(Angles(), RANDOM.normal(size=(33, 4))),
    "compressed": spectrum,
    "joined": joined,
}


def environments(dtype):
    """[E, K, 3], [E, K], [E, K], [E]: padding, no neighbours, and some at and beyond the cutoff."""
    vectors = np.random.default_rng(1).normal(size=(4, 6, 3))
    vectors *= np.random.default_rng(2).uniform(0.8, 2.9, (4, 6, 1)) / np.linalg.norm(
        vectors, axis=-1, keepdims=True
    )
    vectors[1, 2] = [CUTOFF + 1e-3, 0, 0]
    vectors[1, 3] = [0, CUTOFF, 0]
    mask = np.ones((4, 6), bool)
    mask[1, 4:] = mask[2] = mask[3, 1:] = False
    vectors[~mask] = 0
    vectors[2, :3] = vectors[0, :3]  # padding that is not zero
    species = np.random.default_rng(3).integers(0, 3, (4, 6)).astype(np.int32)
    return vectors.astype(dtype), species, mask, np.array([0, 1, 2, 0], np.int32)


def assert_equal(found, expected):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.dtype == expected.dtype and found.shape == expected.shape
    rounding = 1e-12 if found.dtype == np.float64 else 2e-5
    np.testing.assert_allclose(found, expected, rtol=0, atol=rounding * np.abs(expected).max())


def by_differentiation(function, vectors, *others):
    slopes = jax.jacfwd(lambda v: function(v, *others))(vectors)
    return jnp.moveaxis(slopes, (-2, -1), (0, 1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("radial", [None, *RADIAL_BASES])
def test_slopes_of_the_density(radial, dtype):
    vectors, species, mask, _ = environments(dtype)
    basis = Basis(radial=radial or "gto", radial_scaling=SCALING if radial else None, **SMALL)
    mixing = MIXING if radial else None
    plain = lambda *atoms: density_coefficients(*atoms, basis, 3, mixing)  # noqa: E731
    slopes = lambda *atoms: density_slopes(*atoms, basis, 3, mixing)  # noqa: E731
    found, expected = quick_jit(
        lambda *all_of: jax.vmap(
            lambda *atoms: (slopes(*atoms), by_differentiation(plain, *atoms))
        )(*all_of)
    )(vectors, species, mask)
    assert_equal(found, expected)
    assert not np.asarray(found)[~mask].any() and not np.asarray(found)[1, 2:4].any()


@pytest.mark.parametrize("name", DESCRIBERS)
def test_jacobians(name):
    assert_jacobians(DESCRIBERS[name](), float)


@pytest.mark.parametrize("name", ["scaled", "joined"])
def test_jacobians_in_float32(name):
    assert_jacobians(DESCRIBERS[name](), np.float32)


def assert_jacobians(describer, dtype):
    def of_environment(vectors, *others):
        found = environment_jacobian(describer, vectors, *others)
        expected = describer.environment(vectors, *others)
        return found, (expected, by_differentiation(describer.environment, vectors, *others))

    every = lambda *rows: jax.lax.map(lambda row: of_environment(*row), rows)  # noqa: E731
    found, expected = quick_jit(every)(*environments(dtype))
    jax.tree.map(assert_equal, found, expected)


@pytest.mark.parametrize("name", ["scaled", "compressed"])
def test_derivatives_of_jacobians_are_finite(name):
    describer = DESCRIBERS[name]()

    def total(vectors, *others):
        return sum(jnp.sum(part**2) for part in environment_jacobian(describer, vectors, *others))

    slopes = lambda *rows: jax.lax.map(lambda row: jax.grad(total)(*row), rows)  # noqa: E731
    assert np.isfinite(quick_jit(slopes)(*environments(float))).all()


@pytest.mark.parametrize("name", ["power_spectrum", "compressed"])
def test_no_neighbours(name):
    """Not even padding."""
    nothing = np.zeros((0, 3)), np.zeros(0, np.int32), np.zeros(0, bool)
    describer = DESCRIBERS[name]()
    values, slopes = environment_jacobian(describer, *nothing, 1)
    assert slopes.shape == (0, 3, *values.shape)
    np.testing.assert_array_equal(values, describer.environment(*nothing, 1))


def test_kinds_of_the_density():
    names = {kind.name for kind in KINDS.values() if isinstance(kind.function, OfDensity)}
    assert names == {
        "density", "radial_spectrum", "power_spectrum", "bispectrum", "correlations"
    }  # fmt: skip


def silicon():
    """Copies of one atom are neighbours of themselves."""
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.1, seed=0)
    return atoms


CASES = {
    "molecule": lambda: (methanol(), spectrum()),
    "crystal": lambda: (
        silicon(),
        descriptor("power_spectrum", (14,), cutoff=4.0, n_max=2, l_max=1),
    ),
    "own": lambda: (methanol(), Angles()),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("along", [False, True], ids=["coordinates", "directions"])
def test_tangents(case, along):
    """Those of environments as functions of positions and strain."""
    atoms, describer = CASES[case]()
    batch = prepare(atoms, describer.cutoff, describer.elements)
    n_atoms = len(batch.positions)
    axes = np.random.default_rng(0).normal(size=(3 * n_atoms, 4)) if along else None

    def moved(positions, strain):
        deformation = jnp.eye(3) + strain
        cells = jnp.matmul(jnp.asarray(batch.cells), deformation.T, precision="highest")
        positions = jnp.matmul(positions, deformation.T, precision="highest")
        found = environments_of(
            batch._replace(positions=positions, cells=cells), describer.elements
        )
        return jax.vmap(describer.environment)(*found[:4]) / 2

    @quick_jit
    def both():
        zero = jnp.zeros((3, 3))
        of_both = jax.jacfwd(moved, argnums=(0, 1))(jnp.asarray(batch.positions), zero)
        return structure_tangents(describer, 2.0, batch, axes), of_both

    found, (forces, strains) = jax.device_get(both())
    forces = -np.moveaxis(forces, (2, 3), (0, 1)).reshape(3 * n_atoms, *found.vectors.shape)
    if along:
        expected = np.einsum("ja,jcd->acd", axes, forces)
    else:
        volume = abs(np.linalg.det(batch.cells[0]))
        places = [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]
        strains = [strains[..., i, j] / volume for i, j in zip(*places, strict=True)]
        expected = np.concatenate([forces, strains])
    expected[:, ~batch.center_mask] = 0
    assert_equal(found.tangents, expected)


def cubic(a, b):
    return (1 + jnp.matmul(a, b.T, precision="highest")) ** 3


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    "kernel",
    [EnvironmentKernel(length_scale=2.0), EnvironmentKernel(kind="polynomial"),
     FunctionKernel(cubic)],
    ids=lambda kernel: kernel.label(),
)  # fmt: skip
def test_design_rows(case, kernel):
    """Those of the energy by positions."""
    atoms, describer = CASES[case]()
    batch = prepare(atoms, describer.cutoff, describer.elements)
    vectors, kinds = environment_vectors(describer, batch)
    points = Inducing(np.asarray(vectors) / 2 + 0.1, np.asarray(kinds), np.asarray(2.0))

    @quick_jit
    def both():
        energy = lambda r: energy_rows(describer, kernel, points, batch._replace(positions=r))  # noqa: E731
        slopes = jax.jacfwd(energy)(jnp.asarray(batch.positions))
        found = design_rows(describer, kernel, points, batch)
        return found.energy, found.forces, energy(jnp.asarray(batch.positions)), slopes

    energy, forces, expected, slopes = both()
    assert_equal(energy, expected)
    assert_equal(forces, -np.moveaxis(np.asarray(slopes).sum(0), 0, -1))
