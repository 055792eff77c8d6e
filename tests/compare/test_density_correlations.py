"""Density correlations of order 2 and 3, all λ and both parities, against featomic."""

from functools import cache
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import molecule

from tests.compare.test_featomic import silicon, water_box
from tripletjax import describe
from tripletjax.descriptors.conventions import (
    correlation_blocks,
    full_bispectrum,
    full_power_spectrum,
)
from tripletjax.invariants.correlations import bispectrum, power_spectrum
from tripletjax.invariants.nice import correlations, covariants, expand

pytest.importorskip("featomic")
from featomic import SphericalExpansion
from featomic.clebsch_gordan import DensityCorrelations, EquivariantPowerSpectrum
from metatensor import Labels

CUTOFF, WIDTH, SMEARING, N_MAX = 4.0, 0.5, 0.3, 2
L_MAX = {2: 3, 3: 2}  # of each order
FRAMES = {"silicon": silicon(), "water": water_box(), "ethanol": molecule("CH3CH2OH")}


def hypers(l_max):
    basis = {
        "type": "TensorProduct",
        "max_angular": l_max,
        "radial": {"type": "Gto", "max_radial": N_MAX - 1, "radius": CUTOFF},
        "spline_accuracy": None,
    }
    return {
        "cutoff": {"radius": CUTOFF, "smoothing": {"type": "ShiftedCosine", "width": WIDTH}},
        "density": {"type": "Gaussian", "width": SMEARING, "center_atom_weight": 0.0},
        "basis": basis,
    }


@cache
def density(system, nu):
    """[rows, a, n, lm], and the elements."""
    frame = FRAMES[system]
    elements = np.unique(frame.numbers).tolist()
    values = describe(
        frame,
        "density",
        cutoff=CUTOFF,
        cutoff_width=WIDTH,
        gaussian_width=SMEARING,
        n_max=N_MAX,
        l_max=L_MAX[nu],
    ).values
    return jnp.asarray(values.reshape(len(frame), len(elements), N_MAX, -1)), elements


def neighbor_types(elements):
    return Labels("neighbor_type", np.array(elements)[:, None])


@cache
def theirs(system, nu, skip_redundant):
    """{(σ, λ): {path: [rows, 2λ+1, columns]}} of featomic, rows in the order of atoms."""
    expansion = SphericalExpansion(**hypers(L_MAX[nu])).compute(FRAMES[system])
    expansion = expansion.keys_to_properties(neighbor_types(density(system, nu)[1]))
    correlated = DensityCorrelations(
        n_correlations=nu - 1, max_angular=L_MAX[nu], skip_redundant=skip_redundant
    ).compute(expansion, angular_cutoff=L_MAX[nu])
    paths = ["l_1", "l_2"] if nu == 2 else ["l_1", "l_2", "k_2", "l_3"]
    found: dict[tuple, dict] = {}
    for key, block in correlated.items():
        blocks = found.setdefault((int(key["o3_sigma"]), int(key["o3_lambda"])), {})
        shape = (len(FRAMES[system]), *block.values.shape[1:])
        whole = blocks.setdefault(tuple(int(key[name]) for name in paths), np.full(shape, np.nan))
        whole[block.samples["atom"]] = block.values
    return found


def all_covariants(c, nu):
    """Every block of order ν of one environment."""
    second = covariants(c)
    return second if nu == 2 else expand(second, c, L_MAX[nu])


@cache
def ours(system, nu):
    c, elements = density(system, nu)
    blocks = jax.jit(jax.vmap(lambda one: all_covariants(one, nu)))(c)
    return {
        key: correlation_blocks(np.asarray(block), key, nu, len(elements) * N_MAX, L_MAX[nu])
        for key, block in blocks.items()
    }


def assert_equal(actual, expected, scale):
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max(initial=0) < 1e-8 * scale


def assert_blocks_equal(actual: dict, expected: dict):
    """Each block relative to its own largest value, or the millionth of the largest of all."""
    largest = max(np.abs(block).max() for block in expected.values())
    for path, block in expected.items():
        assert_equal(actual[path], block, max(np.abs(block).max(), 1e-6 * largest))


