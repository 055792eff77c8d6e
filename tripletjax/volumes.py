"""Which structures have a stress: those whose cell has a well-defined volume."""

import logging
from collections.abc import Sequence

import numpy as np
from ase import Atoms

from tripletjax.structures import MIN_CELL_VOLUME

log = logging.getLogger(__name__)


def has_volume(frame: Atoms) -> bool:
    """Whether a structure has a stress: some periodic direction and three independent vectors.

    A layer (pbc T T F) in a cell with a third vector has a stress, as in ASE; a molecule in a box
    does not.

    Example:
        >>> cell = [3.0, 3.0, 10.0]
        >>> [has_volume(Atoms("H", cell=cell, pbc=pbc)) for pbc in (True, [1, 1, 0], False)]
        [True, True, False]
    """
    vectors = frame.cell.array
    lengths = np.linalg.norm(vectors, axis=1)
    if not (frame.pbc.any() and np.isfinite(lengths).all() and lengths.all()):
        return False
    return bool(abs(np.linalg.det(vectors / lengths[:, None])) > MIN_CELL_VOLUME)


def stress_with_volume(
    frames: Sequence[Atoms], stress: Sequence[np.ndarray | None], source: str = "the data"
) -> list[np.ndarray | None]:
    """The stress of each structure, or None if its cell has no well-defined volume.

    The number of structures whose stress is ignored is logged once.

    Args:
        frames: the structures.
        stress: of each structure, or None.
        source: origin of the structures, for the log.
    """
    counted = [
        value if value is not None and has_volume(frame) else None
        for frame, value in zip(frames, stress, strict=True)
    ]
    given = sum(value is not None for value in stress)
    dropped = given - sum(value is not None for value in counted)
    if dropped:
        log.info(
            "ignored the stress of %d of %d structures of %s: no periodic direction, or a cell "
            "without a well-defined volume",
            dropped,
            len(frames),
            source,
        )
    return counted
