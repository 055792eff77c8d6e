"""The transformer in scikit-learn's pipelines, cross-validation and grid searches."""

import numpy as np
import pytest
from ase.build import molecule

from tripletjax.descriptors.transformer import DescriptorTransformer

pytest.importorskip("sklearn")
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
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
