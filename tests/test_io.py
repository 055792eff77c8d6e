"""Writing is atomic: a failure leaves what was there before, and no temporary files."""

import errno
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from tripletjax import InputError
from tripletjax.io import (
    FolderFormat,
    atomic_folder,
    atomic_open,
    remove_own,
    require_writable,
    save_json,
    save_npz,
    to_json,
)

pytestmark = pytest.mark.once("float32")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "record.json"
    save_json(path, {"a": 1})
    with pytest.raises(RuntimeError, match="half"), atomic_open(path, "w") as file:
        file.write("half")
        raise RuntimeError("half-way")
    assert path.read_text() == '{\n "a": 1\n}\n'
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.int64(3), "3"),
        (np.float32(0.5), "0.5"),
        (np.bool_(True), "true"),
        (np.arange(2), "[0, 1]"),
        (jnp.ones((1, 2), np.float32), "[[1.0, 1.0]]"),
        (Path("a/b"), '"a/b"'),
    ],
)
def test_records_hold_numbers_of_any_kind(value, text, tmp_path):
    assert to_json({"x": [value]}) == f'{{"x": [{text}]}}'
    form = FolderFormat(thing="thing", source="its folder", description="a", arrays="b", version=1)
    form.write(tmp_path, {"x": value}, {})
    assert to_json(form.read(tmp_path)[0]["x"]) == text


def test_what_is_no_record_is_refused():
    with pytest.raises(TypeError, match="object cannot be written as JSON"):
        to_json({"x": object()})


def test_arrays_come_back(tmp_path):
    save_npz(tmp_path / "new/folder/a.npz", x=np.arange(3))
    assert np.load(tmp_path / "new/folder/a.npz")["x"].tolist() == [0, 1, 2]


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    for path, folder in [("file/x", False), ("file", True), (".", False)]:
        with pytest.raises(InputError, match="cannot be written"):
            require_writable(tmp_path / path, folder)
    require_writable(tmp_path / "file")
    require_writable(tmp_path / "new/folder", folder=True)


@pytest.mark.parametrize("writing", [atomic_open, atomic_folder])
def test_a_full_disk_is_named_and_leaves_nothing(writing, tmp_path):
    """The system does not say which file it could not write."""
    with pytest.raises(OSError, match=r"No space left on device.*result") as caught:
        with writing(tmp_path / "result"):
            raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.errno == errno.ENOSPC and not list(tmp_path.iterdir())


def test_folders_that_were_empty_stay(tmp_path):
    """Those that are emptied go, with the folders around them."""
    for name in ("model/weights/a.bin", "model/weights/b.bin", "plots/mine.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    remove_own(tmp_path, ("model/*",))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["empty", "mine.png", "plots"]
