"""Import paths of release 0.1.0 lead to the modules of today, with a warning."""

import importlib
import sys

import pytest

from tripletjax.moved import MOVED, PACKAGE

pytestmark = pytest.mark.once("float32")


@pytest.mark.parametrize("old", MOVED)
def test_old_import_paths(old):
    sys.modules.pop(PACKAGE + old, None)
    with pytest.warns(DeprecationWarning, match="will be removed in release 0.3"):
        module = importlib.import_module(PACKAGE + old)
    assert module is importlib.import_module(PACKAGE + MOVED[old])


def test_inside_moved_packages():
    sys.modules.pop("tripletjax.nice.fitting", None)
    with pytest.warns(DeprecationWarning):
        module = importlib.import_module("tripletjax.nice.fitting")
    assert module.__name__ == "tripletjax.invariants.nice.fitting"


def test_a_name_that_never_was():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("tripletjax.dense")
