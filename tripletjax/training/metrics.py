"""Errors of a potential on labelled structures."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from ase import Atoms

from tripletjax.potentials.base import Potential
from tripletjax.potentials.precision import computing_in, precision_of
from tripletjax.training.consistency import proportion, warn_of_predictions
from tripletjax.training.data import Bucket, as_batch, make_buckets, pieces
from tripletjax.training.errors import Differences
from tripletjax.training.labels import Labels, countable


class Comparison(NamedTuple):
    """Predictions and labels of every structure."""

    n_atoms: np.ndarray  # [F]
    energy: np.ndarray  # [F] eV, label minus references
    predicted_energy: np.ndarray  # [F]
    forces: np.ndarray  # [M, 3] eV/Å, all atoms with labels, concatenated
    predicted_forces: np.ndarray  # [M, 3]
    stress: np.ndarray  # [G, 3, 3] eV/Å³, of the structures that have a label
    predicted_stress: np.ndarray  # [G, 3, 3]
    volumes_per_atom: np.ndarray  # [G] Å³

    def differences(self) -> Differences:
        """The errors, for ``weighted_error``."""
        return Differences(
            energy=(self.predicted_energy - self.energy) / self.n_atoms,
            forces=self.predicted_forces - self.forces,
            virial=(self.predicted_stress - self.stress) * self.volumes_per_atom[:, None, None],
        )

    def warn_of_units(self, source: str = "the data") -> None:
        """Log a warning if forces or stress are correct up to a factor or a sign."""
        energies = (values / self.n_atoms for values in (self.energy, self.predicted_energy))
        factors = {
            "energies": proportion(*(values - values.mean() for values in energies)),
            "forces": proportion(self.forces, self.predicted_forces),
            "stress": proportion(self.stress, self.predicted_stress),
        }
        warn_of_predictions(factors, source)

    def metrics(self) -> dict[str, float]:
        """MAE and RMSE of energy in meV/atom, of force components in eV/Å, of stress in meV/Å³."""
        energy = (self.predicted_energy - self.energy) / self.n_atoms * 1000
        found = {
            "energy_mae_mev_per_atom": float(np.abs(energy).mean()),
            "energy_rmse_mev_per_atom": float(np.sqrt((energy**2).mean())),
        }
        if len(self.forces):
            forces = self.predicted_forces - self.forces
            found["force_mae_ev_per_A"] = float(np.abs(forces).mean())
            found["force_rmse_ev_per_A"] = float(np.sqrt((forces**2).mean()))
        if len(self.stress):
            stress = (self.predicted_stress - self.stress) * 1000
            found["stress_mae_mev_per_A3"] = float(np.abs(stress).mean())
            found["stress_rmse_mev_per_A3"] = float(np.sqrt((stress**2).mean()))
        return found


def evaluate(
    potential: Potential, frames: Sequence[Atoms], labels: Sequence[Labels]
) -> dict[str, float]:
    """Mean absolute and root mean square errors of a potential; forces over components.

    Args:
        potential: the potential.
        frames: the structures.
        labels: their labels, from ``read_labels``.

    Returns:
        energy_mae_mev_per_atom, energy_rmse_mev_per_atom, and force_mae_ev_per_A,
        force_rmse_ev_per_A, stress_mae_mev_per_A3, stress_rmse_mev_per_A3 if there are labels.

    Raises:
        InputError: a structure contains a species that was not in the training data.
    """
    potential.require_known(frames)
    dtype = precision_of(potential)
    with computing_in(dtype):
        buckets = make_buckets(frames, countable(frames, labels), potential, dtype)
        compared = compare(potential, buckets)
    compared.warn_of_units()
    return compared.metrics()


def compare(potential: Potential, buckets: Sequence[Bucket]) -> Comparison:
    """Predictions for all structures of some buckets, in the order of the data."""
    elements = np.array(potential.species, np.int32)
    bare = potential.without_references
    order, energies, stresses, forces = [], [], [], {}
    for rows, present in pieces(buckets):
        found = predictions(bare, rows, elements, present)
        energy, force, stress = map(np.asarray, found)
        force = force.reshape(*rows.species.shape, 3)
        for row in np.flatnonzero(present):
            frame = int(rows.frames[row])
            mask = rows.atom_mask[row]
            volume = abs(np.linalg.det(rows.cells[row].astype(float)))
            has_stress = bool(rows.has_stress[row])
            order.append((frame, mask.sum(), rows.energy[row], has_stress, volume))
            energies.append(energy[row])
            stresses.append((rows.stress[row], stress[row]))
            if rows.has_forces[row]:
                forces[frame] = rows.forces[row][mask], force[row][mask]
    by_frame = np.argsort([frame for frame, *_ in order])
    sizes, targets, has_stress, volumes = (
        np.array([entry[column] for entry in order])[by_frame] for column in (1, 2, 3, 4)
    )
    pairs = [forces[frame] for frame in sorted(forces)]
    stress = np.array(stresses, float)[by_frame][has_stress]  # [G, 2, 3, 3]
    reference, predicted = (
        np.concatenate([pair[side] for pair in pairs] or [np.zeros((0, 3))]).astype(float)
        for side in (0, 1)
    )
    return Comparison(
        n_atoms=sizes,
        energy=targets.astype(float),
        predicted_energy=np.array(energies, float)[by_frame],
        forces=reference,
        predicted_forces=predicted,
        stress=stress[:, 0],
        predicted_stress=stress[:, 1],
        volumes_per_atom=(volumes / sizes)[has_stress],
    )


@jax.jit
def predictions(potential: Potential, rows: Bucket, elements, present):
    """Energy, forces and stress of some structures of a bucket."""
    return potential.energy_forces_stress(as_batch(rows, elements, present))
