"""The labelled structures included in the package.

``ethanol``: one molecule at 500 K; ``molecules``: 40 small molecules, with polarisabilities;
``water``: a periodic liquid at ten volumes, with stress. All labels are GFN2-xTB.
"""

from importlib import resources

from ase import Atoms

from tripletjax.io import read_frames
from tripletjax.types import InputError

ENDING = "_gfn2.xyz"


def names() -> list[str]:
    """Names of the sets, for ``load_frames``.

    Example:
        >>> names()
        ['ethanol', 'molecules', 'water']
    """
    files = (file.name for file in resources.files("tripletjax.data").iterdir())
    return sorted(name.removesuffix(ENDING) for name in files if name.endswith(ENDING))


def load_frames(name: str) -> list[Atoms]:
    """Structures of one set, with their labels where ASE puts them.

    Energies in eV, forces in eV/Å, dipoles in e·Å and stress in eV/Å³ are results of the
    calculator; ``info["polarizability"]`` is in Å³, [3, 3].

    Args:
        name: one of ``names()``.

    Raises:
        InputError: unknown name.

    Example:
        >>> frames = load_frames("ethanol")
        >>> len(frames), frames[0].get_forces().shape
        (400, (9, 3))
    """
    if name not in names():
        raise InputError(f"unknown data set {name!r}: expected one of {', '.join(names())}")
    with resources.as_file(resources.files("tripletjax.data") / f"{name}{ENDING}") as path:
        return read_frames(path)
