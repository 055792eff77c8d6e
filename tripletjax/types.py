"""The types that every module shares. Units: Å, eV, eV/Å, eV/Å³, fs, atomic mass units."""

from dataclasses import dataclass, fields
from difflib import get_close_matches
from math import isfinite
from typing import Any, NamedTuple

import jax
import numpy as np

Array = jax.Array | np.ndarray

CUTOFF_FUNCTIONS = ("shifted_cosine", "smooth", "bump")
RADIAL_BASES = ("gto", "laplacian", "chebyshev", "gaussian")
TRIPLET_FORMS = ("edge", "stretched")
COUPLINGS = ("minimal", "coupled")
NU_LIMIT = 20
L_MAX_LIMIT = 20  # tables and recursions are tested up to here


class InputError(ValueError):
    """Input that cannot be used; the message is one line: what, where, what is accepted."""


class Batch(NamedTuple):
    """Padded structures with their neighbour lists; a pytree of arrays, made by ``prepare``.

    A atoms in all, S structures, C environments (one a centre), K neighbours at most, E elements;
    A, C and K are rounded up to a few sizes so that one compiled program serves many inputs.
    Neighbours are sorted by distance: ``vectors[c, k] = positions[neighbors[c, k]] +
    shifts[c, k] @ cells[structure] - positions[centers[c]]``.
    """

    positions: Array  # [A, 3] Å
    cells: Array  # [S, 3, 3] Å, rows are lattice vectors
    species: Array  # [A] index into elements
    structure: Array  # [A] index of the structure of each atom
    atom_mask: Array  # [A] False on padding
    centers: Array  # [C] index of the central atom
    center_mask: Array  # [C] False on padding
    neighbors: Array  # [C, K] index of the neighbouring atom
    shifts: Array  # [C, K, 3] lattice translations, whole numbers
    neighbor_mask: Array  # [C, K] False on padding
    elements: Array  # [E] atomic numbers, ascending


@jax.tree_util.register_static
@dataclass(frozen=True, kw_only=True)
class Basis:
    """Hyperparameters of the density expansion: hashable, and static under ``jit``.

    ``n_max`` counts the radial functions and ``l_max`` is inclusive, so that each species has
    ``n_max * (l_max + 1)**2`` coefficients.
    """

    cutoff: float = 5.0  # Å; only atoms strictly inside are neighbours
    cutoff_function: str = "shifted_cosine"
    cutoff_width: float = 0.5  # Å; the cutoff function falls over [cutoff - cutoff_width, cutoff]
    radial: str = "gto"
    radial_range: tuple[float, float] | None = None  # Å; centres of the "gaussian" functions
    gaussian_width: float | None = None  # Å; None: what suits the radial basis
    n_max: int = 4
    l_max: int = 8

    def __post_init__(self):
        require_positive("cutoff", self.cutoff, "Å")
        require_positive("cutoff_width", self.cutoff_width, "Å")
        if self.cutoff_width > self.cutoff:
            raise InputError(
                f"cutoff_width={self.cutoff_width} Å is wider than cutoff={self.cutoff} Å; "
                "give a width between 0 and the cutoff"
            )
        _require_choice("cutoff_function", self.cutoff_function, CUTOFF_FUNCTIONS)
        _require_choice("radial", self.radial, RADIAL_BASES)
        _require_integer("n_max", self.n_max, 1, 50)
        _require_integer("l_max", self.l_max, 0, L_MAX_LIMIT)
        if self.gaussian_width is not None:
            require_positive("gaussian_width", self.gaussian_width, "Å")
            if self.gaussian_width > self.cutoff:
                raise InputError(
                    f"gaussian_width={self.gaussian_width} Å is wider than "
                    f"cutoff={self.cutoff} Å; smear by less than the cutoff"
                )
        if self.radial_range is not None:
            object.__setattr__(self, "radial_range", _as_range("radial_range", self.radial_range))

    @property
    def n_harmonics(self) -> int:
        """(l_max + 1)², the number of (l, m)."""
        return (self.l_max + 1) ** 2


@jax.tree_util.register_static
@dataclass(frozen=True, kw_only=True)
class Hypers(Basis):
    """Every hyperparameter of every descriptor, with its default: those of the basis and these."""

    tags: int | None = None  # tagged neighbours of a triplet, the nearest; None: all
    n_features: int = 2048  # columns of level 2 of the fingerprint
    length_scale: float = 1.5  # width of the fingerprint's kernel, in units of the basis
    seed: int = 0  # of the fingerprint's random directions
    chiral: bool = False  # tell mirror images apart: add what changes sign under inversion
    form: str = "edge"  # of the minimal triplet invariants
    coupling: str = "minimal"  # basis of kind "triplets"
    nu: int = 3  # order of kind "correlations"
    center_species: bool = False  # one block of columns for each species of the centre

    def __post_init__(self):
        super().__post_init__()
        if self.tags is not None:
            _require_integer("tags", self.tags, 1, 1000)
        _require_integer("n_features", self.n_features, 1, 1_000_000)
        require_positive("length_scale", self.length_scale, "units of the basis")
        _require_integer("seed", self.seed, 0, 2**63)
        _require_choice("chiral", self.chiral, (False, True))
        _require_choice("form", self.form, TRIPLET_FORMS)
        _require_choice("coupling", self.coupling, COUPLINGS)
        _require_integer("nu", self.nu, 1, NU_LIMIT)
        _require_choice("center_species", self.center_species, (False, True))

    @property
    def basis(self) -> Basis:
        """The density expansion alone: equal for descriptors that share it."""
        return Basis(**{field.name: getattr(self, field.name) for field in fields(Basis)})

    @classmethod
    def from_keywords(cls, **keywords: Any) -> "Hypers":
        """Check the names too: a misspelt one raises InputError and names the nearest."""
        known = [field.name for field in fields(cls)]
        for name in keywords:
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
                raise InputError(f"hyperparameter {name!r} does not exist; {hint}")
        return cls(**keywords)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def require_positive(name: str, value: Any, unit: str) -> None:
    """Raise InputError unless the value is a positive, finite number."""
    if not (_is_number(value) and isfinite(value) and value > 0):
        raise InputError(f"{name}={value!r} is not usable; give a positive number in {unit}")


def _require_integer(name: str, value: Any, low: int, high: int) -> None:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not (whole and low <= value <= high):
        raise InputError(f"{name}={value!r} is not usable; give a whole number, {low} to {high}")


def _require_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    if value not in choices:
        raise InputError(
            f"{name}={value!r} is not known; choose one of {', '.join(map(str, choices))}"
        )


def _as_range(name: str, value: Any) -> tuple[float, float]:
    pair: tuple[Any, ...] = tuple(value) if isinstance(value, (tuple, list, np.ndarray)) else ()
    numbers = len(pair) == 2 and all(map(_is_number, pair)) and all(map(isfinite, pair))
    if not (numbers and 0 <= pair[0] < pair[1]):
        raise InputError(f"{name}={value!r} is not usable; give (low, high) in Å, 0 <= low < high")
    return float(pair[0]), float(pair[1])
