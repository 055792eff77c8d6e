"""The ensemble of a simulation by its settings."""

from tripletjax.md.barostats import npt
from tripletjax.md.config import MDConfig
from tripletjax.md.integrators import Ensemble, nve, nvt_langevin, nvt_nose_hoover
from tripletjax.md.states import GPA, Force
from tripletjax.types import Array


def ensemble_of(config: MDConfig, force: Force, masses: Array) -> Ensemble:
    """The equations of motion that the settings name."""
    arguments = force, masses, config.timestep
    if config.ensemble == "nve":
        return nve(*arguments)
    if config.ensemble == "npt":
        isotropic, target = config.cell == "isotropic", config.pressure * GPA
        rest = config.temperature, config.tau, target, config.tau_cell, isotropic
        return npt(*arguments, *rest)
    if config.thermostat == "langevin":
        return nvt_langevin(*arguments, config.temperature, config.friction)
    return nvt_nose_hoover(*arguments, config.temperature, config.tau)