@pytest.mark.parametrize("nu", [2, 3])
@pytest.mark.parametrize("system", FRAMES)
def test_covariants(system, nu):
    """Every block (σ, λ) and every path, with all orders of the factors and with sorted ones."""
    blocks = ours(system, nu)
    for skip_redundant in (False, True):
        expected = theirs(system, nu, skip_redundant)
        assert set(expected) == set(blocks)
        for key, paths in expected.items():
            kept = set(blocks[key])
            if skip_redundant:
                degrees = {path: [path[0], *path[1::2]] for path in kept}
                kept = {path for path in kept if degrees[path] == sorted(degrees[path])}
            assert set(paths) == kept
            assert_blocks_equal(blocks[key], paths)


@pytest.mark.parametrize("nu, parity", [(2, 1), (3, 1), (3, -1)])
@pytest.mark.parametrize("system", FRAMES)
def test_invariants(system, nu, parity):
    c, elements = density(system, nu)
    values = jax.jit(jax.vmap(lambda one: correlations(one, nu=nu, parity=parity)))(c)
    key = (parity, 0)
    n_channels = len(elements) * N_MAX
    blocks = correlation_blocks(np.asarray(values)[..., None], key, nu, n_channels, L_MAX[nu])
    expected = theirs(system, nu, False)[key]
    assert set(blocks) == set(expected)
    assert_blocks_equal(blocks, expected)


@pytest.mark.parametrize("system", FRAMES)
def test_power_spectrum(system):
    c, elements = density(system, 2)
    full = full_power_spectrum(np.asarray(jax.vmap(power_spectrum)(c)), len(elements) * N_MAX)
    expected = theirs(system, 2, True)[1, 0]
    assert set(expected) == {(l, l) for l in range(L_MAX[2] + 1)}
    actual = {(l, l): (-1) ** l * full[:, l].reshape(len(c), 1, -1) for l in range(L_MAX[2] + 1)}
    assert_blocks_equal(actual, expected)


@pytest.mark.parametrize("parity", [1, -1])
@pytest.mark.parametrize("system", FRAMES)
def test_bispectrum(system, parity):
    c, elements = density(system, 3)
    values = np.asarray(jax.jit(jax.vmap(lambda one: bispectrum(one, parity)))(c))
    full = full_bispectrum(values, len(elements) * N_MAX, L_MAX[3], parity)
    expected = theirs(system, 3, True)[parity, 0]
    actual = {
        (l1, l2, l3, l3): parity * (-1) ** l3 * block.reshape(len(c), 1, -1)
        for (l1, l2, l3), block in full.items()
    }
    assert set(actual) == set(expected)
    assert_blocks_equal(actual, expected)


@pytest.mark.parametrize("system", FRAMES)
def test_equivariant_power_spectrum(system):
    """The same numbers, with the degrees among the columns."""
    elements = density(system, 2)[1]
    expansion = SphericalExpansion(**hypers(L_MAX[2]))
    calculator = EquivariantPowerSpectrum(expansion, neighbor_types=elements)
    computed = calculator.compute(FRAMES[system], neighbors_to_properties=True)
    channels = {name: q for q, name in enumerate(product(elements, range(N_MAX)))}
    names = ("l_1", "l_2", "neighbor_1_type", "n_1", "neighbor_2_type", "n_2")
    compared = set()
    for key, block in computed.items():
        place = (int(key["o3_sigma"]), int(key["o3_lambda"]))
        if place[1] > L_MAX[2]:
            continue  # covariants end at l_max
        rows, labels = block.samples["atom"], block.properties
        columns = []
        for l1, l2, *rest in zip(*(labels[name] for name in names), strict=True):
            first, second = channels[rest[0], rest[1]], channels[rest[2], rest[3]]
            column = first * len(channels) + second
            columns.append(ours(system, 2)[place][l1, l2][rows][..., column])
        expected = np.asarray(block.values)
        assert_equal(np.stack(columns, -1), expected, np.abs(expected).max())
        compared.add(place)
    assert compared == set(ours(system, 2))
