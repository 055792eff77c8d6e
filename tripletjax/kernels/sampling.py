"""Some labels of a training set, by which kernel, variance and noise are chosen."""

from collections.abc import Sequence

import numpy as np

from tripletjax.kernels.tangents import Tangents

SEARCHED = 3000  # labels
STRUCTURES = 60  # that labels are taken from, if there are so many


def sampled(
    structures: Sequence[Tangents], kinds: np.ndarray, seed: int = 0
) -> tuple[list[Tangents], np.ndarray]:
    """Structures with some of their labels, and which labels these are, [n].

    All labels if there are few. Otherwise evenly spaced structures; where as a whole they would be
    few, as of large cells, more of them are taken, each with its energy and with derivatives drawn
    at random: phases and temperatures differ, and so does what a kernel cannot describe in them.
    No kind of label is left out, and a kind of few labels keeps them all.

    Args:
        structures: real atoms and the derivatives that are labels, without padding.
        kinds: ``[n]`` kind of each label, structure by structure, the energy first.
        seed: of the draw.

    Example:
        >>> one = Tangents(np.ones((2, 3)), np.array([0, 1]), np.ones((4, 2, 3)))
        >>> some, which = sampled([one] * 3, np.tile([0, 1, 1, 1, 1], 3))
        >>> len(some), which.shape, bool(which.all())
        (3, (15,), True)
    """
    counts = np.array([1 + len(structure.tangents) for structure in structures])
    owner = np.repeat(np.arange(len(counts)), counts)
    step = min(-(-len(kinds) // SEARCHED), max(1, len(counts) // STRUCTURES))
    chosen = np.arange(len(counts)) % step == 0
    for kind in set(kinds) - set(kinds[chosen[owner]]):
        with_labels = np.unique(owner[kinds == kind])
        chosen[with_labels[:: -(-len(with_labels) // STRUCTURES)]] = True
    is_energy = np.diff(owner, prepend=-1) > 0
    which = chosen[owner] & (is_energy | _drawn(kinds, chosen[owner] & ~is_energy, seed))
    found = []
    for index in np.flatnonzero(chosen).tolist():
        vectors, species, tangents = structures[index]
        rows = np.flatnonzero(which[owner == index][1:])
        found.append(Tangents(vectors, species, np.asarray(tangents)[rows]))
    return found, which


def _drawn(kinds: np.ndarray, among: np.ndarray, seed: int) -> np.ndarray:
    """Labels [n] drawn at random among some, fewer of each kind that has many."""
    random = np.random.Generator(np.random.PCG64(seed))
    numbers = np.bincount(kinds[among], minlength=kinds.max() + 1)
    is_rare = numbers <= SEARCHED // 3
    most = SEARCHED - numbers[is_rare].sum()
    share = min(1.0, most / max(1, numbers[~is_rare].sum()))
    found = among & is_rare[kinds]
    for kind in np.flatnonzero(~is_rare):
        places = np.flatnonzero(among & (kinds == kind))
        found[random.choice(places, round(share * len(places)), replace=False)] = True
    return found
