"""How XLA compiles for the tests."""

from importlib.metadata import version


def xla_flags() -> str:
    """The older code generator compiles in half of the time; later releases do not have it."""
    if tuple(int(part) for part in version("jax").split(".")[:2]) < (0, 11):
        return "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
    return ""
