"""Pages of the documentation whose examples run."""

import doctest
from pathlib import Path

import pytest

import tripletjax

pytestmark = pytest.mark.once("float64")

DOCS = Path(tripletjax.__file__).parent / "docs"


@pytest.mark.parametrize("page", ["relations", "extending"])
def test_examples_of_the_page(page):
    found = doctest.testfile(str(DOCS / f"{page}.md"), module_relative=False)
    assert found.attempted > 15 and not found.failed
