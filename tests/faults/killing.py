"""Runs commands in processes that it kills; ``python -m tests.faults.killing`` reads what to do.

Children are forked before JAX starts its threads, and so without the time that imports take.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import jax
import matplotlib.pyplot  # noqa: F401
import numpy as np

import tripletjax.kernels
import tripletjax.md.driver
import tripletjax.potentials.committee
import tripletjax.potentials.storage
import tripletjax.training
from tests.conftest import CACHE
from tests.md_runs import springs
from tripletjax.cli import main

LONGEST = 300.0  # seconds of one process


def started(task: dict, options: list[str], log: Path, fills_cache: bool = False) -> int:
    """A process that runs a task's command with further options; its id."""
    process = os.fork()
    if process:
        return process
    status = 70
    try:
        with log.open("a") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        jax.config.update("jax_compilation_cache_dir", str(CACHE))
        # A program that a kill leaves half-written in the cache would be there for good.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0 if fills_cache else 1e9)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
        tripletjax.md.driver.SECONDS_A_SAVE = 0.05
        if task.get("springs"):  # in place of a network: they compile at once
            tripletjax.potentials.storage.load = lambda folder: springs(scale=0.01)
        status = main([*task["command"], *options])
    finally:
        sys.stdout.flush()
        os._exit(status)


def status_of(process: int) -> int:
    """Exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def killed(process: int, grows: Path, delay: float, at_once: bool) -> int:
    """Kill a process some time after it has begun to write, or after it has started.

    Returns:
        Its status, which is not that of a kill if it had ended before.
    """
    before, began, seen = _state(grows), time.monotonic(), None
    while True:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        now = time.monotonic()
        if seen is None and (at_once or _state(grows) != before):
            seen = now
        if now - began > LONGEST or (seen is not None and now - seen >= delay):
            os.kill(process, signal.SIGKILL)
            return status_of(process)
        time.sleep(0.002)


def _state(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def chain(task: dict, folder: Path, kills: int, random: np.random.Generator) -> int:
    """Kill a run and go on with it, again and again, and let it end at last; how many kills."""
    log, count = folder.with_suffix(".log"), 0
    out = ["--out", str(folder)]
    for attempt in range(kills):
        options = [task["goes_on"]] if attempt else []
        process = started(task, [*out, *options], log)
        at_once = random.random() < 0.2
        delay = random.uniform(0, 4.0 if at_once else task["delay"])
        status = killed(process, folder / task["grows"], delay, at_once)
        if status != -signal.SIGKILL:
            assert status == 0, _failure(out, status, log)
            break
        count += 1
    status = status_of(started(task, [*out, task["goes_on"]], log))
    assert status == 0, _failure(out, status, log)
    return count


def _failure(options: list[str], status: int, log: Path) -> str:
    return f"{' '.join(options)} ended with status {status}: {log.read_text()[-2000:]}"


def run(task: dict) -> dict:
    """The uninterrupted run in ``whole``, and chains of kills in ``part-0``, ``part-1``, ..."""
    folder, random = Path(task["folder"]), np.random.default_rng(task["seed"])
    whole = ["--out", str(folder / "whole")]
    status = status_of(started(task, whole, folder / "whole.log", fills_cache=True))
    assert status == 0, _failure(whole, status, folder / "whole.log")
    count, chains = 0, 0
    while count < task["kills"]:
        most = min(task["kills_a_chain"], task["kills"] - count)
        count += chain(task, folder / f"part-{chains}", most, random)
        chains += 1
        assert chains <= 3 * task["kills"], "runs end before they can be killed"
    return {"kills": count, "chains": chains}


if __name__ == "__main__":
    print(json.dumps(run(json.loads(sys.stdin.read()))))
