"""Chains for local message passing, and periodic structures."""

from collections.abc import Sequence

import numpy as np

from tripletjax.completeness.families.isometry import checked
from tripletjax.completeness.families.pairs import DegeneratePair, numbers_of, positive, real
from tripletjax.completeness.families.rings import (
    PATTERSON_1944,
    circle_sets,
    coprime_rings,
    require_homometric,
    sites,
)
from tripletjax.types import InputError, as_integer


def k_chain(
    k: int = 4, bond: float = 1.0, angle: float = 2.2143, species: str = "C"
) -> DegeneratePair:
    """A straight chain of k atoms with bent ends, trans or cis.

    Invariant messages along the bonds do not distinguish them at any depth, vector messages only
    once they have crossed the chain; a cutoff that spans the chain distinguishes the ends directly.

    Args:
        k: number of atoms on the line, 2 or more.
        bond: length of all bonds, Å.
        angle: bond angle at the ends, rad; not 0 or π.
        species: of all atoms.

    Raises:
        InputError: the ends are on the line, or close enough to be bonded.

    Source: Joshi et al., arXiv 2301.09308; Schütt et al., arXiv 2102.03150.
    """
    k = as_integer("k", k, 2)
    bond = positive("bond", bond)
    bend = float(real("angle", angle))
    across, along = bond * np.sin(bend), -bond * np.cos(bend)
    line = np.stack([np.zeros(k), bond * np.arange(k), np.zeros(k)], axis=-1)
    line[:, 1] -= bond * (k - 1) / 2
    end = line[-1, 1] + along
    members = [
        np.concatenate([[[side * across, -end, 0]], line, [[across, end, 0]]]) for side in (-1, 1)
    ]
    apart = members[1][-1] - members[1][0]
    if np.linalg.norm(apart) < 1.3 * bond or 2 * bond * np.sin(bend / 2) < 1.3 * bond:
        raise InputError(f"k_chain: angle={angle} rad brings unbonded atoms together; widen it")
    return checked(DegeneratePair(
        "k_chain", np.array(numbers_of(species, k + 2)), members[0], members[1], None, None, "none",
        ("local_message_passing",), ("sorted_distances", "power_spectrum"),
        "Joshi et al., arXiv 2301.09308",
    ))  # fmt: skip


def periodic_column(
    rings: str = "coprime_rings", period: float = 2.6, **parameters
) -> DegeneratePair:
    """Planar rings about a centre, repeated along their axis.

    The position in the ring and the height are independent in each tuple of neighbours, so all
    orders that are equal for the ring are equal for the column, at any cutoff.

    Args:
        rings: "coprime_rings" or "circle_sets".
        period: distance between repeated rings, Å.
        **parameters: parameters of the rings; heights must be 0.

    Raises:
        InputError: as for the rings.
    """
    makers = {"coprime_rings": coprime_rings, "circle_sets": circle_sets}
    if rings not in makers or "heights" in parameters:
        raise InputError(
            f"invalid rings={rings!r}: expected one of {list(makers)}, without heights"
        )
    pair = makers[rings](**parameters)
    cell = np.diag([0.0, 0.0, positive("period", period)])
    return checked(pair._replace(name="periodic_column", cell=cell))


def homometric_crystal(
    n: int = 8, first: Sequence[int] = (0, 1, 3, 4), second: Sequence[int] = (0, 1, 2, 5),
    step: float = 0.9, layers: float = 3.1, species: str = "C",
) -> DegeneratePair:  # fmt: skip
    """Atoms on homometric sets of n sites along a cell edge: equal vectors and equal diffraction.

    Args:
        n: number of sites along the cell edge z.
        first, second: occupied sites, with equal multisets of differences modulo n.
        step: distance between neighbouring sites, Å.
        layers: cell edges along x and y, Å.
        species: of all atoms.

    Raises:
        InputError: sets that are not homometric, or isometric crystals.

    Source: Patterson, Phys. Rev. 65, 195 (1944).
    """
    step, layers = positive("step", step), positive("layers", layers)
    chosen = [sites(name, s, n) for name, s in (("first", first), ("second", second))]
    require_homometric("homometric_crystal", chosen[0], chosen[1], n)
    members = [step * s[:, None] * np.array([[0.0, 0.0, 1.0]]) for s in chosen]
    return checked(DegeneratePair(
        "homometric_crystal", np.array(numbers_of(species, len(members[0]))),
        members[0], members[1], None,
        np.diag([layers, layers, n * step]), "none", ("distances", "sorted_distances"),
        ("power_spectrum",), PATTERSON_1944,
    ))  # fmt: skip
