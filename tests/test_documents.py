"""The Python blocks of the pages at the top and of some others run, each on its own."""

import re
from pathlib import Path

import jax
import pytest

pytestmark = pytest.mark.once("float32")

ROOT = Path(__file__).parents[1]
DOCS = "tripletjax/docs"
PAGES = ("CONTRIBUTING.md", "README.md", f"{DOCS}/devices.md", f"{DOCS}/scikit_learn.md")


def blocks(page: str) -> list[tuple[str, str]]:
    """Headings of a page, with the Python blocks below them."""
    found = []
    for part in re.split(r"^(?=## )", (ROOT / page).read_text(), flags=re.M):
        heading = part.split("\n", 1)[0].lstrip("# ")
        codes = re.findall(r"^```python\n(.*?)^```", part, re.M | re.S)
        found += [(heading, code) for code in codes]
    return found


BLOCKS = {
    f"{page.split('.')[0]}, {heading}, {place}": code
    for page in PAGES
    for place, (heading, code) in enumerate(blocks(page))
    if "sklearn" not in code  # in tests/compare, as scikit-learn is not required
}


@pytest.mark.parametrize("name", BLOCKS)
def test_block_runs(name, tmp_path, monkeypatch, capsys):
    """With what users run: the default promotion of dtypes, and an empty folder."""
    monkeypatch.chdir(tmp_path)
    with jax.numpy_dtype_promotion("standard"):
        exec(compile(BLOCKS[name], name, "exec"), {"__name__": "page"})


def test_every_addition_has_an_example():
    headings = {heading for heading, _ in blocks("CONTRIBUTING.md")}
    additions = re.findall(r"^## (Add .*)", (ROOT / "CONTRIBUTING.md").read_text(), re.M)
    assert len(additions) == 5 and set(additions) <= headings
