"""What a descriptor can and cannot tell apart: degenerate structures, measures, search, audit."""
