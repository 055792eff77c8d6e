"""The file from which a run is resumed, with bit-identical results."""

from pathlib import Path

import numpy as np

from tripletjax.md import blocks
from tripletjax.md.motion import Motion
from tripletjax.training.checkpoints import Checkpoint, load_checkpoint, save_checkpoint


class Restart:
    """Remembers a run at every row, and writes what it remembers now and then.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path):
        self.path = path
        self.marked: Checkpoint
        self.step = 0  # of the state in the file

    def mark(self, motion: Motion, lengths: dict[str, int]) -> None:
        """Remember what ``save`` writes: the list too, or sums would be in another order.

        Args:
            motion: the state.
            lengths: bytes that the growing files have now.
        """
        record = {
            "settings": motion.setup.settings,
            "lengths": lengths,
            "list": (motion.lists.width, motion.used, motion.used_before),
            "cell": motion.cell.tolist(),
        }
        made = motion.made.positions, motion.made.cell, motion.turns
        self.marked = Checkpoint(motion.state, made, record)

    def save(self) -> None:
        """Write the state of the last mark."""
        save_checkpoint(self.path, self.marked)
        self.step = int(self.marked.state.steps)

    def load(self, motion: Motion) -> dict[str, int]:
        """Bring a run to the state in the file, with the list that it had.

        Returns:
            Bytes that the growing files had.

        Raises:
            InputError: the file is damaged, or of another run.
        """
        like = blocks.begun.eval_shape(*motion.start), (*motion.made[1:], motion.turns)
        found = load_checkpoint(self.path, like, motion.setup.settings)
        motion.state, (positions, cell, turns) = found.state, found.best
        motion.turns, motion.cell = np.asarray(turns), np.asarray(found.record["cell"])
        motion.lists.width, motion.used, motion.used_before = found.record["list"]
        motion.made, motion.is_fresh = motion.lists.at(positions, cell), False
        self.step = motion.step
        return found.record["lengths"]
