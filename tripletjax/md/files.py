"""What a simulation leaves behind: rows, frames and the state from which it goes on.

Rows and frames are appended; the state, replaced atomically, holds how long both files were when
it was saved, and they are cut there when the simulation goes on: no step is lost or doubled.
"""

import io
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from tripletjax.io import atomic_open, foreign_files, naming, remove_own
from tripletjax.locks import hold, remove_unfinished
from tripletjax.types import InputError

THERMO, TRAJECTORY, RESTART = "thermo.csv", "trajectory.xyz", "restart.safetensors"
RECORD, FINAL, SETTINGS = "md.json", "final.xyz", "settings.yaml"
LAST_GOOD, UNCERTAIN = "last_good.xyz", "uncertain.xyz"
OWN = (SETTINGS, RESTART, THERMO, TRAJECTORY, RECORD, FINAL, LAST_GOOD, UNCERTAIN)


class Output:
    """The growing files of one run, which holds them until its context ends."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.files = {name: folder / name for name in (THERMO, TRAJECTORY)}
        self._held = ExitStack()

    def __enter__(self) -> "Output":
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def begin(self) -> None:
        """Make empty files, in place of those of an earlier run."""
        self._held.enter_context(hold(self.folder))
        clear(self.folder)
        for path in self.files.values():
            path.write_bytes(b"")

    def go_on(self, lengths: dict[str, int]) -> None:
        """Cut the files where they were, in bytes, when the state was saved."""
        for name, path in self.files.items():
            if not path.is_file() or path.stat().st_size < lengths[name]:
                raise InputError(f"{path} is shorter than its run was; replace the run with force")
        self._held.enter_context(hold(self.folder))
        remove_unfinished(self.folder)
        for name, path in self.files.items():
            os.truncate(path, lengths[name])

    def row(self, values: dict[str, Any]) -> None:
        """Append a row of numbers, and the header before the first."""
        path = self.files[THERMO]
        text = "" if path.stat().st_size else ",".join(values) + "\n"
        self._append(path, text + ",".join(map(_plain, values.values())) + "\n")

    def frame(self, atoms: Atoms) -> None:
        """Append a structure."""
        self._append(self.files[TRAJECTORY], _extxyz(atoms))

    def lengths(self) -> dict[str, int]:
        """Bytes written so far."""
        return {name: path.stat().st_size for name, path in self.files.items()}

    @staticmethod
    def _append(path: Path, text: str) -> None:
        with naming(path), path.open("a", encoding="utf-8") as file:
            file.write(text)


def snapshot(
    template: Atoms, positions, momenta, cell, energy: float, forces, **info: float
) -> Atoms:
    """A frame with velocities, energy and forces, as ASE reads and writes them.

    Everything else is that of the template, such as charges, residue names and its ``info``.
    """
    atoms = template.copy()
    atoms.calc = None
    atoms.set_constraint()
    atoms.info |= info
    if atoms.pbc.all():  # no other cell changes
        atoms.set_cell(np.asarray(cell, float))
    atoms.positions = np.asarray(positions, float)
    atoms.set_momenta(np.asarray(momenta, float))
    forces = np.asarray(forces, float)
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    return atoms


def save_frame(path: Path, atoms: Atoms) -> None:
    """Write a structure, atomically."""
    with atomic_open(path, "w") as file:
        file.write(_extxyz(atoms))


def save_settings(folder: Path, text: str) -> None:
    """Write ``settings.yaml``, atomically."""
    with atomic_open(folder / SETTINGS) as file:
        file.write(text.encode())


def is_own(name: str) -> bool:
    """Whether a simulation writes files of this name, those that a kill left unfinished included.

    Example:
        >>> is_own("thermo.csv"), is_own(".md.json.x1b2"), is_own("start.xyz")
        (True, True, False)
    """
    return name in OWN or any(name.startswith(f".{own}.") for own in OWN)


def killed_at_once(folder: Path) -> bool:
    """Whether a folder holds what a run leaves that was killed before its first state, at most."""
    if foreign_files(folder, OWN) or (folder / FINAL).exists():
        return False
    table = folder / THERMO
    if not table.is_file():  # it is made before the trajectory
        return not (folder / TRAJECTORY).exists()
    return table.read_text().count("\n") <= 2  # the header and the start


def clear(folder: Path) -> None:
    """Remove what a simulation wrote and nothing else.

    The state goes first: what is left of a run that was cut short here is not gone on with.
    """
    (folder / RESTART).unlink(missing_ok=True)
    remove_own(folder, OWN)


def _extxyz(atoms: Atoms) -> str:
    text = io.StringIO()
    write(text, atoms, format="extxyz")
    return text.getvalue()


def _plain(value: float) -> str:
    """Digits that give the same number back."""
    return str(value) if isinstance(value, int) else repr(float(value))
