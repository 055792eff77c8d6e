"""The tests as on other machines: kernels of BLAS, instructions of XLA and NumPy, one thread.

    python -m tests.machines [--only NAME] [PATH ...]

Without paths, both sides of ``make test`` run as each machine in turn, and the times are kept in
.cache/machines. A machine whose instructions this processor lacks is left out, and named. The
exit status is 1 if a machine fails, after all have run, or if none can run here.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.compilation import xla_flags

ROOT = Path(__file__).parents[1]
OUT = ROOT / ".cache" / "machines"
BITS = ("32", "64")
# Prints the kernels that NumPy's OpenBLAS has chosen; Zen has those of Haswell in some builds.
KERNELS = """
import ctypes, pathlib, numpy
lines = pathlib.Path("/proc/self/maps").read_text().splitlines()
library = ctypes.CDLL(next(line.split()[-1] for line in lines if "libscipy_openblas64" in line))
library.scipy_openblas_get_corename64_.restype = ctypes.c_char_p
print(library.scipy_openblas_get_corename64_().decode())
"""


class Machine(NamedTuple):
    """What sets a machine apart from this one."""

    blas: str  # OPENBLAS_CORETYPE
    isa: str | None  # the newest instructions that XLA may use; None: all
    numpy: str | None  # the same of NumPy's own loops: "baseline", "AVX2" or None
    one_thread: bool
    needs: tuple[str, ...]  # flags of the processor without which the kernels do not run


MACHINES = {
    "haswell": Machine("Haswell", "AVX2", "AVX2", True, ("avx2", "fma")),
    "skylakex": Machine(
        "SkylakeX", None, None, False, ("avx512f", "avx512dq", "avx512bw", "avx512vl")
    ),
    "nehalem": Machine("Nehalem", "SSE4_2", "baseline", False, ("sse4_2",)),
    "zen": Machine("Zen", None, None, False, ("avx2", "fma")),
}


def environment(machine: Machine) -> dict[str, str]:
    """The variables under which the tests run as if on that machine."""
    flags = [xla_flags()]
    found = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    found["OPENBLAS_CORETYPE"] = machine.blas
    found["NPY_DISABLE_CPU_FEATURES"] = " ".join(left_out_of_numpy(machine))
    if machine.isa is not None:
        flags.append(f"--xla_cpu_max_isa={machine.isa}")
    found["OPENBLAS_NUM_THREADS"] = str(1 if machine.one_thread else len(os.sched_getaffinity(0)))
    if machine.one_thread:
        flags.append("--xla_cpu_multi_thread_eigen=false")
        found["OMP_NUM_THREADS"] = "1"
    found["XLA_FLAGS"] = " ".join(flags).strip()
    return found


def left_out_of_numpy(machine: Machine) -> list[str]:
    """Features of this processor that NumPy is not to use; X86_V4 is what begins with AVX512."""
    config: Any = np.show_config(mode="dicts")
    found = config.get("SIMD Extensions", {}).get("found", [])
    wide = [name for name in found if "512" in name or name == "X86_V4"]
    return {"baseline": found, "AVX2": wide, None: []}[machine.numpy]


def lacking(machine: Machine, flags: set[str]) -> list[str]:
    """Instructions that the machine's kernels need and the processor lacks."""
    return [name for name in machine.needs if name not in flags]


def processor() -> tuple[str, set[str]]:
    """Name and flags of this processor; no flags where the system does not tell them."""
    file = Path("/proc/cpuinfo")
    text = file.read_text() if file.exists() else ""
    name = re.search(r"^model name\s*: (.*)$", text, re.M)
    flags = re.search(r"^flags\s*: (.*)$", text, re.M)
    return (name[1] if name else platform.processor()), set(flags[1].split()) if flags else set()


