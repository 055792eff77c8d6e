"""The ensembles that settings name, and what an ensemble of one's own must be.

An ensemble is given as a function of a force, masses and a timestep that makes the equations of
motion. It is static under ``jit``: one program serves all runs with equal settings. The state of a
run records its name and its settings, so that no other ensemble continues it.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, fields, is_dataclass
from types import FunctionType
from typing import Any

from tripletjax.md.barostats import npt
from tripletjax.md.config import MDConfig
from tripletjax.md.integrators import Ensemble, nve, nvt_langevin, nvt_nose_hoover
from tripletjax.md.states import GPA, Force, Mechanics
from tripletjax.potentials.records import to_record
from tripletjax.types import Array, InputError

EnsembleMaker = Callable[[Force, Array, float], Ensemble]
# Settings that belong to ensembles; the temperature is that of drawn momenta too.
OWN = ("ensemble", "thermostat", "friction", "tau", "pressure", "cell", "tau_cell")
EXPECTED = "a function (force, masses, timestep) that returns an Ensemble"


@dataclass(frozen=True)
class NVE:
    """Velocity Verlet."""

    def __call__(self, force: Force, masses: Array, timestep: float) -> Ensemble:
        """The equations of motion."""
        return nve(force, masses, timestep)


@dataclass(frozen=True)
class Langevin:
    """Langevin dynamics at constant volume; K and 1/fs."""

    temperature: float
    friction: float

    def __call__(self, force: Force, masses: Array, timestep: float) -> Ensemble:
        """The equations of motion."""
        return nvt_langevin(force, masses, timestep, self.temperature, self.friction)


@dataclass(frozen=True)
class NoseHoover:
    """A Nosé-Hoover chain at constant volume; K and fs."""

    temperature: float
    tau: float

    def __call__(self, force: Force, masses: Array, timestep: float) -> Ensemble:
        """The equations of motion."""
        return nvt_nose_hoover(force, masses, timestep, self.temperature, self.tau)


@dataclass(frozen=True)
class NPT:
    """Nosé-Hoover chains and a barostat; K, fs, GPa and fs."""

    temperature: float
    tau: float
    pressure: float
    tau_cell: float
    cell: str

    def __call__(self, force: Force, masses: Array, timestep: float) -> Ensemble:
        """The equations of motion."""
        cell = self.pressure * GPA, self.tau_cell, self.cell == "isotropic"
        return npt(force, masses, timestep, self.temperature, self.tau, *cell)


def ensemble_of(
    config: MDConfig, given: EnsembleMaker | None = None, read: Collection[str] = ()
) -> EnsembleMaker:
    """The ensemble that the settings name, or one of one's own.

    Args:
        config: settings.
        given: an ensemble of one's own; None: by the settings.
        read: settings that something else reads, such as a minimisation before the run.

    Raises:
        InputError: a setting that this ensemble does not read, or no ensemble.

    Example:
        >>> ensemble_of(MDConfig(ensemble="nvt", friction=0.02))
        Langevin(temperature=300.0, friction=0.02)
    """
    if given is not None:
        _require_maker(given)
        _require_read(config, f"the ensemble {_name(given)}", read)
        return given
    kinds: dict[str, Any] = {"nve": NVE, "nvt": Langevin, "npt": NPT}
    kind, name, choices = kinds[config.ensemble], config.ensemble, ("ensemble",)
    if config.ensemble == "nvt":
        kind = {"langevin": Langevin, "nose-hoover": NoseHoover}[config.thermostat]
        name, choices = f"nvt with {config.thermostat}", ("ensemble", "thermostat")
    names = [field.name for field in fields(kind)]
    _require_read(config, name, (*choices, *names, *read))
    return kind(**{name: getattr(config, name) for name in names})


def equations_of(maker: EnsembleMaker, masses: Array, timestep: float) -> Ensemble:
    """What an ensemble is, apart from its forces: degrees of freedom, what moves and what rests.

    Raises:
        InputError: the maker makes no ``Ensemble``.
    """

    def force(positions: Array, cell: Array) -> Mechanics:
        raise InputError(
            f"invalid ensemble: {_name(maker)} evaluates forces before the first step; evaluate "
            "them in step"
        )

    try:
        made: Any = maker(force, masses, timestep)
    except TypeError as error:
        raise InputError(
            f"invalid ensemble: {_name(maker)} cannot be called ({error}); expected {EXPECTED}"
        ) from error
    if not isinstance(made, Ensemble):
        raise InputError(
            f"invalid ensemble: {_name(maker)} returned a {type(made).__name__}; expected "
            f"{EXPECTED}"
        )
    return made


def record_of(maker: EnsembleMaker) -> Any:
    """The name of an ensemble with its settings, as JSON.

    Example:
        >>> record_of(NVE())
        {'class': 'tripletjax.md.ensembles:NVE', 'fields': {}}
    """
    arrays: dict[str, Any] = {}
    record = to_record(maker, arrays, "ensemble")
    if arrays:
        record["numbers"] = {name: array.tolist() for name, array in arrays.items()}
    return record


def _require_read(config: MDConfig, name: str, read: Collection[str]) -> None:
    """Raise InputError at a setting of ensembles that is given and not read."""
    plain = MDConfig()
    for setting in OWN:
        value = getattr(config, setting)
        if setting not in read and value != getattr(plain, setting):
            raise InputError(f"{setting}={value!r} is not used by {name}; leave it out")


def _require_maker(given: Any) -> None:
    """Raise InputError at what cannot make an ensemble, or cannot be named in a state."""
    if isinstance(given, str):
        raise InputError(f"invalid ensemble={given!r}: expected {EXPECTED}; names go into MDConfig")
    if not callable(given) or isinstance(given, type):
        raise InputError(f"invalid ensemble: {given!r}; expected {EXPECTED}")
    is_named = is_dataclass(given)
    if isinstance(given, FunctionType):
        is_named = not given.__closure__ and given.__name__ != "<lambda>"
    if not is_named:
        raise InputError(
            f"invalid ensemble: {_name(given)} cannot be told from others when a run is resumed; "
            "expected a function without a closure, or a frozen dataclass with __call__(force, "
            "masses, timestep)"
        )
    try:
        hash(given)
    except TypeError as error:
        raise InputError(
            f"invalid ensemble: {_name(given)} cannot be hashed ({error}), which jit needs; make "
            "it a frozen dataclass of numbers and strings"
        ) from error


def _name(maker: Any) -> str:
    return getattr(maker, "__name__", type(maker).__name__)
