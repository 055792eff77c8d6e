"""Writing is atomic: a failure leaves what was there before, and no temporary files."""

import numpy as np
import pytest

from tripletjax import InputError
from tripletjax.io import atomic_open, require_writable, save_json, save_npz


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "record.json"
    save_json(path, {"a": 1})
    with pytest.raises(RuntimeError, match="half"), atomic_open(path, "w") as file:
        file.write("half")
        raise RuntimeError("half-way")
    assert path.read_text() == '{\n "a": 1\n}\n'
    assert list(tmp_path.iterdir()) == [path]


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
