"""Several devices give the results of one."""

import os
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

from tripletjax import InputError
from tripletjax.devices import device_mesh
from tripletjax.training import TrainConfig

pytestmark = pytest.mark.once("float64")

BOUNDS = {"float32": 1e-6, "float64": 1e-12}  # relative to the size of each array


def started(out, devices, *process) -> subprocess.Popen:
    """The runs on so many simulated devices."""
    flags = "--xla_cpu_multi_thread_eigen=false --xla_backend_optimization_level=1"
    simulated = {"JAX_NUM_CPU_DEVICES": str(devices), "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    variables = os.environ | simulated | {"JAX_ENABLE_X64": "1"}
    command = [sys.executable, "-m", "tests.device_runs", str(out), *map(str, process)]
    return subprocess.Popen(command, env=variables, stderr=subprocess.PIPE, text=True)


def finished(*runs: subprocess.Popen) -> None:
    """Wait for runs, and raise an error for one that fails."""
    for run in runs:
        _, told = run.communicate(timeout=600)
        assert run.returncode == 0, told[-3000:]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    out = tmp_path_factory.mktemp("one") / "found.npz"
    finished(started(out, 1))
    return dict(np.load(out))


def compared(found, one):
    """With the results of one device."""
    assert found
    for name, values in found.items():
        # the steps of a fit add up what rounding changes
        bound = BOUNDS[values.dtype.name] * (30 if name.startswith("fit") else 1)
        assert np.abs(values - one[name]).max() <= bound * np.abs(one[name]).max(), name


@pytest.mark.parametrize("devices", [4, 8])
def test_simulated_devices(devices, one, tmp_path):
    finished(started(tmp_path / "found.npz", devices))
    found = dict(np.load(tmp_path / "found.npz"))
    assert devices > 4 or any(name.startswith("fit") for name in found)
    compared(found, one)


def test_two_processes(one, tmp_path):
    """With two devices each."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    finished(*(started(tmp_path / "found.npz", 2, process, port) for process in range(2)))
    compared(dict(np.load(tmp_path / "found.npz")), one)


def test_more_devices_than_there_are():
    count = len(jax.devices()) + 1
    with pytest.raises(InputError, match=f"devices={count}, but JAX has {count - 1}"):
        device_mesh(count)
    with pytest.raises(InputError, match="devices=0"):
        TrainConfig(devices=0)
