"""Imports run one way, and what must not be imported is not: read from the source, not run."""

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

pytestmark = pytest.mark.once("float32")

PACKAGE = Path(__file__).parents[1] / "tripletjax"
# A module or package imports only from lines above its own; those on one line do not import each
# other. Inside a package no import goes round in a circle.
ORDER = [
    {"checks", "progress", "sealing", "lazy", "moved"},
    {"settings"},
    {"types"},
    {"numerics", "structures", "locks"},
    {"basis", "pairs"},
    {"extended_xyz", "neighbors", "devices"},
    {"reading"},
    {"io"},
    {"data", "volumes", "plotting"},
    {"invariants"},
    {"descriptors"},
    {"potentials"},
    {"kernels"},
    {"training"},
    {"fitting"},
    {"properties"},
    {"engines"},
    {"md", "calculator"},
    {"completeness"},
    {"demo"},
    {"commands"},
    {"cli", "testing"},
]
MAX_LINES = 350


def modules() -> dict[str, Path]:
    """Files of all modules by their names, below the package: "md.driver", "io".

    The ``__init__`` of a package only hands on what is inside, and is left out.
    """
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.name != "__init__.py"
    }


MODULES = modules()


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def imported(path: Path) -> set[str]:
    """Full names of all that a file imports, anywhere in it, inside functions too."""
    names = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import; write it in full"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def own_imports(path: Path) -> set[str]:
    """Modules and packages of tripletjax that a file imports, as in ``modules``."""
    found = set()
    for name in imported(path):
        parts = name.split(".")[1:]
        if not name.startswith("tripletjax.") or parts == ["__version__"]:
            continue
        while parts and ".".join(parts) not in MODULES and not PACKAGE.joinpath(*parts).is_dir():
            parts.pop()  # what a module defines
        found.add(".".join(parts))
    return found


def line_of(name: str) -> int:
    top = name.split(".")[0]
    lines = [number for number, names in enumerate(ORDER) if top in names]
    assert lines, f"tripletjax.{top} is not in ORDER: add it on the line that it belongs to"
    return lines[0]


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_one_way(module):
    for name in own_imports(MODULES[module]) - {""}:
        if name.split(".")[0] != module.split(".")[0]:
            assert line_of(name) < line_of(module), f"{module} imports {name}"


def test_no_circles():
    """Nor through the façade of a module's own package."""
    graph = {module: own_imports(path) for module, path in MODULES.items()}
    for module, names in graph.items():
        above = {module.rsplit(".", count)[0] for count in range(1, module.count(".") + 1)}
        assert not names & above, f"{module} imports its own package: name the module inside"
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_no_module_shares_its_name_with_a_function():
    """``from tripletjax.package import name`` then means one thing."""
    for module, path in MODULES.items():
        package = path.parent
        functions = {
            node.name
            for other in package.glob("*.py")
            for node in parsed(other).body
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
        }
        assert path.stem not in functions, f"{module} is also a function of its package"


def test_every_file_has_one_page():
    lengths = {path.name: len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {name: n for name, n in lengths.items() if n > MAX_LINES} == {}


def test_heavy_and_outside_imports():
    for path in PACKAGE.rglob("*.py"):
        roots = {name.split(".")[0] for name in imported(path)}
        assert path.name.startswith("jaxmd") or "jax_md" not in roots, f"{path.name} imports jax_md"
        assert "experiments" not in roots and "tests" not in roots, path.name


def test_only_the_command_line_switches_x64():
    for path in PACKAGE.rglob("*.py"):
        if path.name != "outcomes.py":  # restored there at the end
            for node in ast.walk(parsed(path)):
                if isinstance(node, ast.Constant):
                    assert node.value != "jax_enable_x64", f"{path.name} switches x64"
