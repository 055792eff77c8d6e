"""A contraction in a file: what is read back is what was written, and nothing else is read."""

import json
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from tripletjax.invariants.nice import (
    correlations,
    covariants,
    fit_contraction,
    load_contraction,
    save_contraction,
)
from tripletjax.invariants.nice.storage import HEADER
from tripletjax.types import InputError

pytestmark = pytest.mark.once("float64")

L_MAX = 2


def densities(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 1, 2, (L_MAX + 1) ** 2))


FITS = {
    "order 3": lambda: fit_contraction(densities(40), 3, 4),
    "order 5, few products": lambda: fit_contraction(densities(60), 5, 6, max_products=15),
    "blocks left out": lambda: fit_contraction(
        densities(60), 4, {2: {(1, 0): 2, (-1, 1): 2}, 3: 3}, [2, 1]
    ),
    "nothing to contract": lambda: fit_contraction(densities(5), 4, [{}, {}]),
}


@cache
def fitted(name: str = "order 3"):
    return FITS[name]()


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "contraction.safetensors"
    save_contraction(path, fitted())
    return path


def assert_bit_equal(first, second):
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


@pytest.mark.parametrize("name", FITS)
def test_what_was_saved_comes_back(name, tmp_path):
    contraction = fitted(name)
    save_contraction(tmp_path / "new/folder/a", contraction)
    loaded = load_contraction(tmp_path / "new/folder/a")
    assert_bit_equal(loaded, contraction)
    assert loaded.nu == contraction.nu
    assert [list(blocks) for blocks in loaded.weights] == [list(b) for b in contraction.weights]
    for leaf in jax.tree.leaves(loaded):
        assert isinstance(leaf, np.ndarray) and leaf.flags.writeable


@pytest.mark.parametrize("name", list(FITS)[:3])
def test_correlations_are_bit_equal(name, tmp_path, dtype):
    contraction = fitted(name)
    save_contraction(tmp_path / "a", contraction)
    loaded = load_contraction(tmp_path / "a")
    c = jnp.asarray(densities(1, seed=7)[0], dtype)
    for parity in (1, -1):
        columns = (correlations(c, k, contraction.nu, parity) for k in (contraction, loaded))
        assert_bit_equal(*columns)
    assert_bit_equal(*(covariants(c, k, contraction.nu - 1) for k in (contraction, loaded)))


def test_one_program_serves_both(saved):
    """The layout that was read is the same to JAX: nothing is compiled anew."""
    c = jnp.asarray(densities(1)[0])
    compiled = jax.jit(lambda c, contraction: correlations(c, contraction, nu=3))
    compiled(c, fitted())
    compiled(c, load_contraction(saved))
    assert compiled._cache_size() == 1


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_the_dtype_is_kept(kind, tmp_path):
    """Of arrays that are not in C order too, and of JAX's."""
    cast = jax.tree.map(lambda a: np.asarray(a, kind, order="F"), fitted())
    assert not cast.weights[0][1, 0].flags.c_contiguous
    save_contraction(tmp_path / "a", cast)
    assert_bit_equal(load_contraction(tmp_path / "a"), cast)
    if kind != "float64":
        save_contraction(tmp_path / "a", jax.tree.map(jnp.asarray, cast))
        assert_bit_equal(load_contraction(tmp_path / "a"), cast)


def test_the_same_contraction_gives_the_same_file(saved, tmp_path):
    save_contraction(tmp_path / "again", load_contraction(saved))
    assert (tmp_path / "again").read_bytes() == saved.read_bytes()


def test_a_failed_save_leaves_the_old_file(saved):
    before = saved.read_bytes()
    narrow = fitted()
    broken = narrow._replace(weights=({k: w[1:] for k, w in narrow.weights[0].items()},))
    half = jax.tree.map(lambda a: jnp.asarray(a, jnp.bfloat16), narrow)
    with pytest.raises(InputError, match=r"inconsistent contraction: the shape of weights\.2"):
        save_contraction(saved, broken)
    with pytest.raises(InputError, match="orders are missing"):
        save_contraction(saved, narrow._replace(weights=(*narrow.weights, {})))
    with pytest.raises(InputError, match="bfloat16; cast it to one of float16"):
        save_contraction(saved, half)
    with pytest.raises(InputError, match="contraction=dict: expected one from fit_contraction"):
        save_contraction(saved, {})  # pyright: ignore[reportArgumentType]
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match="cannot be written as a file"):
        save_contraction(tmp_path, fitted())


def assert_not_loaded(path, pattern: str):
    with pytest.raises(InputError, match=pattern) as caught:
        load_contraction(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_missing_and_foreign_files(tmp_path):
    path = tmp_path / "a"
    assert_not_loaded(path, "is not a file")
    assert_not_loaded(tmp_path, "is not a file")
    for content in (b"", b"some text", b"PK\x03\x04" * 100):
        path.write_bytes(content)
        assert_not_loaded(path, "is not a contraction, or is truncated")
    for metadata in (None, {"version": "1"}):
        save_file({"x": np.zeros(3, jnp.bfloat16)}, path, metadata)
        assert_not_loaded(path, "is a safetensors file but not a contraction")


def test_truncated_files(saved):
    whole = saved.read_bytes()
    for length in (4, 100, len(whole) // 2, len(whole) - 1):
        saved.write_bytes(whole[:length])
        assert_not_loaded(saved, "is truncated")


def rewritten(path, change):
    """The same file after ``change(arrays, header)``, or with the header that it returns."""
    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}
        header = json.loads(file.metadata()[HEADER])
    changed = change(arrays, header)
    text = changed if isinstance(changed, str) else json.dumps(header)
    save_file(arrays, path, {HEADER: text})
    return path


def test_another_version_of_the_format(saved):
    """Whatever else its header holds."""

    def later(arrays, header):
        header.update(version=2)
        del header["steps"]

    pattern = "has version 2 of the format, but this tripletjax reads version 1"
    assert_not_loaded(rewritten(saved, later), pattern)


FAULTS = {
    "no JSON": ("header of .* is damaged", lambda arrays, header: "{"),
    "not a record": ("header of .* is damaged", lambda arrays, header: "[]"),
    "no version": ("header of .* is damaged", lambda arrays, header: header.pop("version")),
    "no steps": ("header of .* is damaged", lambda arrays, header: header.pop("steps")),
    "not numbers": ("header of .* is damaged", lambda arrays, header: header.update(l_max="x")),
    "empty steps": (
        "it has no steps",
        lambda arrays, header: (
            [header["steps"].clear()]
            + [arrays.pop(name) for name in list(arrays) if "channels" not in name]
        ),
    ),
    "an array less": (
        r"weights\.2\.\+1\.0 is none and should be \(12, 4\)",
        lambda arrays, header: arrays.pop("weights.2.+1.0"),
    ),
    "an array more": (
        r"shape of x is \(3,\) and should be none",
        lambda arrays, header: arrays.update(x=np.zeros(3)),
    ),
    "another shape": (
        r"shape of channels\.1 is \(1, 2\) and should be \(2, 2\)",
        lambda arrays, header: arrays.update({"channels.1": np.zeros((1, 2))}),
    ),
    "more channels than there are": (
        r"block \(1, 0\) of order 2 needs more of \(1, 0\) than there is",
        lambda arrays, header: header["steps"][0][0][1][0].__setitem__(2, 3),
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_damaged_files(name, saved):
    pattern, change = FAULTS[name]
    assert_not_loaded(rewritten(saved, change), pattern)
