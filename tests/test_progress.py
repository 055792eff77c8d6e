"""Progress in a log file is a few plain lines; no checked number is lost on its way to a file."""

import io
import json
import re

import numpy as np
import pytest

from tripletjax import InputError
from tripletjax.progress import Lines
from tripletjax.types import Hypers, as_integer, as_number, as_positive

pytestmark = pytest.mark.once("float32")


def test_progress_in_a_log_is_few_lines_each_with_the_time():
    log = io.StringIO()
    form = "{percentage:3.0f}% |{bar:20}| {elapsed}{postfix}"
    with Lines(total=1000, bar_format=form, file=log) as bar:
        for step in range(1000):
            bar.update()
            if step == 499:
                bar.set_postfix_str("loss 0.1")
    lines = log.getvalue().splitlines()
    assert "\r" not in log.getvalue() and len(lines) == 2
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in lines)
    assert "loss 0.1" in lines[0] and "50%" in lines[0] and "100%" in lines[1]


def test_the_last_line_is_there_once():
    log = io.StringIO()
    with Lines(total=2, file=log) as bar:
        bar.update(2)
        bar.set_postfix_str("loss 0.1")
    assert log.getvalue().count("\n") == 1


def test_a_line_is_due_however_slow_the_progress_is():
    log = io.StringIO()
    with Lines(total=100, file=log) as bar:
        for _ in range(3):
            bar.last_print_t -= 31
            bar.update(0.1)
    assert log.getvalue().count("\n") == 3


def test_a_line_is_due_after_a_while(monkeypatch):
    log = io.StringIO()
    with Lines(total=3, file=log, desc="certify", unit="pair") as bar:
        bar.last_print_t -= 31
        bar.update()
        bar.update()
    assert [line[9:].split(",")[0] for line in log.getvalue().splitlines()] == [
        "certify: 1 of 3 pair",
        "certify: 2 of 3 pair",
    ]


@pytest.mark.parametrize("kind", [int, np.int32, np.int64, np.uint8, np.array])
def test_whole_numbers_of_any_kind_become_ints(kind):
    assert type(as_integer("n", kind(3), 0, 5)) is int
    assert json.dumps(Hypers(n_max=kind(3), l_max=kind(2), tags=kind(4)).n_max) == "3"


@pytest.mark.parametrize("kind", [float, np.float32, np.float64, np.int64, np.array])
def test_numbers_of_any_kind_become_floats(kind):
    assert type(as_number("x", kind(3), 0, 5)) is float
    assert type(Hypers(cutoff=kind(3)).cutoff) is float


@pytest.mark.parametrize("value", [True, np.True_, 1.0, "1", None, np.nan, [1], 7, -1])
def test_what_is_no_whole_number_in_the_bounds_is_refused(value):
    with pytest.raises(InputError, match=r"invalid n=.*: expected a whole number from 0 to 5"):
        as_integer("n", value, 0, 5)


@pytest.mark.parametrize("value", [True, np.nan, np.inf, 0, -1.0, "2", None])
def test_what_is_no_positive_number_is_refused(value):
    with pytest.raises(InputError, match=r"invalid cutoff=.*: expected a positive number \(Å\)"):
        as_positive("cutoff", value, "Å")
