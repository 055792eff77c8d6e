"""Quadratic in the triplets: a map and a linear model of Σ t⊗t on B8, which are not blind.

    python -m experiments.paper.pcovr [--resolution paper|quick] [--labels xtb|pbe]

t are the leading principal components of the triplets of atom 0 and F = Σ t⊗t over all its ordered
pairs of neighbours, upper triangle. Principal covariates regression (PCovR) mixes the variance of F
with what F tells of the energy; the ridge model on F has the two errors of the table.
"""

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.commands import add_result_options, run_command
from experiments.paper import features
from experiments.paper.carbon.fitting import Score, ridges, rmse
from experiments.paper.errors import errors, intervals
from experiments.paper.labels import KINDS, Split, read_labels, split
from experiments.paper.running import RESULTS, result_of
from tripletjax.io import provenance, save_json
from tripletjax.plotting import drawing
from tripletjax.types import InputError

MIXING = 0.5
# What the penalty of the ridge models is chosen for, on validation structures.
SCORES: dict[str, Score] = {
    "energies": rmse,
    "differences": lambda predicted, reference: errors(predicted, reference)["delta"],
}
COMPONENTS = 60  # of the triplets, before the product
REGULARISATION = 1e-6  # of the regression inside the map, relative to the variance of F
TAIL = 1e-12  # relative variance below which directions of F are left out


