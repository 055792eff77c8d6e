"""Environments that orders one and two do not distinguish, and copies that must stay equal."""

import numpy as np
from scipy.spatial.transform import Rotation

from tripletjax.completeness.families.isometry import checked
from tripletjax.completeness.families.pairs import (
    DegeneratePair,
    around,
    numbers_of,
    polar,
    positive,
    real,
)
from tripletjax.completeness.families.solids import vertices
from tripletjax.types import InputError, as_integer

POZDNYAKOV_2020 = "Pozdnyakov et al., Phys. Rev. Lett. 125, 166001 (2020), arXiv 2001.11696"
POZDNYAKOV_2022 = "Pozdnyakov & Ceriotti, Mach. Learn.: Sci. Technol. 3, 045020 (2022)"
JOSHI_2023 = "Joshi et al., arXiv 2301.09308"
CEN_2024 = "Cen et al., arXiv 2410.11443"


def two_neighbors(
    radius: float = 1.5, angles: tuple[float, float] = (np.pi / 2, np.pi), species=("C", "H", "H")
) -> DegeneratePair:
    """Two neighbours at equal distances and two different angles: nu=1 does not depend on angles.

    Args:
        radius: distance of both neighbours from the centre, Å.
        angles: angles between the neighbours in the first and second member, rad.
        species: symbols of the centre and both neighbours.

    Raises:
        InputError: equal angles, or invalid parameters.

    Source: Joshi et al., arXiv 2301.09308.
    """
    radius = positive("radius", radius)
    members = [
        around(polar(radius, [0.0, angle])) for angle in real("angles", angles, (2,)).tolist()
    ]
    return checked(DegeneratePair(
        "two_neighbors", np.array(numbers_of(species, 3)), members[0], members[1], 0, None, "none",
        ("distances",), ("power_spectrum", "bispectrum"), JOSHI_2023,
    ))  # fmt: skip


def x_plus_minus(
    a=(0.9, 0.6), b=(0.9, 0.9, -0.5), c=(0.9, 0.9), species=("C", "H", "H", "H", "H")
) -> DegeneratePair:
    """X±: four neighbours a, b, b', c±, for which nu=2 only depends on the angles of pairs.

    a = (ax, 0, az), b = (bx, by, bz), b' = (-bx, -by, bz), c± = (0, ±cy, cz): from the first member
    to the second c·b and c·b' swap, c·a does not change.

    Args:
        a: (ax, az) in Å.
        b: (bx, by, bz) in Å.
        c: (cy, cz) in Å; cy → 0 is the fold, where the members merge.
        species: symbols of the centre, a, b, b' and c; those of b and b' must be equal.

    Raises:
        InputError: colliding atoms, isometric members, or different species of b and b'.

    Source: Pozdnyakov et al., Phys. Rev. Lett. 125, 166001 (2020), equation for X±.
    """
    numbers = numbers_of(species, 5)
    if numbers[2] != numbers[3]:
        raise InputError("x_plus_minus: b and b' must have the same species; give species[2] twice")
    (ax, az), (bx, by, bz), (cy, cz) = (
        real("a", a, (2,)), real("b", b, (3,)), real("c", c, (2,))
    )  # fmt: skip
    members = [
        around(np.array([[ax, 0, az], [bx, by, bz], [-bx, -by, bz], [0, sign * cy, cz]]))
        for sign in (1, -1)
    ]
    return checked(DegeneratePair(
        "x_plus_minus", np.array(numbers), members[0], members[1], 0, None, "none",
        ("distances", "power_spectrum"), ("bispectrum",), POZDNYAKOV_2020,
    ))  # fmt: skip


def methane(
    theta_a: float = 0.8, theta_b: float = 1.9, phi_b: float = 0.7, theta_c: float = 0.9,
    radius: float = 1.09,
) -> DegeneratePair:  # fmt: skip
    """The manifold of CH4 pairs with equal C-H distances and equal power spectra: X±.

    Four of five angles are free, so the manifold has codimension one. At theta_c = 0 or π the
    members merge: this is the fold, where the derivative of the power spectrum along c vanishes
    although the environment changes.

    Args:
        theta_a, theta_b, theta_c: polar angles of a, b and c, rad; phi_b: azimuth of b.
        radius: the C-H distance, Å.

    Raises:
        InputError: colliding atoms or isometric members, including the fold.

    Source: Pozdnyakov et al., Phys. Rev. Lett. 125, 166001 (2020).
    """
    angles = real("angles", (theta_a, theta_b, phi_b, theta_c), (4,))
    sines, cosines = positive("radius", radius) * np.array([np.sin(angles), np.cos(angles)])
    b = (sines[1] * np.cos(phi_b), sines[1] * np.sin(phi_b), cosines[1])
    pair = x_plus_minus((sines[0], cosines[0]), b, (sines[3], cosines[3]))
    return pair._replace(name="methane")


