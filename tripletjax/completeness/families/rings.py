"""Rings about an axis: homometric sets (nu=2), double rings with a cap (nu=3), a capped ring."""

from collections.abc import Sequence
from itertools import product

import numpy as np

from tripletjax.completeness.families.environments import POZDNYAKOV_2020
from tripletjax.completeness.families.isometry import checked
from tripletjax.completeness.families.pairs import (
    DegeneratePair,
    around,
    numbers_of,
    polar,
    positive,
    real,
)
from tripletjax.data.b8 import b8_positions
from tripletjax.types import InputError, as_integer

PATTERSON_1944 = "Patterson, Phys. Rev. 65, 195 (1944)"
ROSENBLATT_1982 = "Rosenblatt & Seymour, SIAM J. Algebr. Discrete Methods 3, 343 (1982)"
NIGAM_2024 = "Nigam et al., APL Mach. Learn. 2, 016110 (2024), arXiv 2302.14770"
THREE_BODY = ("distances", "power_spectrum")
FOUR_BODY = (*THREE_BODY, "bispectrum")


def circle_sets(
    n: int = 8, first: Sequence[int] = (0, 1, 3, 4), second: Sequence[int] = (0, 1, 2, 5),
    radius: float = 1.8, species: str = "H",
) -> DegeneratePair:  # fmt: skip
    """Two homometric sets of sites of a regular n-gon: nu=2 only depends on differences.

    Args:
        n: number of sites on the circle.
        first, second: occupied sites, with equal multisets of differences modulo n.
        radius: radius of the circle, Å.
        species: species of the neighbours.

    Raises:
        InputError: sets that are not homometric, or related by a rotation or reflection.

    Source: Patterson, Phys. Rev. 65, 195 (1944).
    """
    members = [sites(name, s, n) for name, s in (("first", first), ("second", second))]
    require_homometric("circle_sets", members[0], members[1], n)
    points = [around(polar(positive("radius", radius), 2 * np.pi * s / n)) for s in members]
    numbers = numbers_of("C") + numbers_of(species, len(members[0]))
    return checked(DegeneratePair(
        "circle_sets", np.array(numbers),
        points[0], points[1], 0, None, "none", THREE_BODY, ("bispectrum",),
        PATTERSON_1944,
    ))  # fmt: skip


def sites(name: str, values: Sequence[int], n: int) -> np.ndarray:
    """Validate distinct integers modulo n."""
    reduced = np.array([as_integer(name, value, None) for value in values], int) % n
    if not len(reduced) or len(np.unique(reduced)) != len(reduced):
        raise InputError(f"invalid {name}={values!r}: expected whole numbers, distinct modulo {n}")
    return reduced


def require_homometric(name: str, first: np.ndarray, second: np.ndarray, n: int) -> None:
    """Raise InputError unless the multisets of differences modulo n are equal."""
    tables = [np.sort(((s[:, None] - s) % n).reshape(-1)) for s in (first, second)]
    if len(first) != len(second) or (tables[0] != tables[1]).any():
        raise InputError(
            f"{name}: {first.tolist()} and {second.tolist()} are not homometric modulo {n}: "
            "expected equal multisets of differences"
        )


def circle_sums(
    a=(0.0, 0.5, 2.0), b=(0.0, 1.0, 3.5), radius: float = 2.4, species: str = "H"
) -> DegeneratePair:
    """A+B and A-B on a circle about a centre: all sums of two angles, or all differences.

    The difference of α + β and α' + β' is that of α - β' and α' - β, so the two sets are
    homometric. A and B must not have mirror symmetry, and therefore need at least three angles.

    Args:
        a, b: angles in rad.
        radius: of the circle, Å.
        species: of the neighbours.

    Raises:
        InputError: sums that coincide, or a symmetric set, which makes the members isometric.

    Source: Rosenblatt & Seymour, SIAM J. Algebr. Discrete Methods 3, 343 (1982).
    """
    a, b = real("a", a, (-1,)), real("b", b, (-1,))
    radius = positive("radius", radius)
    members = [
        around(polar(radius, (a[:, None] + sign * b).reshape(-1))) for sign in (1, -1)
    ]  # fmt: skip
    numbers = numbers_of("C") + numbers_of(species, a.size * b.size)
    return checked(DegeneratePair(
        "circle_sums", np.array(numbers),
        members[0], members[1], 0, None, "none", THREE_BODY, ("bispectrum",),
        ROSENBLATT_1982,
    ))  # fmt: skip


