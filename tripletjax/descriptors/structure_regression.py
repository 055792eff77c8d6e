"""Regression of energies, and of forces if there are any, on a kernel between structures."""

from collections.abc import Iterable, Sequence
from itertools import chain, pairwise
from typing import Any

import numpy as np
from ase import Atoms
from scipy.linalg import get_lapack_funcs, solve_triangular

from tripletjax.descriptors.base import known_frames
from tripletjax.descriptors.estimator import Estimator
from tripletjax.descriptors.kinds import checked_hypers
from tripletjax.descriptors.similarity import (
    HYPERS,
    Similar,
    environments_of,
    similar,
    slopes,
    spectrum,
)
from tripletjax.descriptors.structure_kernel import summed_kernel
from tripletjax.neighbors import check_frames, require_elements
from tripletjax.types import InputError, as_integer, as_positive

RANK = 1e-10  # of the largest kernel, below which an environment depends on those chosen
CANDIDATES = 4  # times n_environments, at most
ATOMS_AT_ONCE = 4096
PENALTIES = np.logspace(-10, -1, 19)


class StructureKernelRegressor(Estimator):
    """Energies as sums over atoms of a kernel of environments: a regressor for scikit-learn.

        E(S) = Σ_{i∈S} [e(species of i) + Σ_m w_m k(i, m)]

    with k the kernel of ``StructureKernelTransformer`` between environments, and up to
    ``n_environments`` m of those of ``fit``, chosen by pivoted Cholesky decomposition. The energies
    e of atoms are fitted by least squares. The w are fitted by ridge regression in the metric of k;
    the error of leaving out one structure after the other, in closed form, decides the penalty.

    With forces, derivatives of E along ``n_moves`` random displacements d of all atoms are fitted
    too, to -F·d: each structure then has 1 + ``n_moves`` labels. A structure of N atoms
    has 3 N - 6 forces that are independent; more displacements than that are of no use.

    Args:
        degree: ζ of the kernel.
        n_environments: maximum number of environments m.
        n_moves: random displacements of each structure, if there are forces.
        force_weight: Å; weight of the derivatives relative to energies, for displacements of 1 Å
            of each atom.
        seed: of the displacements.
        species: atomic numbers; None: those of ``fit``.
        **hypers: of the power spectrum; default: ``similarity.HYPERS``.

    Example:
        >>> from tripletjax.data.sets import load_frames
        >>> frames = load_frames("ethanol")[:24]
        >>> energies = [frame.get_potential_energy() for frame in frames]
        >>> forces = [frame.get_forces() for frame in frames]
        >>> model = StructureKernelRegressor(n_max=3, l_max=2)
        >>> model = model.fit(frames[:20], energies[:20], forces=forces[:20])
        >>> bool(abs(model.predict(frames[20:]) - energies[20:]).mean() < 0.1)
        True
    """

    _made_by_fit = "weights_"
    _mixin = "RegressorMixin"

    def __init__(
        self,
        *,
        degree: int = 2,
        n_environments: int = 1500,
        n_moves: int = 10,
        force_weight: float = 0.03,
        seed: int = 0,
        species: Iterable[int] | None = None,
        **hypers: Any,
    ):
        self._parameters = {
            "degree": degree, "n_environments": n_environments, "n_moves": n_moves,
            "force_weight": force_weight, "seed": seed, "species": species, **hypers,
        }  # fmt: skip

    def fit(
        self,
        frames: Atoms | Iterable[Atoms],
        y: Iterable[float],
        forces: Sequence[np.ndarray] | None = None,
    ) -> "StructureKernelRegressor":
        """Fit to energies in eV, and to forces in eV/Å of every structure, ``[atoms, 3]``.

        Raises:
            InputError: as for ``describe``; also labels that do not match the structures.
        """
        given = dict(self._parameters)
        self.degree_ = as_integer("degree", given.pop("degree"), 1, 100)
        most = as_integer("n_environments", given.pop("n_environments"), 1)
        n_moves = as_integer("n_moves", given.pop("n_moves"), 1, 1000)
        weight = as_positive("force_weight", given.pop("force_weight"), "Å")
        seed, species = as_integer("seed", given.pop("seed"), 0, 2**63), given.pop("species")
        checked_hypers("power_spectrum", HYPERS | given)
        frames = check_frames(frames)
        energies = _as_energies(y, len(frames))
        self.spectrum_ = spectrum(require_elements(frames, species), given)
        counts = self._counts(frames)
        self.references_ = np.linalg.lstsq(counts, energies, rcond=None)[0]
        lists = [environments_of(frames[part], self.spectrum_) for part in _parts(frames)]
        environments = similar(frames, self.spectrum_, chain(*lists))
        self.environments_, root = _chosen(environments, self.degree_, most, seed)
        labels, moves = (energies - counts @ self.references_)[:, None], None
        if forces is not None:
            moves = _moves(frames, n_moves, seed)
            labels = np.concatenate([labels, weight * _along(_as_forces(forces, frames), moves)], 1)
        rows = self._rows(frames, lists, environments, moves, weight)  # [S, 1 + moves, M]
        flat = rows.reshape(-1, len(root))
        rows = solve_triangular(root, flat.T, lower=True).T.reshape(rows.shape)
        scale = np.mean(np.sum(rows[:, 0] ** 2, -1))
        coefficients, _ = ridge_by_structures(rows, labels, scale * PENALTIES)
        self.weights_ = solve_triangular(root, coefficients, lower=True, trans=1)
        return self

    def predict(self, frames: Atoms | Iterable[Atoms]) -> np.ndarray:
        """Energies in eV, ``[structures]``.

        Raises:
            InputError: as for ``describe``; also for species that ``fit`` did not see.
        """
        self._require_fit()
        frames = known_frames(frames, self.spectrum_)
        environments = similar(frames, self.spectrum_)
        values = summed_kernel(environments, self.environments_, self.degree_)
        return values @ self.weights_ + self._counts(frames) @ self.references_

    def score(self, frames: Atoms | Iterable[Atoms], y: Iterable[float]) -> float:
        """R², the coefficient of determination of the energies."""
        frames = check_frames(frames)
        energies = _as_energies(y, len(frames))
        errors = energies - self.predict(frames)
        return float(1 - np.sum(errors**2) / np.sum((energies - energies.mean()) ** 2))

    def _counts(self, frames: Sequence[Atoms]) -> np.ndarray:
        elements = np.array(self.spectrum_.elements)
        return np.array([np.sum(f.numbers[:, None] == elements, 0) for f in frames], float)

    def _rows(self, frames, lists, environments: Similar, moves, weight: float) -> np.ndarray:
        """The kernel summed over the atoms of each structure, and its derivatives along moves."""
        others, z, found = self.environments_, self.degree_, []
        for part, neighbors in zip(_parts(frames), lists, strict=True):
            own = environments.of(part)
            rows = [summed_kernel(own, others, z)]
            if moves is not None:
                outer = weight * z * own.similarity(others) ** (z - 1) * own.weights(others)
                for slope in slopes(neighbors, self.spectrum_, moves[part]):
                    values = slope @ others.vectors.T
                    values *= outer
                    rows.append(np.add.reduceat(values, own.start, axis=0))
            found.append(np.stack(rows, 1))
        return np.concatenate(found)


