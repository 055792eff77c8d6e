"""The labelled structures included in the package.

``ethanol``: one molecule at 500 K; ``molecules``: 40 small molecules, with polarisabilities;
``water``: a periodic liquid at ten volumes, with stress; labels are GFN2-xTB. ``silicon``:
strained crystals and melts of a few atoms, with stress; labels are PBE.
"""

from importlib import resources

from ase import Atoms

from tripletjax.io import read_frames
from tripletjax.types import InputError

METHODS = ("gfn2", "pbe")  # of the labels, in the names of the files


def names() -> list[str]:
    """Names of the sets, for ``load_frames``.

    Example:
        >>> names()
        ['ethanol', 'molecules', 'silicon', 'water']
    """
    return sorted(_files())


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
    files = _files()
    if name not in files:
        raise InputError(f"unknown data set {name!r}: expected one of {', '.join(sorted(files))}")
    with resources.as_file(files[name]) as path:
        return read_frames(path)


def _files() -> dict:
    """The file of every set by its name."""
    files = resources.files("tripletjax.data").iterdir()
    endings = tuple(f"_{method}.xyz" for method in METHODS)
    return {file.name.rpartition("_")[0]: file for file in files if file.name.endswith(endings)}
