"""Predicted standard deviations beside the errors on labelled structures."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from scipy.stats import spearmanr

from tripletjax.potentials.base import Potential
from tripletjax.potentials.committee import CommitteeModel, calibrated, drawn_about, members, spread
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
    is_committee = isinstance(potential.model, CommitteeModel)
    predict, size = (_of_members(bare), None) if is_committee else (_predict, STRUCTURES_A_CHUNK)
    energies, forces = [np.zeros((2, 0))], [np.zeros((2, 0))]
    for rows, present in pieces(buckets, size):
        (energy, force), deviation = predict(bare, rows, elements, present)
        energies.append(np.stack([energy - rows.energy, deviation.energy])[:, present])
        known = rows.atom_mask & (rows.has_forces & present)[:, None]
        error = np.asarray(force).reshape(rows.forces.shape) - rows.forces
        found = np.asarray(deviation.forces).reshape(rows.forces.shape)
        forces.append(np.stack([error[known].ravel(), found[known].ravel()]))
    return np.concatenate(energies, 1), np.concatenate(forces, 1)


@jax.jit
def _predict(potential: Potential, rows: Bucket, elements, present):
    """Energies and forces of some structures of a bucket, and their deviations."""
    batch = as_batch(rows, elements, present)
    found = potential.energy_forces_stress(batch)
    return (found.energy, found.forces), potential.deviations(batch)


def _of_members(committee: Potential):
    """``_predict`` of a committee, its members one by one: by the program for the errors."""
    each, centered = members(committee), committee.model.centered
    every = [*each, drawn_about(committee)] if centered else each

    def predict(potential: Potential, rows: Bucket, elements, present):
        found = [predictions(one, rows, elements, present)[:2] for one in every]
        of_members = [np.stack(values) for values in zip(*found[: len(each)], strict=True)]
        about = [np.asarray(values) for values in found[-1]] if centered else (None, None)
        mean = about if centered else [values.mean(0) for values in of_members]
        return mean, spread(potential, *zip(of_members, about, strict=True))

    return predict
