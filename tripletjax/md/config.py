"""Settings of a simulation."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from tripletjax.md.barostats import npt
from tripletjax.md.integrators import Ensemble, nve, nvt_langevin, nvt_nose_hoover
from tripletjax.md.states import GPA, Force
from tripletjax.neighbors import check_frames, find_pairs
from tripletjax.types import Array, InputError, as_integer, as_number, as_positive, settle

ENSEMBLES = ("nve", "nvt", "npt")
THERMOSTATS = ("langevin", "nose-hoover")
CELLS = ("isotropic", "flexible")
OVERLAP = 0.5  # of the sum of the covalent radii; closer atoms are refused
HOTTER = 10.0  # times the temperature is a blow-up, and at least
HOTTEST = 5000.0  # K
MAX_COUNT = 2**31 - 1  # of steps, which are counted in int32, and for seeds


@dataclass(frozen=True, kw_only=True)
class MDConfig:
    """What to simulate, and what to write down how often.

    Raises:
        InputError: a setting that cannot be used.

    Example:
        >>> MDConfig(ensemble="nvt", temperature=600.0).bound
        6000.0
    """

    ensemble: str = "nve"
    steps: int = 1000
    timestep: float = 0.5  # fs
    temperature: float = 300.0  # K
    thermostat: str = "langevin"  # of nvt; npt has Nosé-Hoover chains
    friction: float = 0.01  # 1/fs, of Langevin dynamics
    tau: float = 100.0  # fs, period of a Nosé-Hoover thermostat
    pressure: float = 0.0  # GPa
    cell: str = "isotropic"
    tau_cell: float = 1000.0  # fs, period of the barostat
    skin: float = 0.6  # Å beyond the cutoff in neighbour lists
    log_every: int = 10  # steps
    write_every: int = 100  # steps
    max_temperature: float | None = None  # K; None: ten times the temperature, at least 5000 K
    max_force_std: float | None = None  # eV/Å at which to stop
    seed: int = 0

    def __post_init__(self):
        for name, allowed in (
            ("ensemble", ENSEMBLES), ("thermostat", THERMOSTATS), ("cell", CELLS),
        ):  # fmt: skip
            if getattr(self, name) not in allowed:
                raise InputError(
                    f"invalid {name}={getattr(self, name)!r}: expected one of {', '.join(allowed)}"
                )
        units = {
            "timestep": "fs",
            "temperature": "K",
            "friction": "1/fs",
            "tau": "fs",
            "tau_cell": "fs",
            "skin": "Å",
        }
        if self.max_temperature is not None:
            units["max_temperature"] = "K"
        if self.max_force_std is not None:
            units["max_force_std"] = "eV/Å"
        for name, unit in units.items():  # converted: JSON and the hash know no other floats
            settle(self, **{name: as_positive(name, getattr(self, name), unit)})
        for name in ("steps", "log_every", "write_every"):
            settle(self, **{name: as_integer(name, getattr(self, name), 1, MAX_COUNT)})
        if self.write_every % self.log_every:
            raise InputError(
                f"write_every={self.write_every} is not a multiple of log_every="
                f"{self.log_every}; frames are written where rows are"
            )
        settle(
            self,
            seed=as_integer("seed", self.seed, 0, MAX_COUNT),
            pressure=as_number("pressure", self.pressure, unit="GPa"),
        )

    @property
    def bound(self) -> float:
        """Temperature above which the simulation has blown up, K."""
        return self.max_temperature or max(HOTTER * self.temperature, HOTTEST)

    @property
    def keeps_momentum(self) -> bool:
        """Whether the thermostat counts on a total momentum of zero."""
        return self.ensemble == "npt" or (self.ensemble, self.thermostat) == ("nvt", THERMOSTATS[1])

    def ensemble_of(self, force: Force, masses: Array) -> Ensemble:
        """The equations of motion."""
        arguments = force, masses, self.timestep
        if self.ensemble == "nve":
            return nve(*arguments)
        if self.ensemble == "npt":
            isotropic, target = self.cell == "isotropic", self.pressure * GPA
            rest = self.temperature, self.tau, target, self.tau_cell, isotropic
            return npt(*arguments, *rest)
        if self.thermostat == "langevin":
            return nvt_langevin(*arguments, self.temperature, self.friction)
        return nvt_nose_hoover(*arguments, self.temperature, self.tau)


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
