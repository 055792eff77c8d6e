"""Imports run one way, and what must not be imported is not: read from the source, not run."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "tripletjax"
# A module imports only from lines above its own; those on one line do not import each other.
ORDER = [
    {"types", "progress", "sealing"},
    {"numerics", "mechanics", "structures", "locks"},
    {"radial", "angular", "coupling", "pairs", "tags"},
    {"extended_xyz", "neighbors", "densities"},
    {"reading"},
    {"io"},
    {"correlations", "triplets", "environments", "data", "volumes"},
    {"nice", "coupled", "tagged"},
    {"fingerprints", "mixing"},
    {"columns", "tensors"},
    {"descriptors"},
    {"description"},
    {"kernels", "plotting", "conventions", "transformer", "adaptive_tags"},
    {"models"},
    {"potential", "tensor_models"},
    {"uncertainty", "tensor_properties"},
    {"training", "calculator"},
    {"tensor_training"},
    {"md"},
    {"completeness"},
    {"demo"},
    {"fit_options"},
    {"train_commands", "tensor_commands", "md_commands", "outcomes"},
    {"cli", "testing"},
]
MAX_LINES = 350


def modules() -> dict[str, list[Path]]:
    """Files of every module or subpackage; the package's own __init__ is the façade, left out."""
    found: dict[str, list[Path]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if name != "__init__":
            found.setdefault(name, []).append(path)
    return found


def imported(path: Path) -> set[str]:
    """Full names of all that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import; write it in full"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def line_of(module: str) -> int:
    lines = [number for number, names in enumerate(ORDER) if module in names]
    assert lines, f"tripletjax.{module} is not in ORDER: add it on the line that it belongs to"
    return lines[0]


@pytest.mark.parametrize("module", modules())
def test_imports_run_one_way(module):
    for path in modules()[module]:
        for name in imported(path):
            parts = name.split(".")
            if parts[0] == "tripletjax" and len(parts) > 1 and (PACKAGE / parts[1]).exists():
                target = parts[1]
            elif parts[0] == "tripletjax" and (PACKAGE / f"{parts[-1]}.py").exists():
                target = parts[-1]
            elif parts[0] == "tripletjax" and len(parts) > 1:
                target = parts[1]
            else:
                continue
            if target not in (module, "__version__"):
                assert line_of(target) < line_of(module), f"{path.name} imports {name}"


def test_every_file_has_one_page():
    lengths = {path.name: len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {name: n for name, n in lengths.items() if n > MAX_LINES} == {}


def test_heavy_and_outside_imports():
    for path in PACKAGE.rglob("*.py"):
        roots = {name.split(".")[0] for name in imported(path)}
        assert path.name == "jaxmd.py" or "jax_md" not in roots, f"{path.name} imports jax_md"
        assert "experiments" not in roots and "tests" not in roots, path.name


def test_only_the_command_line_switches_x64():
    for path in PACKAGE.rglob("*.py"):
        if path.name != "outcomes.py":  # restored there at the end
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant):
                    assert node.value != "jax_enable_x64", f"{path.name} switches x64"
