"""Comparisons with other packages: run in an environment of their own, `make compare`."""

import jax
import pytest

jax.config.update("jax_enable_x64", True)


def pytest_collection_modifyitems(items):
    for item in items:
        if "compare" in item.path.parts:
            item.add_marker(pytest.mark.compare)
