"""The transformer is ``describe``, with columns fixed by what it was fitted to."""

import numpy as np
import pytest
from ase.build import molecule

from tripletjax import InputError, describe
from tripletjax.descriptors.transformer import DescriptorTransformer

pytestmark = pytest.mark.once("float32")

HYPERS = {"cutoff": 3.0, "n_max": 2, "l_max": 2}
FRAMES = [molecule(name) for name in ("H2O", "CH3OH", "CO2")]


def test_rows_of_describe():
    transformer = DescriptorTransformer("power_spectrum", **HYPERS)
    expected = describe(FRAMES, "power_spectrum", **HYPERS)
    np.testing.assert_array_equal(transformer.fit_transform(FRAMES), expected.values)
    assert transformer.get_feature_names_out().tolist() == list(expected.names)


def test_columns_are_those_of_fit():
    transformer = DescriptorTransformer("power_spectrum", **HYPERS).fit(FRAMES)
    assert transformer.transform(FRAMES[0]).shape[1] == len(transformer.get_feature_names_out())
    with pytest.raises(InputError, match="number 7"):
        transformer.transform(molecule("NH3"))


@pytest.mark.parametrize("pooling, pool", [("sum", np.sum), ("mean", np.mean)])
def test_pooling(pooling, pool):
    rows = describe(FRAMES, "power_spectrum", **HYPERS)
    expected = [pool(rows.values[rows.structure == i], axis=0) for i in range(len(FRAMES))]
    pooled = DescriptorTransformer("power_spectrum", pooling=pooling, **HYPERS)
    np.testing.assert_allclose(pooled.fit_transform(FRAMES), expected, rtol=1e-5)


def test_parameters():
    transformer = DescriptorTransformer("density", centers=[0], **HYPERS)
    copy = DescriptorTransformer(**transformer.get_params())
    assert copy.get_params() == transformer.get_params()
    assert copy.set_params(cutoff=2.0).get_params()["cutoff"] == 2.0
    assert transformer.get_params()["cutoff"] == 3.0
    assert "cutoff=2.0" in repr(copy) and "pooling" not in repr(copy)


def test_contraction_is_fitted():
    transformer = DescriptorTransformer("correlations", nu=4, components=3, **HYPERS)
    values = transformer.fit_transform(FRAMES)
    assert np.isfinite(values).all()
    again = DescriptorTransformer("correlations", nu=4, contraction=transformer.contraction_)
    again.set_params(**HYPERS)
    np.testing.assert_array_equal(again.fit_transform(FRAMES), values)


def test_bad_use():
    with pytest.raises(InputError, match="call fit"):
        DescriptorTransformer().transform(FRAMES)
    with pytest.raises(InputError, match="call fit"):
        DescriptorTransformer().get_feature_names_out()
    with pytest.raises(InputError, match="expected None, 'sum' or 'mean'"):
        DescriptorTransformer(pooling="max").fit(FRAMES)
    with pytest.raises(InputError, match="did you mean 'cutoff'"):
        DescriptorTransformer(cutof=3.0).fit(FRAMES)
    with pytest.raises(InputError, match="invalid tags=3: kind 'density' does not read it"):
        DescriptorTransformer("density", tags=3).fit(FRAMES)
    with pytest.raises(InputError, match="did you mean 'n_max'"):
        DescriptorTransformer("correlations", components=3, nmax=2).fit(FRAMES)
    with pytest.raises(InputError, match="correlations"):
        DescriptorTransformer("density", components=3).fit(FRAMES)
