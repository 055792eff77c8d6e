"""Memory that a full Gaussian process needs, and that the machine has."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tripletjax.kernels.observations import Labelled
from tripletjax.types import InputError

UNKNOWN = 8e9  # bytes, where the system does not say how many are available
IN_PANELS = 4 * 1024 * 8  # bytes for each label while the covariance is factored
OTHERS = 5e8  # bytes for the search for variance and noise, and for blocks of the covariance
LARGE = 2e9  # bytes of derivatives, above which they are stored in float32
GROUPS = "/sys/fs/cgroup"


def available_bytes() -> float:
    """Memory that can be had without swapping: the least of what the system and its limits say.

    Linux estimates it, free pages and those that caches give back; elsewhere it is all of the
    physical memory.

    Example:
        >>> available_bytes() > 0
        True
    """
    found = [_of_system(), _of_group(Path(GROUPS))]
    return min((value for value in found if value is not None), default=UNKNOWN)


def _of_system() -> float | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        sizes = dict(line.split(":", 1) for line in lines)
        return 1024.0 * int(sizes["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        pass
    try:
        return float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not on this system
        return None


def _of_group(folder: Path) -> float | None:
    """What a control group leaves, as in a container; None: no limit."""
    try:
        limit, used = (int((folder / f"memory.{name}").read_text()) for name in ("max", "current"))
        sizes = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return max(0.0, float(limit - used + int(sizes.get("inactive_file", 0))))
    except (OSError, ValueError):  # a limit of "max" is not a number
        return None


def derivative_bytes(structures: Sequence[Labelled], width: int) -> tuple[float, type]:
    """Bytes of the derivatives of all environments along all labels, and the type they are kept in.

    They are rounded to float32 if there are many. The labels of the forces are then along
    directions in which a part of 6e-8 is wrong, which changes them by as much: far below any noise.

    Example:
        >>> derivative_bytes([Labelled(9, 21, False)], 300)
        (453600.0, <class 'numpy.float64'>)
    """
    numbers = float(sum((n_labels_of([s]) - 1) * s.n_atoms * width for s in structures))
    dtype = np.float32 if 8 * numbers > LARGE else np.float64
    return np.dtype(dtype).itemsize * numbers, dtype


def full_bytes(structures: Sequence[Labelled], width: int) -> float:
    """Bytes for the covariance of all labels and all that is in memory beside it.

    The matrix of n labels has 8n² and is factored in its own memory; the derivatives are those of
    ``derivative_bytes``, and vectors have ``width`` columns.

    Example:
        >>> round(full_bytes([Labelled(9, 21, False)] * 1000, 300) / 1e9, 1)
        5.5
    """
    n_labels = n_labels_of(structures)
    return (
        8.0 * n_labels**2 + IN_PANELS * n_labels + derivative_bytes(structures, width)[0] + OTHERS
    )


def n_labels_of(structures: Sequence[Labelled]) -> int:
    """Energies, forces along directions and components of the stress."""
    return sum(1 + structure.forces + 6 * structure.stress for structure in structures)


def fits_in_memory(structures: Sequence[Labelled], width: int) -> bool:
    """Whether ``full_bytes`` are available."""
    return full_bytes(structures, width) <= available_bytes()


def require_memory(structures: Sequence[Labelled], width: int) -> None:
    """Raise InputError if a full process does not fit in memory, with how many structures would."""
    needed, available = full_bytes(structures, width), available_bytes()
    if needed <= available:
        return
    low, high = 0, len(structures)
    while high - low > 1:
        middle = (low + high) // 2
        chosen = structures[:: max(1, len(structures) // middle)][:middle]
        low, high = (middle, high) if full_bytes(chosen, width) <= available else (low, middle)
    n_labels = n_labels_of(structures)
    raise InputError(
        f"a full process with {n_labels} labels needs {needed / 1e9:.1f} GB of memory, but "
        f"{available / 1e9:.1f} GB are available: expected about {low} structures or fewer "
        f"instead of {len(structures)}, or the iterative method, which has no matrix"
    )
