"""Packages whose contents are imported when they are first used."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazily(package: str, places: Mapping[str, str]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package.

    Args:
        package: its name.
        places: the module that defines each name, below tripletjax; "module:name" where it has
            another name there.

    Example:
        >>> lazily("tripletjax.md", {"MDConfig": "md.config"})("MDConfig").__name__
        'MDConfig'
    """

    def attribute(name: str) -> Any:
        if name in places:
            module, _, other = places[name].partition(":")
            return getattr(import_module(f"tripletjax.{module}"), other or name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return attribute
