"""Vertices of concentric solids that few-body functions or colours cannot distinguish."""

from collections.abc import Sequence

import numpy as np

from tripletjax.completeness.families.isometry import checked
from tripletjax.completeness.families.pairs import DegeneratePair, around, numbers_of, real
from tripletjax.completeness.families.solids import vertices
from tripletjax.types import InputError, as_integer

LI_2024 = "Li et al., arXiv 2302.05743 and 2402.04836"
THREE_BODY = ("distances", "power_spectrum", "bispectrum")
COLORS = ("distances", "sorted_distances", "pointwise_distances", "message_passing")
# Vertices of each member, by shell: the smallest selections with equal multisets of triangles ...
TRIANGLES = {
    "dodecahedron_7a": (("dodecahedron",), [(0, 1, 2, 3, 4, 8, 16)], [(0, 1, 2, 3, 4, 12, 17)]),
    "dodecahedron_7b": (("dodecahedron",), [(0, 1, 2, 3, 4, 8, 18)], [(0, 1, 2, 3, 4, 11, 13)]),
    "cube_octahedron_7": (
        ("cube", "octahedron"),
        [(0, 1, 2, 5), (0, 1, 4)],
        [(0, 1, 2, 5), (0, 1, 5)],
    ),
}


def selected(name: str, solids, radii, choices) -> np.ndarray:
    """The chosen vertices of all shells, [n, 3] Å; the choices are lists of indices, by shell."""
    if not (len(solids) == len(radii) == len(choices)):
        raise InputError(
            f"{name}: {len(solids)} solids, {len(radii)} radii and {len(choices)} lists of "
            "vertices: expected one of each for every shell"
        )
    shells = []
    for solid, radius, choice in zip(solids, radii, choices, strict=True):
        points = vertices(solid)
        choice = [as_integer(name, i, 0, len(points) - 1) for i in choice]
        if len(set(choice)) < len(choice):
            raise InputError(
                f"{name}: repeated vertices {choice!r} of the {solid}: expected different ones"
            )
        if radius <= 0:
            raise InputError(f"{name}: invalid radius={radius}: expected a positive number (Å)")
        shells.append(radius * points[list(choice)])
    return np.concatenate(shells)


def polyhedron_subsets(
    selection: str = "dodecahedron_7a", radii=None, species=("C", "H"), center: bool = True
) -> DegeneratePair:
    """Vertices of regular solids with equal multisets of triangles: nu=3 about their centre.

    On a sphere the sides of a triangle determine the Gram matrix of its corners, so such sets agree
    in all four-body functions that include the centre and, without it, in all three-body functions
    of the structure. They were found by enumeration; the smallest ones have seven vertices.

    Args:
        selection: a name in ``TRIANGLES``.
        radii: of each shell, Å; None: 2.2 (and 1.7 for the second shell).
        species: symbols of the centre and of the vertices.
        center: whether there is an atom at the centre, whose environment is meant; else all
            vertices are centres.

    Raises:
        InputError: an unknown selection, or invalid radii.

    Example:
        >>> polyhedron_subsets(center=False).defeats
        ('distances', 'sorted_distances', 'power_spectrum')
    """
    if selection not in TRIANGLES:
        raise InputError(f"unknown selection {selection!r}: expected one of {list(TRIANGLES)}")
    solids, *choices = TRIANGLES[selection]
    lengths = (2.2, 1.7)[: len(solids)] if radii is None else real("radii", radii, (-1,))
    members = [selected("polyhedron_subsets", solids, lengths, choice) for choice in choices]
    numbers = numbers_of(species, 2)
    source = "enumeration of the vertices' subsets"
    if center:
        members = [around(member) for member in members]
        atoms = np.array([numbers[0]] + [numbers[1]] * (len(members[0]) - 1))
        return checked(DegeneratePair(
            "polyhedron_subsets", atoms,
        members[0], members[1], 0, None, "none", THREE_BODY, ("nu4",), source
        ))  # fmt: skip
    return checked(DegeneratePair(
        "polyhedron_subsets", np.full(len(members[0]), numbers[1]),
        members[0], members[1], None, None, "none",
        ("distances", "sorted_distances", "power_spectrum"), ("bispectrum",), source,
    ))  # fmt: skip


def polyhedron_colors(
    solids: Sequence[str] = ("dodecahedron",), radii=(2.2,), first=((8, 9, 10, 11, 12, 15),),
    second=((8, 9, 10, 11, 16, 19),), species: str = "C",
) -> DegeneratePair:  # fmt: skip
    """Vertices of concentric solids that colours refined by distances (1-WL) cannot distinguish.

    Messages along edges labelled by distances, of any depth and range, result in the same multiset
    of atoms.

    Args:
        solids: names in ``SOLIDS``, one per shell.
        radii: of each shell, Å.
        first, second: lists of vertices of both members, one per shell.
        species: of all atoms.

    Raises:
        InputError: lists that do not match, isometric members, or colliding atoms.

    Source: Li et al., arXiv 2302.05743 (dodecahedron, icosahedron, cube with octahedron).
    """
    lengths = real("radii", radii, (-1,))
    members = [selected("polyhedron_colors", solids, lengths, c) for c in (first, second)]
    if len(members[0]) != len(members[1]):
        raise InputError("polyhedron_colors: expected the same number of vertices in both members")
    return checked(DegeneratePair(
        "polyhedron_colors", np.array(numbers_of(species, len(members[0]))),
        members[0], members[1], None, None,
        "none", COLORS, ("power_spectrum",), LI_2024,
    ))  # fmt: skip


def layered_colors(
    solid: str = "dodecahedron", first=(8, 9, 10, 11, 12, 15), second=(8, 9, 10, 11, 16, 19),
    radius: float = 2.2, scales=(0.5, 1.0, 1.5), species: str = "C",
) -> DegeneratePair:  # fmt: skip
    """A selection, its complement and all vertices of a solid as three concentric shells.

    Larger structures that colours cannot distinguish, made from a selection that they cannot.

    Args:
        solid: a name in ``SOLIDS``.
        first, second: vertices selected in both members.
        radius: radius of the shell of scale 1, Å.
        scales: scales of the shells of the selection, the complement and all vertices.
        species: of all atoms.

    Source: Li et al., arXiv 2402.04836.
    """
    everything = tuple(range(len(vertices(solid))))
    layers = [
        (tuple(choice), tuple(i for i in everything if i not in choice), everything)
        for choice in (first, second)
    ]
    lengths = float(real("radius", radius)) * real("scales", scales, (3,))
    pair = polyhedron_colors((solid,) * 3, lengths, layers[0], layers[1], species)
    return pair._replace(name="layered_colors")
