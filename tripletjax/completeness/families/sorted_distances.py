"""Structures with equal sorted distances, or equal distances for every atom."""

from itertools import combinations

import numpy as np

from tripletjax.completeness.families.isometry import checked
from tripletjax.completeness.families.pairs import DegeneratePair, numbers_of, positive, real
from tripletjax.types import InputError

BOUTIN_2004 = "Boutin & Kemper, Adv. Appl. Math. 32, 709 (2004), arXiv math/0304192"
WIDDOWSON_2022 = "Widdowson & Kurlin, NeurIPS 2022, arXiv 2108.04798"
BLOOM_1977 = "Bloom, J. Comb. Theory A 22, 378 (1977)"
EDGES = tuple(combinations(range(4), 2))  # of a tetrahedron: 01, 02, 03, 12, 13, 23


def _structure(name, members, species, source, defeats=("sorted_distances",), sharp=None):
    centered = [member - member.mean(axis=0) for member in members]
    return checked(DegeneratePair(
        name, np.array(numbers_of(species, len(centered[0]))), centered[0], centered[1],
        None, None, "none",
        ("distances", *defeats), sharp or ("pointwise_distances", "power_spectrum"), source,
    ))  # fmt: skip


def trapezium_kite(a: float = 0.8, b: float = 1.6, species: str = "C") -> DegeneratePair:
    """A trapezium (±a, a), (±b, 0) and a kite (0, ±a), (a - b, 0), (a + b, 0).

    Both have the distances 2a, 2b, and √((b-a)² + a²) and √((b+a)² + a²) twice each.

    Args:
        a, b: half sides of the trapezium, Å.
        species: of all atoms.

    Source: Boutin & Kemper, Adv. Appl. Math. 32, 709 (2004).
    """
    a, b = positive("a", a), positive("b", b)
    trapezium = np.array([[a, a, 0], [-a, a, 0], [b, 0, 0], [-b, 0, 0]])
    kite = np.array([[0, a, 0], [0, -a, 0], [a - b, 0, 0], [a + b, 0, 0]])
    return _structure("trapezium_kite", [trapezium, kite], species, BOUTIN_2004)


def planar_c(a: float = 1.5, b=(1.0, 0.6), c: float = 0.9, species=None) -> DegeneratePair:
    """Planar C±: the points (a, 0), ±b and (0, ±c) with equal distances.

    From the first member to the second |c - b| and |c + b| swap.

    Args:
        a: position of the point on the x axis, Å.
        b: (bx, by) of the point that occurs with its inverse, Å.
        c: position of the reflected point, Å.
        species: symbols of the points a, b, -b and c; None: carbon. Those of b and -b must be
            equal.

    Source: Widdowson & Kurlin, NeurIPS 2022, for planar sets; X± in a plane.
    """
    a, c = float(real("a", a)), float(real("c", c))
    x, y = real("b", b, (2,))
    species = ["C"] * 4 if species is None else list(species)
    if len(species) == 4 and species[1] != species[2]:
        raise InputError("planar_c: b and -b must have the same species; give species[1] twice")
    members = [np.array([[a, 0, 0], [x, y, 0], [-x, -y, 0], [0, s * c, 0]]) for s in (1, -1)]
    return _structure("planar_c", members, species, WIDDOWSON_2022)


def permuted_tetrahedra(
    edges=(1.3, 1.4, 1.5, 1.6, 1.7, 1.8), permutation=(1, 0, 2, 3, 4, 5), species: str = "C"
) -> DegeneratePair:
    """Two tetrahedra with the same six edges in different arrangements.

    Args:
        edges: lengths of 01, 02, 03, 12, 13 and 23, Å.
        permutation: index in the first tetrahedron of each edge of the second.
        species: of all atoms.

    Raises:
        InputError: edges that no tetrahedron has, or an arrangement with the same faces.

    Source: Boutin & Kemper, Adv. Appl. Math. 32, 709 (2004).
    """
    lengths = real("edges", edges, (6,))
    if sorted(permutation) != list(range(6)):
        raise InputError(f"invalid permutation={permutation!r}: expected 0 to 5 in some order")
    members = [_embed(lengths), _embed(lengths[list(permutation)])]
    return _structure("permuted_tetrahedra", members, species, BOUTIN_2004)


