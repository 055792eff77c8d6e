"""Every notebook runs from top to bottom."""

import json
from pathlib import Path

import matplotlib
import pytest

pytestmark = pytest.mark.once("float32")

matplotlib.use("Agg")
NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path):
    cells = json.loads(path.read_text())["cells"]
    names = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), path.name, "exec"), names)
    matplotlib.pyplot.close("all")


def test_there_is_one():
    assert NOTEBOOKS
