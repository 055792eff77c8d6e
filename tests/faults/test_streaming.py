"""Long files need little memory."""

import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from tripletjax.io import iter_frames

pytestmark = pytest.mark.once("float64")

FRAMES, FEW, GIGABYTE = 10_000, 100, 2**30
SCRIPT = """
import json, resource, sys
from tripletjax.cli import main
peaks = []
for name in sys.argv[1:]:
    options = "--kind power_spectrum --cutoff 4 --n-max 3 --l-max 3".split()
    assert main(["describe", name, name + ".npz", *options]) == 0
    peaks.append(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(json.dumps(peaks))
"""


def written(path: Path, count: int) -> Path:
    """A file of clusters of 20 atoms with energies and forces."""
    random = np.random.default_rng(0)
    lattice = 1.6 * np.array([[x, y, z] for x in range(4) for y in range(5) for z in range(1)])
    symbols = np.array(["C", "H", "O", "H"])[np.arange(20) % 4]
    with path.open("w") as file:
        for _ in range(count):
            numbers = np.hstack([lattice + random.normal(0, 0.05, (20, 3)), np.zeros((20, 3))])
            file.write('20\nProperties=species:S:1:pos:R:3:forces:R:3 energy=-1.0 pbc="F F F"\n')
            for symbol, row in zip(symbols, numbers, strict=True):
                file.write(symbol + " " + " ".join(f"{x:.8f}" for x in row) + "\n")
    return path


def test_describe_within_four_gigabytes(tmp_path, scaled, record):
    """The peak, and what it would be by the growth from a hundred frames on."""
    count = scaled(FRAMES)
    files = [written(tmp_path / "few.xyz", FEW), written(tmp_path / "many.xyz", count)]
    environment = os.environ | {
        "JAX_ENABLE_X64": "0", "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }  # fmt: skip
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, files)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr[-2000:]
    few, many = json.loads(found.stdout.splitlines()[-1])
    growth = (many - few) / (count - FEW)
    assert max(many, few + growth * FRAMES) < 4 * GIGABYTE
    with np.load(f"{files[1]}.npz") as rows:
        assert len(rows["values"]) == 20 * count and np.isfinite(rows["values"]).all()
        np.testing.assert_array_equal(rows["structure"], np.repeat(np.arange(count), 20))
    record |= {
        "frames": count, "peak, MB": round(many / 2**20), "kB a frame": round(growth / 1024, 1),
    }  # fmt: skip


def test_frames_are_read_one_at_a_time(tmp_path):
    """Reading keeps few of them."""
    path, peaks = written(tmp_path / "frames.xyz", 500), []
    for keep in (iter, list):
        tracemalloc.start()
        assert sum(len(frame) for frame in keep(iter_frames(path))) == 20 * 500
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[0] < 0.5 * peaks[1]
