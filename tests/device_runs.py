"""Runs on several devices, for their tests: ``python -m tests.device_runs OUT.npz [PROCESS PORT]``.

Simulated devices (``JAX_NUM_CPU_DEVICES``), of one process or of two; the first one writes.
"""

import sys
from itertools import product
from tempfile import TemporaryDirectory

import jax
import jax.numpy as jnp
import numpy as np
from ase.build import bulk

from tripletjax import Potential, local_model
from tripletjax.data.sets import load_frames
from tripletjax.devices import device_mesh, divided_batch
from tripletjax.md import MDConfig, simulate
from tripletjax.potentials.base import EnergyModel
from tripletjax.potentials.network import Architecture
from tripletjax.potentials.triplet import untrained
from tripletjax.training import Dataset, TrainConfig, read_labels, train

SMALL = {"cutoff": 3.5, "units": 4, "width": 8, "n_radial": 4, "l_max": 2, "channels": 4}
FEW = "few", (2, 2, 2)  # 64 atoms
CRYSTALS = dict([FEW, ("blocks", (5, 5, 3))])  # 600 atoms, which are computed in blocks


def springs(weights, vectors, species, mask, center):
    """A function of one environment."""
    r = jnp.linalg.norm(jnp.where(mask[:, None], vectors, 1.0), axis=-1)
    return weights * jnp.sum(jnp.where(mask, (1 - (r / 3.5) ** 2) ** 3, 0))


def potentials() -> dict[str, Potential]:
    """One with messages, and a model of one's own."""
    own: EnergyModel = local_model(springs, lambda seed: jnp.ones(()), 3.5, [14])
    return {
        "messages": untrained([14], Architecture(**SMALL, messages=4), references=(-5.0,), seed=1),
        "own": Potential(own, own.init(0)),
    }


def mechanics(mesh) -> dict[str, np.ndarray]:
    """Energy, forces and stress of crystals."""
    found = {}
    for (size, repeat), dtype in [*product(CRYSTALS.items(), ["float64"]), (FEW, "float32")]:
        crystal = bulk("Si", cubic=True) * repeat
        crystal.rattle(0.1, seed=0)
        for kind, potential in potentials().items():
            batch = potential.prepare(crystal, dtype)
            batch = batch if mesh is None else divided_batch(batch, mesh)
            for name, value in potential.energy_forces_stress(batch)._asdict().items():
                found[f"{size} {kind} {dtype} {name}"] = np.asarray(value)
    return found


def weights(devices: int) -> dict[str, np.ndarray]:
    """Those after a few steps of four structures on some devices."""
    frames = load_frames("ethanol")[:10]
    architecture = Architecture(**SMALL, messages=4)
    config = TrainConfig(architecture=architecture, batch_size=8, max_epochs=4, devices=devices)
    fitted, _ = train(Dataset(frames, read_labels(frames)), None, config, show=False)
    return {f"fit {name}": np.asarray(value) for name, value in fitted.weights.items()}


def dynamics(devices: int) -> dict[str, np.ndarray]:
    """The end of a short simulation, with new neighbour lists on its way."""
    crystal = bulk("Si", cubic=True) * (2, 2, 2)
    config = MDConfig(ensemble="npt", steps=40, timestep=2.0, temperature=600.0, devices=devices)
    with TemporaryDirectory() as folder:
        end = simulate(
            potentials()["messages"], crystal, f"{folder}/run", config, dtype="float64", show=False
        )
    return {"md positions": end.positions, "md momenta": end.get_momenta()}


def main(out: str, process: int = 0, port: int | None = None) -> None:
    """Compute on all devices, and write."""
    if port is not None:
        jax.distributed.initialize(f"localhost:{port}", 2, process)
    mesh = device_mesh() if len(jax.devices()) > 1 else None
    found = mechanics(mesh)
    if port is None and len(jax.devices()) <= 4:
        found |= weights(len(jax.devices())) | dynamics(len(jax.devices()))
    if process == 0:
        np.savez(out, **found)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
