"""The types that every module shares. Units: Å, eV, eV/Å, eV/Å³, fs, atomic mass units."""

from dataclasses import dataclass, fields
from difflib import get_close_matches
from math import inf, isfinite
from typing import Any, NamedTuple

import jax
import numpy as np

Array = jax.Array | np.ndarray

CUTOFF_FUNCTIONS = ("shifted_cosine", "smooth", "bump")
RADIAL_BASES = ("gto", "laplacian", "chebyshev", "gaussian")
SMEARED_BASES = ("gto", "laplacian", "gaussian")  # those that read gaussian_width
TRIPLET_FORMS = ("edge", "stretched")
COUPLINGS = ("minimal", "coupled")
NU_LIMIT = 20
L_MAX_LIMIT = 20  # tables and recursions are tested up to here


class InputError(ValueError):
    """Input that cannot be used; the message is one line: what, where, what is accepted."""


class SimulationError(RuntimeError):
    """A simulation that cannot go on, such as one that blew up; the message is one line."""


class ConvergenceError(RuntimeError):
    """An iteration that did not converge; the message is one line, with what was reached."""


@jax.tree_util.register_static
@dataclass(frozen=True)
class Prepared:
    """What a batch was prepared with: hashable, and static under ``jit``, so that it is checked
    there too."""

    cutoff: float  # Å
    elements: tuple[int, ...]  # atomic numbers, ascending


class Batch(NamedTuple):
    """Padded structures with their neighbour lists; a pytree of arrays, made by ``prepare``.

    A atoms in all, S structures, C environments (one a centre), K neighbours at most, E elements;
    A, C and K are rounded up to a few sizes so that one compiled program serves many inputs.
    Neighbours are sorted by distance: ``vectors[c, k] = positions[neighbors[c, k]] +
    shifts[c, k] @ cells[structure] - positions[centers[c]]``.
    """

    positions: Array  # [A, 3] Å, each structure wrapped into its cell and about the origin
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
    prepared: Prepared | None = None  # None: made by hand, and not checked

    @property
    def cutoff(self) -> float | None:
        """Å; atoms strictly inside are neighbours. None where it is not known."""
        return None if self.prepared is None else self.prepared.cutoff


def require_prepared(
    batch: Batch, cutoff: float, elements: tuple[int, ...], user: str, exact: bool = False
) -> None:
    """Check, also under ``jit``, that a batch holds all that is to be evaluated on it.

    A batch made by hand, with ``prepared=None``, is not checked.

    Args:
        batch: from ``prepare``, or changed since then.
        cutoff: Å; the batch must have been prepared with this one, or a larger one.
        elements: atomic numbers, ascending, that the user knows.
        user: what evaluates the batch, for messages.
        exact: the batch must have these elements in this order, not just some of them.

    Raises:
        InputError: names the cutoffs or the elements of both.

    Example:
        >>> from ase.build import molecule
        >>> from tripletjax import prepare
        >>> require_prepared(prepare(molecule("H2O"), cutoff=4.0), 3.0, (1, 6, 8), "the model")
    """
    if batch.prepared is None:
        return
    if batch.prepared.cutoff < cutoff:
        raise InputError(
            f"the batch was prepared with cutoff={batch.prepared.cutoff:g} Å, but the cutoff of "
            f"{user} is {cutoff:g} Å; prepare it with cutoff={cutoff:g} or more"
        )
    present = batch.prepared.elements
    if present != tuple(elements) if exact else not set(present) <= set(elements):
        remedy = "prepare it with these species" if exact else "leave out the unknown species"
        raise InputError(
            f"the batch was prepared with species={list(present)}, but those of {user} are "
            f"{list(elements)}; {remedy}"
        )


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
        settle(
            self,
            cutoff=as_positive("cutoff", self.cutoff, "Å"),
            cutoff_width=as_positive("cutoff_width", self.cutoff_width, "Å"),
            n_max=as_integer("n_max", self.n_max, 1, 50),
            l_max=as_integer("l_max", self.l_max, 0, L_MAX_LIMIT),
        )
        if self.cutoff_width > self.cutoff:
            raise InputError(
                f"cutoff_width={self.cutoff_width} Å is wider than cutoff={self.cutoff} Å; "
                "give a width between 0 and the cutoff"
            )
        _require_choice("cutoff_function", self.cutoff_function, CUTOFF_FUNCTIONS)
        _require_choice("radial", self.radial, RADIAL_BASES)
        _require_read("gaussian_width", self.gaussian_width, self.radial, SMEARED_BASES)
        _require_read("radial_range", self.radial_range, self.radial, ("gaussian",))
        if self.gaussian_width is not None:
            settle(self, gaussian_width=as_positive("gaussian_width", self.gaussian_width, "Å"))
            if self.gaussian_width > self.cutoff:
                raise InputError(
                    f"gaussian_width={self.gaussian_width} Å is wider than "
                    f"cutoff={self.cutoff} Å; smear by less than the cutoff"
                )
        if self.radial_range is not None:
            settle(self, radial_range=_as_range("radial_range", self.radial_range))

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
        settle(
            self,
            tags=None if self.tags is None else as_integer("tags", self.tags, 1, 1000),
            n_features=as_integer("n_features", self.n_features, 1, 1_000_000),
            length_scale=as_positive("length_scale", self.length_scale, "units of the basis"),
            seed=as_integer("seed", self.seed, 0, 2**63),
            nu=as_integer("nu", self.nu, 1, NU_LIMIT),
        )
        for name in ("chiral", "center_species"):
            _require_choice(name, getattr(self, name), (False, True))
            settle(self, **{name: bool(getattr(self, name))})
        _require_choice("form", self.form, TRIPLET_FORMS)
        _require_choice("coupling", self.coupling, COUPLINGS)

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


