"""Minimisation of structures with ASE's FIRE."""

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE

from tripletjax.engines.ase import TripletCalculator
from tripletjax.md.starts import without_labels
from tripletjax.md.states import GPA
from tripletjax.potentials.base import Potential
from tripletjax.progress import progress_bar
from tripletjax.types import ConvergenceError, InputError, as_integer, as_positive


def minimize(
    model: Potential | str | Path,
    atoms: Atoms,
    *,
    fmax: float = 0.01,
    cell: bool = False,
    pressure: float = 0.0,
    steps: int = 1000,
    dtype: str = "float64",
    log: Any = None,
    show: bool = False,
) -> Atoms:
    """Relax atoms, and with ``cell`` the lattice vectors too, until no force exceeds ``fmax``.

    Args:
        model: the potential, or its folder.
        atoms: the initial structure; not modified.
        fmax: eV/Å.
        cell: minimise the enthalpy with respect to positions and cell.
        pressure: GPa, with ``cell``.
        steps: maximum number of steps.
        dtype: float32 or float64.
        log: a file, or its name, for ASE's progress; "-" for the screen.
        show: whether to show a progress bar.

    Returns:
        The minimised structure, with its calculator; the other content of ``atoms`` is kept, except
        for labels in its arrays and info.

    Raises:
        ConvergenceError: the forces are still above ``fmax`` after these steps.
        InputError: an invalid setting, or ``cell`` for a cell that is not periodic.

    Example:
        >>> from tripletjax.potentials.network import Architecture
        >>> from tripletjax.potentials.triplet import untrained
        >>> sizes = Architecture(cutoff=3.0, l_max=1, n_radial=2, channels=2, units=4, width=4)
        >>> hydrogen = Atoms("H2", [[0, 0, 0], [0, 0, 0.9]])
        >>> resting = minimize(untrained([1], sizes, scale=0.01), hydrogen, fmax=0.05)
        >>> bool(abs(resting.get_forces()).max() < 0.05)
        True
    """
    as_positive("fmax", fmax, "eV/Å")
    steps = as_integer("steps", steps, 1)
    if cell and not atoms.pbc.all():
        raise InputError(
            f"only a periodic cell can be minimised, but the structure has pbc={atoms.pbc}"
        )
    resting = without_labels(atoms)
    resting.calc = TripletCalculator(model, dtype=dtype)
    moving: Any = resting
    if cell:
        moving = FrechetCellFilter(resting, scalar_pressure=pressure * GPA)
    form = "minimize: {n_fmt} steps{postfix}"
    with (
        FIRE(moving, logfile=log) as optimizer,
        progress_bar(bar_format=form, disable=not show, initial=-1) as bar,
    ):

        def tell() -> None:
            bar.set_postfix_str(f"{abs(moving.get_forces()).max():.3f} eV/Å", refresh=False)
            bar.update()

        if show:
            optimizer.attach(tell)
        if not optimizer.run(fmax=fmax, steps=steps):
            force = np.linalg.norm(moving.get_forces(), axis=1).max()
            raise ConvergenceError(
                f"not converged after {steps} steps: the largest force is {force:.3g} eV/Å, above "
                f"fmax={fmax:g}; give more steps, a larger fmax, or another structure"
            )
    return resting
