"""The transformer in scikit-learn's pipelines, cross-validation and grid searches."""

import re
from importlib import resources

import numpy as np
import pytest
from ase.build import molecule

from experiments.scikit_learn.run import ROWS, error, labelled
from tripletjax.descriptors.structure_kernel import StructureKernelTransformer
from tripletjax.descriptors.structure_regression import StructureKernelRegressor
from tripletjax.descriptors.transformer import DescriptorTransformer

pytest.importorskip("sklearn")
from sklearn.base import clone, is_regressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SPECIES = (1, 6)


def stretched():
    """Methane with its hydrogens at growing distances, and a smooth function of the distance."""
    frames, scales = [], np.linspace(0.9, 1.2, 12)
    for scale in scales:
        frames.append(molecule("CH4"))
        frames[-1].positions *= scale
    return frames, (scales - 1.05) ** 2


def transformer(**changes):
    hypers = {"cutoff": 3.0, "n_max": 3, "l_max": 1, "pooling": "sum", "species": SPECIES}
    return DescriptorTransformer("power_spectrum", **(hypers | changes))


def test_pipeline():
    frames, energies = stretched()
    pipeline = make_pipeline(transformer(), StandardScaler(), Ridge(1e-6))
    predicted = pipeline.fit(frames[::2], energies[::2]).predict(frames[1::2])
    assert np.abs(predicted - energies[1::2]).max() < 0.05 * energies.std()


def test_clone():
    copy = clone(transformer(cutoff=2.5))
    assert copy.get_params() == transformer(cutoff=2.5).get_params()


def test_cross_validation_and_grid_search():
    frames, energies = stretched()
    pipeline = make_pipeline(transformer(), Ridge(1e-6))
    assert np.isfinite(cross_val_score(pipeline, frames, energies, cv=3)).all()
    search = GridSearchCV(pipeline, {"descriptortransformer__n_max": [1, 3]}, cv=3)
    search.fit(frames, energies)
    few, many = search.cv_results_["mean_test_score"]
    assert search.best_score_ == max(few, many) and few != many


def test_names_through_a_pipeline():
    frames, _ = stretched()
    pipeline = make_pipeline(transformer(), StandardScaler()).fit(frames)
    names = pipeline.get_feature_names_out()
    assert names.tolist() == transformer().fit(frames).get_feature_names_out().tolist()


@pytest.mark.parametrize("name", ["molecules", "ethanol"])
def test_errors_are_smaller_than_of_summed_soap(name):
    data = labelled(name)
    errors = {label: error(label, data, seed=0)[0] for label in ROWS}
    soap = min(value for label, value in errors.items() if "SOAP" in label)
    assert errors["structure kernel"] < soap
    assert error("regressor, energies", data, seed=0)[0] < soap
    assert error("regressor, energies and forces", data, seed=0)[0] < 0.4 * soap


def test_structure_kernel_in_a_pipeline():
    frames, energies = stretched()
    kernel = StructureKernelTransformer(cutoff=3.0, cutoff_width=3.0, n_max=3, l_max=1)
    pipeline = make_pipeline(clone(kernel), Ridge(1e-8))
    predicted = pipeline.fit(frames[::2], energies[::2]).predict(frames[1::2])
    assert np.abs(predicted - energies[1::2]).max() < 0.05 * energies.std()


PAGE = resources.files("tripletjax").joinpath("docs/scikit_learn.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)


@pytest.mark.parametrize("place", range(len(BLOCKS)))
def test_examples_of_the_documentation(place):
    exec(compile(BLOCKS[place], "scikit_learn.md", "exec"), {})


def test_regressor_in_cross_validation():
    frames, energies = stretched()
    model = clone(StructureKernelRegressor(cutoff=3.0, cutoff_width=3.0, n_max=3, l_max=1))
    assert is_regressor(model)
    assert (
        cross_val_score(model, frames, energies, cv=KFold(3, shuffle=True, random_state=0)).min()
        > 0.9
    )
    search = GridSearchCV(model, {"degree": [1, 3]}, cv=3).fit(frames, energies)
    assert set(search.best_params_) == {"degree"}