def centrosymmetric(
    radii=(1.2, 1.5, 1.9), cosines=(0.35, 0.25, 0.45), species=("C", "N", "N", "N"),
    center: bool = True,
) -> DegeneratePair:  # fmt: skip
    """±a, ±b, ±c with given |a·b|, |b·c|, |c·a|, whose product has the sign + or -.

    Every pair of atoms occurs with its inverted partner, so neither nu=2 about the centre nor
    distances, even with message passing, depend on the sign; triples of neighbours do.

    Args:
        radii: lengths of a, b and c, Å.
        cosines: positive cosines of the angles ab, bc and ca (the second member has the opposite
            sign of the last one).
        species: symbols of the centre and of ±a, ±b, ±c.
        center: whether there is an atom at the centre, whose environment is meant; else all six
            atoms are centres.

    Raises:
        InputError: cosines that no three vectors have, a cosine of zero, or colliding atoms.

    Source: Pozdnyakov & Ceriotti, Mach. Learn.: Sci. Technol. 3, 045020 (2022).
    """
    radii = real("radii", radii, (3,))
    ab, bc, ca = real("cosines", cosines, (3,))
    if not (radii > 0).all() or min(ab, bc, ca) <= 0:
        raise InputError("centrosymmetric: expected positive radii in Å and positive cosines")
    numbers = numbers_of(species, 4)
    members = []
    for sign in (1, -1):
        gram = np.array([[1, ab, sign * ca], [ab, 1, bc], [sign * ca, bc, 1]])
        values, vectors = np.linalg.eigh(gram)
        if values[0] < -1e-12:
            raise InputError(
                f"centrosymmetric: no three vectors have cosines {ab}, {bc}, {sign * ca}; use "
                "smaller ones"
            )
        axes = radii[:, None] * (vectors * np.sqrt(np.maximum(values, 0)))
        members.append(np.stack([axes, -axes], axis=1).reshape(6, 3))
    atoms = np.repeat(numbers[1:], 2)
    blind = ("distances", "power_spectrum")
    if center:
        members = [around(member) for member in members]
        atoms = np.array([numbers[0], *atoms])
        return checked(DegeneratePair(
            "centrosymmetric", atoms,
        members[0], members[1], 0, None, "none", blind, ("bispectrum",),
            POZDNYAKOV_2022,
        ))  # fmt: skip
    return checked(DegeneratePair(
        "centrosymmetric", atoms, members[0], members[1], None, None, "none",
        ("distances", "sorted_distances", "pointwise_distances", "message_passing"),
        ("power_spectrum", "bispectrum"), POZDNYAKOV_2022,
    ))  # fmt: skip


def rotated_polygon(n: int = 5, angle: float = 0.9666, radius: float = 1.5) -> DegeneratePair:
    """A regular polygon about a centre and a rotated copy: invariants must not distinguish them.

    Equivariant features of degree l < n, on the other hand, do not detect the rotation.

    Args:
        n: number of neighbours, 2 or more.
        angle: rotation about the axis, rad.
        radius: radius of the polygon, Å.

    Source: Joshi et al., arXiv 2301.09308.
    """
    n = as_integer("n", n, 2)
    angles = 2 * np.pi * np.arange(n) / n
    turn = float(real("angle", angle))
    members = [around(polar(positive("radius", radius), angles + t)) for t in (0.0, turn)]
    return _copy("rotated_polygon", members, JOSHI_2023)


def rotated_polyhedron(
    solid: str = "cube", rotation=(0.4, 1.1, -0.3), radius: float = 1.8
) -> DegeneratePair:
    """A Platonic solid about a centre and a rotated copy: invariants must not distinguish them.

    Args:
        solid: a name in ``SOLIDS``.
        rotation: rotation vector, its length the angle in rad.
        radius: distance of the vertices from the centre, Å.

    Source: Cen et al., arXiv 2410.11443.
    """
    points = positive("radius", radius) * vertices(solid)
    matrix = Rotation.from_rotvec(real("rotation", rotation, (3,))).as_matrix()
    members = [around(points), around(points @ matrix.T)]
    return _copy("rotated_polyhedron", members, CEN_2024)


def _copy(name: str, members: list[np.ndarray], source: str) -> DegeneratePair:
    blind = ("distances", "power_spectrum", "bispectrum", "bispectrum_pseudo")
    numbers = np.array([6] + [1] * (len(members[0]) - 1))
    return checked(
        DegeneratePair(
            name, numbers, members[0], members[1], 0, None, "rotation", blind, (), source
        )
    )