class Map(NamedTuple):
    """A linear map of features to a few covariates."""

    center: np.ndarray  # [D]
    projection: np.ndarray  # [D, k]

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Covariates [S, k] of inputs [S, D]."""
        return (inputs - self.center) @ self.projection


def pcovr(
    inputs: np.ndarray,
    targets: np.ndarray,
    mixing: float,
    n_covariates: int = 2,
    regularisation: float = REGULARISATION,
) -> Map:
    """Principal covariates regression, in feature space.

    With X and Y centred, of mean square one, C = X^T X, the ridge regression P of Y on X and
    Ŷ = X P,

        C̃ = α C + (1 - α) C^{-½} X^T Ŷ Ŷ^T X C^{-½},

    whose leading eigenvectors U (eigenvalues Λ) give the covariates X C^{-½} U Λ^{½}.

    Args:
        inputs: ``[S, D]``.
        targets: ``[S]`` or ``[S, T]``.
        mixing: α: 1 is principal components analysis, 0 linear regression.
        n_covariates: how many.
        regularisation: of P, relative to the mean square of the inputs.

    Returns:
        A ``Map``.

    Raises:
        InputError: a mixing outside [0, 1].

    Source: de Jong and Kiers, Chemom. Intell. Lab. Syst. 14, 155 (1992); Helfrecht, Cersonsky,
    Fraux, Ceriotti, Mach. Learn.: Sci. Technol. 1, 045021 (2020).
    """
    if not 0 <= mixing <= 1:
        raise InputError(f"mixing={mixing} is not usable; give a number from 0 to 1")
    inputs, targets = np.asarray(inputs, float), np.asarray(targets, float)
    targets = targets.reshape(len(targets), -1)
    center = inputs.mean(0)
    x, y = inputs - center, targets - targets.mean(0)
    scale = np.linalg.norm(x)
    x, y = x / scale, y / np.linalg.norm(y)
    variances, vectors = np.linalg.eigh(x.T @ x)
    kept = variances > TAIL
    variances, vectors = variances[kept], vectors[:, kept]
    turned = (vectors / np.sqrt(variances)).T @ (x.T @ y)  # C^{-½} X^T Y
    # C^{-½} X^T Ŷ with P = (C + λ)⁻¹ X^T Y, in the eigenvectors of C.
    explained = (variances / (variances + regularisation))[:, None] * turned
    modified = mixing * np.diag(variances) + (1 - mixing) * explained @ explained.T
    values, directions = np.linalg.eigh(modified)
    values, directions = values[::-1][:n_covariates], directions[:, ::-1][:, :n_covariates]
    whitened = vectors / np.sqrt(variances)  # X times it has orthonormal columns
    return Map(center, whitened @ directions * np.sqrt(np.maximum(values, 0)) / scale)


def products(triplets: np.ndarray) -> np.ndarray:
    """Σ over triplets of t⊗t, upper triangle, off-diagonal ones times √2, ``[S, D (D + 1) / 2]``.

    Inner products of two rows are Σ Σ (t·t')².

    Args:
        triplets: ``[S, T, D]``; rows of zeros count for nothing.
    """
    first, second = np.triu_indices(triplets.shape[-1])
    weight = np.where(first < second, np.sqrt(2.0), 1.0)
    rows = (t.astype(float) for t in triplets)
    return np.array([(t.T @ t)[first, second] * weight for t in rows])


def draw(path: Path, covariates: np.ndarray, energies: np.ndarray, blind: np.ndarray) -> None:
    """The map of Σ t⊗t, with pairs joined, beside that of Σ t."""
    note = (
        "Lines join the members of 30 test pairs. On the left, Σ t, they are points: both members "
        "lie on one spot. On the right, Σ t⊗t, they part."
    )
    with drawing(path, (12, 5), note) as figure:
        shown = {"Σ t": blind, "Σ t⊗t": covariates}
        for axis, (title, points) in zip(figure.subplots(1, 2), shown.items(), strict=True):
            dots = axis.scatter(*points.T, c=energies, s=5, cmap="viridis")
            for pair in points[:60].reshape(-1, 2, 2):
                axis.plot(*pair.T, "-", color="#c44e52", linewidth=1)
                axis.plot(*pair.T, ".", color="#c44e52", markersize=3)
            axis.set(title=title, xlabel="first covariate", ylabel="second covariate")
            figure.colorbar(dots, ax=axis, label="energy / eV")


def run(
    resolution: str, labels: str, scratch: Path, out: Path, force: bool = False
) -> dict[str, Any]:
    """The map and the models; writes pcovr.json and pcovr.png."""
    settings = {"resolution": resolution, "labels": labels, "mixing": MIXING}
    settings |= {"components": COMPONENTS}
    result_of(out / "pcovr.json", settings, force)
    size = features.RESOLUTIONS[resolution]
    known = read_labels(labels).among(size.structures)
    parts = split(known)
    triplets = features.values("triplets", size, scratch / "features")
    triplets = triplets[np.searchsorted(size.structures, known.index)]
    fitted = np.sort(np.concatenate([parts.train, parts.valid]))
    sums = triplets.sum(1, dtype=float)
    squares = products(triplets[..., :COMPONENTS])  # leading principal components come first
    found: dict[str, Any] = {"settings": settings, "columns": squares.shape[1]}
    found |= {"structures": {part: len(getattr(parts, part)) for part in Split._fields}}
    maps = {}
    for name, values in {"sum": sums, "sum_of_products": squares}.items():
        found[name] = {}
        for choice, fit in ridges(values, known.energies, parts, SCORES).items():
            tested = fit.predicted[parts.test], known.energies[parts.test]
            found[name][f"penalty_best_for_{choice}"] = {
                "penalty": fit.penalty,
                "test": errors(*tested),
                "test_interval": intervals(*tested),
            }
        covariates = pcovr(values[fitted], known.energies[fitted], MIXING)(values[parts.test])
        maps[name] = covariates
        members = covariates.reshape(-1, 2, 2)
        apart = np.linalg.norm(members[:, 0] - members[:, 1], axis=-1)
        found[name]["distance_of_pairs"] = float(np.median(apart) / covariates.std(0).max())
    draw(out / "pcovr.png", maps["sum_of_products"], known.energies[parts.test], maps["sum"])
    save_json(out / "pcovr.json", found | provenance())
    return found


def main() -> None:
    """Draw the map and print the errors."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--resolution", choices=list(features.RESOLUTIONS), default="paper")
    parser.add_argument("--labels", choices=KINDS, default="xtb")
    parser.add_argument("--scratch", type=Path, default=Path("paper-scratch"), metavar="DIR")
    add_result_options(parser, RESULTS)
    given = parser.parse_args()
    found = run(given.resolution, given.labels, given.scratch, given.out, given.force)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    run_command(main)
