"""Several devices: arrays divided among them, on which the same functions run.

XLA compiles one program for all devices from a function of divided arrays, and adds the sums
between them: ``jit``, ``grad`` and the methods of a ``Potential`` need no change. For energy and
forces of C atoms, devices exchange the messages of atoms, their gradient and the forces.
"""

from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from tripletjax.types import Batch, InputError, as_integer

AXIS = "devices"
OF_ENVIRONMENTS = ("centers", "center_mask", "neighbors", "shifts", "neighbor_mask")

Tree = TypeVar("Tree")


def device_mesh(count: int | None = None) -> Mesh:
    """The first devices of JAX, those of other processes included, along one axis.

    Args:
        count: number of devices; None: all.

    Raises:
        InputError: there are fewer.

    Example:
        >>> device_mesh(1).size
        1
    """
    devices = jax.devices()
    count = len(devices) if count is None else as_integer("devices", count, 1)
    if count > len(devices):
        raise InputError(
            f"devices={count}, but JAX has {len(devices)} of kind {devices[0].platform}; use "
            "fewer, or set JAX_NUM_CPU_DEVICES to simulate several on a CPU"
        )
    return Mesh(np.array(devices[:count]), (AXIS,), axis_types=(AxisType.Auto,))


def divided(tree: Tree, mesh: Mesh) -> Tree:
    """A pytree whose arrays are divided along their first axis, a multiple of the devices."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec(AXIS)))


def replicated(tree: Tree, mesh: Mesh) -> Tree:
    """A pytree of which every device has a copy."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def divided_batch(batch: Batch, mesh: Mesh) -> Batch:
    """A batch whose environments are divided among devices; every device has all positions.

    Environments are padded to a multiple of the devices. Results are those of one device, to
    rounding: ``potential.energy_forces_stress(divided_batch(batch, mesh))``.

    Args:
        batch: from ``prepare``.
        mesh: from ``device_mesh``.

    Example:
        >>> from ase.build import molecule
        >>> from tripletjax import prepare
        >>> batch = divided_batch(prepare(molecule("H2O"), cutoff=3.0), device_mesh(1))
        >>> batch.centers.sharding.spec
        P('devices',)
    """
    missing = -len(batch.centers) % mesh.size
    arrays: dict[str, Any] = {}
    for name, array in batch._asdict().items():
        if name in OF_ENVIRONMENTS:
            array = np.asarray(array)
            rows = np.pad(array, [(0, missing)] + [(0, 0)] * (array.ndim - 1))
            arrays[name] = divided(rows, mesh)
        else:
            arrays[name] = replicated(array, mesh)
    return Batch(**arrays)
