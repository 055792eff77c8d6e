"""Whether a simulation can start from a structure."""

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from tripletjax.md.config import MDConfig
from tripletjax.neighbors import check_frames, find_pairs
from tripletjax.types import InputError

OVERLAP = 0.5  # of the sum of the covalent radii; closer atoms are refused


def check_start(atoms: Atoms, config: MDConfig) -> None:
    """Raise InputError at a structure that no simulation with these settings can have.

    Example:
        >>> try:
        ...     check_start(Atoms("H"), MDConfig(ensemble="npt"))
        ... except InputError as error:
        ...     print(str(error).split(";")[0])
        npt needs a structure that is periodic in all directions
    """
    check_frames(atoms)
    if config.ensemble == "npt" and not atoms.pbc.all():
        raise InputError(
            "npt needs a structure that is periodic in all directions; its pbc is "
            f"{atoms.pbc.tolist()}; give nve or nvt"
        )
    if config.keeps_momentum and len(atoms) == 1:
        raise InputError(
            "one atom without a total momentum does not move; give nve, or nvt with langevin"
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
