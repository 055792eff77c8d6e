"""Predicted standard deviations beside the errors on labelled structures."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from scipy.stats import spearmanr

from tripletjax.potentials.base import Potential
from tripletjax.potentials.committee import calibrated, spread
from tripletjax.training.data import Bucket, as_batch, pieces, thinned
from tripletjax.training.metrics import predictions

STRUCTURES_A_CHUNK = 4
ATOMS_CHECKED = 2000  # of each part of the data: 6000 components of forces say enough
Checked = tuple[np.ndarray, np.ndarray]  # errors and their predicted deviations


def calibrate(committee: Potential, valid: Sequence[Bucket]) -> Potential:
    """Scale the deviations so that their mean square matches that of the errors on these data.

    With ε an error and s its predicted standard deviation, the factor is √⟨ε²/s²⟩; for forces over
    components.
    """
    bare = calibrated(committee, 1, 1)
    energy, forces = errors_and_deviations(bare, thinned(valid, ATOMS_CHECKED))
    return calibrated(committee, _ratio(*energy), _ratio(*forces))


def _ratio(errors: np.ndarray, deviations: np.ndarray) -> float:
    if not len(errors):
        return 1.0
    return float(np.sqrt(np.mean((errors / np.maximum(deviations, 1e-12)) ** 2)))


def uncertainty_metrics(
    potential: Potential, parts: Mapping[str, Sequence[Bucket]]
) -> dict[str, float]:
    """``quality_of`` the predicted deviations, for each part of the data."""
    return quality_of(
        {
            name: errors_and_deviations(potential, thinned(own, ATOMS_CHECKED))
            for name, own in parts.items()
        }
    )


def quality_of(checked: Mapping[str, tuple[Checked, Checked]]) -> dict[str, float]:
    """The quality of ``errors_and_deviations`` of each part of the data.

    ``ratio`` is √⟨ε²/s²⟩, 1 if calibrated; ``correlation`` is that of Spearman between |ε| and s.
    """
    found = {}
    for name, kinds in checked.items():
        for kind, (errors, deviations) in zip(("energy", "forces"), kinds, strict=True):
            if len(errors) > 1:
                found[f"{name}_{kind}_ratio"] = _ratio(errors, deviations)
                rank: Any = spearmanr(np.abs(errors), deviations)
                found[f"{name}_{kind}_correlation"] = float(np.nan_to_num(rank.statistic))
    return found


def errors_and_deviations(
    potential: Potential, buckets: Sequence[Bucket]
) -> tuple[Checked, Checked]:
    """Errors and their predicted deviations, of energies [F], eV, and of force components [N]."""
    bare, elements = potential.without_references, np.array(potential.species, np.int32)
    one_by_one = hasattr(potential.model, "members")
    predict = _of_members(bare) if one_by_one else partial(_predict, bare)
    size = None if one_by_one else STRUCTURES_A_CHUNK
    energies, forces = [np.zeros((2, 0))], [np.zeros((2, 0))]
    for rows, present in pieces(buckets, size):
        (energy, force), deviation = predict(rows, elements, present)
        errors = np.asarray(energy) - rows.energy
        energies.append(np.stack([errors, deviation.energy])[:, present])
        known = rows.atom_mask & (rows.has_forces & present)[:, None]
        errors = np.asarray(force).reshape(rows.forces.shape) - rows.forces
        found = np.asarray(deviation.forces).reshape(rows.forces.shape)
        forces.append(np.stack([errors[known].ravel(), found[known].ravel()]))
    of_energies, of_forces = np.concatenate(energies, 1), np.concatenate(forces, 1)
    return (of_energies[0], of_energies[1]), (of_forces[0], of_forces[1])


@jax.jit
def _predict(potential: Potential, rows: Bucket, elements, present):
    """Energies and forces of some structures of a bucket, and their deviations."""
    batch = as_batch(rows, elements, present)
    found = potential.energy_forces_stress(batch)
    return (found.energy, found.forces), potential.deviations(batch)


def _of_members(committee: Potential):
    """``_predict`` of this committee, its members one by one: by the program for the errors."""
    model: Any = committee.model
    each, middle = model.members(committee), model.drawn_about(committee)

    def predict(rows: Bucket, elements, present):
        def predicted(one):
            return tuple(map(np.asarray, predictions(one, rows, elements, present)[:2]))

        of_members = [np.stack(values) for values in zip(*map(predicted, each), strict=True)]
        about = (None, None) if middle is None else predicted(middle)
        mean = [values.mean(0) for values in of_members] if middle is None else about
        return mean, spread(committee, *zip(of_members, about, strict=True))

    return predict
