"""What a run is: everything about it that does not change while it goes on."""

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any, NamedTuple

import ase.units
import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms

from tripletjax.io import checksum, to_json
from tripletjax.md.blocks import Rules
from tripletjax.md.config import MDConfig
from tripletjax.md.ensembles import EnsembleMaker, equations_of, record_of
from tripletjax.md.integrators import Ensemble
from tripletjax.md.places import near_origin
from tripletjax.md.states import masses_of, thermal_momenta, without_drift
from tripletjax.neighbors import full_cell
from tripletjax.potentials.base import Potential
from tripletjax.potentials.precision import in_precision
from tripletjax.potentials.records import to_record
from tripletjax.types import Array

FREE = ("steps", "max_temperature", "max_force_std", "devices")  # may be others when a run goes on


class Start(NamedTuple):
    """Where a run begins."""

    positions: Array  # [N, 3] Å, near the origin
    momenta: Array  # [N, 3] eV fs/Å
    cell: Array  # [3, 3] Å
    key: Array  # of random numbers
    turns: np.ndarray  # [N, 3] lattice vectors that were subtracted from the positions
    exact_cell: np.ndarray  # [3, 3] Å in float64, for positions that are written


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A run, by what it is given.

    Args:
        potential: with its reference energies.
        atoms: to start from, checked.
        origin: what they were minimised from.
        config: settings.
        maker: the ensemble, as the settings name it or one of the user's own.
        is_named: whether the settings name it.
        dtype: of the state.
        uncertainty: write standard deviations.
    """

    potential: Potential
    atoms: Atoms
    origin: Atoms
    config: MDConfig
    maker: EnsembleMaker
    is_named: bool
    dtype: Any
    uncertainty: bool

    @cached_property
    def masses(self) -> Array:
        """eV fs²/Å², [N]."""
        return jnp.asarray(masses_of(self.atoms), self.dtype)

    @cached_property
    def ensemble(self) -> Ensemble:
        """What the equations of motion are like; its steps have no forces."""
        return equations_of(self.maker, self.masses, self.config.timestep)

    @cached_property
    def bare(self) -> Potential:
        """The potential without reference energies: one program serves all fits of a model."""
        return in_precision(self.potential, self.dtype).without_references

    @cached_property
    def reference(self) -> float:
        """Sum of the reference energies, eV."""
        return self.potential.reference(self.atoms)

    @property
    def is_bulk(self) -> bool:
        """Whether pressure and volume have a meaning."""
        return bool(self.atoms.pbc.all())

    @cached_property
    def fixed(self) -> tuple[Rules, Potential, Array]:
        """The arguments that every compiled function has; one program for runs of any length."""
        rules = Rules(self.maker, self.config.timestep, self.config.skin)
        return rules, self.bare, self.masses

    def start(self) -> Start:
        """Positions near the origin; momenta of the structure, or thermal ones."""
        atoms, config, masses = self.atoms, self.config, masses_of(self.atoms)
        momenta = atoms.get_momenta() / ase.units.fs
        if not atoms.has("momenta"):
            momenta = thermal_momenta(masses, config.temperature, config.seed)
        if self.ensemble.needs_rest:
            momenta = without_drift(momenta, masses)
        cell = full_cell(atoms)
        at, turns = near_origin(atoms.positions, cell, atoms.pbc)
        at, momenta, rounded = (jnp.asarray(array, self.dtype) for array in (at, momenta, cell))
        key = jax.random.key_data(jax.random.key(config.seed))
        return Start(at, momenta, rounded, key, turns, cell)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What must be equal for a run to be the same one; FREE settings may be others."""
        potential, origin = self.potential, self.origin
        settings = {name: value for name, value in asdict(self.config).items() if name not in FREE}
        if not self.is_named:
            settings["ensemble"] = record_of(self.maker)
        formula = json.dumps(to_record(potential.model, {}, "model"), sort_keys=True, default=str)
        settings |= {
            "structure": str(self.atoms.symbols),
            "pbc": self.atoms.pbc.tolist(),
            "start's cell": checksum(origin.cell.array),
            "start's positions": checksum(origin.positions),
            "start's momenta": checksum(origin.get_momenta()),
            "masses": checksum(self.atoms.get_masses()),
            "energy model": sha256(formula.encode()).hexdigest()[:16],
            "model": checksum((potential.weights, potential.scale, potential.references)),
            "uncertainty": self.uncertainty,
            "dtype": str(self.masses.dtype),
        }
        return json.loads(to_json(settings))
