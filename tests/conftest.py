"""Settings of the whole suite.

Run it twice, with JAX_ENABLE_X64=0 and 1: the environment variable alone chooses the precision,
and tolerances follow it. A file whose tests do not depend on the precision says in one line that
it runs once, and on which side; without that line it runs on both:

    pytestmark = pytest.mark.once("float32")  # or "float64"

Put new ones where ``make test`` ends earlier. Doctests have a table: see tests/sides.py.
"""

import gc
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from tests.compilation import xla_flags
from tests.sides import Sides

# What the programs of users go through is tested where XLA_FLAGS is set, be it to nothing:
# tests/compare.
os.environ.setdefault("XLA_FLAGS", xla_flags())
# Most of the time goes into compiling; the second run reads the programs from here.
CACHE = Path(__file__).parents[1] / ".cache" / "jax"
jax.config.update("jax_compilation_cache_dir", str(CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

# Traced programs stay in memory, and a full collection walks through all of them to free little:
# with Python's thresholds that is a tenth of the time.
gc.set_threshold(2_000, 20, 100)

jax.config.update("jax_numpy_dtype_promotion", "strict")
# jax_numpy_rank_promotion stays at "allow": constant vectors meet arrays with leading axes in the
# harmonics and the radial functions, which take [..., 3] and [...].


def pytest_addoption(parser):
    parser.addoption("--both-sides", action="store_true", help="run what is marked once, too")


def pytest_configure(config):
    config.pluginmanager.register(Sides(config))


@pytest.fixture
def dtype():
    """The default float: float64 if JAX_ENABLE_X64 is on."""
    return jnp.zeros(()).dtype


@pytest.fixture(scope="session")
def float32():
    """Skips the test with x64: what does not depend on the precision runs once, in the default."""
    if jax.config.jax_enable_x64:
        pytest.skip("runs with JAX_ENABLE_X64=0")
    return jnp.dtype(jnp.float32)


@pytest.fixture
def float64(dtype):
    """Skips the test without x64: for differences that float32 cannot resolve."""
    if dtype != jnp.float64:
        pytest.skip("needs JAX_ENABLE_X64=1")
    return dtype


@pytest.fixture(scope="session")
def paper_scratch(tmp_path_factory):
    """Features and trained rows of the paper's table at its quick resolution."""
    return tmp_path_factory.mktemp("paper") / "quick"
