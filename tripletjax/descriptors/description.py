"""describe: from structures to an array of descriptors."""

from collections.abc import Iterable
from typing import Any

from ase import Atoms

from tripletjax.basis.densities import Mixing
from tripletjax.descriptors.base import layout_of, resolved
from tripletjax.descriptors.kinds import Kind
from tripletjax.descriptors.protocol import EnvironmentDescriptor
from tripletjax.descriptors.rows import Description, rows_of
from tripletjax.invariants.nice import Contraction

__all__ = ["Description", "describe"]


def describe(
    frames: Atoms | Iterable[Atoms],
    kind: str | Kind | EnvironmentDescriptor = "fingerprint",
    *,
    centers: Iterable[int] | None = None,
    species: Iterable[int] | None = None,
    dtype: str | None = None,
    progress: bool = False,
    contraction: Contraction | None = None,
    mixing: Mixing | None = None,
    **hypers: Any,
) -> Description:
    """Describe the environment of every atom, or of the given centres.

    Kinds: "density" c_nlm; "power_spectrum" and "bispectrum", blind to some differences;
    "correlations" of any order ``nu``; "triplets", one row per ordered pair of neighbours, in the
    minimal basis or ``coupling="coupled"``; "triplet_sum", their linear sum, as blind as the
    bispectrum; "fingerprint", complete. All except the density are invariant under rotations,
    inversion (unless ``chiral=True``) and permutations. The density excludes the central atom, but
    includes its periodic images; neighbours are strictly inside the cutoff.

    Args:
        frames: one ASE Atoms or several.
        kind: see above; or a custom ``Kind``; or a descriptor, which is any object with ``cutoff``,
            ``elements`` and ``environment(vectors, species, mask, center) -> [D]``, such as a
            ``Descriptor``, and takes no hyperparameters here.
        centers: atoms to describe, in this order, in every frame; None: all.
        species: atomic numbers or symbols of the species channels; None: all that occur.
        dtype: "float32" or "float64"; None: JAX's default float.
        progress: whether to show a progress bar.
        contraction: contraction for kind "correlations", from ``nice.fit_contraction``; required
            for nu >= 4.
        mixing: linear maps of the species channels and radial functions (``densities.Mixing``).
        **hypers: fields of ``Hypers``: cutoff, n_max (a number), l_max (inclusive) ...

    Returns:
        A ``Description``; rows by frame, then by centre. No row depends on another frame.

    Raises:
        InputError: invalid input; the message says what, where, and what is expected.

    Example:
        >>> from ase.build import molecule
        >>> water = describe(molecule("H2O"), "power_spectrum", cutoff=3.0, n_max=2, l_max=1)
        >>> water.values.shape, water.names[0]
        ((3, 20), 'H n=0 | H n=0 | l=0 parity=+1')
    """
    arrays = {"contraction": contraction, "mixing": mixing}
    frames, chosen = resolved(frames, kind, species, **arrays, **hypers)
    return rows_of(
        frames, chosen, layout_of(chosen), centers=centers, dtype=dtype, progress=progress
    )
