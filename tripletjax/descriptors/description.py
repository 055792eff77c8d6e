"""describe: structures in, an array of descriptors out; the one door for people."""

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from ase import Atoms

from tripletjax.basis.densities import Mixing
from tripletjax.descriptors.base import Descriptor, descriptor, pure_function
from tripletjax.descriptors.columns import Columns
from tripletjax.descriptors.environments import Environments, Shortage
from tripletjax.invariants.nice import Contraction
from tripletjax.neighbors import (
    check_frames,
    find_pairs,
    float_type,
    require_centers,
    require_elements,
)
from tripletjax.progress import progress_bar
from tripletjax.types import Hypers

PAIRS_AT_ONCE = 2**20  # of centre and neighbour, after which the frames so far are described


@dataclass(frozen=True)
class Description:
    """Descriptors of some environments, with what each row and column is."""

    values: np.ndarray  # [row, D]
    structure: np.ndarray  # [row] which frame
    atom: np.ndarray  # [row] which atom of it is the centre
    names: tuple[str, ...]  # [D] meaning of every column
    columns: Columns  # the same as a dict of arrays [D]: species, n, l, parity ...
    hypers: dict[str, Any]  # everything needed to compute the same again
    neighbors: np.ndarray | None = None  # [row, 2] the tagged atoms, for kind "triplets"


def describe(
    frames: Atoms | Iterable[Atoms],
    kind: str = "fingerprint",
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
    minimal basis or ``coupling="coupled"``; "triplet_sum", their linear sum, blind where the
    bispectrum is; "fingerprint", complete. All but the density are invariant under rotations,
    inversion (unless ``chiral=True``) and permutations. The central atom is not in its own density,
    its periodic images are; atoms count strictly inside the cutoff.

    Args:
        frames: one ASE Atoms or several.
        kind: see above.
        centers: atoms to describe, in this order, in every frame; None: all.
        species: atomic numbers or symbols of the species channels; None: all that occur.
        dtype: "float32" or "float64"; None: JAX's default float.
        progress: show a progress bar.
        contraction: of kind "correlations", fitted beforehand (``nice.fit_contraction``); required
            for nu >= 4.
        mixing: linear maps of the species channels and radial functions (``densities.Mixing``).
        **hypers: fields of ``Hypers``: cutoff, n_max (how many), l_max (inclusive) ...

    Returns:
        A ``Description``; rows by frame, then by centre. No row depends on another frame.

    Raises:
        InputError: names what cannot be used, where, and what is accepted.

    Example:
        >>> from ase.build import molecule
        >>> water = describe(molecule("H2O"), "power_spectrum", cutoff=3.0, n_max=2, l_max=1)
        >>> water.values.shape, water.names[0]
        ((3, 20), 'H n=0 | H n=0 | l=0 parity=+1')
    """
    frames = check_frames(frames)
    elements = require_elements(frames, species)
    chosen = require_centers(frames, centers)
    chosen_descriptor = descriptor(
        kind, tuple(elements.tolist()), contraction=contraction, mixing=mixing, **hypers
    )
    n_rows, per_triplet = sum(map(len, chosen)), kind == "triplets"
    shape = (0 if per_triplet else n_rows, len(chosen_descriptor.names))
    values, parts, shortage = np.zeros(shape, float_type(dtype)), [], Shortage()
    with progress_bar(total=n_rows, unit="env", desc=kind, disable=not progress) as bar:
        done = 0
        for part in _gathered(frames, chosen, chosen_descriptor.hypers.cutoff, elements):
            part = part.tagged(chosen_descriptor.hypers)
            shortage.add(part, chosen_descriptor.hypers, len(elements))
            if per_triplet:
                parts.append(_describe_triplets(chosen_descriptor, part, values.dtype, bar))
            else:
                out = values[done : done + len(part.count)]
                _describe_rows(chosen_descriptor, part, out, bar)
                parts.append((part.structure, part.atom))
            done += len(part.count)
    shortage.warn(chosen_descriptor.hypers)
    structure, atom, *of_triplets = (np.concatenate(p) for p in zip(*parts, strict=True))
    neighbors, values = of_triplets if per_triplet else (None, values)
    return Description(
        values=values,
        structure=structure,
        atom=atom,
        names=chosen_descriptor.names,
        columns=chosen_descriptor.columns,
        hypers=chosen_descriptor.record(),
        neighbors=neighbors,
    )


def _gathered(frames, chosen, cutoff: float, elements: np.ndarray) -> Iterator[Environments]:
    """All environments, in parts of a few frames: memory does not grow with the frames."""
    first, pairs = 0, []
    for index, (frame, atoms) in enumerate(zip(frames, chosen, strict=True)):
        pairs.append(find_pairs(frame, cutoff, atoms, index))
        if index == len(frames) - 1 or sum(len(p.neighbors) for p in pairs) >= PAIRS_AT_ONCE:
            yield Environments.gather(frames[first : index + 1], pairs, elements, first)
            first, pairs = index + 1, []


def _evaluate(chosen: Descriptor, environments: Environments, dtype, bar):
    """Rows of environments and, for each, its row of values or square of triplets, by blocks."""
    per_triplet = chosen.kind == "triplets"
    with jax.enable_x64(True) if dtype == np.float64 else nullcontext():
        for rows, width, size, slots in environments.blocks(per_triplet * len(chosen.names)):
            vectors, *rest = environments.padded(rows, width, size)
            slots = None if per_triplet else slots or None  # all pairs are computed, or needed
            block = _describe_block(
                chosen.kind, chosen.hypers, len(chosen.elements), slots, chosen.parameters,
                vectors.astype(dtype), *rest,
            )  # fmt: skip
            yield rows, np.asarray(block)[: len(rows)]
            bar.update(len(rows))


def _describe_rows(chosen: Descriptor, environments: Environments, out: np.ndarray, bar) -> None:
    """Fill ``out`` [R, D]."""
    for rows, block in _evaluate(chosen, environments, out.dtype, bar):
        out[rows] = block


def _describe_triplets(chosen: Descriptor, environments: Environments, dtype, bar):
    """Structure, centre and both tags of every triplet, and its values."""
    parts = []
    for rows, block in _evaluate(chosen, environments, dtype, bar):
        size = len(rows), block.shape[1]
        mask, weight = environments.padded_rows(rows, size[1], size[0], environments.weight)
        parts.append(_real_triplets(rows, block, mask & (weight > 0)))
    rows, slots, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.argsort(rows, kind="stable")
    rows, slots = rows[order], slots[order]
    atoms = environments.neighbor_atoms(rows, slots)
    return environments.structure[rows], environments.atom[rows], atoms, values[order]


@partial(jax.jit, static_argnames=("kind", "hypers", "n_species", "slots"))
def _describe_block(
    kind, hypers: Hypers, n_species, slots, parameters, vectors, species, mask, center
):
    apply = pure_function(kind, hypers, n_species, slots)
    return jax.vmap(partial(apply, parameters))(vectors, species, mask, center)


def _real_triplets(rows, block: np.ndarray, is_tag: np.ndarray):
    """Environment, places and values of the ordered pairs of different tags in [E, K, K, D]."""
    place = np.arange(block.shape[1])
    real = is_tag[:, :, None] & is_tag[:, None, :] & (place[:, None] != place)
    environment, first, second = np.nonzero(real)
    return rows[environment], np.stack([first, second], -1), block[real]
