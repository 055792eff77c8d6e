"""Further parameter sets of the families, including those of published pairs."""

from typing import Any

import numpy as np

_DIAGONAL = (1, 3, 4, 6)
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "two_neighbors": {"acute": {"radius": 2.0, "angles": (np.arccos(0.6), np.pi)}},
    "x_plus_minus": {
        "wide": {"a": (1.0, 1.0), "b": (1.0, 1.0, 1.0), "c": (1.0, 1.0)},
        "mixed": {"species": ("C", "F", "H", "H", "O")},
    },
    "methane": {"near_fold": {"theta_c": 0.05}},
    "circle_sets": {
        "twelve": {"n": 12, "first": (0, 1, 2, 4, 7), "second": (0, 1, 3, 5, 6), "radius": 2.2},
    },
    "centrosymmetric": {
        "structure": {"center": False},
        "equal": {"radii": (1.5, 1.5, 1.5), "cosines": (0.4, 0.4, 0.4)},
        "icosahedron": {
            "radii": (1.5, 1.5, 1.5),
            "cosines": (5**-0.5, 5**-0.5, 5**-0.5),
            "center": False,
        },
        "species": {"species": ("C", "H", "F", "O"), "center": False},
    },
    "double_ring": {
        "four": {"ring": (0.0, 0.9, 2.3, 3.9), "psi": 0.7, "radius": 1.5, "height": 0.7},
        "homometric_four": {
            "ring": tuple(np.pi / 4 * np.array([0, 1, 3, 4])),
            "other": tuple(np.pi / 4 * np.array([0, 1, 2, 5])),
            "psi": 0.35,
            "radius": 1.5,
        },
        "isosceles": {"ring": (0.0, 2.0, 4.0), "relation": "rotation"},
    },
    "capped_ring": {
        "raised": {"height": 0.5},
        "isosceles": {"ring": (0.0, 2.0, 4.0), "relation": "rotation"},
    },
    "polyhedron_subsets": {
        "7b": {"selection": "dodecahedron_7b"},
        "cube_octahedron": {"selection": "cube_octahedron_7"},
        "structure": {"center": False},
    },
    "coprime_rings": {
        "3x7": {"q": 7, "b": (0, 1, 3), "radii_b": 3.6},
        "4x7": {"p": 4, "q": 7, "b": (0, 1, 3), "radii_b": 4.2},
        "6x7": {"p": 6, "q": 7, "a": (0, 1, 3), "b": (0, 1, 3), "radii_a": 3.8, "radii_b": 4.7},
        "raised": {
            "p": 7,
            "q": 3,
            "a": (0, 1, 3),
            "radii_a": 3.0,
            "radii_b": (4.0, 4.8),
            "heights": (0.6, 0.8),
        },
    },
    "polyhedron_colors": {
        "dodecahedron_10": {
            "first": ((1, 3, 4, 6, 13, 14, 16, 17, 18, 19),),
            "second": ((2, 3, 4, 5, 12, 13, 14, 15, 17, 18),),
        },
        "dodecahedron_14": {
            "first": ((0, 1, 2, 3, 4, 5, 6, 7, 12, 13, 14, 15, 17, 18),),
            "second": ((0, 1, 2, 3, 4, 5, 6, 7, 13, 14, 16, 17, 18, 19),),
        },
        "icosahedron_6": {
            "solids": ("icosahedron",),
            "first": ((1, 2, 4, 7, 9, 10),),
            "second": ((0, 3, 5, 6, 8, 11),),
        },
        "cube_octahedron_6": {
            "solids": ("cube", "octahedron"),
            "radii": (2.0, 1.5),
            "first": (_DIAGONAL, (2, 3)),
            "second": (_DIAGONAL, (4, 5)),
        },
        "cube_octahedron_8": {
            "solids": ("cube", "octahedron"),
            "radii": (1.6, 2.3),
            "first": ((0, 2, 5, 7), (0, 1, 4, 5)),
            "second": ((0, 2, 5, 7), (0, 1, 2, 3)),
        },
    },
    "k_chain": {"two": {"k": 2}, "eight": {"k": 8}},
    "rectangle_apex": {"planar": {"sides": (1.4, 2.0), "offset": 1.6, "height": 0.0}},
    "periodic_column": {
        "circle_sets": {"rings": "circle_sets"},
    },
    "homometric_crystal": {
        "twelve": {"n": 12, "first": (0, 1, 2, 4, 7), "second": (0, 1, 3, 5, 6)},
    },
    "rotated_polygon": {"two": {"n": 2, "angle": 1.8}, "ten": {"n": 10, "angle": 0.5464}},
    "rotated_polyhedron": {
        solid: {"solid": solid}
        for solid in ("tetrahedron", "octahedron", "dodecahedron", "icosahedron")
    },
    "planar_c": {"species": {"species": ("O", "C", "C", "H")}},
    "permuted_tetrahedra": {"two_swaps": {"permutation": (1, 0, 2, 4, 3, 5)}},
    "trapezium_kite": {"short": {"a": 1.4, "b": 0.9}},
    "line_sums": {"integers": {"a": (0.0, 0.8, 3.2), "b": (0.0, 8.0, 9.6)}},
}
