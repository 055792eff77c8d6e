"""Files run on the side that they name, and none is left out on both."""

from pathlib import Path

import pytest

from tests import sides

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.once("float32")

ROOT = Path(__file__).parents[1]
SETTINGS = """
[pytest]
testpaths = tests tripletjax
addopts = --doctest-modules --strict-markers -p no:cacheprovider
markers = once(side): runs on one side
"""
CONFTEST = """
from tests.sides import Sides

def pytest_addoption(parser):
    parser.addoption("--both-sides", action="store_true")

def pytest_configure(config):
    config.pluginmanager.register(Sides(config))
"""
MARKED = "import pytest\n\npytestmark = pytest.mark.once({!r})\n\n\ndef test_it():\n    pass\n"
FILES = {
    "tests/test_a.py": MARKED.format("float32"),
    "tests/test_b.py": MARKED.format("float64"),
    "tests/test_c.py": "def test_it():\n    pass\n",
    "tripletjax/kernels/d.py": '"""\n>>> 1\n1\n"""\n',
    "tripletjax/plain.py": "VALUE = 1\n",
}
ON = {"float32": {"tests/test_a.py", "tests/test_c.py"}}
ON["float64"] = {"tests/test_b.py", "tests/test_c.py", "tripletjax/kernels/d.py"}


@pytest.fixture
def suite(pytester, monkeypatch):
    """Runs FILES, with some of them changed, on one side."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # each run would load them again
    pytester.makeini(SETTINGS)
    pytester.makeconftest(CONFTEST)

    def run(side, *arguments, **changed):
        monkeypatch.setattr(sides, "this_side", lambda: side)
        for name, text in (FILES | changed.get("files", {})).items():
            path = pytester.path / name
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_text(text)
        return pytester.runpytest_inprocess("-v", *arguments)

    return run


def passed(result):
    return {line.split("::")[0] for line in result.outlines if " PASSED" in line}


@pytest.mark.parametrize("side", sides.SIDES)
def test_marked_files_run_on_their_side_and_others_on_both(suite, side):
    result = suite(side)
    assert result.ret == 0 and passed(result) == ON[side]


def test_markers_can_be_ignored(suite):
    assert passed(suite("float32", "--both-sides")) == ON["float32"] | ON["float64"]


def test_a_file_that_is_asked_for_on_the_wrong_side_says_so(suite):
    result = suite("float32", "tests/test_b.py")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert "tests/test_b.py runs with JAX_ENABLE_X64=1" in result.outlines


@pytest.mark.parametrize("name", ["float16", "both"])
def test_other_sides_are_refused(suite, name):
    result = suite("float32", files={"tests/test_a.py": MARKED.format(name)})
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"invalid once('{name}',): expected once(\"float32\")" in str(result.stderr)


@pytest.mark.parametrize("folder", ["tests/build", "tripletjax/build"])
def test_files_that_are_not_collected_are_errors(suite, folder):
    """As those below a folder into which pytest does not look."""
    name = f"{folder}/test_e.py"
    result = suite("float32", files={name: f'"""\n>>> 1\n1\n"""\n{FILES["tests/test_c.py"]}'})
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"not collected: {name}" in str(result.stderr)


def test_a_file_whose_tests_are_all_skipped_is_an_error(suite):
    skips = MARKED.format("float32").replace("pass", "pytest.skip('no')")
    result = suite("float32", files={"tests/test_a.py": skips})
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert any("ERROR tests/test_a.py: every test was skipped" in line for line in result.outlines)
    assert suite("float32", "-k", "test_c").ret == 0
    one_runs = skips + "\n\ndef test_other():\n    pass\n"
    assert suite("float32", files={"tests/test_a.py": one_runs}).ret == 0


def test_a_module_that_lacks_a_package_is_no_error(suite):
    lacks = "import pytest\n\npytest.importorskip('no_such_package')\n"
    assert suite("float32", files={"tests/test_e.py": lacks}).ret == 0


@pytest.mark.parametrize("path", sides.DOCTESTS)
def test_doctests_that_run_once_are_there(path):
    modules = [(ROOT / path).with_suffix(".py"), *(ROOT / path).rglob("*.py")]
    assert any(sides.has_doctest(module) for module in modules if module.is_file())


def test_side_of_doctests_is_that_of_the_longest_path(monkeypatch):
    monkeypatch.setattr(sides, "DOCTESTS", {"a/b": "float32", "a/b/c": "float64"})
    files = {"a/b/d.py": "float32", "a/b/c.py": "float64", "a/b/c/d.py": "float64", "a/e.py": None}
    assert {file: sides.side_of_doctests(file) for file in files} == files