def double_ring(
    ring=(0.0, 2.7, 4.5), other=None, psi: float = 2.3, radius: float = 1.4, height: float = 0.6,
    cap: float = 1.7, species=("B", "B", "B", "B"), relation: str = "none", name="double_ring",
) -> DegeneratePair:  # fmt: skip
    """Two homometric rings at heights ±z1 about the axis, and an atom on it at +z2 or -z2.

    Triples with the cap and one ring only depend on the differences of its angles, equal for both
    rings; triples with the cap and both rings only depend on differences between the rings. Hence
    nu=3 is equal, including pseudoscalars.

    Args:
        ring: angles of the ring at +z1, rad.
        other: angles of the ring at -z1, homometric to ``ring``; None: the same.
        psi: rotation of the ring at -z1, rad.
        radius, height, cap: ring radius, z1 and z2 in Å.
        species: symbols of the centre, the upper and lower ring (one species) and the cap.
        relation: required relation of the members. Rings with mirror symmetry give a "rotation".
        name: name of the pair.

    Raises:
        InputError: rings that are not homometric, colliding atoms, or a different relation.

    Source: Pozdnyakov et al., Phys. Rev. Lett. 125, 166001 (2020).
    """
    upper = real("ring", ring, (-1,))
    lower = upper if other is None else real("other", other, (-1,))
    tables = [np.sort(np.cos(s[:, None] - s).reshape(-1)) for s in (upper, lower)]
    if len(upper) != len(lower) or not np.allclose(*tables, rtol=0, atol=1e-12):
        raise InputError(
            f"{name}: the rings are not homometric: expected equal or homometric rings"
        )
    numbers = numbers_of(species, 4)
    if numbers[1] != numbers[2]:
        raise InputError(f"{name}: both rings must have the same species; give species[1] twice")
    radius, height, cap = (
        positive(key, value) for key, value in (("radius", radius), ("height", height),
                                                ("cap", cap))
    )  # fmt: skip
    rings = [polar(radius, upper, height), polar(radius, lower + float(real("psi", psi)), -height)]
    members = [around(np.concatenate([*rings, [[0, 0, sign * cap]]])) for sign in (1, -1)]
    atoms = [numbers[0]] + [numbers[1]] * (2 * len(upper)) + [numbers[3]]
    sharp = ("nu4",) if relation == "none" else ()
    return checked(DegeneratePair(
        name, np.array(atoms),
        members[0], members[1], 0, None, relation, (*FOUR_BODY, "bispectrum_pseudo"),
        sharp, POZDNYAKOV_2020,
    ))  # fmt: skip


def b8(r=1.4, z1=0.6, z2=1.7, psi=2.3, phi1=2.7, phi2=1.8) -> DegeneratePair:
    """The B8 cluster: a double ring of three atoms with the parameters of the included data.

    Args:
        r, z1, z2: ring radius, ring height and axial height, Å.
        psi, phi1, phi2: rotation between the rings and the two arcs, rad.

    Raises:
        InputError: colliding atoms, or arcs that make the ring symmetric.

    Source: Nigam et al., arXiv 2302.14770.
    """
    members = b8_positions(real("parameters", (r, z1, z2, psi, phi1, phi2), (6,)))
    return checked(DegeneratePair(
        "b8", np.full(8, 5), members[0], members[1], 0, None, "none",
        (*FOUR_BODY, "bispectrum_pseudo"), ("nu4",), NIGAM_2024,
    ))  # fmt: skip


def ch6o(
    ring=(0.0, 2.5, 4.4), psi: float = 2.2, radius: float = 1.0, height: float = 0.7,
    cap: float = 1.4,
) -> DegeneratePair:  # fmt: skip
    """The double ring as CH6O: carbon between two rings of three hydrogens, oxygen on the axis.

    Args:
        ring, psi: angles of a ring and rotation between the rings, rad.
        radius, height, cap: ring radius, z1 and z2 in Å.

    Raises:
        InputError: colliding atoms, or a symmetric ring.

    Source: Pozdnyakov et al., Phys. Rev. Lett. 125, 166001 (2020).
    """
    return double_ring(ring, None, psi, radius, height, cap, ("C", "H", "H", "O"), name="ch6o")


def capped_ring(
    ring=(0.0, 2.0, 4.5), height: float = 0.0, radius: float = 1.5, cap: float = 1.3,
    species=("C", "H", "F"), relation: str = "reflection",
) -> DegeneratePair:  # fmt: skip
    """A scalene ring and a cap above or below it: mirror images, equal for every O(3) invariant.

    The second member is the first one reflected in the plane of the centre, which leaves a ring in
    that plane unchanged. With the ring in the plane, handedness requires four neighbours; three are
    not enough.

    Args:
        ring: three or more angles with unequal arcs, rad.
        height: height of the ring, Å.
        radius, cap: radius of the ring and height of the cap, Å.
        species: symbols of the centre, the ring and the cap.
        relation: required relation of the members; "rotation" for a symmetric ring.

    Raises:
        InputError: colliding atoms, or a different relation.

    Source: Joshi et al., arXiv 2301.09308, with the ring made scalene.
    """
    angles = real("ring", ring, (-1,))
    numbers = numbers_of(species, 3)
    height = float(real("height", height))
    radius, cap = positive("radius", radius), positive("cap", cap)
    first = np.concatenate([polar(radius, angles, height), [[0, 0, cap]]])
    second = first * [1, 1, -1]
    planar = height == 0
    blind = (*FOUR_BODY, "nu4")
    if relation == "rotation" or planar:
        blind = (*blind, "bispectrum_pseudo")
    sharp = ("nu4_pseudo",) if planar else ("bispectrum_pseudo",)
    atoms = [numbers[0]] + [numbers[1]] * len(angles) + [numbers[2]]
    return checked(DegeneratePair(
        "capped_ring", np.array(atoms), around(first), around(second), 0, None, relation, blind,
        () if relation == "rotation" else sharp, "Joshi et al., arXiv 2301.09308",
    ))  # fmt: skip