def _parts(frames: Sequence[Atoms]) -> list[slice]:
    """Consecutive structures with at most ``ATOMS_AT_ONCE`` atoms, or single ones."""
    group = np.cumsum([len(frame) for frame in frames]) // ATOMS_AT_ONCE
    edges = [0, *(np.flatnonzero(np.diff(group)) + 1).tolist(), len(frames)]
    return [slice(*pair) for pair in pairwise(edges)]


def _as_energies(values: Any, count: int) -> np.ndarray:
    energies = np.asarray(values, float)
    if energies.shape != (count,) or not np.isfinite(energies).all():
        raise InputError(
            f"invalid energies of shape {energies.shape}: expected one finite number (eV) for each "
            f"of {count} structures"
        )
    return energies


def _as_forces(forces: Sequence[np.ndarray], frames: Sequence[Atoms]) -> list[np.ndarray]:
    given = [np.asarray(of_frame, float) for of_frame in forces]
    if len(given) != len(frames):
        raise InputError(f"forces of {len(given)} structures for {len(frames)} structures")
    for index, (own, frame) in enumerate(zip(given, frames, strict=True)):
        if own.shape != (len(frame), 3) or not np.isfinite(own).all():
            raise InputError(
                f"invalid forces of frame {index}, of shape {own.shape}: expected finite numbers "
                f"(eV/Å) of shape ({len(frame)}, 3)"
            )
    return given


