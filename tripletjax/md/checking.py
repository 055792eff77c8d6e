"""Whether a simulation can start from a structure."""

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from tripletjax.md.integrators import Ensemble
from tripletjax.neighbors import check_frames, find_pairs
from tripletjax.types import InputError

OVERLAP = 0.5  # of the sum of the covalent radii; closer atoms are refused


def check_start(atoms: Atoms, ensemble: Ensemble) -> None:
    """Raise InputError at a structure that no simulation in this ensemble can have.

    Example:
        >>> nothing = lambda state: state
        >>> try:
        ...     check_start(Atoms("H"), Ensemble(nothing, nothing, nothing, 3, moves_cell=True))
        ... except InputError as error:
        ...     print(str(error).split(";")[0])
        an ensemble that moves the cell needs a structure that is periodic in all directions
    """
    check_frames(atoms)
    if ensemble.moves_cell and not atoms.pbc.all():
        raise InputError(
            "an ensemble that moves the cell needs a structure that is periodic in all directions; "
            f"its pbc is {atoms.pbc.tolist()}; use ensemble='nve' or 'nvt'"
        )
    if ensemble.needs_rest and len(atoms) == 1:
        raise InputError(
            "a single atom with zero total momentum cannot move; use ensemble='nve', or 'nvt' with "
            "the thermostat langevin"
        )
    if atoms.constraints:
        raise InputError(
            f"the structure has constraints ({type(atoms.constraints[0]).__name__}), which "
            "dynamics does not keep; remove them with atoms.set_constraint()"
        )
    if not np.isfinite(atoms.get_momenta()).all():
        raise InputError("the momenta of the structure are not finite numbers; remove them")
    masses = atoms.get_masses()
    usable = np.isfinite(masses) & (masses > 0)
    if not usable.all():
        atom = int(np.argmin(usable))
        raise InputError(
            f"atom {atom} has mass {masses[atom]:g}; expected positive masses (atomic mass units)"
        )


def check_overlap(atoms: Atoms) -> None:
    """Raise InputError at atoms that lie closer than half the sum of their covalent radii.

    Example:
        >>> check_overlap(Atoms("H2", [[0, 0, 0], [0, 0, 0.74]]))
    """
    radii = covalent_radii[atoms.numbers]
    pairs = find_pairs(atoms, 2 * OVERLAP * float(radii.max()), np.arange(len(atoms)))
    i, j = pairs.centers[pairs.environment], pairs.neighbors
    ratio = np.linalg.norm(pairs.vectors, axis=1) / (radii[i] + radii[j])
    if len(ratio) and ratio.min() < OVERLAP:
        worst = int(np.argmin(ratio))
        raise InputError(
            f"atoms {i[worst]} and {j[worst]} overlap: they are "
            f"{np.linalg.norm(pairs.vectors[worst]):.2f} Å apart; move them, or minimise first"
        )
