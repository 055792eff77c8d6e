"""The kernel of a sparse process in many structures, by the errors of smaller ones."""

from collections.abc import Callable, Iterable, Sequence
from logging import getLogger
from typing import Any

import numpy as np
from ase import Atoms

from tripletjax.descriptors.base import Descriptor
from tripletjax.kernels.environments import EnvironmentKernel
from tripletjax.kernels.sparse import fit_sparse_potential
from tripletjax.potentials.predictions import predict_frames

logger = getLogger(__name__)
STRUCTURES = 60  # that processes are fitted to, and as many between them that they are tested on


def best_for_many(
    describers: Sequence[Descriptor],
    kernel: EnvironmentKernel,
    frames: Sequence[Atoms],
    energies: Sequence[float],
    forces: Sequence[Any],
    *,
    more: Callable[[Descriptor], Iterable[Any]] = lambda describer: (),
    **options: Any,
) -> Any:
    """The kernel, with its descriptors, that describes many structures best.

    What suits some hundred labels need not suit ten thousand, and a process that explains its own
    labels best need not predict others best. So the mean absolute error of the forces on other
    structures decides, or that of the energies if there are no forces, in processes with as many
    inducing environments as in the end.

    Args:
        describers: with different cutoffs; the search begins at the first.
        kernel: between their vectors, as for ``fit_sparse_potential``.
        frames, energies, forces: labels; those of 60 structures are fitted, of 60 others tested.
        more: kernels to compare with that of the best descriptor, each with its own descriptors.
        options: further ones of ``fit_sparse_potential``, ``n_inducing`` among them.

    Raises:
        InputError: as for ``fit_sparse_potential``.

    Example:
        >>> from ase.build import bulk
        >>> from tripletjax import descriptor
        >>> frames = [bulk("Ar", cubic=True) for _ in range(2)]
        >>> frames[1].rattle(0.1)
        >>> known = frames, [0.0, 0.1], [np.zeros((4, 3)), 0.1 * np.eye(4, 3)]
        >>> options = dict(n_max=2, l_max=1)
        >>> several = [descriptor("power_spectrum", (18,), cutoff=r, **options) for r in (4, 5)]
        >>> best_for_many(several, EnvironmentKernel(), *known).describer.cutoff in (4, 5)
        True
    """
    step = max(2, -(-len(frames) // STRUCTURES))
    labels: Any = frames, energies, forces
    fitted, tested = ([part[start::step] for part in labels] for start in (0, step // 2))

    def error_of(candidate: Any) -> float:
        potential = fit_sparse_potential(*fitted, kernels=candidate, **options)
        error, unit = _error(potential, *tested)
        what = f"cutoff {potential.cutoff:g} Å, {candidate.label()}"
        logger.info("%s: error %.4g %s on other structures", what, error, unit)
        return error

    ordered = sorted(describers, key=lambda one: one.cutoff)
    kernels = [kernel.of(describer) for describer in ordered]
    start = ordered.index(describers[0])
    place, lowest = _lowest(lambda place: error_of(kernels[place]), start, len(kernels))
    best = kernels[place]
    for other in more(ordered[place]):
        error = error_of(other)
        if error < lowest:
            best, lowest = other, error
    return best


def _error(potential: Any, frames, energies, forces) -> tuple[float, str]:
    found = predict_frames(potential, frames, deviations=False)
    pairs = [pair for pair in zip(found.forces, forces, strict=True) if pair[1] is not None]
    if pairs:
        return float(np.abs(np.concatenate([a - b for a, b in pairs])).mean()), "eV/Å"
    n_atoms = [len(frame) for frame in frames]
    return float(np.mean(np.abs(found.energy - np.array(energies)) / n_atoms)), "eV/atom"


def _lowest(function: Callable[[int], float], start: int, count: int) -> tuple[int, float]:
    """A minimum of a function of 0 ... count - 1, on the right of the start if there is one.

    Example:
        >>> _lowest(lambda x: (x - 1) ** 2, start=2, count=9)
        (1, 0)
    """
    best, value = start, function(start)
    for step in (1, -1):
        while 0 <= best + step < count:
            found = function(best + step)
            if found >= value:
                break
            best, value = best + step, found
        if best != start:
            break
    return best, value