def settle(instance: Any, **values: Any) -> None:
    """Set fields of a frozen dataclass to their checked values, while it is being made."""
    for name, value in values.items():
        object.__setattr__(instance, name, value)


def as_integer(name: str, value: Any, low: int | None = 0, high: int | None = None) -> int:
    """A whole number, of Python or NumPy, as a Python int; bools are none.

    Args:
        name: of the value, for messages.
        value: to check.
        low, high: bounds, inclusive; None: none.

    Raises:
        InputError: the value is no whole number, or is out of bounds.

    Example:
        >>> as_integer("l_max", np.int64(3), 0, 20)
        3
    """
    value = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
    is_whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not (is_whole and (low is None or low <= value) and (high is None or value <= high)):
        bounds = [] if low is None else [f"from {low}"]
        bounds += [] if high is None else [f"to {high}"]
        raise InputError(
            f"invalid {name}={value!r}: expected {' '.join(['a whole number', *bounds])}"
        )
    return int(value)


def as_number(name: str, value: Any, low: float = -inf, high: float = inf, unit: str = "") -> float:
    """A finite number, of Python or NumPy, as a Python float; bools are none.

    Args:
        name: of the value, for messages.
        value: to check.
        low, high: bounds, inclusive.
        unit: of the value, for messages.

    Raises:
        InputError: the value is no finite number, or is out of bounds.

    Example:
        >>> as_number("ema", np.float32(0.5), 0, 1)
        0.5
    """
    value = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
    if not (_is_finite(value) and low <= value <= high):
        bounds = [f"at least {low:g}"] if low > -inf else []
        bounds += [f"at most {high:g}"] if high < inf else []
        accepted = " ".join(["a finite number", " and ".join(bounds)]).strip()
        raise InputError(f"invalid {name}={value!r}: expected {accepted}{_in(unit)}")
    return float(value)


def as_positive(name: str, value: Any, unit: str = "") -> float:
    """A positive, finite number, of Python or NumPy, as a Python float; see ``as_number``.

    Example:
        >>> as_positive("cutoff", 5, "Å")
        5.0
    """
    value = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
    if not (_is_finite(value) and value > 0):
        raise InputError(f"invalid {name}={value!r}: expected a positive number{_in(unit)}")
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    """Whether a float can hold it: a whole number of Python may be larger than any float."""
    try:
        return _is_number(value) and isfinite(value)
    except OverflowError:
        return False


def _in(unit: str) -> str:
    return f" ({unit})" if unit else ""


def _require_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    if value not in choices:
        raise InputError(
            f"{name}={value!r} is not known; choose one of {', '.join(map(str, choices))}"
        )


def _require_read(name: str, value: Any, radial: str, bases: tuple[str, ...]) -> None:
    if value is not None and radial not in bases:
        raise InputError(
            f"invalid {name}={value!r}: radial={radial!r} does not read it; it is for radial="
            f"{' or '.join(map(repr, bases))}"
        )


def _as_range(name: str, value: Any) -> tuple[float, float]:
    pair: tuple[Any, ...] = tuple(value) if isinstance(value, (tuple, list, np.ndarray)) else ()
    numbers = len(pair) == 2 and all(map(_is_finite, pair))
    if not (numbers and 0 <= pair[0] < pair[1]):
        raise InputError(f"{name}={value!r} is not usable; give (low, high) in Å, 0 <= low < high")
    return float(pair[0]), float(pair[1])
