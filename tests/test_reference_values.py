"""Every descriptor against slow, independent NumPy formulas."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from tests.reference import correlations as reference_correlations
from tests.reference import density as reference_density
from tests.reference import triplets as reference_triplets
from tests.reference.neighbors import neighbor_list
from tests.systems import environment, quick_jit, slab
from tripletjax import Basis, descriptor
from tripletjax.basis.cutoffs import cutoff_function
from tripletjax.basis.densities import density_coefficients, pair_expansion
from tripletjax.basis.radial import density_scale, radial_functions
from tripletjax.invariants.correlations import (
    bispectrum,
    bispectrum_index,
    power_spectrum,
    power_spectrum_index,
)
from tripletjax.invariants.fingerprints import DAMPING, fingerprint, fingerprint_weights
from tripletjax.invariants.tagged import FLATNESS
from tripletjax.invariants.triplets import triplet_index, triplet_invariants, triplet_sum
from tripletjax.neighbors import find_pairs
from tripletjax.types import CUTOFF_FUNCTIONS

CUTOFF, N_MAX, L_MAX, N_SPECIES = 3.0, 2, 3, 3
BASES = {
    "gto": ({"gaussian_width": 0.35}, lambda r, n, l: reference_density.gto(r, CUTOFF, n, l, 0.35)),
    "laplacian": ({}, lambda r, n, l: reference_density.laplacian(r, CUTOFF, n, l)),
    "chebyshev": ({}, lambda r, n, l: reference_density.chebyshev(r, CUTOFF, n)),
    "gaussian": (
        {"radial_range": (1.0, 2.5), "gaussian_width": 0.6},
        # One function alone sits in the middle of the range.
        lambda r, n, l: reference_density.gaussian(r, 1.0 if n > 1 else 1.75, 2.5, n, 0.6),
    ),
    "logarithmic": (
        {"radial_range": (0.5, 2.8)},
        lambda r, n, l: reference_density.logarithmic(r, 0.5, 2.8, n, l),
    ),
}


def compiled(function, **hypers):
    """A function of arrays alone."""
    return quick_jit(partial(function, **hypers))


def basis_of(radial, **changes):
    hypers = {"cutoff": CUTOFF, "n_max": N_MAX, "l_max": L_MAX, "radial": radial}
    return Basis(**(hypers | BASES[radial][0] | changes))


def reference_arguments(radial):
    def functions(r):
        return BASES[radial][1](r, N_MAX, L_MAX)

    return functions, CUTOFF, 0.5, "shifted_cosine", L_MAX


def random_density(dtype, seed=0):
    shape = (2, N_MAX, (L_MAX + 1) ** 2)
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def close(actual, expected, dtype, factor=100):
    scale = np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, atol=factor * np.finfo(dtype).eps * scale)


@pytest.mark.parametrize("kind", CUTOFF_FUNCTIONS)
def test_cutoff_functions(kind, dtype):
    r = np.linspace(0, 4, 81)
    basis = Basis(cutoff=3.0, cutoff_width=0.7, cutoff_function=kind)
    expected = reference_density.cutoff_function(r, 3.0, 0.7, kind)
    close(compiled(cutoff_function, basis=basis)(r.astype(dtype)), expected, dtype)


@pytest.mark.parametrize("n_max, l_max", [(1, 0), (2, 3), (6, 8)])
@pytest.mark.parametrize("radial", BASES)
def test_radial_functions(radial, n_max, l_max, dtype):
    """To 1e-10 of the largest value in float64, the stated error of the series."""
    r = np.linspace(1e-3, CUTOFF, 25)
    basis = basis_of(radial, n_max=n_max, l_max=l_max)
    values = compiled(radial_functions, basis=basis)(r.astype(dtype))
    assert values.dtype == dtype and values.shape == (25, l_max + 1, n_max)
    expected = np.stack([BASES[radial][1](x, n_max, l_max) for x in r])  # [r, n, l or 1]
    expected = np.broadcast_to(np.swapaxes(expected, 1, 2), values.shape)
    tolerance = 1e-10 if dtype == jnp.float64 else 1e-5
    np.testing.assert_allclose(values, expected, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("radial", BASES)
def test_density(radial, dtype):
    vectors, species, mask = environment(dtype)
    expansion = compiled(density_coefficients, basis=basis_of(radial), n_species=N_SPECIES)
    values = expansion(vectors, species, mask)
    expected = reference_density.density_coefficients(
        vectors.astype(float), species, N_SPECIES, *reference_arguments(radial)
    )
    close(values, expected, dtype, factor=1e5 if dtype == jnp.float64 else 100)
    terms = np.asarray(compiled(pair_expansion, basis=basis_of(radial))(vectors, mask))
    for channel in range(N_SPECIES):
        total = terms[species == channel].sum(0)
        np.testing.assert_allclose(total, values[channel], atol=1e2 * np.finfo(dtype).eps)


def test_power_spectrum(dtype):
    density = random_density(dtype)
    expected = reference_correlations.power_spectrum(density.astype(float))
    index = power_spectrum_index(2 * N_MAX, L_MAX)
    assert len(index) == len(expected)
    values = compiled(power_spectrum)(density)
    close(values, np.array([expected[p, q, l] for l, p, q in index]), dtype)
    flat = density.reshape(2 * N_MAX, -1).astype(float)
    squares = [
        np.sum((flat[:, l * l : (l + 1) ** 2] @ flat[:, l * l : (l + 1) ** 2].T) ** 2) / (2 * l + 1)
        for l in range(L_MAX + 1)
    ]
    assert np.sum(np.asarray(values, float) ** 2) == pytest.approx(sum(squares), rel=1e-5)


@pytest.mark.parametrize("parity", [1, -1])
def test_bispectrum(parity, dtype):
    density = random_density(dtype)
    unscaled = reference_correlations.bispectrum(density.astype(float), odd=parity == -1)
    index = bispectrum_index(2 * N_MAX, L_MAX, parity)
    assert len(set(index)) == len(index) > 0
    expected = []
    for degrees, channels in index:
        factors = sorted(zip(degrees, channels, strict=True))
        orderings = {1: 1, 2: 3, 3: 6}[len(set(factors))]
        key = tuple((q, l) for l, q in factors)
        expected.append(unscaled[key] * np.sqrt(orderings / (2 * degrees[2] + 1)))
    close(compiled(bispectrum, parity=parity)(density), np.array(expected), dtype)
    kept = {tuple(sorted(zip(*factors, strict=True))) for factors in index}
    for key, value in unscaled.items():
        factors = tuple(sorted((l, q) for q, l in key))
        assert factors in kept or abs(value) < 1e-12, f"{key} is missing"


@pytest.mark.parametrize("parity, name", [(1, "even"), (-1, "odd")])
def test_triplet_invariants(parity, name, dtype):
    vectors, species, mask = environment(dtype)
    wide = vectors.astype(float)
    directions = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    u, v = directions[:2]
    arguments = reference_arguments("chebyshev")
    exact = reference_density.density_coefficients(wide, species, N_SPECIES, *arguments)
    basis = basis_of("chebyshev")
    density_of = compiled(density_coefficients, basis=basis, n_species=N_SPECIES)
    density = density_of(vectors, species, mask)
    expected = {
        "edge": reference_triplets.edge(wide, species, N_SPECIES, *arguments, u, v),
        "stretched": reference_triplets.stretched(exact, u, v),
    }
    for form, table in expected.items():
        invariants = compiled(triplet_invariants, form=form)
        found = invariants(density, u.astype(dtype), v.astype(dtype))
        index = triplet_index(L_MAX, parity)
        wanted = [
            [[table[a, n, l, k, name] for l, k in index] for n in range(N_MAX)]
            for a in range(N_SPECIES)
        ]
        assert found[0].shape[:2] == (N_SPECIES, N_MAX)
        close(found[0 if parity == 1 else 1], np.array(wanted), dtype, factor=300)


@pytest.mark.parametrize("form", ["edge", "stretched"])
@pytest.mark.parametrize("parity", [1, -1])
def test_triplet_sum(form, parity, dtype):
    vectors, species, mask = environment(dtype)
    basis = basis_of("chebyshev")
    hypers = {"basis": basis, "n_species": N_SPECIES}
    density = compiled(density_coefficients, **hypers)(vectors, species, mask)
    of_one = compiled(triplet_invariants, form=form)
    weights = reference_density.cutoff_function(
        np.linalg.norm(vectors, axis=1), CUTOFF, 0.5, "shifted_cosine"
    )

    def invariants(r1, r2):
        u, v = ((r / np.linalg.norm(r)).astype(dtype) for r in (r1, r2))
        return np.asarray(of_one(density, u, v)[0 if parity == 1 else 1], float)

    expected = reference_triplets.pair_sum(invariants, vectors.astype(float), weights)
    total = compiled(triplet_sum, **hypers, form=form, parity=parity)
    values = total(vectors, species, mask)
    close(values, expected, dtype, factor=1e3)


@pytest.mark.parametrize("chiral", [False, True])
def test_fingerprint(chiral, dtype):
    """Level by level from the formulas of the module, with explicit loops."""
    vectors, species, mask = environment(dtype)
    basis = basis_of("chebyshev")
    weights = fingerprint_weights(basis, N_SPECIES, n_features=16, seed=3)
    center = 1
    hypers = {"basis": basis, "weights": weights, "center": center, "chiral": chiral}
    values = compiled(fingerprint, **hypers)(vectors, species, mask)

    wide = vectors.astype(float)
    r = np.linalg.norm(wide, axis=1)
    arguments = reference_arguments("chebyshev")
    density = reference_density.density_coefficients(wide, species, N_SPECIES, *arguments)
    f_c = reference_density.cutoff_function(r, CUTOFF, 0.5, "shifted_cosine")
    w = 1 - (1 - f_c) ** FLATNESS

    def linear(tables, invariants, first_m):
        return sum(
            tables[m - first_m][a, n, l - m] * value
            for (a, n, l, m), value in invariants.items()
            if m >= first_m and m - first_m < len(tables)
        )

    one, two = weights.level_1, weights.level_2
    level_1, even_2, odd_2 = np.zeros(2), np.zeros(16), np.zeros(16)
    for i in range(len(r)):
        for j in range(len(r)):
            u, v = wide[i] / r[i], wide[j] / r[j]
            table = reference_triplets.edge(wide, species, N_SPECIES, *arguments, u, v)
            e = {key[:4]: x for key, x in table.items() if key[4] == "even"}
            o = {key[:4]: x for key, x in table.items() if key[4] == "odd"}
            if i == j:  # what does not depend on a second tag
                phase = linear(one.even, {key: x for key, x in e.items() if key[3] == 0}, 0)
                phase = phase + r[i] / CUTOFF * one.geometry[0] + one.phase
                phase = phase + one.species[0, center] + one.species[1, species[i]]
                level_1 += np.sqrt(2 / 2) * w[i] * np.cos(phase)
                continue
            phase = linear(two.even, e, 0) + two.phase + two.species[0, center]
            phase = phase + two.species[1, species[i]] + two.species[2, species[j]]
            phase = phase + np.array([r[i] / CUTOFF, r[j] / CUTOFF, u @ v]) @ two.geometry
            pseudo = linear(two.odd, o, 1)
            even_2 += np.sqrt(2 / 16) * w[i] * w[j] * np.cos(phase) * np.cos(pseudo)
            odd_2 += np.sqrt(2 / 16) * w[i] * w[j] * np.cos(phase) * np.sin(pseudo)
    level_0 = [np.eye(N_SPECIES)[center], (density[..., 0] / density_scale(basis)).ravel()]
    expected = np.concatenate([*level_0, level_1, even_2, *([odd_2] if chiral else [])])
    close(values, expected, dtype, factor=1e4)


def test_features_approximate_the_kernel():
    """F·F' of level 2 tends to Σ w w' k(e, e') ½ [k(o, o') + k(o, -o')]."""
    basis = Basis(cutoff=CUTOFF, n_max=1, l_max=2, radial="chebyshev")
    scale = 2.0
    n_features = 20000
    several = [environment(float, seed, n_neighbors=3) for seed in (1, 2)]
    features, triplets = [], []
    weights = fingerprint_weights(basis, N_SPECIES, n_features, scale)
    chosen = descriptor(
        "triplets", (1, 2, 3), cutoff=CUTOFF, n_max=1, l_max=2, radial="chebyshev", chiral=True
    )
    of_features = compiled(fingerprint, basis=basis, weights=weights)
    of_triplets = compiled(chosen.environment)
    for vectors, species, mask in several:
        features.append(np.asarray(of_features(vectors, species, mask), float))
        rows = np.asarray(of_triplets(vectors, species, mask), float)
        f_c = cutoff_function(np.linalg.norm(vectors, axis=1), basis)
        w = 1 - (1 - f_c) ** FLATNESS
        pairs = [(i, j) for i in range(3) for j in range(3) if i != j]
        triplets.append([(rows[i, j], species[[i, j]], w[i] * w[j]) for i, j in pairs])

    names = descriptor("triplets", (1, 2, 3), n_max=1, l_max=2, chiral=True).names[3:]
    degree = np.array([int(name.split("l=")[1].split()[0]) for name in names])
    odd = np.array(["parity=-1" in name for name in names])
    unit = np.exp(-DAMPING * degree * (degree + 1)) / density_scale(basis)

    def kernel(a, b):
        (x, s, w), (y, t, v) = a, b
        geometry = (x[:3] - y[:3]) / [CUTOFF, CUTOFF, 1]
        e, e2, o, o2 = ((z[3:] * unit)[part] for part in (~odd, odd) for z in (x, y))
        squared = (geometry**2).sum() + ((e - e2) ** 2).sum() + 2 * (s != t).sum()
        mirrored = [np.exp(-((o - sign * o2) ** 2).sum() / (2 * scale**2)) for sign in (1, -1)]
        return w * v * np.exp(-squared / (2 * scale**2)) * 0.5 * sum(mirrored)

    for i, j in ((0, 0), (0, 1), (1, 1)):
        exact = sum(kernel(a, b) for a in triplets[i] for b in triplets[j])
        level_2 = features[i][-n_features:] @ features[j][-n_features:]
        assert level_2 == pytest.approx(exact, rel=0.05)


def test_neighbor_lists():
    """Against brute force: mixed periodic directions, small cells, atoms outside, no vectors."""
    random = np.random.default_rng(0)
    frames = [slab(), slab().repeat((1, 1, 2))]
    for pbc in np.ndindex(2, 2, 2):
        frame = slab().repeat((2, 1, 1))
        frame.pbc = pbc
        frame.positions += random.normal(scale=4.0, size=frame.positions.shape)
        cell = np.asarray(frame.cell)
        cell[~np.array(pbc, bool)] *= random.integers(0, 2)
        frame.set_cell(cell)
        frames.append(frame)
    for frame in frames:
        found = find_pairs(frame, 4.0, np.arange(len(frame)))
        expected = neighbor_list(frame.positions, np.asarray(frame.cell), frame.pbc, 4.0)
        keys = zip(found.environment, found.neighbors, *found.shifts.T, strict=True)
        by_key = {tuple(int(k) for k in key): x for key, x in zip(keys, found.vectors, strict=True)}
        assert len(by_key) == len(expected)
        for i, j, shift, vector, _ in expected:
            key = (int(i), int(j), *(int(s) for s in shift))
            np.testing.assert_allclose(by_key[key], vector, atol=1e-12)
        distances = np.linalg.norm(found.vectors, axis=1)
        same = np.diff(found.environment) == 0
        assert (np.diff(distances)[same] > -1e-12).all()
