"""What a descriptor can and cannot distinguish: degenerate structures, measures, search, audit."""

from typing import TYPE_CHECKING

from tripletjax.lazy import lazily

if TYPE_CHECKING:
    from tripletjax.completeness.auditing import audit

__all__ = ["audit"]


__getattr__ = lazily(__name__, {"audit": "completeness.auditing"})
