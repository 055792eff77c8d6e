"""What a descriptor can and cannot distinguish: degenerate structures, measures, search, audit."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tripletjax.completeness.auditing import audit

__all__ = ["audit"]


def __getattr__(name: str) -> Any:
    if name == "audit":
        return import_module("tripletjax.completeness.auditing").audit
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