def _moves(frames: Sequence[Atoms], count: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(count, len(frame), 3)) for frame in frames]


def _along(forces: list[np.ndarray], moves: list[np.ndarray]) -> np.ndarray:
    """-F·d, [S, moves]."""
    return -np.array([np.tensordot(d, f) for f, d in zip(forces, moves, strict=True)])


def _chosen(environments: Similar, degree: int, most: int, seed: int) -> tuple[Similar, np.ndarray]:
    """Environments by pivoted Cholesky decomposition, and the root [M, M] of their kernel."""
    count, limit = len(environments.kinds), CANDIDATES * most
    if count > limit:
        some = np.random.default_rng(seed).choice(count, limit, replace=False)
        environments = environments.take(np.sort(some))
    kernel = environments.similarity(environments) ** degree
    kernel *= environments.weights(environments)
    largest = kernel.diagonal().max()
    if largest == 0:
        raise InputError("no structure has a neighbour within the cutoff: increase the cutoff")
    pivoted_cholesky: Any = get_lapack_funcs("pstrf", (kernel,))
    root, pivots, rank, _ = pivoted_cholesky(kernel, lower=1, tol=RANK * largest)
    size = min(rank, most)
    return environments.take(pivots[:size] - 1), np.tril(root[:size, :size])


def ridge_by_structures(
    rows: np.ndarray, labels: np.ndarray, penalties: Iterable[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Ridge regression with the penalty of the smallest error of leaving out one structure.

    With H = X (XᵀX + α)⁻¹ Xᵀ, the labels of structure s are off by (1 - H_ss)⁻¹ (y_s - ŷ_s) in a
    fit to all other structures.

    Args:
        rows: X ``[S, L, M]`` of L labels of each structure.
        labels: y ``[S, L]``; errors of the first label decide.
        penalties: α, ascending.

    Returns:
        The coefficients ``[M]`` of the best penalty, and for each of the penalties the errors of
        structures left out ``[penalties, S]``.

    Example:
        >>> rows, labels = np.array([[[1.0]], [[2.0]], [[3.0]]]), np.array([[1.0], [2.0], [3.0]])
        >>> coefficients, errors = ridge_by_structures(rows, labels, [1e-9, 1.0])
        >>> coefficients.round(6).tolist(), errors.shape
        ([1.0], (2, 3))
    """
    flat = rows.reshape(-1, rows.shape[-1])
    values, vectors = np.linalg.eigh(flat.T @ flat)
    target = vectors.T @ (flat.T @ labels.ravel())
    z = rows @ vectors  # [S, L, M]
    identity, fits = np.eye(rows.shape[1]), []
    for penalty in penalties:
        inverse = 1 / (np.maximum(values, 0) + penalty)
        residuals = labels - z @ (inverse * target)
        own = identity - (z * inverse) @ np.swapaxes(z, 1, 2)  # 1 - H_ss
        fits.append((np.linalg.solve(own, residuals[..., None])[:, 0, 0], inverse))
    errors = np.stack([error for error, _ in fits])
    best = fits[int(np.argmin(np.sum(errors**2, 1)))]
    return vectors @ (best[1] * target), errors