def coprime_rings(
    p: int = 3, q: int = 4, a: Sequence[int] = (0, 1), b: Sequence[int] = (0, 1),
    radii_a=(1.6, 2.5), radii_b=(3.3, 4.2), heights=(0.0, 0.0), species=("C", "H", "O"),
) -> DegeneratePair:  # fmt: skip
    """Two families of sites 2πx/(pq), x mod p in A and x mod q in B; the second has -A and B.

    By the Chinese remainder theorem the sites of A are distributed evenly relative to those of B,
    so only tuples that contain the handedness of both A and B distinguish the members: k_A + k_B
    neighbours, where k is 2 if the residues differ in radius and 3 for a scalene set of one radius.
    All lower orders are equal: nu <= 3 for 3×4 with {0,1} twice, nu <= 4 for 3×7 and 4×7 with {0,1}
    and {0,1,3}, nu <= 5 for 6×7 with {0,1,3} twice. In the plane of the centre there are no
    pseudoscalars; rings at heights other than 0 have equal O(3) invariants, but pseudoscalars
    depend on the handedness of a scalene A of one radius.

    Args:
        p, q: coprime integers, 3 or more.
        a, b: occupied residues.
        radii_a, radii_b: one radius for all residues, or one each, Å.
        heights: heights of both families above the plane of the centre, Å.
        species: symbols of the centre and both families.

    Raises:
        InputError: p and q not coprime, symmetric sets (isometric members), or colliding atoms.

    Example:
        >>> coprime_rings().defeats[-1], coprime_rings().separated_by
        ('bispectrum_pseudo', ('nu4',))
    """
    for name, value in (("p", p), ("q", q)):
        as_integer(name, value, 3)
    if np.gcd(p, q) != 1:
        raise InputError(f"p={p} and q={q} are not coprime: expected no common divisors")
    numbers = numbers_of(species, 3)
    heights = real("heights", heights, (2,))
    families = (
        (sites("a", a, p), p, _radii("radii_a", radii_a, len(a)), heights[0]),
        (sites("b", b, q), q, _radii("radii_b", radii_b, len(b)), heights[1]),
    )
    _require_distinct(families, numbers)
    members = []
    for sign in (1, -1):
        parts = []
        for (residues, modulus, radii, height), turn in zip(families, (sign, 1), strict=True):
            for residue, radius in zip(residues, radii, strict=True):
                x = (turn * residue) % modulus + modulus * np.arange(p * q // modulus)
                parts.append(polar(radius, 2 * np.pi * x / (p * q), height))
        members.append(around(np.concatenate(parts)))
    counts = [len(residues) * (p * q // modulus) for residues, modulus, _, _ in families]
    atoms = np.repeat(numbers, [1, *counts])
    # Handedness takes 2 neighbours of different radii, or 3 of the same radius.
    sizes = [2 if len(np.unique(radii)) == len(radii) else 3 for _, _, radii, _ in families]
    blind = ("distances", "power_spectrum", "bispectrum", "nu4", "nu5", "nu6")
    order = sum(sizes)
    claims: list[str] = list(blind[: order - 1])
    sharp = list(blind[order - 1 : order])
    if heights.any():
        sharp = [*sharp, "bispectrum_pseudo"]
    else:
        claims.append("bispectrum_pseudo")
    return checked(DegeneratePair(
        "coprime_rings", atoms,
        members[0], members[1], 0, None, "none", tuple(claims), tuple(sharp),
        "the Chinese remainder theorem; for nu=2 Patterson, Phys. Rev. 65, 195 (1944)",
    ))  # fmt: skip


def _radii(name: str, value, count: int) -> np.ndarray:
    radii = np.broadcast_to(real(name, value, np.shape(value)), (count,)) if (
        np.shape(value) in ((), (count,))
    ) else None  # fmt: skip
    if radii is None or (radii <= 0).any():
        raise InputError(f"invalid {name}={value!r}: expected one positive radius (Å), or one "
                         f"for each of {count} residues")  # fmt: skip
    if 1 < len(np.unique(radii)) < count:
        raise InputError(
            f"invalid {name}={value!r}: expected radii that are all equal or all different"
        )
    return radii


def _require_distinct(families, numbers) -> None:
    """Atoms of the two families must differ in species, radius or height."""
    (_, _, radii_a, height_a), (_, _, radii_b, height_b) = families
    alike = [abs(x - y) < 1e-6 for x, y in product(radii_a, radii_b)]
    if numbers[1] == numbers[2] and abs(height_a) == abs(height_b) and any(alike):
        raise InputError("coprime_rings: expected different species or radii for the two families")
