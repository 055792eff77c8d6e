"""Runs commands in a process of their own, which may die: ``Worker`` starts another one then."""

import contextlib
import io
import json
import os
import select
import subprocess
import sys
import time
import traceback
from typing import NamedTuple


class Ended(NamedTuple):
    """How a command ended: its status (negative for a signal), and what it printed as errors."""

    status: int
    errors: list[str]
    seconds: float


class Worker:
    """Runs one command after another."""

    def __init__(self, limit: float = 300.0):
        self.limit = limit  # seconds a command
        self.process: subprocess.Popen | None = None

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def run(self, arguments: list[str]) -> Ended:
        """The end of a command; one that takes longer than the limit raises TimeoutError."""
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.worker"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                env=os.environ | {
                    "PYTHONPATH": os.pathsep.join(sys.path), "TF_CPP_MIN_LOG_LEVEL": "3",
                },
            )  # fmt: skip
        assert self.process.stdin and self.process.stdout
        began = time.monotonic()
        self.process.stdin.write(json.dumps(arguments) + "\n")
        self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], self.limit)[0]:
            self._stop()
            raise TimeoutError(f"{arguments} took more than {self.limit} s")
        answer = self.process.stdout.readline()
        if not answer:
            status = self.process.wait()
            self._stop()
            return Ended(status, [], time.monotonic() - began)
        return Ended(*json.loads(answer), time.monotonic() - began)

    def _stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def _answer(arguments: list[str]) -> tuple[int, list[str]]:
    from tripletjax.cli import main

    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        try:
            status = main(arguments)
        except SystemExit as exit:
            status = exit.code if isinstance(exit.code, int) else 1
        except BaseException:
            traceback.print_exc()
            status = 70
    return status, errors.getvalue().splitlines()


if __name__ == "__main__":
    import tests.conftest  # noqa: F401  (the settings of the suite)

    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), flush=True)
