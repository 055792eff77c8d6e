"""NVE of a silicon crystal in LAMMPS: whether the energy is conserved, and the time of a step.

LD_LIBRARY_PATH=ENVIRONMENT/lib mpiexec -n 2 python -m experiments.lammps.nve

Needs the packages lammps, mpich and mpi4py; see tripletjax/docs/lammps.md.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from ase.build import bulk
from lammps import lammps

from experiments.commands import add_result_options, run_command
from tripletjax.engines.lammps import attach
from tripletjax.io import provenance, save_json

RESULTS = Path(__file__).parent / "results"
BLOCKS = 20  # of steps, after each of which the energy is read


def crystal(repeat: int, temperature: float) -> lammps:
    """LAMMPS with a crystal whose atoms move; half of the temperature goes into vibrations."""
    lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
    lmp.commands_string(
        f"""units metal
        lattice diamond {bulk("Si", cubic=True).cell[0, 0]}
        region box block 0 {repeat} 0 {repeat} 0 {repeat}
        create_box 1 box
        create_atoms 1 box
        mass 1 28.0855
        velocity all create {2 * temperature} 17
        timestep 0.001
        fix nve all nve"""
    )
    return lmp


def measured(lmp: lammps, steps: int) -> dict[str, float]:
    """Energies along a run after one of equilibration, and its time."""
    lmp.command(f"run {steps}")
    count, energies = lmp.get_natoms(), []
    begin = time.perf_counter()
    for _ in range(BLOCKS):
        lmp.command(f"run {steps // BLOCKS}")
        energies.append(1e3 * lmp.get_thermo("etotal") / count)
    seconds = time.perf_counter() - begin
    slope = np.polyfit(np.arange(BLOCKS), energies, 1)[0] * (BLOCKS - 1)
    return {
        "atoms": int(count),
        "processes": lmp.extract_setting("world_size"),
        "steps": steps // BLOCKS * BLOCKS,
        "ms_per_step": 1e3 * seconds / (steps // BLOCKS * BLOCKS),
        "temperature_K": lmp.get_thermo("temp"),
        "drift_meV_per_atom": float(slope),
        "std_meV_per_atom": float(np.std(energies)),
    }


def main() -> None:
    """Run the command; the first process writes the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="zoo:silicon_pbe", help="folder of a fit")
    parser.add_argument("--repeat", type=int, default=3, help="cubic cells along each axis")
    parser.add_argument("--temperature", type=float, default=300.0, help="K")
    parser.add_argument("--steps", type=int, default=1000, help="of 1 fs, after as many more")
    parser.add_argument("--dtype", choices=["float32", "float64"])
    add_result_options(parser, RESULTS)
    arguments = parser.parse_args()
    lmp = crystal(arguments.repeat, arguments.temperature)
    attach(lmp, arguments.model, species=["Si"], dtype=arguments.dtype)
    found = measured(lmp, max(arguments.steps, BLOCKS))
    if lmp.extract_setting("world_rank") == 0:
        record = found | {"model": arguments.model, "dtype": arguments.dtype}
        arguments.out.mkdir(parents=True, exist_ok=True)
        path = arguments.out / f"nve-{found['atoms']}-{found['processes']}.json"
        save_json(path, record | provenance())
        print(record)


if __name__ == "__main__":
    run_command(main)
