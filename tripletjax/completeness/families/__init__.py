"""Generators of known classes of degenerate structures, and a check of their claims.

A ``DegeneratePair`` states which invariants cannot distinguish its members, which ones can, and by
which isometry the members are related, if any; ``verify`` measures all three.
"""

from collections.abc import Callable, Iterable
from typing import Any

from tripletjax.completeness.families.chains import (
    homometric_crystal,
    k_chain,
    periodic_column,
)
from tripletjax.completeness.families.claims import Verdict, difference, verify
from tripletjax.completeness.families.environments import (
    centrosymmetric,
    methane,
    rotated_polygon,
    rotated_polyhedron,
    two_neighbors,
    x_plus_minus,
)
from tripletjax.completeness.families.isometry import relation_between
from tripletjax.completeness.families.pairs import INVARIANTS, DegeneratePair
from tripletjax.completeness.families.polyhedra import (
    TRIANGLES,
    layered_colors,
    polyhedron_colors,
    polyhedron_subsets,
)
from tripletjax.completeness.families.rings import (
    b8,
    capped_ring,
    ch6o,
    circle_sets,
    circle_sums,
    coprime_rings,
    double_ring,
)
from tripletjax.completeness.families.solids import SOLIDS, vertices
from tripletjax.completeness.families.sorted_distances import (
    line_sums,
    permuted_tetrahedra,
    planar_c,
    rectangle_apex,
    trapezium_kite,
)
from tripletjax.completeness.families.variants import VARIANTS
from tripletjax.types import InputError

__all__ = [
    "FAMILIES",
    "INVARIANTS",
    "SOLIDS",
    "TRIANGLES",
    "DegeneratePair",
    "Verdict",
    "b8",
    "capped_ring",
    "centrosymmetric",
    "ch6o",
    "circle_sets",
    "circle_sums",
    "coprime_rings",
    "difference",
    "double_ring",
    "homometric_crystal",
    "instances",
    "k_chain",
    "layered_colors",
    "line_sums",
    "methane",
    "periodic_column",
    "permuted_tetrahedra",
    "planar_c",
    "polyhedron_colors",
    "polyhedron_subsets",
    "rectangle_apex",
    "relation_between",
    "rotated_polygon",
    "rotated_polyhedron",
    "trapezium_kite",
    "two_neighbors",
    "verify",
    "vertices",
    "x_plus_minus",
]

FAMILIES: dict[str, Callable[..., DegeneratePair]] = {
    family.__name__: family
    for family in (
        two_neighbors,
        x_plus_minus,
        methane,
        circle_sets,
        circle_sums,
        centrosymmetric,
        b8,
        ch6o,
        double_ring,
        capped_ring,
        polyhedron_subsets,
        coprime_rings,
        trapezium_kite,
        planar_c,
        permuted_tetrahedra,
        line_sums,
        rectangle_apex,
        polyhedron_colors,
        layered_colors,
        k_chain,
        periodic_column,
        homometric_crystal,
        rotated_polygon,
        rotated_polyhedron,
    )
}


def instances(names: Iterable[str] | None = None) -> list[DegeneratePair]:
    """One pair for each set of default parameters of the named families (default: all families).

    The first set of a family is empty; names are "family" or "family/variant".

    Raises:
        InputError: unknown family.

    Example:
        >>> [pair.name for pair in instances(["ch6o", "capped_ring"])]
        ['ch6o', 'capped_ring', 'capped_ring/raised', 'capped_ring/isosceles']
    """
    chosen = list(FAMILIES) if names is None else list(names)
    found = []
    for name in chosen:
        if name not in FAMILIES:
            raise InputError(f"unknown family {name!r}: expected one of {', '.join(FAMILIES)}")
        sets: dict[str, dict[str, Any]] = {"": {}, **VARIANTS.get(name, {})}
        for variant, parameters in sets.items():
            pair = FAMILIES[name](**parameters)
            found.append(pair._replace(name=f"{name}/{variant}" if variant else name))
    return found
