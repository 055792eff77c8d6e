"""The descriptor for a sparse process in many structures, by the evidence of smaller ones."""

from collections.abc import Sequence
from logging import getLogger
from typing import Any

from ase import Atoms

from tripletjax.descriptors.base import Descriptor
from tripletjax.kernels.environments import EnvironmentKernel
from tripletjax.kernels.sparse import fit_sparse_potential

logger = getLogger(__name__)
STRUCTURES = 60  # evenly spaced in the list, if there are more


def best_for_many(
    describers: Sequence[Descriptor],
    kernel: EnvironmentKernel,
    frames: Sequence[Atoms],
    energies: Sequence[float],
    forces: Sequence[Any],
    **options: Any,
) -> Descriptor:
    """Of descriptors with different cutoffs the one that describes many structures best.

    What suits some hundred labels need not suit ten thousand: where labels are few the evidence
    prefers a descriptor of little detail. So thousands of them decide, in sparse processes with as
    many inducing environments as in the end.

    Args:
        describers: with different cutoffs.
        kernel: between their vectors, as for ``fit_sparse_potential``.
        frames, energies, forces: labels; those of 60 structures decide.
        options: further ones of ``fit_sparse_potential``, ``n_inducing`` among them.

    Raises:
        InputError: as for ``fit_sparse_potential``.

    Example:
        >>> import numpy as np
        >>> from ase.build import bulk
        >>> from tripletjax import descriptor
        >>> frames = [bulk("Ar", cubic=True) for _ in range(2)]
        >>> frames[1].rattle(0.1)
        >>> known = frames, [0.0, 0.1], [np.zeros((4, 3)), 0.1 * np.eye(4, 3)]
        >>> options = dict(n_max=2, l_max=1)
        >>> several = [descriptor("power_spectrum", (18,), cutoff=r, **options) for r in (4, 5)]
        >>> best_for_many(several, EnvironmentKernel(), *known).cutoff in (4, 5)
        True
    """
    some = slice(None, None, -(-len(frames) // STRUCTURES))
    candidates = [kernel.of(describer) for describer in describers]
    potential = fit_sparse_potential(
        frames[some],
        energies[some],
        forces[some],
        kernels=candidates,
        **options,
    )
    logger.info("cutoff %g Å, by the evidence of sparse processes", potential.cutoff)
    return next(one for one in describers if one.cutoff == potential.cutoff)
