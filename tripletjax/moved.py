"""Import paths of release 0.1.0, which work until release 0.3 with a DeprecationWarning."""

import sys
import warnings
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MOVED = {
    "adaptive_tags": "potentials.adaptive_tags",
    "angular": "basis.angular",
    "columns": "descriptors.columns",
    "completeness.audit": "completeness.auditing",
    "completeness.certificate": "completeness.certificates",
    "completeness.report": "completeness.reports",
    "completeness.sensitivity": "completeness.jacobians",
    "completeness.separation": "completeness.separations",
    "conventions": "descriptors.conventions",
    "correlations": "invariants.correlations",
    "coupled": "invariants.coupled",
    "coupling": "basis.coupling",
    "densities": "basis.densities",
    "description": "descriptors.description",
    "environments": "descriptors.ragged",
    "fingerprints": "invariants.fingerprints",
    "kernels.potential": "kernels.model",
    "mechanics": "potentials.mechanics",
    "mixing": "basis.mixing",
    "models": "potentials.network",
    "nice": "invariants.nice",
    "potential": "potentials",
    "radial": "basis.radial",
    "tagged": "invariants.tagged",
    "tags": "invariants.tags",
    "tensor_models": "properties.network",
    "tensor_properties": "properties.tensor_model",
    "tensor_training": "properties.fitting",
    "tensors": "invariants.equivariants",
    "transformer": "descriptors.transformer",
    "triplets": "invariants.triplets",
    "uncertainty": "potentials.committee",
}
PACKAGE = "tripletjax."


def new_path(name: str) -> str | None:
    """The current path of a module; None if it did not move.

    Example:
        >>> new_path("tripletjax.nice.fitting")
        'tripletjax.invariants.nice.fitting'
    """
    for old, new in MOVED.items():
        if f"{name}.".startswith(f"{PACKAGE}{old}."):
            return PACKAGE + new + name.removeprefix(PACKAGE + old)
    return None


class _Finder(MetaPathFinder, Loader):
    """Finder that provides a module under its old name."""

    def find_spec(self, fullname: str, path=None, target=None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if new_path(fullname) else None

    def exec_module(self, module: ModuleType) -> None:
        new = new_path(module.__name__) or module.__name__
        message = f"{module.__name__} is now {new}; the old path will be removed in release 0.3"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        found, name = import_module(new), module.__name__.rpartition(".")[2]
        if hasattr(found, name):  # the import also replaces what the package has under this name
            module.__dict__.update({k: v for k, v in vars(found).items() if not k.startswith("__")})
            module.__class__ = _CalledModule
        else:
            sys.modules[module.__name__] = found


class _CalledModule(ModuleType):
    """Module that can be called as the function of its name: ``completeness.audit``."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return getattr(self, self.__name__.rpartition(".")[2])(*arguments, **options)


def install() -> None:
    """Install the finder, as the first one: otherwise moved packages would be imported twice."""
    if not any(type(finder).__qualname__ == _Finder.__qualname__ for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
