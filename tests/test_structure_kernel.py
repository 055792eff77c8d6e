"""The kernel between structures: its formula, its use, and the errors of energies fitted on it."""

import numpy as np
import pytest
from ase.build import molecule

from tripletjax import InputError, describe
from tripletjax.basis.densities import Mixing
from tripletjax.data.sets import load_frames
from tripletjax.descriptors.structure_kernel import HYPERS, StructureKernelTransformer
from tripletjax.descriptors.transformer import DescriptorTransformer

pytestmark = pytest.mark.once("float32")

SMALL = {"cutoff": 3.0, "cutoff_width": 3.0, "n_max": 2, "l_max": 1}
FRAMES = [molecule(name) for name in ("H2O", "CH3OH", "CO2", "CH4")]


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def expected(frames, degree):
    """The formula, with the density of one species from a mixing of channels."""
    hypers = HYPERS | SMALL
    kind = {"kind": "power_spectrum", "dtype": "float64"}
    p = describe(frames, **kind, **hypers)
    one = Mixing(species=np.ones((1, 3)))
    q = describe(frames, **kind, mixing=one, **hypers)
    similar = 0.5 * (unit(p.values) @ unit(p.values).T + unit(q.values) @ unit(q.values).T)
    numbers = np.concatenate([frame.numbers for frame in frames])
    atoms = similar**degree * 0.5 * (1 + (numbers[:, None] == numbers))
    of_structure = p.structure == np.arange(len(frames))[:, None]
    return of_structure @ atoms @ of_structure.T


@pytest.mark.parametrize("degree", [1, 3])
def test_formula(degree, monkeypatch):
    transformer = StructureKernelTransformer(degree=degree, **SMALL)
    columns = transformer.fit_transform(FRAMES)
    np.testing.assert_allclose(columns @ columns.T, expected(FRAMES, degree), rtol=1e-9)
    np.testing.assert_allclose(transformer.transform(FRAMES), columns, rtol=0, atol=1e-9)
    monkeypatch.setattr("tripletjax.descriptors.structure_kernel.PAIRS_AT_ONCE", 1)
    np.testing.assert_allclose(transformer.transform(FRAMES), columns, rtol=0, atol=1e-9)


def test_it_is_a_sum_over_atoms():
    """Two molecules far from each other are worth what they are worth alone."""
    transformer = StructureKernelTransformer(**SMALL).fit(FRAMES)
    both = FRAMES[0].copy()
    both.extend(FRAMES[2])
    both.positions[3:] += 50
    first, _, third, _ = transformer.transform(FRAMES)
    np.testing.assert_allclose(transformer.transform(both)[0], first + third, atol=1e-9)


def test_number_of_columns_is_limited():
    transformer = StructureKernelTransformer(n_structures=2, **SMALL).fit(FRAMES)
    assert transformer.transform(FRAMES).shape == (4, 2)
    assert transformer.get_feature_names_out().tolist() == ["kernel=0", "kernel=1"]


def test_bad_use():
    with pytest.raises(InputError, match="call fit"):
        StructureKernelTransformer().transform(FRAMES)
    with pytest.raises(InputError, match="invalid degree=0"):
        StructureKernelTransformer(degree=0).fit(FRAMES)
    with pytest.raises(InputError, match="did you mean 'cutoff'"):
        StructureKernelTransformer(cutof=3.0).fit(FRAMES)
    with pytest.raises(InputError, match="number 7"):
        StructureKernelTransformer(**SMALL).fit(FRAMES).transform(molecule("NH3"))
    with pytest.raises(InputError, match="no structure has a neighbour"):
        StructureKernelTransformer(**SMALL | {"cutoff": 0.1, "cutoff_width": 0.1}).fit(FRAMES)
    copy = StructureKernelTransformer().set_params(degree=3)
    assert copy.get_params()["degree"] == 3 and "degree=3" in repr(copy)


def ridge(rows, energies, train, test):
    """Mean absolute error with the penalty of the smallest error of leave-one-out."""
    values, vectors = np.linalg.eigh(rows[train] @ rows[train].T)
    best = np.inf, np.zeros(0)
    for penalty in values[-1] * np.logspace(-12, 0, 25):
        inverse = vectors / (values + penalty) @ vectors.T
        weights = inverse @ energies[train]
        left_out = np.mean((weights / np.diag(inverse)) ** 2)
        best = min(best, (left_out, weights), key=lambda pair: pair[0])
    predicted = rows[test] @ rows[train].T @ best[1]
    return np.abs(predicted - energies[test]).mean()


def test_energies_of_molecules():
    """Of 200 structures: the kernel has a smaller error than the power spectrum's summed rows."""
    frames = load_frames("molecules")
    order = np.random.default_rng(0).permutation(len(frames))[:250]
    frames = [frames[i] for i in order]
    train, test = np.arange(200), np.arange(200, 250)
    energies = np.array([frame.get_potential_energy() for frame in frames])
    counts = np.array([[np.sum(f.numbers == e) for e in (1, 6, 7, 8)] for f in frames])
    energies -= counts @ np.linalg.lstsq(counts[train], energies[train], rcond=None)[0]
    fitted = StructureKernelTransformer().fit([frames[i] for i in train])
    summed = DescriptorTransformer("power_spectrum", pooling="sum", dtype="float64", **HYPERS)
    of_kernel = ridge(fitted.transform(frames), energies, train, test)
    of_sums = ridge(summed.fit_transform(frames), energies, train, test)
    assert of_kernel < 0.045  # eV; 0.036 when written
    assert of_kernel < 0.75 * of_sums
