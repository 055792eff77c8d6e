"""Labels of columns say what the columns are: checked against the values, not the code."""

from functools import cache

import numpy as np
import pytest
from ase.build import molecule

from tests.systems import CHIRAL_KINDS, SPECIES, SYSTEMS, read
from tripletjax import describe
from tripletjax.basis.coupling import clebsch_gordan
from tripletjax.descriptors.kinds import KINDS
from tripletjax.testing import INVARIANCE, assert_close, tolerance

pytestmark = pytest.mark.once("float64")

OPTIONS = {
    **{kind: {"kind": kind} for kind in KINDS},
    "correlations, nu=1": {"kind": "correlations", "nu": 1},
    "correlations, nu=3": {"kind": "correlations", "nu": 3, "l_max": 1},
    "coupled": {"kind": "triplets", "coupling": "coupled", "l_max": 1},
    "stretched": {"kind": "triplet_sum", "form": "stretched"},
    "centre's species": {"kind": "power_spectrum", "center_species": True},
}


@cache
def methanol(**options):
    options = {"species": SPECIES, "chiral": options["kind"] in CHIRAL_KINDS, **options}
    return describe(SYSTEMS["methanol"], **read(**options))


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_one_label_and_one_name_for_every_column(options):
    described = methanol(**options)
    n_columns = described.values.shape[1]
    assert all(len(values) == n_columns for values in described.columns.values())
    assert len(set(described.names)) == len(described.names) == n_columns


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_parity_is_the_sign_under_inversion(options):
    atoms = SYSTEMS["methanol"].copy()
    expected = methanol(**options)
    atoms.positions *= -1
    actual = describe(atoms, **read(species=SPECIES, **without_default(options)))
    sign = np.where(expected.columns["parity"] == -1, -1, 1)
    scale = np.abs(expected.values).max()
    np.testing.assert_allclose(actual.values, sign * expected.values, atol=1e-5 * scale)


def without_default(options):
    return {"chiral": options.get("kind") in CHIRAL_KINDS} | options


def density_at(described, species, n, l):
    """c_{a,nlm} of all rows, [rows, 2l+1], found through the labels."""
    labels = described.columns
    chosen = (labels["species"] == species) & (labels["n"] == n) & (labels["l"] == l)
    order = np.argsort(labels["m"][chosen])
    return described.values[:, np.nonzero(chosen)[0][order]]


def products(described, density):
    """Every column from the density, by its labels: Σ C c c c / √(2l+1)."""
    labels = described.columns
    for column in range(0, described.values.shape[1], 7):
        factor = [
            density_at(
                density, *(labels[f"{sort}_{place}"][column] for sort in ("species", "n")), l
            )
            for place, l in enumerate(degrees(labels, column), start=1)
        ]
        if len(factor) == 2:
            l = labels["l"][column] if "l" in labels else labels["l_1"][column]
            yield column, (factor[0] * factor[1]).sum(-1) / np.sqrt(2 * l + 1)
        else:
            l1, l2, l3 = degrees(labels, column)
            table = clebsch_gordan(l1, l2, l3) / np.sqrt(2 * l3 + 1)
            yield column, np.einsum("ijk,zi,zj,zk->z", table, *factor)


def degrees(labels, column):
    if "l_1" not in labels:
        return (labels["l"][column],) * 2
    return tuple(labels[f"l_{place}"][column] for place in (1, 2, 3) if f"l_{place}" in labels)


@pytest.mark.parametrize("kind, nu", [("power_spectrum", 2), ("correlations", 2), ("bispectrum", 3),
                                      ("correlations", 3)])  # fmt: skip
def test_labels_lead_to_the_factors(kind, nu):
    """The value of a column is that of the product which its labels name, up to a constant."""
    small = {"l_max": 2 if nu == 2 else 1, "nu": nu, "dtype": "float64", "chiral": False}
    described = methanol(kind=kind, **small)
    density = methanol(kind="density", **small)
    for column, expected in products(described, density):
        values = described.values[:, column]
        if not expected.any():
            continue
        ratio = values @ expected / (expected @ expected)
        assert np.isclose(ratio**2, round(ratio**2)) and 1 <= round(ratio**2) <= 6
        if kind == "correlations":
            assert np.isclose(abs(ratio), 1)
        np.testing.assert_allclose(values, ratio * expected, atol=1e-12 * np.abs(values).max())


def test_the_centres_species_has_columns_of_its_own():
    """Zero in the columns of other species, and the plain descriptor in its own."""
    atoms = molecule("CH3OH")
    plain = describe(atoms, **read("power_spectrum"))
    described = describe(atoms, **read("power_spectrum", center_species=True))
    rtol = tolerance(INVARIANCE, plain.values)
    for row, symbol in enumerate(atoms.symbols):
        own = described.columns["center"] == symbol
        assert_close(described.values[row, own], plain.values[row], rtol)
        assert not described.values[row, ~own].any()
