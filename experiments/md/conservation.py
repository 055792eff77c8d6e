"""What a trajectory at constant energy conserves, by time step and precision.

    python -m experiments.md.conservation MODEL START [--picoseconds 10]

MODEL is a fitted potential, START the structure, brought to 300 K by one picosecond of Langevin
dynamics first. What velocity Verlet conserves is not the energy but, up to dt⁴, the shadow energy
(Engle, Skeel and Drees, J. Comput. Phys. 206, 432 (2005))

    E + dt² (v·∇∇U·v / 12 - F·M⁻¹·F / 24),

so the energy follows the motion of the stiff bonds, and the shadow energy shows the drift that is
left. Every row is a trajectory of its own from there, a fifth as long where it shows the
fluctuation alone; those that the scratch folder holds are not repeated.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms, units
from ase.io import read

from experiments.commands import run_command
from tripletjax.io import provenance, read_frames, save_json
from tripletjax.md import MDConfig, simulate
from tripletjax.md.states import without_drift
from tripletjax.potentials import Potential, load
from tripletjax.types import Array, Batch

RESULTS = Path(__file__).parent / "results"
ROWS = (  # dtype, fs, part of the length
    ("float64", 0.5, 1.0),
    ("float32", 0.5, 1.0),
    ("float64", 1.0, 0.2),
    ("float64", 0.25, 0.2),
)
ROW_EVERY, FRAME_EVERY = 4.0, 40.0  # fs
KELVIN, THERMALIZED = 300.0, 1000.0  # fs


def thermalized(potential: Potential, atoms: Atoms, folder: Path) -> Atoms:
    """The structure at 300 K, its centre of mass at rest."""
    config = MDConfig(
        ensemble="nvt", steps=round(THERMALIZED / 0.5), timestep=0.5, temperature=KELVIN
    )
    if not (folder / "final.xyz").is_file():
        simulate(potential, atoms, folder, config, resume=True, dtype="float64")
    start = read(folder / "final.xyz")
    start.set_momenta(without_drift(start.get_momenta(), start.get_masses()))
    return start


def row(potential: Potential, start: Atoms, folder: Path, dtype: str, step: float, length: float):
    """Drift and fluctuation of energy and shadow energy, along one trajectory of some ps."""
    every, stride = round(ROW_EVERY / step), round(FRAME_EVERY / ROW_EVERY)
    config = MDConfig(
        steps=round(1000 * length / step), timestep=step, log_every=every,
        write_every=every * stride,
    )  # fmt: skip
    simulate(potential, start, folder, config, resume=True, dtype=dtype)
    table = np.genfromtxt(folder / "thermo.csv", delimiter=",", names=True)
    times, energies = table["time_fs"] / 1000, table["conserved_eV"] / len(start)
    frames = read(folder / "trajectory.xyz", ":")
    shadows = energies[::stride] + shadow_terms(potential, frames, step)
    return {
        "dtype": dtype,
        "timestep_fs": step,
        "picoseconds": length,
        "temperature_K": float(table["temperature_K"].mean()),
        "energy": drift_and_fluctuation(times, energies),
        "shadow_energy": drift_and_fluctuation(times[::stride], shadows),
    }


def shadow_terms(potential: Potential, frames: list[Atoms], timestep: float) -> np.ndarray:
    """What the shadow energy has besides the energy, eV/atom, in float64."""
    terms, time = [], timestep * units.fs
    with jax.enable_x64(True):
        for frame in frames:
            batch = potential.prepare(frame, dtype="float64")
            velocities = np.zeros(batch.positions.shape)
            velocities[: len(frame)] = frame.get_velocities()
            forces, stiff = _stiffness(potential.without_references, batch, velocities)
            masses = frame.get_masses()[:, None]
            soft = float(np.sum(np.asarray(forces)[: len(frame)] ** 2 / masses))
            terms.append(time**2 * (float(stiff) / 12 - soft / 24) / len(frame))
    return np.array(terms)


@jax.jit
def _stiffness(potential: Potential, batch: Batch, velocities: Array) -> tuple[Array, Array]:
    """Forces, and v·∇∇U·v; compiled once for all rows."""

    def forces(positions):
        moved = batch._replace(positions=positions)
        return potential.mechanics(moved).forces

    found, change = jax.jvp(forces, (batch.positions,), (velocities,))
    return found, -jnp.sum(change * velocities)


def drift_and_fluctuation(times: np.ndarray, energies: np.ndarray) -> dict[str, float]:
    """Slope of a straight line, eV/atom/ps, and the standard deviation about it, eV/atom."""
    slope, offset = np.polyfit(times, energies - energies[0], 1)
    about = energies - energies[0] - (slope * times + offset)
    return {"drift_eV_atom_ps": float(slope), "fluctuation_eV_atom": float(about.std())}


def run(model: str, start: Path, picoseconds: float, scratch: Path, out: Path) -> list[dict]:
    """All rows; writes conservation.json."""
    potential = load(model)
    atoms = thermalized(potential, read_frames(start)[-1], scratch / "start")
    rows = [
        row(potential, atoms, scratch / f"{dtype}-{step}", dtype, step, part * picoseconds)
        for dtype, step, part in ROWS
    ]
    record = {"structure": str(atoms.symbols), "rows": rows}
    save_json(out / "conservation.json", record | provenance())
    return rows


def main() -> None:
    """Run the rows that are missing, and print all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("start", type=Path, metavar="START")
    parser.add_argument("--picoseconds", type=float, default=10.0)
    parser.add_argument("--scratch", type=Path, default=Path("md-scratch"), metavar="DIR")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="DIR")
    for found in run(**vars(parser.parse_args())):
        print(
            f"{found['dtype']} {found['timestep_fs']:5.2f} fs, {found['picoseconds']:4.1f} ps: "
            f"drift {found['energy']['drift_eV_atom_ps']:9.2e} eV/atom/ps "
            f"(shadow {found['shadow_energy']['drift_eV_atom_ps']:9.2e}), "
            f"fluctuation {found['energy']['fluctuation_eV_atom']:.2e} eV/atom "
            f"(shadow {found['shadow_energy']['fluctuation_eV_atom']:.2e})"
        )


if __name__ == "__main__":
    run_command(main)
