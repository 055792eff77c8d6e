"""The code in the documentation of dynamics runs as it stands, with a potential of springs."""

import contextlib
import re
from pathlib import Path

import jax
import pytest
from ase.build import bulk

import tripletjax
from tests.md_runs import springs

pytestmark = pytest.mark.once("float32")

TEXT = (Path(tripletjax.__file__).parent / "docs/dynamics.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.filterwarnings("ignore")  # of jax-md
@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_code_runs(block, tmp_path, monkeypatch, float32):
    monkeypatch.chdir(tmp_path)
    springs().save("fit/model")
    atoms = bulk("Si", "fcc", a=3.5, cubic=True) * (3, 3, 3)  # at rest with these springs
    atoms.write("start.xyz")
    short = block.replace("10_000", "20").replace("1000", "100")
    is_foreign = "jax_md" in block  # it mixes dtypes
    with jax.numpy_dtype_promotion("standard") if is_foreign else contextlib.nullcontext():
        exec(compile(short, "dynamics.md", "exec"), {"__name__": "documentation"})


def test_every_way_is_shown():
    assert len(BLOCKS) == 4
