"""Under which names the labels of a file lie: ASE's own, and those that look like a label."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms

from tripletjax.types import InputError

# Words in a name by which it is no label, but something else about one: forces_weight, energy_std.
OTHERWISE = frozenset(
    "weight weights std stds stdev var variance error errors err uncertainty deviation mae rmse "
    "max min mean norm fmax rms kinetic formation atomization atomisation cohesive binding "
    "interaction dispersion correction correlation exchange band fermi zero zpe per peratom atomic "
    "local site unit units key tolerance cutoff threshold scale shift homo lumo gap change delta "
    "diff difference constant constants mask pred predicted prediction name source level".split()
)


@dataclass(frozen=True)
class Kind:
    """A kind of label: what it is called by ASE, and how else it may be."""

    name: str  # of the results of ASE's calculators
    words: tuple[str, ...]  # one of these in a name makes it look like this kind
    shapes: tuple[tuple[int | str, ...], ...]  # "N": number of atoms
    key: str  # the argument that names it

    def fits(self, value: Any, n_atoms: int) -> bool:
        """Whether a value has the shape of such a label, and holds real numbers."""
        try:
            array = np.asarray(value)
        except ValueError:  # ragged
            return False
        shapes = (tuple(n_atoms if n == "N" else n for n in shape) for shape in self.shapes)
        return array.dtype.kind in "iuf" and array.shape in shapes


MATRIX = ((3, 3), (6,), (9,))
ENERGY = Kind("energy", ("energy", "toten", "etot"), ((), (1,)), "energy_key")
FORCES = Kind("forces", ("force",), (("N", 3),), "forces_key")
STRESS = Kind("stress", ("stress",), MATRIX, "stress_key")
VIRIAL = Kind("virial", ("virial",), MATRIX, "virial_key")
DIPOLE = Kind("dipole", ("dipole",), ((3,),), "key")
POLARIZABILITY = Kind("polarizability", ("polarizab", "polarisab"), ((3, 3), (9,)), "key")
KINDS = (ENERGY, FORCES, STRESS, VIRIAL, DIPOLE, POLARIZABILITY)


class Reading(NamedTuple):
    """The labels of one kind under one name."""

    kind: Kind
    name: str  # as in the file
    values: list[Any]  # one a structure; None where there is none

    @property
    def count(self) -> int:
        """Structures with a label."""
        return sum(value is not None for value in self.values)

    def covers(self, other: "Reading") -> bool:
        """Whether every structure with the other label has this one."""
        pairs = zip(self.values, other.values, strict=True)
        return all(mine is not None or its is None for mine, its in pairs)

    def equals(self, other: "Reading") -> bool:
        """Whether both are the same numbers, as far as they are printed."""
        pairs = zip(self.values, other.values, strict=True)
        return all(
            (mine is None) == (its is None)
            and (mine is None or np.allclose(np.ravel(mine), np.ravel(its), rtol=1e-5, atol=1e-6))
            for mine, its in pairs
        )

    def __str__(self) -> str:
        return f"{self.name!r} ({count_of_frames(self.count)})"


def under_key(frames: Sequence[Atoms], kind: Kind, key: str, source: str) -> Reading:
    """Labels under a name that the user gives, wherever it lies; not all structures need it.

    Raises:
        InputError: no structure has it; the names seen are listed.
    """
    reading = Reading(kind, key, [values_of(frame).get(key) for frame in frames])
    if frames and not reading.count:
        raise InputError(
            f"no frame of {source} has {kind.name} under {key!r}; its keys are {keys_of(frames)}"
        )
    return reading


def readings_of(frames: Sequence[Atoms], kind: Kind) -> list[Reading]:
    """All readings of one kind: under ASE's own name, then under names that look like it.

    Example:
        >>> frame = Atoms("H")
        >>> frame.info |= {"REF_energy": -1.0, "energy_weight": 2.0}
        >>> [str(reading) for reading in readings_of([frame], ENERGY)]
        ["'REF_energy' (1 frame)"]
    """
    names = {name for frame in frames for name in values_of(frame)} - {kind.name}
    names = [kind.name, *sorted(name for name in names if looks_like(str(name), kind))]
    readings = [Reading(kind, name, [_fitting(f, kind, name) for f in frames]) for name in names]
    return [reading for reading in readings if reading.count]


def choose(readings: Sequence[Reading], source: str, like: str | None = None) -> Reading | None:
    """The one reading of some: ASE's own if no other has more, the only one, or that named alike.

    Args:
        readings: from ``readings_of``.
        source: name of the file, for messages.
        like: the name under which the energies lie: REF_energy goes with REF_forces.

    Raises:
        InputError: there are several; the names are listed.
    """
    if not readings:
        return None
    first, *others = readings
    most = [r for r in readings if all(r.covers(other) for other in readings)]
    if first.name == first.kind.name and any(first is r for r in most):
        return first
    if like is not None:
        alike = [r for r in most if _affixes(r.name, r.kind) == _affixes(like, ENERGY)]
        if len(alike) == 1:
            return alike[0]
    if all(first.equals(other) for other in others):
        return first
    keys = " or ".join(sorted({reading.kind.key for reading in readings}))
    raise InputError(
        f"{source} has several labels that may be the {first.kind.name}: "
        f"{', '.join(map(str, readings))}; choose one with {keys}"
    )


def count_of_frames(count: int) -> str:
    """So many frames, in words.

    Example:
        >>> count_of_frames(1), count_of_frames(2)
        ('1 frame', '2 frames')
    """
    return f"{count} frame" if count == 1 else f"{count} frames"


def looks_like(name: str, kind: Kind) -> bool:
    """Whether a name is that of a kind of label, with whatever before and after it.

    Example:
        >>> [looks_like(name, FORCES) for name in ("force", "dft_forces", "forces_weight", "f")]
        [True, True, False, False]
    """
    lower = name.lower()
    ends = {k.name: max(lower.rfind(word) for word in k.words) for k in KINDS}
    if ends[kind.name] < 0 or ends[kind.name] < max(ends.values()):  # virial_stress is a stress
        return False
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    return OTHERWISE.isdisjoint(re.findall(r"[a-z]+", split))


def values_of(frame: Atoms) -> dict[str, Any]:
    """All that a structure holds by name, wherever it lies."""
    values = results_of(frame) | frame.arrays | frame.info
    return {name: value for name, value in values.items() if name not in ("numbers", "positions")}


def results_of(frame: Atoms) -> dict[str, Any]:
    """What a structure's calculator, such as that of ASE's readers, has computed."""
    return {} if frame.calc is None else frame.calc.results


def keys_of(frames: Sequence[Atoms]) -> list[str]:
    """All names that occur, sorted."""
    return sorted({str(name) for frame in frames for name in values_of(frame)})


def _fitting(frame: Atoms, kind: Kind, name: str) -> Any:
    """The value under a name; None where another name than ASE's holds something else."""
    value = values_of(frame).get(name)
    if name == kind.name:  # whatever its shape: this is checked later
        return results_of(frame).get(name, value)
    return value if kind.fits(value, len(frame)) else None


def _affixes(name: str, kind: Kind) -> list[str]:
    """What is before and after the word in a name, in lower case: ["ref_", ""] of REF_energy."""
    words = "|".join(sorted(kind.words, key=len, reverse=True))
    return re.split(f"(?:{words})(?:s|es)?", name.lower())