def run(name: str, paths: Sequence[str]) -> dict[str, Any]:
    """Both sides at once, as one machine; each writes its output to a file of its own."""
    machine = MACHINES[name]
    variables = environment(machine)
    OUT.mkdir(parents=True, exist_ok=True)
    cores = sorted(os.sched_getaffinity(0))
    begun, sides = time.monotonic(), {}
    for place, bits in enumerate(BITS):
        command = ["make", "--no-print-directory", f"test-{bits}"]
        if paths:
            cache = f"cache_dir=.cache/pytest-test-{bits}"
            command = [sys.executable, "-m", "pytest", "-q", "-o", cache, *paths]
        if machine.one_thread:
            command = ["taskset", "-c", str(cores[place % len(cores)]), *command]
        with (OUT / f"{name}-{bits}.log").open("w") as log:
            sides[bits] = subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT,
                env=variables | {"JAX_ENABLE_X64": str(int(bits == "64"))},
            )  # fmt: skip
    seconds: dict[str, float] = {}
    while len(seconds) < len(sides):
        for bits in sides.keys() - seconds.keys():
            if sides[bits].poll() is not None:
                seconds[bits] = round(time.monotonic() - begun, 1)
        time.sleep(0.1)
    used = subprocess.run(
        [sys.executable, "-c", KERNELS], env=variables, capture_output=True, text=True
    )
    found: dict[str, Any] = {"date": str(date.today()), "processor": processor()[0]}
    found |= {"cores": len(cores), "kernels_used": used.stdout.strip() or "unknown"}
    found |= machine._asdict()
    # Paths that are marked once leave the other side with nothing to run.
    accepted = {0, 5} if any(side.returncode == 0 for side in sides.values()) else {0}
    for bits, side in sides.items():
        text = (OUT / f"{name}-{bits}.log").read_text()
        counts = re.findall(r"^.*\d (?:passed|failed|error).* in .*$", text, re.M)
        result = {"passed": side.returncode in accepted, "seconds": seconds[bits]}
        found[f"x{bits}"] = result | {"summary": counts[-1] if counts else "no test ran"}
    return found


def summary(name: str, found: dict[str, Any]) -> str:
    """A row of the table."""
    threads = "one" if found["one_thread"] else "all"
    cells = [name, f"{found['blas']} ({found['kernels_used']})", found["isa"] or "all", threads]
    for bits in BITS:
        side = found[f"x{bits}"]
        cells.append(f"{'passed' if side['passed'] else 'FAILED'}, {side['seconds']:.0f} s")
    return f"| {' | '.join(cells)} |"


def keep(found: dict[str, dict[str, Any]]) -> None:
    """Write machines.json and machines.md, with what earlier runs found of other machines."""
    file = OUT / "machines.json"
    record = (json.loads(file.read_text()) if file.exists() else {}) | found
    file.write_text(json.dumps(record, indent=1) + "\n")
    head = "| machine | BLAS (kernels used) | XLA's instructions | threads | 32 bits | 64 bits |"
    rows = [summary(name, record[name]) for name in MACHINES if name in record]
    (OUT / "machines.md").write_text("\n".join([head, "|---" * 6 + "|", *rows]) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tests.machines", description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=MACHINES, help="one of them; repeatable")
    parser.add_argument("paths", nargs="*", metavar="PATH", help="for pytest; default: make test")
    parsed = parser.parse_args(arguments)
    found = {}
    for name in parsed.only or MACHINES:
        missing = lacking(MACHINES[name], processor()[1])
        if missing:
            print(f"{name}: left out, this processor lacks {', '.join(missing)}", flush=True)
            continue
        print(f"{name}: running, see {OUT.relative_to(ROOT)}/{name}-*.log", flush=True)
        found[name] = run(name, parsed.paths)
        print(summary(name, found[name]), flush=True)
        for bits in BITS:
            print(f"  {bits} bits: {found[name][f'x{bits}']['summary']}", flush=True)
        if not parsed.paths:
            keep(found)
    failed = [n for n, of in found.items() if not all(of[f"x{bits}"]["passed"] for bits in BITS)]
    if failed:
        print(f"failed as {', '.join(failed)}: see {OUT.relative_to(ROOT)}", flush=True)
    return int(bool(failed) or not found)


if __name__ == "__main__":
    sys.exit(main())
