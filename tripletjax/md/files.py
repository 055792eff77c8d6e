"""What a simulation leaves behind: rows, frames and the state from which it goes on.

Rows and frames are appended; the state, replaced atomically, holds how long both files were when
it was saved, and they are cut there when the simulation goes on: no step is lost or doubled.
"""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from tripletjax.types import InputError

THERMO, TRAJECTORY, RESTART = "thermo.csv", "trajectory.xyz", "restart.safetensors"


class Output:
    """The growing files of one run.

    Args:
        folder: exists.
        lengths: of the files, in bytes, from the state to go on from; None: new files.
    """

    def __init__(self, folder: Path, lengths: dict[str, int] | None = None):
        self.files = {name: folder / name for name in (THERMO, TRAJECTORY)}
        for name, path in self.files.items():
            if lengths is None:
                path.write_bytes(b"")
            elif not path.is_file() or path.stat().st_size < lengths[name]:
                raise InputError(f"{path} is shorter than its run was; start again with --force")
            else:
                os.truncate(path, lengths[name])

    def row(self, values: dict[str, Any]) -> None:
        """Append a row of numbers, and the header before the first."""
        path = self.files[THERMO]
        text = "" if path.stat().st_size else ",".join(values) + "\n"
        self._append(path, text + ",".join(map(_plain, values.values())) + "\n")

    def frame(self, atoms: Atoms) -> None:
        """Append a structure."""
        text = io.StringIO()
        write(text, atoms, format="extxyz")
        self._append(self.files[TRAJECTORY], text.getvalue())

    def lengths(self) -> dict[str, int]:
        """Bytes written so far."""
        return {name: path.stat().st_size for name, path in self.files.items()}

    @staticmethod
    def _append(path: Path, text: str) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)


def snapshot(
    template: Atoms, positions, momenta, cell, energy: float, forces, **info: float
) -> Atoms:
    """A frame with velocities, energy and forces, as ASE reads and writes them."""
    atoms = template.copy()
    atoms.calc = None
    atoms.info = dict(info)
    if atoms.pbc.any():
        atoms.set_cell(np.asarray(cell, float))
    atoms.positions = np.asarray(positions, float)
    atoms.set_momenta(np.asarray(momenta, float))
    forces = np.asarray(forces, float)
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    return atoms


def _plain(value: Any) -> str:
    return str(value) if isinstance(value, int) else f"{value:.10g}"
