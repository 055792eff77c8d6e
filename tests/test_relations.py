"""The page on other representations: its examples run."""

import doctest
from pathlib import Path

import tripletjax

PAGE = Path(tripletjax.__file__).parent / "docs" / "relations.md"


def test_examples_of_the_page():
    found = doctest.testfile(str(PAGE), module_relative=False)
    assert found.attempted > 15 and not found.failed
