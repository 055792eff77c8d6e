"""How XLA compiles for the tests: with little effort, since most programs run once or twice.

What users run is compiled by the default code generator; ``make test-default`` tests that.
"""

from tripletjax.testing import FAST_COMPILATION


def xla_flags() -> str:
    """FAST_COMPILATION as XLA_FLAGS."""
    return " ".join(f"--{name}={str(value).lower()}" for name, value in FAST_COMPILATION.items())
