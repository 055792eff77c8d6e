"""The MPI processes of LAMMPS: what they sum, and whether their ghosts suffice."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tripletjax.types import InputError

SKIN = 2.0  # Å beyond what is needed, LAMMPS's own default


class Processes:
    """Sums and agreement over the MPI processes of a ``lammps`` object."""

    def __init__(self, lmp: Any):
        self.count = lmp.extract_setting("world_size")
        self._comm = None
        if self.count > 1:
            self._comm = lmp.get_mpi_comm()
            if self._comm is None:
                raise InputError(
                    "several MPI processes need the package mpi4py; pip install mpi4py"
                )

    def total(self, values: np.ndarray) -> np.ndarray:
        """The sum over all processes."""
        if self._comm is None:
            return values
        return np.sum(self._comm.allgather(values), axis=0)

    def agree(self, failure: BaseException | None) -> None:
        """Tell all processes of a failure; raise InputError for that of another one."""
        if self._comm is None:
            return
        told = self._comm.allgather(None if failure is None else str(failure))
        if failure is not None:
            return
        for process, text in enumerate(told):
            if text is not None:
                raise InputError(f"MPI process {process} stopped: {text}")


class Ghosts:
    """Whether LAMMPS's ghosts include all atoms on which the forces of a process depend."""

    def __init__(self, lmp: Any, processes: Processes, reach: float):
        self.lmp, self.processes, self.reach = lmp, processes, reach
        self.cutoff = 0.0  # Å, of LAMMPS
        self._at_rebuild: np.ndarray | None = None  # positions when its ghosts were chosen

    def widen(self) -> None:
        """Ask LAMMPS for enough ghosts."""
        self.read_cutoff()
        if self.cutoff < 2 * self.reach + SKIN:
            self.lmp.command(f"comm_modify cutoff {2 * self.reach + SKIN}")
            self.read_cutoff()

    def read_cutoff(self) -> None:
        """LAMMPS's ghost cutoff, which it only tells in words, and not during a run."""
        with TemporaryDirectory() as folder:
            path = Path(folder) / "communication"
            # by the class: the command of the object checks this cutoff
            type(self.lmp).command(self.lmp, f"info communication out overwrite {path}")
            text = path.read_text() if path.exists() else ""  # the first process writes it
        _, _, found = text.partition("Communication cutoff =")
        own = np.array(float(found.split()[0]) if found else 0.0)
        self.cutoff = float(self.processes.total(own))

    def require_enough(self) -> None:
        """Raise InputError if atoms may be missing, as they have moved since ghosts were chosen."""
        count = self.lmp.extract_global("nlocal") + self.lmp.extract_global("nghost")
        positions = np.array(self.lmp.numpy.extract_atom("x", nelem=count, dim=3))
        rebuilt = self.lmp.extract_setting("neigh_ago") == 0
        if rebuilt or self._at_rebuild is None or len(self._at_rebuild) != count:
            self._at_rebuild = positions
        moved = np.linalg.norm(positions - self._at_rebuild, axis=1).max(initial=0)
        needed = 2 * (self.reach + moved)
        if self.cutoff < needed:
            raise InputError(
                f"the ghosts of LAMMPS reach {self.cutoff:g} Å, but the forces depend on atoms "
                f"within {needed:.3g} Å (twice the reach of the potential, {self.reach:g} Å, and "
                f"the motion since ghosts were chosen); use comm_modify cutoff "
                f"{2 * self.reach + SKIN:g}"
            )
