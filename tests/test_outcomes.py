"""How a command ends: the exit status, one line, and Python's settings as they were."""

import errno
import logging
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tripletjax
from tripletjax.cli import main
from tripletjax.commands.outcomes import settings, status_of

pytestmark = pytest.mark.once("float32")


def raising(error):
    def run(_):
        raise error

    return run


@pytest.mark.parametrize("error, status, line", [
    (tripletjax.InputError("cutoff=0"), 2, "cutoff=0"),
    (tripletjax.SimulationError("blew up\nat step 3"), 1, "blew up at step 3"),
    (tripletjax.ConvergenceError("not converged"), 1, "not converged"),
    (OSError(errno.ENOSPC, "No space left on device", "a/b.csv"), 2, "a/b.csv: No space left"),
    (OSError("cannot read"), 2, "cannot read"),
    (MemoryError(), 1, "out of memory"),
    (MemoryError("Unable to allocate 8 TiB"), 1, "out of memory: Unable to allocate 8 TiB"),
    (KeyboardInterrupt(), 130, "interrupted"),
    (KeyboardInterrupt("interrupted at step 5"), 130, "interrupted at step 5"),
])  # fmt: skip
def test_a_failure_is_one_line_and_a_status(error, status, line, capsys):
    assert status_of(raising(error), None) == status
    found = capsys.readouterr().err
    assert found.startswith(f"tripletjax: {line}") and found.count("\n") == 1


def test_memory_that_jax_lacks_is_one_line(capsys):
    assert status_of(lambda _: jnp.zeros(1 << 50).block_until_ready(), None) == 1
    found = capsys.readouterr().err
    assert "out of memory" in found and found.count("\n") == 1


def test_faults_of_the_program_are_not_hidden():
    for error in (RuntimeError("a bug"), TypeError("another"), ValueError("and one")):
        with pytest.raises(type(error), match=str(error)):
            status_of(raising(error), None)


def state():
    root, log = logging.getLogger(), logging.getLogger("tripletjax")
    filters = list(warnings.filters)
    return (list(root.handlers), root.level, list(log.handlers), log.level, warnings.showwarning,
            filters, jax.config.jax_enable_x64)  # fmt: skip


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_that_a_command_sets_stays(fails, tmp_path, capsys):
    before = state()
    source = tmp_path / "in.xyz"
    source.write_text("2\n\nH 0 0 0\nH 0 0 0.7\n")
    small = ["--kind", "power_spectrum", "--n-max", "1", "--l-max", "1", "--x64"]
    given = source if not fails else tmp_path / "missing.xyz"
    assert main(["describe", str(given), str(tmp_path / "out.npz"), *small]) == (2 if fails else 0)
    assert state() == before
    if not fails:
        with np.load(tmp_path / "out.npz") as found:
            assert found["values"].dtype == np.float64


def test_records_have_the_time_in_a_log_file_and_are_shown_once(capsys):
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []  # those of pytest
    try:
        with settings(x64=False):
            logging.getLogger("tripletjax.some").info("reading %s", "in.xyz")
            warnings.showwarning("two\nlines", UserWarning, "file", 1)
        assert not root.handlers
    finally:
        root.handlers = handlers
    first, second = capsys.readouterr().err.splitlines()
    assert first[2] == first[5] == ":" and first.endswith(" reading in.xyz")
    assert second == "tripletjax: warning: two lines"


def test_the_help_names_the_statuses(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    found = capsys.readouterr().out
    assert "Exit status: 0" in found and "130" in found