def _embed(edges: np.ndarray) -> np.ndarray:
    """Vertices [4, 3] of the tetrahedron with the given edges, from scalar products."""
    squares = np.zeros((4, 4))
    for (i, j), length in zip(EDGES, edges, strict=True):
        squares[i, j] = squares[j, i] = length**2
    centering = np.eye(4) - 0.25
    values, vectors = np.linalg.eigh(-0.5 * centering @ squares @ centering)
    if values.min() < -1e-10 or (edges <= 0).any():
        raise InputError(f"no tetrahedron has edges {edges.tolist()} Å; use more similar ones")
    return vectors[:, 1:] * np.sqrt(np.maximum(values[1:], 0))


def line_sums(a=(0.0, 1.0, 2.5), b=(0.0, 3.3, 7.1), species: str = "C") -> DegeneratePair:
    """Points on a line: all sums α + β of two sets of numbers, or all differences α - β.

    Args:
        a, b: positions in Å; both sets without mirror symmetry.
        species: of all atoms.

    Raises:
        InputError: sums that coincide, or a symmetric set, which makes the members isometric.

    Source: Bloom, J. Comb. Theory A 22, 378 (1977).
    """
    a, b = real("a", a, (-1,)), real("b", b, (-1,))
    members = []
    for sign in (1, -1):
        x = np.sort((a[:, None] + sign * b).reshape(-1))
        members.append(np.stack([0 * x, 0 * x, x], axis=-1))
    return _structure("line_sums", members, species, BLOOM_1977)


def rectangle_apex(
    sides=(1.4, 2.0), offset: float = 0.8, height: float = 1.1, species=("C", "O")
) -> DegeneratePair:
    """A rectangle and one atom displaced from its centre along one side, or along the other.

    The distances of every corner are the same in both: the atom is near two corners and far from
    two, at the same two distances. Only a second round of messages determines whether the near
    corners are neighbours along one side or along the other.

    Args:
        sides: (s, t) of the rectangle, Å.
        offset: u of the atom along s, Å; in the second member it is s·u/t along t.
        height: height of the atom above the rectangle in the first member, Å; that in the second
            follows from the same distance to the centre.
        species: symbols of the corners and of the atom.

    Raises:
        InputError: the second member does not exist, a square, or colliding atoms.

    Source: Widdowson & Kurlin, NeurIPS 2022, for the invariant.
    """
    s, t = real("sides", sides, (2,))
    u, height = positive("offset", offset), float(real("height", height))
    if min(s, t) <= 0:
        raise InputError(f"invalid sides={sides!r}: expected two positive lengths (Å)")
    v = s * u / t
    square = u**2 + height**2 - v**2
    if square < 0:
        raise InputError("rectangle_apex: no second member; use a larger height, or sides (s, t) "
                         "with s <= t")  # fmt: skip
    corners = np.array([[x, y, 0] for x in (s / 2, -s / 2) for y in (t / 2, -t / 2)])
    members = [
        np.concatenate([corners, [[u, 0, height]]]),
        np.concatenate([corners, [[0, v, np.sqrt(square)]]]),
    ]
    numbers = numbers_of(species, 2)
    return checked(DegeneratePair(
        "rectangle_apex", np.array([numbers[0]] * 4 + [numbers[1]]),
        members[0], members[1], None, None, "none",
        ("distances", "sorted_distances", "pointwise_distances"),
        ("message_passing", "power_spectrum"), WIDDOWSON_2022,
    ))  # fmt: skip
