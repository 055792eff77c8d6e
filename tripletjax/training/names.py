"""Names of the labels in a file: ASE's names, and other names that look like a label."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms

from tripletjax.types import InputError

# Words in names that describe something else about a label: forces_weight, energy_std.
OTHERWISE = frozenset(
    "weight weights std stds stdev var variance error errors err uncertainty deviation mae rmse "
    "max min mean norm fmax rms kinetic formation atomization atomisation cohesive binding "
    "interaction dispersion correction correlation exchange band fermi zero zpe per peratom atomic "
    "local site unit units key tolerance cutoff threshold scale shift homo lumo gap change delta "
    "diff difference constant constants mask pred predicted prediction name source level".split()
)


@dataclass(frozen=True)
class Kind:
    """A kind of label: its name in ASE, and alternatives."""

    name: str  # in the results of ASE's calculators
    words: tuple[str, ...]  # a name with one of these words looks like this kind
    shapes: tuple[tuple[int | str, ...], ...]  # "N": number of atoms
    key: str  # the argument that specifies the name

    def fits(self, value: Any, n_atoms: int) -> bool:
        """Whether a value has the shape of such a label and contains real numbers."""
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
    name: str  # in the file
    values: list[Any]  # one per structure; None if missing

    @property
    def count(self) -> int:
        """The number of structures with a label."""
        return sum(value is not None for value in self.values)

    def covers(self, other: "Reading") -> bool:
        """Whether all structures with the other label have this one."""
        pairs = zip(self.values, other.values, strict=True)
        return all(mine is not None or its is None for mine, its in pairs)

    def equals(self, other: "Reading") -> bool:
        """Whether both have the same numbers, to the printed digits."""
        pairs = zip(self.values, other.values, strict=True)
        return all(
            (mine is None) == (its is None)
            and (mine is None or np.allclose(np.ravel(mine), np.ravel(its), rtol=1e-5, atol=1e-6))
            for mine, its in pairs
        )

    def __str__(self) -> str:
        return f"{self.name!r} ({count_of_frames(self.count)})"


def under_key(frames: Sequence[Atoms], kind: Kind, key: str, source: str) -> Reading:
    """Labels under a name given by the user, in info or arrays; not all structures need it.

    Raises:
        InputError: no structure has it; the message lists the names that exist.
    """
    reading = Reading(kind, key, [values_of(frame).get(key) for frame in frames])
    if frames and not reading.count:
        raise InputError(
            f"no frame of {source} has {kind.name} under {key!r}; its keys are {keys_of(frames)}"
        )
    return reading


def readings_of(frames: Sequence[Atoms], kind: Kind) -> list[Reading]:
    """All readings of one kind: under ASE's name, then under names that look like it.

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
    """Choose a reading: ASE's if no other has more labels, the only one, or one like ``like``.

    Args:
        readings: from ``readings_of``.
        source: name of the file, for messages.
        like: the name of the energies: REF_forces goes with REF_energy.

    Raises:
        InputError: there are several candidates; the message lists their names.
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
    """A number of frames, in words.

    Example:
        >>> count_of_frames(1), count_of_frames(2)
        ('1 frame', '2 frames')
    """
    return f"{count} frame" if count == 1 else f"{count} frames"


def looks_like(name: str, kind: Kind) -> bool:
    """Whether a name is that of a kind of label, with any prefix or suffix.

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
    """All values of a structure by name, from info, arrays and the calculator."""
    values = results_of(frame) | frame.arrays | frame.info
    return {name: value for name, value in values.items() if name not in ("numbers", "positions")}


def results_of(frame: Atoms) -> dict[str, Any]:
    """The results of a structure's calculator, such as that of ASE's readers."""
    return {} if frame.calc is None else frame.calc.results


def keys_of(frames: Sequence[Atoms]) -> list[str]:
    """All names in the structures, sorted."""
    return sorted({str(name) for frame in frames for name in values_of(frame)})


def _fitting(frame: Atoms, kind: Kind, name: str) -> Any:
    """The value under a name; None if it is not ASE's name and does not fit the kind."""
    value = values_of(frame).get(name)
    if name == kind.name:  # of any shape, which is checked later
        return results_of(frame).get(name, value)
    return value if kind.fits(value, len(frame)) else None


def _affixes(name: str, kind: Kind) -> list[str]:
    """Prefix and suffix of the word in a name, in lower case: ["ref_", ""] of REF_energy."""
    words = "|".join(sorted(kind.words, key=len, reverse=True))
    return re.split(f"(?:{words})(?:s|es)?", name.lower())
