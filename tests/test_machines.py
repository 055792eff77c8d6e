"""The tests as on other machines: what is set, what is left out, and that a failure is told."""

from pathlib import Path

import pytest

from tests import machines
from tests.compilation import xla_flags

pytestmark = pytest.mark.once("float32")


def test_every_kernel_instruction_set_and_thread_count_is_covered():
    every = machines.MACHINES.values()
    assert {machine.blas for machine in every} == {"Haswell", "SkylakeX", "Nehalem", "Zen"}
    assert {machine.isa for machine in every} == {None, "AVX2", "SSE4_2"}
    assert any(machine.one_thread for machine in every)


def test_flags_are_added_to_those_of_the_tests(monkeypatch):
    monkeypatch.setenv("MAKEFLAGS", "-j2")
    found = machines.environment(machines.MACHINES["nehalem"])
    assert found["XLA_FLAGS"] == f"{xla_flags()} --xla_cpu_max_isa=SSE4_2".strip()
    assert found["OPENBLAS_CORETYPE"] == "Nehalem" and "MAKEFLAGS" not in found
    monkeypatch.setattr(machines.os, "sched_getaffinity", lambda _: {0, 1, 2})
    skylake = machines.environment(machines.MACHINES["skylakex"])
    assert skylake["NPY_DISABLE_CPU_FEATURES"] == "" and skylake["OPENBLAS_NUM_THREADS"] == "3"
    alone = machines.environment(machines.MACHINES["haswell"])
    assert alone["OMP_NUM_THREADS"] == alone["OPENBLAS_NUM_THREADS"] == "1"
    assert "--xla_cpu_multi_thread_eigen=false" in alone["XLA_FLAGS"]


def test_a_machine_that_cannot_run_here_is_left_out(monkeypatch, capsys):
    monkeypatch.setattr(machines, "processor", lambda: ("old", {"sse4_2", "avx2", "fma"}))
    monkeypatch.setattr(machines, "run", lambda *_: pytest.fail("it ran"))
    assert machines.main(["--only", "skylakex"]) == 1
    assert "skylakex: left out, this processor lacks avx512f" in capsys.readouterr().out


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="kernels are chosen on Linux alone")
def test_a_failure_on_one_machine_is_told_after_all_have_run(tmp_path, monkeypatch, capsys):
    """As pytest runs it: a test that fails on one of the kernels."""
    name = (
        "import os\n\n\ndef test_kernels():\n    assert os.environ['OPENBLAS_CORETYPE'] != 'Zen'\n"
    )
    (tmp_path / "test_it.py").write_text(name)
    monkeypatch.setattr(machines, "ROOT", tmp_path)
    monkeypatch.setattr(machines, "OUT", tmp_path / "out")
    every = {name for machine in machines.MACHINES.values() for name in machine.needs}
    monkeypatch.setattr(machines, "processor", lambda: ("this one", every))
    chosen = ["--only", "zen", "--only", "haswell", "test_it.py"]
    assert machines.main(chosen) == 1
    out = capsys.readouterr().out
    assert "failed as zen:" in out and out.count("FAILED") == 2 and out.count("1 passed") == 2
