"""The start of a simulation, from files of any program: masses, momenta, and other columns.

ASE knows ``masses`` (atomic mass units) and ``momenta`` (in its own units). Other programs write
``mass``, ``velocities``, ``vel`` or ``vx vy vz``, in units that the file does not specify.
Energies, forces and other labels only hold for the start and are dropped; everything else, such as
charges, magnetic moments, residue names and ``info``, is kept with the atoms.
"""

import io
import logging
import re
import warnings
from typing import Any

import ase.units
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from tripletjax.md.states import KB
from tripletjax.types import InputError, as_choice

log = logging.getLogger(__name__)
VELOCITY_UNITS = {  # in ASE's unit of velocity
    "angstrom/fs": 1 / ase.units.fs,  # GPUMD
    "angstrom/ps": 1e-3 / ase.units.fs,  # LAMMPS, units metal
    "atomic": ase.units.Bohr / ase.units.AUT,  # i-PI
    "ase": 1.0,
}
GUESS = "angstrom/fs"
HOTTEST_GUESS = 5000.0  # K; hotter velocities are assumed to be in another unit
MASSES = ("mass", "masses", "atomic_mass", "atomic_masses")
VELOCITIES = ("velocities", "velocity", "vel", "vels", "velo")
COMPONENTS = ("vx", "vy", "vz")
MOMENTA = ("momentum", "momenta")
LABELS = frozenset(
    "energy energies force forces stress stresses virial virials dipole dipoles quadrupole "
    "polarizability polarizabilities polarisability polarization hessian".split()
)
SETTINGS = frozenset("cutoff unit units key tolerance threshold".split())  # "energy_cutoff"
PLAIN_MASSES = 100.0  # largest factor between masses and ASE's; others are in another unit


def start_of(atoms: Atoms, velocity_unit: str | None = None) -> Atoms:
    """A copy to start from, without labels: masses and momenta from columns with other names.

    Args:
        atoms: as read; columns ``mass`` are in atomic mass units.
        velocity_unit: unit of velocity columns, a key of ``VELOCITY_UNITS``; None: Å/fs, unless
            that is hotter than 5000 K.

    Returns:
        The copy, with constraints but without the calculator.

    Raises:
        InputError: invalid masses or velocities.

    Example:
        >>> atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.74]])
        >>> atoms.new_array("mass", np.array([2.014, 2.014]))
        >>> atoms.new_array("vel", np.array([[0.0, 0, 0.01], [0, 0, -0.01]]))
        >>> start = start_of(atoms, "angstrom/fs")
        >>> start.get_masses().tolist(), sorted(start.arrays)
        ([2.014, 2.014], ['masses', 'momenta', 'numbers', 'positions'])
    """
    if velocity_unit is not None:
        as_choice("velocity_unit", velocity_unit, tuple(VELOCITY_UNITS))
    start = without_labels(atoms)
    _take_masses(start)
    _take_velocities(start, velocity_unit)
    for name in [name for name in start.arrays if name != "momenta" and _is(name, MOMENTA)]:
        _ignore(start, name, "its unit is not known; give momenta in ASE's unit, or velocities")
    return start


def without_labels(atoms: Atoms) -> Atoms:
    """A copy without its calculator, and without labels in its arrays and info.

    Example:
        >>> atoms = Atoms("H", info={"REF_energy": -13.6, "charge": 1})
        >>> without_labels(atoms).info
        {'charge': 1}
    """
    copy = atoms.copy()
    left_out = sorted(atoms.calc.results) if isinstance(atoms.calc, SinglePointCalculator) else []
    copy.calc = None
    for entries in (copy.arrays, copy.info):
        for name in [name for name in entries if is_label(name)]:
            del entries[name]
            left_out.append(name)
    if left_out:
        log.info("labels of the start are left out: %s", ", ".join(map(str, left_out)))
    return copy


def is_label(name: Any) -> bool:
    """Whether an entry is the result of a calculation, judging by its name.

    Example:
        >>> [is_label(name) for name in ("dft_forces", "REF_energy", "energy_cutoff", "charge")]
        [True, True, False, False]
    """
    words = set(re.split(r"[^a-z]+", str(name).lower()))
    return bool(words & LABELS) and not words & SETTINGS


