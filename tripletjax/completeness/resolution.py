"""The resolution that separates two environments with equal rows of a descriptor. Host side."""

from typing import Any

import numpy as np
from ase import Atoms

from tripletjax.basis.densities import Mixing
from tripletjax.descriptors.base import Descriptor
from tripletjax.descriptors.description import describe
from tripletjax.descriptors.kinds import KINDS, Kind, kind_of, read_by
from tripletjax.descriptors.protocol import EnvironmentDescriptor
from tripletjax.invariants.nice import Contraction

DEGREES = (1, 2, 3, 4, 6, 8, 10, 12)
MAX_DEGREE = 6  # for kinds other than the fingerprint, which get too many columns
N_FEATURES = 256  # of the fingerprint, if it is compared with another kind


def parting_degrees(
    clusters: list[Atoms],
    elements: list[int],
    kind: str | Kind | EnvironmentDescriptor,
    tolerance: float,
    *,
    contraction: Contraction | None = None,
    mixing: Mixing | None = None,
    **hypers: Any,
) -> dict[str, Any]:
    """The smallest l_max at which a kind, and the fingerprint, separate two environments.

    Args:
        clusters: two molecules; the environments are those of their first atoms.
        elements: species channels.
        kind: an invariant kind of ``describe``, or a descriptor; for your own descriptor no l_max
            is tried.
        tolerance: rows are equal if they differ by no more than this times their norm.
        contraction, mixing: as for ``describe``; fitted for one l_max, so no other is tried.
        **hypers: fields of ``Hypers``.

    Returns:
        For each kind the smallest l_max of those tried that separates the two, or None; under
        "tried" the l_max tried for each kind, an empty list if only one is possible.

    Example:
        >>> bent = [Atoms("CHH", [[0, 0, 0], [1, 0, 0], [x, 1, 0]]) for x in (0.0, 0.5)]
        >>> found = parting_degrees(bent, [1, 6], "power_spectrum", 1e-9, n_max=2)
        >>> found["power_spectrum"], found["tried"]["power_spectrum"]
        (1, [1, 2, 3, 4, 6])
    """
    if isinstance(kind, Descriptor):
        contraction, mixing = kind.parameters.contraction, kind.parameters.mixing
        kind, hypers = kind.recipe, read_by(kind.recipe, vars(kind.hypers))
    if isinstance(kind, (str, Kind)):
        recipes: dict[str, Kind | None] = {
            kind_of(kind).name: None if contraction is not None else kind_of(kind)
        }
    else:  # it is not known how to refine it
        recipes, hypers = {type(kind).__name__: None}, {"cutoff": kind.cutoff}
    if "fingerprint" not in recipes:
        recipes["fingerprint"] = KINDS["fingerprint"]
    tried: dict[str, list[int]] = {}
    smallest: dict[str, int | None] = {}
    for name, recipe in recipes.items():
        highest = DEGREES[-1] if name == "fingerprint" else MAX_DEGREE
        fixed = recipe is None or mixing is not None
        tried[name] = [] if fixed else [l for l in DEGREES if l <= highest]
        smallest[name] = None
        for l_max in tried[name]:
            assert recipe is not None
            changed: dict[str, Any] = read_by(recipe, hypers) | {"l_max": l_max}
            if name == "fingerprint" and len(recipes) > 1:
                changed["n_features"] = N_FEATURES
            first, second = describe(
                clusters, recipe, centers=[0], species=elements, dtype="float64", **changed
            ).values
            if np.linalg.norm(first - second) > tolerance * np.linalg.norm(first):
                smallest[name] = l_max
                break
    return {"tried": tried, **smallest}
