"""Settings of a simulation."""

from dataclasses import dataclass

from tripletjax.checks import InputError, as_choice, as_integer, as_number, as_positive, settle
from tripletjax.settings import Precision, Settings, as_yaml, setting

ENSEMBLES = ("nve", "nvt", "npt")
THERMOSTATS = ("langevin", "nose-hoover")
VELOCITY_UNITS = ("angstrom/fs", "angstrom/ps", "atomic", "ase")
CELLS = ("isotropic", "flexible")
HOTTER = 10.0  # times the temperature is a blow-up, and at least
HOTTEST = 5000.0  # K
MAX_COUNT = 2**31 - 1  # of steps, which are counted in int32, and for seeds


@dataclass(frozen=True, kw_only=True)
class MDConfig(Settings):
    """What to simulate, and what to write down how often.

    Raises:
        InputError: a setting that cannot be used.

    Example:
        >>> MDConfig(ensemble="nvt", temperature=600.0).bound
        6000.0
    """

    ensemble: str = setting("nve", "equations of motion", choices=ENSEMBLES)
    steps: int = setting(1000, "number of steps")
    timestep: float = setting(0.5, "length of a step", "fs")
    temperature: float = setting(
        300.0, "temperature of nvt and npt, and of momenta that are drawn", "K"
    )
    thermostat: str = setting("langevin", "thermostat of nvt", choices=THERMOSTATS)
    friction: float = setting(0.01, "friction of the thermostat langevin", "1/fs")
    tau: float = setting(100.0, "period of the thermostat nose-hoover", "fs")
    pressure: float = setting(0.0, "pressure of npt", "GPa")
    cell: str = setting("isotropic", "how the cell changes in npt", choices=CELLS)
    tau_cell: float = setting(1000.0, "period of the barostat of npt", "fs")
    skin: float = setting(0.6, "width of neighbour lists beyond the cutoff", "Å")
    log_every: int = setting(10, "interval between rows of thermo.csv", "steps")
    write_every: int = setting(100, "interval between frames of trajectory.xyz", "steps")
    max_temperature: float | None = setting(
        None, "stop above this temperature: the run has blown up", "K",
        none="ten times the temperature, at least 5000 K",
    )  # fmt: skip
    max_force_std: float | None = setting(
        None, "stop where a force has a larger standard deviation, and keep the frame", "eV/Å",
        none="no limit",
    )  # fmt: skip
    seed: int = setting(0, "seed of the momenta that are drawn and of the noise")
    devices: int = setting(1, "devices among which the atoms are divided")

    def __post_init__(self):
        for name, allowed in (
            ("ensemble", ENSEMBLES), ("thermostat", THERMOSTATS), ("cell", CELLS),
        ):  # fmt: skip
            as_choice(name, getattr(self, name), allowed)
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
        for name in ("steps", "log_every", "write_every", "devices"):
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


@dataclass(frozen=True, kw_only=True)
class MDOptions(Precision):
    """What is done before and beside the steps; with ``MDConfig`` all settings of the command."""

    velocity_unit: str | None = setting(
        None, "unit of columns such as velocities or vx, vy, vz",
        none="angstrom/fs, unless that is hotter than 5000 K", choices=VELOCITY_UNITS,
    )  # fmt: skip
    minimize: bool = setting(False, "first minimise the energy")
    minimize_cell: bool = setting(False, "minimise it in the cell too, at the pressure")
    uncertainty: bool = setting(False, "write standard deviations to thermo.csv")

    def __post_init__(self):
        super().__post_init__()
        if self.velocity_unit is not None:
            as_choice("velocity_unit", self.velocity_unit, VELOCITY_UNITS)
        for name in ("minimize", "minimize_cell", "uncertainty"):
            settle(self, **{name: as_choice(name, getattr(self, name), (False, True))})

    @property
    def minimised(self) -> tuple[str, ...]:
        """Settings of the ensemble that a minimisation before the run reads."""
        return ("pressure",) if self.minimize_cell else ()


def settings_text(config: MDConfig, options: MDOptions) -> str:
    """A file of settings, which ``tripletjax md --config`` takes back."""
    groups = {"The run": config.entries(), "The start and the output": options.entries()}
    title = "Settings of tripletjax md, which reads them with --config."
    return as_yaml(groups, options.flat() | config.flat(), title)
