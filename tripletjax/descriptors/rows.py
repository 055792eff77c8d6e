"""From structures to rows of a descriptor: neighbour lists, blocks and compiled programs."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from ase import Atoms

from tripletjax.descriptors.columns import Columns
from tripletjax.descriptors.protocol import EnvironmentDescriptor, as_argument
from tripletjax.descriptors.ragged import RaggedEnvironments, Shortage
from tripletjax.neighbors import find_pairs, float_type, require_centers
from tripletjax.progress import progress_bar
from tripletjax.types import Hypers, InputError

# The code generator without fusions takes half the time to compile and none more to run; later
# releases of JAX drop it.
LITTLE_EFFORT: dict[str, str | bool] = (
    {"xla_cpu_use_fusion_emitters": False} if jax.__version_info__ < (0, 11) else {}
)
PAIRS_AT_ONCE = 2**20  # pairs of centre and neighbour collected before the frames are described


@dataclass(frozen=True)
class Description:
    """Descriptors of environments, with the meaning of every row and column."""

    values: np.ndarray  # [row, D]
    structure: np.ndarray  # [row] index of the frame
    atom: np.ndarray  # [row] index of the central atom in the frame
    names: tuple[str, ...]  # [D] meaning of every column
    columns: Columns  # the same as a dict of arrays [D]: species, n, l, parity ...
    hypers: dict[str, Any]  # everything needed to repeat the calculation
    neighbors: np.ndarray | None = None  # [row, 2] the tagged atoms, for kind "triplets"


class Layout(NamedTuple):
    """Information on rows in addition to the function of one environment."""

    label: str  # name of the descriptor, for messages
    names: tuple[str, ...]
    columns: Columns
    record: dict[str, Any]
    hypers: Hypers | None = None  # whose ``tags`` are counted; None: none
    with_slots: Callable[[int], EnvironmentDescriptor] | None = None  # fewer slots for tags
    per_triplet: bool = False


def rows_of(
    frames: Sequence[Atoms],
    chosen: EnvironmentDescriptor,
    layout: Layout,
    *,
    centers: Iterable[int] | None = None,
    dtype: str | None = None,
    progress: bool = False,
) -> Description:
    """Describe the environment of every atom, or of the given centres; see ``describe``.

    Args:
        frames: validated, with species that the descriptor knows.
        chosen: the descriptor.
        layout: layout of the rows, from ``layout_of``.
        centers, dtype, progress: as for ``describe``.
    """
    elements = np.array(chosen.elements)
    atoms = require_centers(frames, centers)
    n_rows, per_triplet = sum(map(len, atoms)), layout.per_triplet
    shape = (0 if per_triplet else n_rows, len(layout.names))
    values, parts, shortage = np.zeros(shape, float_type(dtype)), [], Shortage()
    with progress_bar(total=n_rows, unit="env", desc=layout.label, disable=not progress) as bar:
        done = 0
        for part in gathered(frames, atoms, chosen.cutoff, elements):
            if layout.hypers is not None:
                part = part.tagged(layout.hypers)
                shortage.add(part, layout.hypers, len(elements))
            if per_triplet:
                parts.append(_describe_triplets(chosen, layout, part, values.dtype, bar.update))
            else:
                fill_rows(chosen, layout, part, values[done : done + len(part.count)], bar.update)
                parts.append((part.structure, part.atom))
            done += len(part.count)
    if layout.hypers is not None:
        shortage.warn(layout.hypers)
    structure, atom, *of_triplets = (np.concatenate(p) for p in zip(*parts, strict=True))
    neighbors, values = of_triplets if per_triplet else (None, values)
    return Description(
        values=values,
        structure=structure,
        atom=atom,
        names=layout.names,
        columns=layout.columns,
        hypers=layout.record,
        neighbors=neighbors,
    )


def gathered(
    frames: Sequence[Atoms], atoms: Sequence[np.ndarray], cutoff: float, elements: np.ndarray
) -> Iterator[RaggedEnvironments]:
    """The environments of the given atoms of each frame, in parts of a few frames, with bounded
    memory."""
    first, pairs = 0, []
    for index, (frame, chosen) in enumerate(zip(frames, atoms, strict=True)):
        pairs.append(find_pairs(frame, cutoff, chosen, index))
        if index == len(frames) - 1 or sum(len(p.neighbors) for p in pairs) >= PAIRS_AT_ONCE:
            yield RaggedEnvironments.gather(list(frames[first : index + 1]), pairs, elements, first)
            first, pairs = index + 1, []


def _evaluate(chosen, layout: Layout, environments: RaggedEnvironments, dtype, update):
    """Rows of environments and their values, or squares of triplets, in blocks."""
    per_triplet, n_names = layout.per_triplet, len(layout.names)
    with jax.enable_x64(True) if dtype == np.float64 else nullcontext():
        for rows, width, size, slots in environments.blocks(per_triplet * n_names):
            vectors, *rest = environments.padded(rows, width, size)
            # For triplets all pairs are computed; zero slots mean that all neighbours are tagged.
            fewer = slots and not per_triplet and layout.with_slots
            one = fewer(slots) if fewer else chosen
            block = _describe_block(as_argument(one), vectors.astype(dtype), *rest)
            if block.ndim != (4 if per_triplet else 2) or block.shape[-1] != n_names:
                raise InputError(
                    f"the rows of {layout.label} have shape {block.shape[1:]} for {width} "
                    f"neighbours, but there are {n_names} column names: expected [{n_names}]"
                )
            yield rows, np.asarray(block)[: len(rows)]
            update(len(rows))


def fill_rows(
    chosen: EnvironmentDescriptor,
    layout: Layout,
    environments: RaggedEnvironments,
    out: np.ndarray,
    update: Callable[[int], Any] = lambda count: None,
) -> None:
    """Fill ``out`` [R, D] in its precision; ``update`` gets the number of rows of each block."""
    for rows, block in _evaluate(chosen, layout, environments, out.dtype, update):
        out[rows] = block


def _describe_triplets(chosen, layout: Layout, environments: RaggedEnvironments, dtype, update):
    """Structure, centre and both tags of every triplet, and its values."""
    parts = []
    for rows, block in _evaluate(chosen, layout, environments, dtype, update):
        size = len(rows), block.shape[1]
        mask, weight = environments.padded_rows(rows, size[1], size[0], environments.weight)
        parts.append(_real_triplets(rows, block, mask & (weight > 0)))
    rows, slots, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.argsort(rows, kind="stable")
    rows, slots = rows[order], slots[order]
    atoms = environments.neighbor_atoms(rows, slots)
    return environments.structure[rows], environments.atom[rows], atoms, values[order]


@partial(jax.jit, compiler_options=LITTLE_EFFORT)
def _describe_block(chosen: EnvironmentDescriptor, vectors, species, mask, center):
    return jax.vmap(chosen.environment)(vectors, species, mask, center)


def _real_triplets(rows, block: np.ndarray, is_tag: np.ndarray):
    """Environments, indices and values of the ordered pairs of different tags in [E, K, K, D]."""
    place = np.arange(block.shape[1])
    real = is_tag[:, :, None] & is_tag[:, None, :] & (place[:, None] != place)
    environment, first, second = np.nonzero(real)
    return rows[environment], np.stack([first, second], -1), block[real]
