"""Import paths of release 0.1.0 lead to the modules of today, with a warning."""

import importlib
import sys

import pytest

import tripletjax.completeness
from tripletjax import InputError
from tripletjax.moved import MOVED, PACKAGE

pytestmark = pytest.mark.once("float32")


@pytest.mark.parametrize("old", MOVED)
def test_old_import_paths(old):
    sys.modules.pop(PACKAGE + old, None)
    with pytest.warns(DeprecationWarning, match="will be removed in release 0.3"):
        module = importlib.import_module(PACKAGE + old)
    present, name = importlib.import_module(PACKAGE + MOVED[old]), old.split(".")[-1]
    if hasattr(present, name):
        assert getattr(module, name) is getattr(present, name)
    else:
        assert module is present


def test_a_function_under_the_name_of_an_old_module_can_be_called():
    sys.modules.pop("tripletjax.completeness.audit", None)
    with pytest.warns(DeprecationWarning):
        importlib.import_module("tripletjax.completeness.audit")
    with pytest.raises(InputError, match="structures"):
        tripletjax.completeness.audit([], "bispectrum")


def test_inside_moved_packages():
    sys.modules.pop("tripletjax.nice.fitting", None)
    with pytest.warns(DeprecationWarning):
        module = importlib.import_module("tripletjax.nice.fitting")
    assert module.__name__ == "tripletjax.invariants.nice.fitting"


def test_a_name_that_never_was():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("tripletjax.dense")
