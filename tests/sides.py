"""The side of ``make test`` on which a file of tests runs.

The suite runs twice, with JAX_ENABLE_X64=0 and 1. A file whose tests do not depend on the
precision runs once, and says on which side:

    pytestmark = pytest.mark.once("float64")

A single test may be marked in the same way. The doctests of a package that run once are listed in
``DOCTESTS``. Everything else runs on both sides, and ``--both-sides`` ignores the markers.

Tests that would run nowhere are errors: a file that pytest does not collect, and one whose tests
are all skipped on a side.
"""

import ast
from collections import Counter, defaultdict
from pathlib import Path

import jax
import pytest

SIDES = {"float32": "JAX_ENABLE_X64=0", "float64": "JAX_ENABLE_X64=1"}
# Modules and packages; the longest path holds.
DOCTESTS = {
    "tripletjax/basis": "float64",
    "tripletjax/completeness": "float64",
    "tripletjax/descriptors": "float64",
    "tripletjax/engines": "float32",
    "tripletjax/fitting": "float32",
    "tripletjax/invariants": "float64",
    "tripletjax/kernels": "float64",
    "tripletjax/md": "float32",
    "tripletjax/potentials": "float64",
    "tripletjax/properties": "float32",
    "tripletjax/training": "float32",
}


def this_side() -> str:
    return "float64" if jax.config.jax_enable_x64 else "float32"


def side_of(item: pytest.Item) -> str | None:
    """The side on which a test runs; None: both."""
    marker = item.get_closest_marker("once")
    if marker is None:
        return side_of_doctests(file_of(item)) if isinstance(item, pytest.DoctestItem) else None
    if len(marker.args) != 1 or marker.args[0] not in SIDES:
        raise pytest.UsageError(
            f'{item.nodeid}: invalid once{marker.args}: expected once("float32") or once("float64")'
        )
    return marker.args[0]


def side_of_doctests(file: str) -> str | None:
    path = Path(file).with_suffix("")
    names = [place.as_posix() for place in (path, *path.parents)]
    return next((DOCTESTS[name] for name in names if name in DOCTESTS), None)


def file_of(item: pytest.Item) -> str:
    return item.nodeid.split("::")[0]


def files_with_tests(root: Path) -> set[str]:
    """Modules of tests and modules with doctests below ``root``, named as in node ids.

    tests/compare runs by itself, with packages of its own.
    """
    tests = {path for path in root.glob("tests/**/test_*.py") if path.parent.name != "compare"}
    found = tests | {path for path in root.glob("tripletjax/**/*.py") if has_doctest(path)}
    return {path.relative_to(root).as_posix() for path in found}


def has_doctest(path: Path) -> bool:
    """Whether the docstring of the module, or of what it defines, holds an example."""
    documented = ast.Module | ast.ClassDef | ast.FunctionDef
    nodes = ast.walk(ast.parse(path.read_text()))
    return any(">>> " in (ast.get_docstring(n) or "") for n in nodes if isinstance(n, documented))


class Sides:
    """Leaves out the tests of the other side, and notes which would run nowhere."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.chosen: Counter[str] = Counter()  # the tests of each file on this side
        self.skipped: Counter[str] = Counter()
        self.absent: set[str] = set()  # modules that skip themselves, for lack of a package
        self.elsewhere: dict[str, str] = {}  # files with tests on the other side, and which it is

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self.absent.add(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        parts: dict[bool, list[pytest.Item]] = defaultdict(list)
        for item in items:
            side = None if self.config.getoption("both_sides") else side_of(item)
            here = side in (None, this_side())
            parts[here].append(item)
            if side is not None and not here:
                self.elsewhere[file_of(item)] = side
        self.chosen.update(file_of(item) for item in parts[True])
        if self.config.args_source is pytest.Config.ArgsSource.TESTPATHS:
            collected = self.chosen.keys() | self.elsewhere.keys() | self.absent
            missing = files_with_tests(self.config.rootpath) - collected
            if missing:
                raise pytest.UsageError(f"not collected: {', '.join(sorted(missing))}")
        if parts[False]:
            self.config.hook.pytest_deselected(items=parts[False])
            items[:] = parts[True]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and report.when in ("setup", "call"):
            self.skipped[report.nodeid.split("::")[0]] += 1

    def all_skipped(self) -> list[str]:
        """Files none of whose tests ran; of single tests that were asked for, nothing is said."""
        if any("::" in argument for argument in self.config.args):
            return []
        return [file for file, count in self.chosen.items() if self.skipped[file] == count]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.all_skipped():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter) -> None:
        for file in self.all_skipped():
            terminalreporter.write_line(
                f"ERROR {file}: every test was skipped with "
                f"{SIDES[this_side()]}: mark the file with once or mend its skips",
                red=True,
            )
        if not self.chosen:
            for file, side in self.elsewhere.items():
                terminalreporter.write_line(f"{file} runs with {SIDES[side]}")