def _take_masses(start: Atoms) -> None:
    for name in [name for name in start.arrays if name != "masses" and _is(name, MASSES)]:
        if start.has("masses"):
            _ignore(start, name, "the structure has masses")
            continue
        masses = _numbers(start, name, (len(start),))
        if not (masses > 0).all():
            atom = int(np.argmin(masses > 0))
            raise InputError(
                f"invalid column {name!r}: atom {atom} has {masses[atom]:g}; expected positive "
                "masses (atomic mass units)"
            )
        ratio = np.median(masses / start.get_masses())
        if not 1 / PLAIN_MASSES < ratio < PLAIN_MASSES:
            raise InputError(
                f"invalid column {name!r}: its masses are {ratio:.3g} times those of the elements; "
                "expected atomic mass units"
            )
        del start.arrays[name]
        start.set_array("masses", masses, float, ())
        log.info("masses from column %r (atomic mass units)", name)


def _take_velocities(start: Atoms, unit: str | None) -> None:
    names = [name for name in start.arrays if _is(name, VELOCITIES)]
    components = [name for name in start.arrays if _is(name, COMPONENTS)]
    if len(components) == len(COMPONENTS):
        stacked = [_numbers(start, name, (len(start),)) for name in sorted(components)]
        for name in components:
            del start.arrays[name]
        names.append("vx, vy, vz")
        start.set_array(names[-1], np.stack(stacked, axis=1))
    for name in names:
        if start.has("momenta"):
            _ignore(start, name, "the structure has momenta")
            continue
        velocities = _numbers(start, name, (len(start), 3))
        del start.arrays[name]
        start.set_velocities(velocities * VELOCITY_UNITS[unit or GUESS])
        kelvin = _kelvin(start)
        if unit is None and kelvin > HOTTEST_GUESS:
            others = {
                u: kelvin * (f / VELOCITY_UNITS[GUESS]) ** 2 for u, f in VELOCITY_UNITS.items()
            }
            described = ", ".join(f"{u} {k:.3g} K" for u, k in others.items())
            raise InputError(
                f"column {name!r} is too hot in {GUESS}; give its velocity_unit, which makes its "
                f"temperature: {described}"
            )
        hint = "; give velocity_unit if this is wrong" if unit is None else ""
        level = logging.WARNING if unit is None else logging.INFO
        log.log(level, "momenta from column %r in %s: %.4g K%s", name, unit or GUESS, kelvin, hint)


def _kelvin(atoms: Atoms) -> float:
    return float(2 * atoms.get_kinetic_energy() / (3 * len(atoms) * KB))


def _numbers(atoms: Atoms, name: str, shape: tuple[int, ...]) -> np.ndarray:
    values = atoms.arrays[name]
    if values.shape != shape or values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        columns = "one column" if len(shape) == 1 else "three columns"
        raise InputError(f"invalid column {name!r}: expected {columns} of finite numbers")
    return values.astype(np.float64)


def _ignore(start: Atoms, name: str, why: str) -> None:
    del start.arrays[name]
    log.warning("column %r of the start is ignored: %s", name, why)


def _is(name: Any, names: tuple[str, ...]) -> bool:
    return str(name).lower() in names


def writable(atoms: Atoms) -> Atoms:
    """A copy without the arrays and info that cannot be written to an extended xyz file.

    Example:
        >>> atoms = Atoms("H", info={"charge": 1, "note": "two" + chr(10) + "lines"})
        >>> writable(atoms).info
        {'charge': 1}
    """
    copy = atoms.copy()
    if _survives(copy, atoms):
        return copy
    for entries, kind in ((copy.arrays, "array"), (copy.info, "info")):
        for name in [name for name in entries if name not in ("numbers", "positions")]:
            one = Atoms(atoms.numbers)
            target = one.arrays if kind == "array" else one.info
            target[name] = entries[name]
            if not _survives(one, one):
                del entries[name]
                log.warning(
                    "%s %r of the start is left out: extended xyz cannot hold it", kind, name
                )
    return copy


def _survives(atoms: Atoms, expected: Atoms) -> bool:
    """Whether a structure can be written and read back with all its entries."""
    text = io.StringIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of entries that are skipped
            write(text, atoms, format="extxyz")
            found: Any = read(io.StringIO(text.getvalue()), index=":", format="extxyz")
    except Exception:  # an odd entry may make ASE's writer and reader raise anything
        return False
    if len(found) != 1 or len(found[0]) != len(expected):
        return False
    arrays = dict(found[0].arrays) | (found[0].calc.results if found[0].calc else {})
    info = set(found[0].info) | set(arrays)
    return set(map(str, expected.info)) <= info and all(
        name in arrays and _are_equal(arrays[name], values)
        for name, values in expected.arrays.items()
    )


def _are_equal(found: np.ndarray, values: np.ndarray) -> bool:
    """Whether arrays are equal to the digits of a file."""
    if values.dtype.kind not in "fc":
        return np.array_equal(found, values)
    return found.shape == values.shape and np.allclose(found, values, atol=1e-7, equal_nan=True)
